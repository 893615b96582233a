"""Logs of ``nft list ruleset`` and ``nft -j list ruleset`` ->
:class:`~correlator.firewall.samples.log.CounterLog`.

Snapshots that differ in what counters say only are parsed once: each number gives way to its place
among the numbers of the listing, so that what is parsed tells where each counter stands. All
snapshots together say what was in the sets."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from correlator.dataset.listed_counters import NUMBERS, PASSING
from correlator.errors import InputError
from correlator.firewall.languages import nft_json, nft_text
from correlator.firewall.languages.counted import broken
from correlator.firewall.languages.nft_rules import Objects, ruleset_of
from correlator.firewall.languages.nft_sets import Sets, sets_of
from correlator.firewall.samples.log import CounterLog, Stretch, assemble
from correlator.firewall.samples.series import compact
from correlator.firewall.samples.snapshots import Snapshot, cut_short, stamp_of
from correlator.firewall.samples.stamps import SECOND, Stamp

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.firewall.model import Ruleset

_MICROSECOND = SECOND // 1_000_000


@dataclass(frozen=True, slots=True)
class Notation:
    """How a snapshot is written: what its ``numbers`` look like (packets in group 2, bytes in group
    4), what else passes with time (``passing``), and what ``read``s its objects."""

    begins: re.Pattern[str]
    numbers: re.Pattern[str]
    passing: re.Pattern[str]
    read: Callable[[str, str], Objects]
    command: str


NOTATIONS = (
    Notation(
        nft_json.BEGINS, nft_json.NUMBERS, nft_json.PASSING, nft_json.read_objects, nft_json.COMMAND
    ),
    Notation(nft_text.BEGINS, NUMBERS, PASSING, nft_text.read_objects, nft_text.COMMAND),
)


def notation_of(text: str) -> Notation | None:
    """How the listings of a log are written; None where it holds none of nft's."""
    return next((one for one in NOTATIONS if one.begins.search(text)), None)


def read_nft_log(text: str, source: str, notation: Notation, family: str = "ip") -> CounterLog:
    """All snapshots of a log, as packets of a ``family`` (``ip``, ``ip6``) meet the rules. Raises
    :class:`~correlator.errors.InputError` where one is damaged, the last one excepted, which may be
    cut."""
    snapshots, warnings = _split(text, source, notation), list[str]()
    known: dict[str, Objects] = {}
    read: list[tuple[Objects, Ints]] = []
    for number, snapshot in enumerate(snapshots):
        try:
            read.append(_read(snapshot, source, notation, known))
        except InputError:
            if not number or number < len(snapshots) - 1:
                raise
            warnings.append(cut_short(source, snapshot.line))
            snapshots = snapshots[:-1]
    warnings += _not_followed(known, source)
    sets = sets_of(known.values())
    made: dict[int, tuple[Ruleset, Ints]] = {}
    stretches = []
    for objects, numbers in read:
        if id(objects) not in made:
            made[id(objects)] = _ruleset(objects, sets, source, made, family)
        ruleset, place = made[id(objects)]
        values = np.where(place[:, None] >= 0, numbers[place], 0)[None]
        packets, size = values[:, :, 0], values[:, :, 1]
        stretches.append(Stretch(ruleset, compact((packets, packets, size, size))))
    return assemble([one.stamp for one in snapshots], stretches, "nft", warnings, source)


def _not_followed(known: dict[str, Objects], source: str) -> list[str]:
    """What is said of tables whose chains stand where no packet is walked."""
    tables = {
        f"{body['family']} {body['table']}"
        for objects in known.values()
        for one in objects
        if isinstance(body := one.get("chain"), dict) and body.get("family") in ("bridge", "netdev")
        if body.get("hook") and (body["family"] == "bridge" or not isinstance(body.get("dev"), str))
    }
    return [
        f"{source}: the chains of table {name} are not followed: what they drop seems to be lost"
        for name in sorted(tables)
    ]


def _ruleset(
    objects: Objects, sets: Sets, source: str, made: dict[int, tuple[Ruleset, Ints]], family: str
) -> tuple[Ruleset, Ints]:
    """(the ruleset of a listing, one object for all that are equal; places of its counters)."""
    ruleset, places = ruleset_in(objects, sets, source, family)
    if not ruleset.entries and family == "ip":
        raise InputError(f"{source}: lists no rule and no base chain")
    return next((one for one, _ in made.values() if one == ruleset), ruleset), places


def ruleset_in(objects: Objects, sets: Sets, source: str, family: str) -> tuple[Ruleset, Ints]:
    """(the ruleset of a listing, the place of each entry's counter, int64, -1 where it has none).
    Raises :class:`~correlator.errors.InputError` where an object is none of nft's."""
    try:
        ruleset, places = ruleset_of(objects, sets, family)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{source}: holds an object that nft does not print: {error!r:.80}"
        ) from None
    return ruleset, np.array(places, dtype=np.int64)


def placed(text: str) -> str:
    """A listing whose counters show their places."""
    numbers = count()
    return PASSING.sub(
        r"\g<1>0", NUMBERS.sub(lambda found: f"{found[1]}{next(numbers)}{found[3]}0", text)
    )


def _read(
    snapshot: Snapshot, source: str, notation: Notation, known: dict[str, Objects]
) -> tuple[Objects, Ints]:
    """(objects of a snapshot, the numbers (k + 1, 2) at the places that they name; the last of no
    counter)."""
    numbers: list[tuple[str, str]] = []

    def take(found: re.Match[str]) -> str:
        numbers.append((found[2], found[4]))
        return f"{found[1]}{len(numbers) - 1}{found[3]}0"

    template = notation.passing.sub(r"\g<1>0", notation.numbers.sub(take, snapshot.text))
    if template not in known:
        known[template] = notation.read(template, f"{source}: the snapshot at line {snapshot.line}")
    try:
        values = np.array([*numbers, ("0", "0")], dtype=np.int64).reshape(-1, 2)
    except (ValueError, OverflowError):
        raise InputError(broken(source, snapshot.line)) from None
    return known[template], values


def _split(text: str, source: str, notation: Notation) -> list[Snapshot]:
    """The snapshots behind their times, or with times of their own."""
    snapshots: list[Snapshot] = []
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        stamp = None if line.startswith(("\t", " ")) else stamp_of(line)
        if stamp is not None:
            snapshots.append(Snapshot(stamp, number, ""))
        elif (own := _own_stamp(line)) is not None:
            snapshots.append(Snapshot(own, number, line))
        elif snapshots:
            snapshots[-1].text += line
    kept = [one for one in snapshots if notation.begins.search(one.text)]
    if not kept:
        raise InputError(
            f"{source}: has no times: put `date +%s.%N` before each {notation.command}, or "
            f"`# sample begin=... end=...`"
        )
    return kept


def _own_stamp(line: str) -> Stamp | None:
    """The times (seconds, ``begin`` and ``end``) beside the listing of one line of JSON."""
    if not line.startswith("{") or '"begin"' not in line[:200]:
        return None
    try:
        found = json.loads(line)
        begin, end = float(found["begin"]), float(found["end"])
        low, high = (round(one * 1_000_000) * _MICROSECOND for one in (begin, end))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return Stamp(low - _MICROSECOND, high + _MICROSECOND, 1) if abs(high) < 1 << 62 else None
