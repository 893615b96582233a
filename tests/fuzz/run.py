"""Inputs, one after the other: each is an answer, or one line; anything else is a finding."""

from __future__ import annotations

import contextlib
import hashlib
import random
import resource
import shutil
import signal
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from correlator.errors import CorrelatorError
from tests.fuzz.targets import REPORTS, Target, readers, recording, reports, stand, warm

FOUND = Path(__file__).parent / "found"
LONGEST_S, LARGEST = 10, 2 << 30
WAITING = 12
"""How much longer an input may take by the clock than by the processor's time."""


class TooLongError(Exception):
    """An input that takes longer than any may."""


@dataclass
class Tally:
    """What a run saw; ``findings``: what each was, once a place in the code."""

    inputs: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    slowest: tuple[float, str] = (0.0, "")
    findings: dict[str, str] = field(default_factory=dict)

    def line(self) -> str:
        inputs, refused = sum(self.inputs.values()), sum(self.refused.values())
        return (
            f"{inputs:,} inputs, {refused:,} refused in a line, slowest {self.slowest[0]:.1f} s "
            f"({self.slowest[1]}), "
            f"peak {peak() >> 20:,} MiB, {len(self.findings)} findings"
        )


def peak() -> int:
    """Bytes of memory that this process had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limit_memory() -> None:
    """2 GiB more than what is mapped now, and no more."""
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + LARGEST, mapped + LARGEST))


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TooLongError

    signals = {signal.SIGVTALRM: signal.ITIMER_VIRTUAL, signal.SIGALRM: signal.ITIMER_REAL}
    before = {number: signal.signal(number, ring) for number in signals}
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST_S)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S * WAITING)
    try:
        yield
    finally:
        for number, timer in signals.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def attempt(what: Callable[[], object]) -> tuple[bool, str]:
    """(whether it was refused; what is wrong with how it ended: the kind and the place, or
    nothing)."""
    try:
        with _in_time(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            what()
    except CorrelatorError as error:
        return True, "" if str(error).isprintable() and len(str(error)) < 2000 else "no line"
    except Exception as error:
        frames = [
            f for f in traceback.extract_tb(error.__traceback__) if "correlator" in f.filename
        ]
        last = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
        return False, f"{type(error).__name__}-{Path(last.filename).stem}-{last.name}"
    return False, ""


def fuzz_readers(seed: int, inputs: int, until: float, tally: Tally) -> None:
    """So many inputs (or until a moment of the monotonic clock), all readers in turn."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(dir=_memory()) as where:
        places = []
        for target in readers():
            folder = Path(where) / target.name
            folder.mkdir()
            stand(target, folder)
            places.append((target, folder))
        for number in range(inputs):
            target, folder = places[number % len(places)]
            if time.monotonic() > until:
                return
            data = target.input(rng)
            problem = _try(target, folder, data, tally)
            if problem and problem not in tally.findings:
                data = smaller(target, folder, data, problem)
                tally.findings[problem] = keep(f"{target.name}-{problem}", data)


def _try(target: Target, folder: Path, data: bytes, tally: Tally) -> str:
    (folder / target.file).write_bytes(data)
    begun = time.process_time()
    refused, problem = attempt(lambda: target.run(folder))
    tally.slowest = max(tally.slowest, (time.process_time() - begun, target.name))
    tally.inputs[target.name] = tally.inputs.get(target.name, 0) + 1
    tally.refused[target.name] = tally.refused.get(target.name, 0) + refused
    return problem


def smaller(target: Target, folder: Path, data: bytes, problem: str, seconds: float = 20) -> bytes:
    """The same finding with fewer bytes: halves, quarters, ... are left out while it stays."""
    until = time.monotonic() + seconds
    size = len(data) // 2
    while size and time.monotonic() < until:
        at = 0
        while at < len(data) and time.monotonic() < until:
            less = data[:at] + data[at + size :]
            if _try(target, folder, less, Tally()) == problem:
                data = less
            else:
                at += size
        size //= 2
    return data


def keep(name: str, data: bytes) -> str:
    """The path at which a finding is kept."""
    FOUND.mkdir(exist_ok=True)
    path = FOUND / f"{name}-{hashlib.sha256(data).hexdigest()[:8]}"
    path.write_bytes(data)
    return str(path)


def fuzz_replays(seed: int, inputs: int, until: float, tally: Tally) -> None:
    """So many whole replays, each with one of the reports."""
    with tempfile.TemporaryDirectory(dir=_memory()) as where:
        warm(Path(where) / "recording")
    for number in range(inputs):
        if time.monotonic() > until:
            return
        rng = random.Random(f"{seed}/{number}")
        with tempfile.TemporaryDirectory(dir=_memory()) as where:
            folder = Path(where) / "recording"
            what = recording(folder, rng)
            how, fold = rng.randrange(REPORTS), rng.random() < 0.5
            begun = time.process_time()
            refused, problem = attempt(partial(reports, folder, how, fold))
            tally.slowest = max(tally.slowest, (time.process_time() - begun, str(number)))
            tally.inputs["replays"] = tally.inputs.get("replays", 0) + 1
            tally.refused["replays"] = tally.refused.get("replays", 0) + refused
            if problem and problem not in tally.findings:
                FOUND.mkdir(exist_ok=True)
                kept = FOUND / f"replay-{problem}-{seed}-{number}"
                shutil.copytree(folder, kept, dirs_exist_ok=True)
                tally.findings[problem] = f"{kept} ({what})"


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
