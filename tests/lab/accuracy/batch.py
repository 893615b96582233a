"""A run over many seeds: record, score, sum up."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.lab.accuracy.drawing import draw
from tests.lab.accuracy.network import sweep
from tests.lab.accuracy.recording import NotRecordedError, Recording
from tests.lab.accuracy.scorer import Answer, Scorer
from tests.lab.accuracy.summary import Totals
from tests.lab.accuracy.variations import about

TRIES = 2
"""How often a case is recorded that something disturbed."""
PATIENCE = 20.0
"""Seconds of loading after which no further variation of a case is begun."""


@dataclass(frozen=True)
class Wanted:
    """What a run is about; it ends after ``minutes``. ``keep``: cases stay in ``folder``."""

    seeds: Iterable[int]
    minutes: float
    variations: tuple[str, ...]
    folder: Path
    keep: bool


@dataclass
class Result:
    """``totals`` of the seeds that were ``scored``; ``discarded``: seed -> why."""

    totals: Totals
    scored: list[int]
    discarded: dict[int, str]


def is_harsh(seed: int) -> bool:
    """Every second seed's case has packets made by hand."""
    return seed % 2 == 1


def record(seed: int, folder: Path) -> str:
    """Record a seed's case; why it cannot be scored, or nothing."""
    why = ""
    for _ in range(TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            why = Recording(draw(seed, is_harsh(seed)), folder).run().disturbed
        except NotRecordedError as error:
            why = str(error)
        if not why:
            return ""
    return why


def run(wanted: Wanted) -> Result:
    """Record and score seed after seed until the time is up."""
    sweep()
    until = time.monotonic() + wanted.minutes * 60
    result, scorer = Result(Totals(), [], {}), Scorer()
    try:
        for seed in wanted.seeds:
            if time.monotonic() > until:
                break
            folder = wanted.folder / f"s{seed}"
            why = record(seed, folder)
            if why:
                result.discarded[seed] = why
                print(f"seed {seed}: discarded: {why}", flush=True)
            else:
                result.scored.append(seed)
                work = wanted.folder / "work"
                _score(folder, wanted.variations, work, scorer, result.totals)
            if not wanted.keep or why:
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        scorer.close()
        shutil.rmtree(wanted.folder / "work", ignore_errors=True)
    return result


def score_folders(folders: Iterable[Path], variations: tuple[str, ...], work: Path) -> Totals:
    """Score cases that were kept."""
    totals, scorer = Totals(), Scorer()
    try:
        for folder in folders:
            _score(folder, variations, work, scorer, totals)
    finally:
        scorer.close()
    return totals


def _score(
    folder: Path, variations: tuple[str, ...], work: Path, scorer: Scorer, totals: Totals
) -> None:
    """The first variation always, the others in an order of the case's own while there is time."""
    others = list(variations[1:])
    random.Random(about(folder).seed).shuffle(others)
    left = PATIENCE
    for variation in (*variations[:1], *others):
        answer = scorer.ask(folder, variation, work) if left > 0 else None
        if answer is not None:
            left -= answer["seconds"]
            totals.add(variation, answer)
            print(_line(folder.name, variation, answer), flush=True)


def _line(name: str, variation: str, answer: Answer) -> str:
    if "counts" not in answer:
        return f"{name} {variation}: {answer.get('refused') or answer.get('failed')}"
    c = answer["counts"]
    right = f"{c.get('right', 0)} of {c.get('rows', 0)} right"
    said = f"{right}, {c.get('exact_wrong', 0)} exact but wrong"
    lines = [f"{name} {variation}: {said}, {answer['seconds']:.1f} s"]
    for key, kernel, claimed, connections in answer["wrong"][:3]:
        protocol, src, sport, dst, dport, direction, table, chain, rule = key
        where = f"{protocol} {src}:{sport} > {dst}:{dport} {direction} {table}/{chain} {rule}"
        lines.append(
            f"    {where}: kernel {kernel}, claimed {claimed} (connection {connections[0]})"
        )
    return "\n".join(lines)
