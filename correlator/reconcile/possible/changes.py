"""Rules that changed between two readings changed once: before that moment no packet met the new
rule, after it all did.

Packets that fell between the last reading of one generation and the first of the next were walked
through both rulesets merged. What the wire settles of them bounds the moment of each change; what
stays open is no longer a choice a packet, but one moment for all of them, which the counters then
tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.possible.choices import Choices, Unit, way_of

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.reconcile.intake.generations import Stage, Stages
    from correlator.reconcile.possible.explore import Explored
    from correlator.reconcile.possible.walks import Way


MAX_MOMENTS = 512
ADDED, REMOVED = 1, -1
Presence = frozenset[int]
"""Rows that met a rule."""


@dataclass(slots=True)
class _Change:
    """A rule that came (``ADDED``) or went: not before ``after``, not later than ``before`` (ns,
    packets' clock)."""

    entry: int
    sense: int
    after: int = -(1 << 62)
    before: int = 1 << 62

    def learn(self, present: bool, low: int, high: int) -> None:
        """A packet counted within [low, high] met the rule, or did not."""
        if present == (self.sense == ADDED):
            self.before = min(self.before, high)
        else:
            self.after = max(self.after, low)

    def allows(self, present: bool, low: int, high: int) -> bool:
        """Whether a packet counted within [low, high] may have met the rule (or not)."""
        if present == (self.sense == ADDED):
            return high >= self.after
        return low <= self.before


def order_changes(
    explored: Explored, choices: Choices, stages: Stages, low: Ints, high: Ints
) -> Choices:
    """Choices with the moments of change as units; ``low``/``high`` (m,) bound when each row was
    counted."""
    in_order = sorted(
        range(len(stages.stages)),
        key=lambda number: (stages.stages[number].first, stages.stages[number].last),
    )
    for number in in_order:
        changes = _changes_of(stages.stages[number], stages)
        if changes:
            choices = _order(explored, choices, changes, number, low, high)
    return choices


def _changes_of(stage: Stage, stages: Stages) -> dict[int, _Change]:
    """The rules of a transition that came or went once, by their register's number."""
    found: dict[int, _Change] = {}
    if stage.first == stage.last:
        return found
    there = [set(of.tolist()) for of in stages.register.of[stage.first : stage.last + 1]]
    for entry in {stage.numbers[e] for e in stage.program.maybe}:
        presence = [entry in part for part in there]
        flips = sum(a != b for a, b in pairwise(presence))
        if flips == 1:
            found[entry] = _Change(entry, ADDED if presence[-1] else REMOVED)
    return found


def _order(
    explored: Explored,
    choices: Choices,
    changes: dict[int, _Change],
    stage: int,
    low: Ints,
    high: Ints,
) -> Choices:
    program = explored.rows.program
    for row in choices.settled[program[choices.settled] == stage].tolist():
        way = way_of(explored, row, 0)
        for entry in changes.keys() & set(way.hits if way is not None else ()):
            changes[entry].learn(True, int(low[row]), int(high[row]))
        for entry in changes.keys() & (way.absent if way is not None else frozenset()):
            changes[entry].learn(False, int(low[row]), int(high[row]))
    mine: list[Unit] = []
    others: list[Unit] = []
    for unit in choices.units:
        single = all(len(option) == 1 for option in unit.options)
        (mine if single and program[unit.options[0][0][0]] == stage else others).append(unit)
    left: dict[int, list[int]] = {}
    for unit in mine:
        row = unit.options[0][0][0]
        ways = [w for ((_, w),) in unit.options if _possible(explored, row, w, changes, low, high)]
        left[row] = ways or [w for ((_, w),) in unit.options]
    joint, loose = _join(explored, left, changes, low, high)
    units = [*others, *([joint] if joint is not None else [])]
    units += [Unit(tuple(((row, way),) for way in left[row])) for row in loose]
    return replace(choices, units=tuple(units))


def _possible(
    explored: Explored, row: int, way: int, changes: dict[int, _Change], low: Ints, high: Ints
) -> bool:
    found = way_of(explored, row, way)
    if found is None:
        return True
    begin, end = int(low[row]), int(high[row])
    return all(
        changes[e].allows(True, begin, end) for e in changes.keys() & set(found.hits)
    ) and all(changes[e].allows(False, begin, end) for e in changes.keys() & found.absent)


def _join(
    explored: Explored,
    left: dict[int, list[int]],
    changes: dict[int, _Change],
    low: Ints,
    high: Ints,
) -> tuple[Unit | None, list[int]]:
    """(one unit whose options are the moments of change, rows that it does not settle)."""
    asked: dict[int, list[int]] = {}
    joint: list[int] = []
    for row in sorted(left, key=lambda r: (int(low[r]), int(high[r]), r)):
        ways = [(w, way_of(explored, row, w)) for w in left[row]]
        patterns = {_pattern(way, changes) for _, way in ways if way is not None}
        if len(left[row]) < 2 or len(patterns) < len(left[row]):
            continue
        joint.append(row)
        for entry in {e for pattern in patterns for e, _ in pattern}:
            asked.setdefault(entry, []).append(row)
    moments = [_presences(rows, changes[entry].sense, low, high) for entry, rows in asked.items()]
    total = int(np.prod([len(m) for m in moments], dtype=np.float64)) if moments else 0
    if not joint or total > MAX_MOMENTS:
        return None, list(left)
    options: dict[tuple[tuple[int, int], ...], None] = {}
    for combination in product(*moments):
        met = dict(zip(asked, combination, strict=True))
        option = [_choose(explored, row, left[row], met, changes) for row in joint]
        if all(pick is not None for pick in option):
            options[
                tuple((row, w) for row, w in zip(joint, option, strict=True) if w is not None)
            ] = None
    if not options:
        return None, list(left)
    return Unit(tuple(options)), [row for row in left if row not in set(joint)]


def _pattern(way: Way, changes: dict[int, _Change]) -> frozenset[tuple[int, bool]]:
    """Which of the changed rules a way meets, and which it would have met."""
    met = {(e, True) for e in changes.keys() & set(way.hits)}
    return frozenset(met | {(e, False) for e in changes.keys() & way.absent})


def _presences(rows: list[int], sense: int, low: Ints, high: Ints) -> list[Presence]:
    """The rows that met the rule, for every moment at which it may have changed. Neighbours whose
    times overlap may have been counted in either order."""
    found: dict[Presence, None] = {}
    for k in range(len(rows) + 1):
        early, late = rows[:k], rows[k:]
        found[frozenset(late if sense == ADDED else early)] = None
        if 0 < k < len(rows) and high[rows[k - 1]] >= low[rows[k]]:
            early, late = [*rows[: k - 1], rows[k]], [rows[k - 1], *rows[k + 1 :]]
            found[frozenset(late if sense == ADDED else early)] = None
    return list(found)


def _choose(
    explored: Explored,
    row: int,
    ways: list[int],
    met: dict[int, Presence],
    changes: dict[int, _Change],
) -> int | None:
    """The way of a row under these presences; None where there is none."""
    for way in ways:
        found = way_of(explored, row, way)
        if found is not None and all(
            (row in met[e]) == present for e, present in _pattern(found, changes) if e in met
        ):
            return way
    return None
