"""The counters' word on what rules and wire left open.

Between two readings that no hit straddles, a counter's movement is an equation: the hits of settled packets plus those
of the options taken. All equations of all open units together are solved exactly; what still has more than one
solution stays open and is reported as ambiguous.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.choices import Choices, Option, Unit, way_of
from correlator.reconcile.clock import to_counters
from correlator.reconcile.counters import UNBOUNDED
from correlator.reconcile.solver import Group, solve

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.analysis import Clock
    from correlator.reconcile.counters import Counters
    from correlator.reconcile.explore import Explored
    from correlator.reconcile.hits import Hits

    Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Settlement:
    """``taken``: (row, way) that the counters settled; ``standing``: the options left of every unit still open, the
    first of them part of one solution that balances the counters; ``broken``: sums that no choice meets."""

    taken: tuple[tuple[int, int], ...]
    standing: tuple[Unit, ...]
    broken: int


def settle(
    explored: Explored, choices: Choices, base: Hits, counters: Counters | None, clock: Clock, low: Ints, high: Ints,
    length: Ints,
) -> Settlement:  # fmt: skip
    """Settle ``choices.units``; ``base`` are the settled rows' hits, ``low``/``high``/``length`` (m,) the rows'."""
    units = choices.units
    if counters is None or counters.samples < 2 or not units:
        return Settlement((), units, 0)
    amounts = [[_amounts(explored, option, low, high, length) for option in unit.options] for unit in units]
    segments = _Segments(base, counters, clock, amounts)
    options = [[segments.sums(amount) for amount in unit] for unit in amounts]
    owners = [_owner(explored, unit) for unit in units]
    merged: dict[tuple[object, ...], list[tuple[int, tuple[int, ...]]]] = defaultdict(list)
    for number, sums in enumerate(options):
        keys = [tuple(sorted(s.items())) for s in sums]
        order = tuple(sorted(range(len(keys)), key=lambda j: (keys[j], j)))
        merged[tuple(keys[j] for j in order)].append((number, order))
    signatures = list(merged)
    groups = [Group(len(merged[s]), tuple(dict(o) for o in s)) for s in signatures]  # type: ignore[call-overload]
    outcome = solve(groups, segments.bounds())
    taken: list[tuple[int, int]] = []
    standing: list[Unit] = []
    for g, signature in enumerate(signatures):
        _deal(units, owners, merged[signature], outcome.counts[g], outcome.complete[g], taken, standing)
    return Settlement(tuple(taken), tuple(standing), len(outcome.broken))


def _deal(
    units: tuple[Unit, ...], owners: Sequence[object], members: list[tuple[int, tuple[int, ...]]],
    counts: frozenset[tuple[int, ...]], complete: bool, taken: list[tuple[int, int]], standing: list[Unit],
) -> None:  # fmt: skip
    """Give the members of a group their options, where the solutions leave no choice that shows."""
    split = min(counts)
    fair = [j for j, number in enumerate(split) for _ in range(number)]
    possible = sorted({j for solution in counts for j, number in enumerate(solution) if number})
    alike = len({owners[number] for number, _ in members}) == 1 and owners[members[0][0]] is not None
    certain = complete and len(counts) == 1 and (len(possible) == 1 or alike)
    for position, (number, order) in enumerate(members):
        unit = units[number]
        if certain and not unit.capped:
            taken.extend(unit.options[order[fair[position]]])
            continue
        first = fair[position] if position < len(fair) else possible[0]
        rest = [j for j in possible if j != first] if complete else [j for j in range(len(order)) if j != first]
        standing.append(Unit(tuple(unit.options[order[j]] for j in (first, *rest)), unit.capped))


def _owner(explored: Explored, unit: Unit) -> tuple[int, ...] | None:
    """What makes single crossings interchangeable: same connection, same direction; None for whole pairs."""
    if any(len(option) != 1 for option in unit.options):
        return None
    row = unit.options[0][0][0]
    v = explored.rows.columns
    alternative = int(explored.rows.alternative[row])
    labels = explored.readings[int(explored.alternatives.reading[alternative])].labels
    crossing = int(explored.rows.crossing[row])
    return (alternative, int(labels.connection[crossing]), int(v["reply"][row]), int(labels.direction[crossing]))


Amount = dict[int, list[tuple[int, int, int]]]
"""entry -> (earliest, latest, bytes) of every hit."""


def _amounts(explored: Explored, option: Option, low: Ints, high: Ints, length: Ints) -> Amount:
    result: Amount = defaultdict(list)
    for row, way in option:
        found = way_of(explored, row, way)
        for entry in found.hits if found is not None else ():
            result[entry].append((int(low[row]), int(high[row]), int(length[row])))
    return dict(result)


class _Segments:
    """Equations: one for packets and one for bytes per entry and stretch between readings that no hit straddles."""

    def __init__(self, base: Hits, counters: Counters, clock: Clock, amounts: list[list[Amount]]) -> None:
        self.counters = counters
        self.clock = clock
        self.used: dict[tuple[int, int, int], int] = {}
        self.clean: dict[int, Ints] = {}
        self.base_sums: dict[tuple[int, int], tuple[int, int]] = {}
        differing = {
            entry for unit in amounts for amount in unit for entry in amount if any(a != amount for a in unit)
        }  # fmt: skip
        asked = sorted(e for e in differing if not counters.silent[e])
        mine: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for unit in amounts:
            for amount in unit:
                for entry, hits in amount.items():
                    mine[entry].extend(hits)
        for entry in asked:
            at = base.entry == entry
            extra = np.array(sorted(set(mine[entry])), dtype=np.int64).reshape(-1, 3)
            self._prepare(entry, base.low[at], base.high[at], base.bytes[at], extra)

    def _prepare(self, entry: int, low: Ints, high: Ints, size: Ints, extra: Ints) -> None:
        early = to_counters(self.clock, low)[0]
        late = to_counters(self.clock, high)[1]
        extra_early, extra_late = to_counters(self.clock, extra[:, 0])[0], to_counters(self.clock, extra[:, 1])[1]
        begun = np.searchsorted(np.sort(np.r_[early, extra_early]), self.counters.end, side="right")
        over = np.searchsorted(np.sort(np.r_[late, extra_late]), self.counters.begin, side="left")
        clean = np.flatnonzero(begun == over)
        self.clean[entry] = clean
        where = self._segment(entry, early)
        for segment in np.unique(where).tolist():
            at = where == segment
            self.base_sums[entry, segment] = (int(at.sum()), int(size[at].sum()))

    def _segment(self, entry: int, early: Ints) -> Ints:
        """Number of the clean reading before each time; -1 where no equation covers it."""
        clean = self.clean[entry]
        found = np.searchsorted(self.counters.end[clean], early, side="left") - 1
        return np.where(found >= len(clean) - 1, -1, found)

    def sums(self, amount: Amount) -> dict[int, int]:
        """What an option adds to the equations, by their numbers."""
        result: dict[int, int] = defaultdict(int)
        for entry, hits in amount.items():
            if entry not in self.clean:
                continue
            early = to_counters(self.clock, np.array([h[0] for h in hits], dtype=np.int64))[0]
            for segment, (_, _, size) in zip(self._segment(entry, early).tolist(), hits, strict=True):
                if segment < 0 or not self._known(entry, segment):
                    continue
                for part, value in ((0, 1), (1, size)):
                    result[self.used.setdefault((entry, segment, part), len(self.used))] += value
        return dict(result)

    def _known(self, entry: int, segment: int) -> bool:
        a, b = self.clean[entry][segment], self.clean[entry][segment + 1]
        return bool(self.counters.known[a:b, entry].all())

    def bounds(self) -> dict[int, tuple[int, int]]:
        """What the options have to add up to, by equation: counted minus what settled packets explain."""
        c, result = self.counters, {}
        for (entry, segment, part), number in self.used.items():
            a, b = self.clean[entry][segment], self.clean[entry][segment + 1]
            low = (c.bytes_low if part else c.packets_low)[a:b, entry]
            high = (c.bytes_high if part else c.packets_high)[a:b, entry]
            done = self.base_sums.get((entry, segment), (0, 0))[part]
            top = int(UNBOUNDED) if (high >= UNBOUNDED).any() else int(high.sum()) - done
            result[number] = (int(low.sum()) - done, top)
        return result
