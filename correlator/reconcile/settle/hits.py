"""Hits: one row for every packet that one rule counted, as columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.tally import Tally, tally

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.possible.walks import Walked

    Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Hits:
    """Arrays (h,): ``entry`` in the register's numbers, the ``row`` it comes from, the earliest and
    latest time at which it was counted (``low``, ``high``, epoch ns, packets' clock) and its
    ``bytes`` (L3)."""

    entry: Ints
    row: Ints
    low: Ints
    high: Ints
    bytes: Ints

    def __len__(self) -> int:
        return len(self.entry)

    def take(self, at: npt.NDArray[np.bool_] | Ints) -> Hits:
        """Those at ``at``."""
        return Hits(self.entry[at], self.row[at], self.low[at], self.high[at], self.bytes[at])

    def by_time(self) -> Hits:
        """Ordered by entry, then by time."""
        return self.take(np.lexsort((self.high, self.low, self.entry)))


def spread(rows: Ints, way: Ints, walked: Walked, low: Ints, high: Ints, length: Ints) -> Hits:
    """The hits of ``rows`` going their ``way`` (number among its kind's ways); low, high and length
    are per row of the whole table."""
    kind = walked.kind[rows]
    width = max((len(ways) for ways in walked.ways), default=0) or 1
    lengths = np.zeros((len(walked.ways), width), dtype=np.int64)
    offsets = np.zeros((len(walked.ways), width), dtype=np.int64)
    flat: list[int] = []
    for k, ways in enumerate(walked.ways):
        for w, found in enumerate(ways):
            offsets[k, w], lengths[k, w] = len(flat), len(found.hits)
            flat.extend(found.hits)
    count = lengths[kind, way]
    row = np.repeat(rows, count)
    start = np.repeat(offsets[kind, way], count)
    within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    entry = np.array(flat, dtype=np.int64)[start + within] if flat else np.zeros(0, dtype=np.int64)
    return Hits(entry, row, low[row], high[row], length[row])


def hits_of(one: Tally) -> Hits:
    """The hits of packets that are no rows, ordered by entry, then by time."""
    way = np.repeat(np.arange(len(one.ways)), np.diff(one.offsets))
    count = np.array([len(hit) for hit in one.ways] or [0], dtype=np.int64)[way]
    at = np.repeat(np.arange(len(way)), count)
    flat = [entry for w in way.tolist() for entry in one.ways[w]]
    entry, row = np.array(flat, dtype=np.int64), np.full(len(at), -1)
    size = one.bytes[at].astype(np.int64)
    return Hits(entry, row, one.low[at], one.high[at], size).by_time()


def joined(one: Hits, other: Hits) -> Hits:
    """All of both, ordered by entry, then by time."""
    names = ("entry", "row", "low", "high", "bytes")
    return Hits(*(np.r_[getattr(one, name), getattr(other, name)] for name in names)).by_time()


def tally_of(rows: Ints, way: Ints, walked: Walked, low: Ints, high: Ints, length: Ints) -> Tally:
    """The same packets by way, not by hit; without those that have no way."""
    there = way < walked.forks[walked.kind[rows]]
    rows, way = rows[there], way[there]
    offsets = np.cumsum([0, *(len(ways) for ways in walked.ways)])
    flat = [found.hits for ways in walked.ways for found in ways]
    numbers = offsets[walked.kind[rows]] + way
    return tally(flat, numbers, low[rows], high[rows], length[rows])
