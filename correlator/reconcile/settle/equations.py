"""What counters say about open choices, as sums with bounds.

Between two readings that no hit straddles a movement is an equation. Where hits may fall to either
side of a reading (a reading takes time; a listing says only when it began) it is two inequalities:
the hits that may lie between the readings are at least as many as were counted, those that must lie
there at most as many::

    reading      [first]                     [last]
    hits      =a=     ==b==    ==c==       ==d==      =e=     each somewhen within its ==

    must lie between: b, c      may lie between: a? no, it ends before; b, c, d
    so   hits(b, c) <= counted <= hits(b, c, d)

Terminology. A *stretch* is what lies between two readings, not always neighbours: from one clean
reading (that no hit straddles) to the next, each step on the way, and the whole log. A *sum* is one
entry's packets or bytes in one stretch, bounded exactly, from below or from above. An *amount* is
what one option of a choice adds: the hits that it would make. What settled packets hit is taken off
the bounds, so that only what is open remains to be solved."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.clocks import to_counters
from correlator.reconcile.intake.counters import UNBOUNDED

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.clocks import Clock
    from correlator.reconcile.intake.counters import Counters
    from correlator.reconcile.tally import Tallies

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

Amount = dict[int, list[tuple[int, int, int]]]
"""entry -> (earliest, latest, bytes) of every hit."""
PACKETS, BYTES = 0, 1
EXACTLY, AT_LEAST, AT_MOST = 0, 1, 2
_NONE = np.zeros(0, dtype=np.int64)
Sum = tuple[int, int, int, int]
"""(entry, number of the stretch, packets or bytes, how it is bounded)."""


@dataclass(frozen=True, slots=True)
class _Stretches:
    """Stretches between readings ``first`` and ``last`` (numbers of samples); ``clean``: no hit
    straddles either."""

    first: Ints
    last: Ints
    clean: Bools


@dataclass(frozen=True)
class _Settled:
    """Hits of settled packets, arrays (n,): ``early`` in order, with ``late_of`` and ``size``
    beside it; ``late`` in order; ``sizes`` and ``late_sizes`` (n+1,): bytes of those before each,
    in either order."""

    early: Ints
    late_of: Ints
    size: Ints
    late: Ints
    sizes: Ints
    late_sizes: Ints

    @staticmethod
    def of(early: Ints, late: Ints, size: Ints) -> _Settled:
        order, back = (
            np.argsort(values, kind="stable") for values in (early, late)
        )  # runs that are in order already
        sums = [np.r_[0, np.cumsum(size[by], dtype=np.int64)] for by in (order, back)]
        return _Settled(early[order], late[order], size[order], late[back], *sums)

    def within(self, begin: int, first: int, last: int, end: int, perhaps: bool) -> tuple[int, int]:
        """(hits, bytes) that may lie between the readings [begin, first] and [last, end], or that
        must."""
        if perhaps:
            upto, passed = (
                int(np.searchsorted(self.early, end, side="right")),
                int(np.searchsorted(self.late, begin)),
            )
            return upto - passed, int(self.sizes[upto] - self.late_sizes[passed])
        between = slice(
            int(np.searchsorted(self.early, first, side="right")),
            int(np.searchsorted(self.early, last)),
        )
        inside = self.late_of[between] < last
        return int(inside.sum()), int(self.size[between][inside].sum())


class Equations:
    """Sums over the options' hits, numbered as they are asked for."""

    def __init__(
        self, base: Tallies, counters: Counters, clock: Clock, amounts: list[list[Amount]]
    ) -> None:
        self.counters = counters
        self.clock = clock
        self.numbers: dict[Sum, int] = {}
        self.stretches: dict[int, _Stretches] = {}
        self.base: dict[int, _Settled] = {}
        differing = {
            entry
            for unit in amounts
            for entry in {e for amount in unit for e in amount}
            if any(amount.get(entry) != unit[0].get(entry) for amount in unit)
        }
        possible: dict[int, set[tuple[int, int, int]]] = defaultdict(set)
        for unit in amounts:
            for amount in unit:
                for entry, hits in amount.items():
                    possible[entry].update(hits)
        known: dict[object, _Settled] = {}
        for entry in sorted(e for e in differing if not counters.silent[e]):
            if base.alike(entry) not in known:
                known[base.alike(entry)] = self._settled(base, entry)
            self.base[entry] = known[base.alike(entry)]
            extra = np.array(sorted(possible[entry]), dtype=np.int64).reshape(-1, 3)
            extra_early, extra_late = self._on_counters(extra[:, 0], extra[:, 1])
            self.stretches[entry] = self._cut(entry, self.base[entry], extra_early, extra_late)

    def _settled(self, base: Tallies, entry: int) -> _Settled:
        parts = [(part, part.members[entry]) for part in base if entry in part.members]
        low, high, size = (
            np.concatenate(
                [part.gather(getattr(part, name), members) for part, members in parts] or [_NONE]
            )
            for name in ("low", "high", "bytes")
        )
        return _Settled.of(*self._on_counters(low, high), size)

    def _on_counters(self, low: Ints, high: Ints) -> tuple[Ints, Ints]:
        return to_counters(self.clock, low)[0], to_counters(self.clock, high)[1]

    def _cut(self, entry: int, settled: _Settled, early: Ints, late: Ints) -> _Stretches:
        """From one clean reading to the next; where readings between them are not clean, each step
        besides."""
        c = self.counters
        begun = np.searchsorted(settled.early, c.end, side="right") + np.searchsorted(
            np.sort(early), c.end, side="right"
        )
        over = np.searchsorted(settled.late, c.begin, side="left") + np.searchsorted(
            np.sort(late), c.begin, side="left"
        )
        clean = begun == over
        nodes = np.flatnonzero(clean)
        pairs = dict.fromkeys(pairwise(nodes.tolist()), True)
        edges = [0, *nodes.tolist(), c.samples - 1]
        for a, b in pairwise(edges):
            if b - a > 1 or not (clean[a] and clean[b]):
                pairs.update({(k, k + 1): False for k in range(a, b) if (k, k + 1) not in pairs})
                if b > a:
                    pairs.setdefault((a, b), False)
        if c.samples > 1:
            pairs.setdefault((0, c.samples - 1), bool(clean[0] and clean[-1]))
        known = c.known_of(entry)
        kept = [pair for pair in pairs if known[pair[0] : pair[1]].all()]
        table = np.array(kept, dtype=np.int64).reshape(-1, 2)
        return _Stretches(
            table[:, 0], table[:, 1], np.array([pairs[pair] for pair in kept], dtype=bool)
        )

    def _within(self, entry: int, early: Ints, late: Ints) -> tuple[Bools, Bools]:
        """(may lie, must lie) in each stretch, (hits, stretches)."""
        s, c = self.stretches[entry], self.counters
        may = (late[:, None] >= c.begin[s.first]) & (early[:, None] <= c.end[s.last])
        must = (early[:, None] > c.end[s.first]) & (late[:, None] < c.begin[s.last])
        return may, must

    def sums(self, amount: Amount) -> dict[int, int]:
        """What an option adds to the sums, by their numbers."""
        result: dict[int, int] = defaultdict(int)
        for entry, hits in amount.items():
            if entry not in self.stretches:
                continue
            table = np.array(hits, dtype=np.int64).reshape(-1, 3)
            may, must = self._within(entry, *self._on_counters(table[:, 0], table[:, 1]))
            clean = self.stretches[entry].clean
            for how, mask in (
                (EXACTLY, must & clean),
                (AT_LEAST, may & ~clean),
                (AT_MOST, must & ~clean),
            ):
                for hit, stretch in np.argwhere(mask).tolist():
                    for part, value in ((PACKETS, 1), (BYTES, hits[hit][2])):
                        result[self._number((entry, stretch, part, how))] += value
        return dict(result)

    def _number(self, key: Sum) -> int:
        return self.numbers.setdefault(key, len(self.numbers))

    def bounds(self) -> dict[int, tuple[int, int]]:
        """What the options have to add up to, by sum: counted minus what settled packets
        explain."""
        result: dict[int, tuple[int, int]] = {}
        moves: dict[tuple[int, int], tuple[Ints, Ints]] = {}
        for (entry, stretch, part, how), number in self.numbers.items():
            c, s = self.counters, self.stretches[entry]
            a, b = int(s.first[stretch]), int(s.last[stretch])
            if (entry, part) not in moves:
                moves[entry, part] = c.bytes_of(entry) if part else c.packets_of(entry)
            low, high = (moved[a:b] for moved in moves[entry, part])
            done = self.base[entry].within(
                int(c.begin[a]), int(c.end[a]), int(c.begin[b]), int(c.end[b]), how == AT_LEAST
            )[part]
            top = (
                int(UNBOUNDED)
                if how == AT_LEAST or (high >= UNBOUNDED).any()
                else int(high.sum()) - done
            )
            bottom = -int(UNBOUNDED) if how == AT_MOST else int(low.sum()) - done
            result[number] = (bottom, top)
        return result
