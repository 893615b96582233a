"""The ledger: what every counter counted against what packets explain, interval by interval.

A hit whose time lies clear of a reading belongs to one side of it; one that may have come while the counters were read
may belong to either. So the hits explained up to a sample are an interval, and counted movements walk through these
intervals: where they cannot, the difference is the residual of that very interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.clock import to_counters
from correlator.reconcile.counters import UNBOUNDED

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.analysis import Clock
    from correlator.reconcile.counters import Counters
    from correlator.reconcile.hits import Hits

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Ledger:
    """Arrays (S-1, A) over intervals and ``active`` entries (A,) of the register: those that moved or were hit.

    ``explained`` and ``residual`` for packets and bytes; ``upto`` int64 (S, A): how many of the entry's hits, in order
    of time, each sample's reading includes. ``uncounted`` bool (S-1, A): a policy that does not count yet.
    """

    active: Ints
    explained: Ints
    residual: Ints
    explained_bytes: Ints
    residual_bytes: Ints
    upto: Ints
    uncounted: Bools
    open_ended: Bools


def keep_ledger(hits: Hits, counters: Counters, clock: Clock, policies: Bools) -> Ledger:
    """Balance ``hits`` (ordered by entry and time) against the counters. ``policies`` bool (E,)."""
    moved = (counters.packets_low > 0).any(axis=0) | counters.reset.any(axis=0)
    count = len(policies)
    active = np.flatnonzero(moved | (np.bincount(hits.entry, minlength=count) > 0))
    early, late = to_counters(clock, hits.low)[0], to_counters(clock, hits.high)[1]
    starts = np.searchsorted(hits.entry, np.arange(count + 1))
    shape = (counters.samples, len(active))
    low, high = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    low_bytes, high_bytes = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for i, entry in enumerate(active.tolist()):
        mine = slice(int(starts[entry]), int(starts[entry + 1]))
        low[:, i], low_bytes[:, i] = _upto(late[mine], hits.bytes[mine], counters.begin, "left")
        high[:, i], high_bytes[:, i] = _upto(early[mine], hits.bytes[mine], counters.end, "right")
    uncounted = _uncounted(counters, policies)[:, active]
    unknown = ~counters.known[:, active]
    open_ended = uncounted | unknown
    explained, residual, upto = _balance(
        low, high, counters.packets_low[:, active], np.where(open_ended, UNBOUNDED, counters.packets_high[:, active])
    )
    explained_bytes, residual_bytes, _ = _balance(
        low_bytes, high_bytes, counters.bytes_low[:, active],
        np.where(open_ended, UNBOUNDED, counters.bytes_high[:, active]),
    )  # fmt: skip
    return Ledger(active, explained, residual, explained_bytes, residual_bytes, upto, uncounted, open_ended)


def _upto(time: Ints, size: Ints, reading: Ints, side: str) -> tuple[Ints, Ints]:
    """(hits, bytes) with a time before each reading (``left``), or not after it (``right``)."""
    order = np.argsort(time, kind="stable")
    total = np.r_[0, np.cumsum(size[order])]
    found = np.searchsorted(time[order], reading, side="left" if side == "left" else "right")
    return found.astype(np.int64), total[found]


def _uncounted(counters: Counters, policies: Bools) -> Bools:
    """Intervals before a policy's counter first stands above zero: nft 1.8.9 counts it only from -P or -Z on."""
    packets = np.cumsum(counters.packets_low, axis=0) - counters.packets_low
    first_zero = np.zeros(len(policies), dtype=bool)
    if counters.samples:
        first_zero = counters.first_zero
    result: Bools = (packets == 0) & policies[None, :] & first_zero[None, :]
    return result


def _balance(low: Ints, high: Ints, moved_low: Ints, moved_high: Ints) -> tuple[Ints, Ints, Ints]:
    """(explained, residual, upto): see :class:`Ledger`. All inputs (S, A) and (S-1, A).

    Forward, the feasible interval of hits so far is carried along; where a movement leads out of it, the gap is that
    interval's residual. Backward, one consistent number is chosen for every sample.
    """
    samples, width = low.shape
    floor, ceiling = low.copy(), high.copy()
    residual = np.zeros((max(samples - 1, 0), width), dtype=np.int64)
    for k in range(1, samples):
        least = floor[k - 1] + moved_low[k - 1]
        most = ceiling[k - 1] + moved_high[k - 1]
        above, below = least > high[k], most < low[k]
        residual[k - 1] = np.where(above, least - high[k], np.where(below, most - low[k], 0))
        floor[k] = np.where(above, high[k], np.where(below, low[k], np.maximum(least, low[k])))
        ceiling[k] = np.where(above, high[k], np.where(below, low[k], np.minimum(most, high[k])))
    upto = floor.copy()
    for k in range(samples - 1, 0, -1):
        shift = residual[k - 1]
        least = upto[k] - np.where(shift < 0, moved_high[k - 1] - shift, moved_high[k - 1])
        most = upto[k] - np.where(shift > 0, moved_low[k - 1] - shift, moved_low[k - 1])
        upto[k - 1] = np.clip(np.clip(floor[k - 1], least, most), floor[k - 1], ceiling[k - 1])
    return np.diff(upto, axis=0), residual, upto
