"""The ledger: what every counter counted against what packets explain, interval by interval.

A hit whose time lies clear of a reading belongs to one side of it; one that may have come while the
counters were read may belong to either. So the hits explained up to a sample are an interval, and
counted movements walk through these intervals: where they cannot, the difference is the residual of
that very interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.clocks import to_counters
from correlator.reconcile.intake.counters import UNBOUNDED

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.clocks import Clock
    from correlator.reconcile.intake.counters import Counters
    from correlator.reconcile.tally import Tallies, Tally

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

FEW = 256
"""So many ways are summed up once each, and not once for every rule on them."""


@dataclass(frozen=True)
class Account:
    """One entry over all intervals, arrays (S-1,): ``explained`` and ``residual`` for packets and
    bytes; ``upto`` int64 (S,): how many of the entry's hits, in order of time, each sample's
    reading includes; ``uncounted``: a policy that does not count yet; ``open_ended``: nor what else
    tells a lower bound only."""

    explained: Ints
    residual: Ints
    explained_bytes: Ints
    residual_bytes: Ints
    upto: Ints
    uncounted: Bools
    open_ended: Bools


@dataclass(frozen=True)
class Ledger:
    """The accounts of entries that moved or were hit, by the register's numbers, in their order."""

    accounts: dict[int, Account]

    @property
    def residual(self) -> int:
        """Packets counted and not explained, or the other way round."""
        return sum(int(np.abs(account.residual).sum()) for account in self.accounts.values())

    @property
    def lines(self) -> int:
        """Intervals of entries that do not balance."""
        return sum(
            int(np.count_nonzero((a.residual != 0) | (a.residual_bytes != 0)))
            for a in self.accounts.values()
        )


@dataclass(frozen=True)
class _Upto:
    """Hits and bytes that each reading surely includes (``low``) and at most includes (``high``),
    (S,)."""

    low: Ints
    high: Ints
    low_bytes: Ints
    high_bytes: Ints


def keep_ledger(hits: Tallies, counters: Counters, clock: Clock, policies: Bools) -> Ledger:
    """Balance ``hits`` against the counters. ``policies`` bool (E,)."""
    active = np.flatnonzero(counters.moved | (hits.counts > 0))
    upto = _upto(hits, active.tolist(), counters, clock)
    return Ledger(
        {
            entry: _account(upto[entry], counters, entry, bool(policies[entry]))
            for entry in active.tolist()
        }
    )


def _upto(hits: Tallies, entries: list[int], counters: Counters, clock: Clock) -> dict[int, _Upto]:
    """For each entry the hits that readings include; entries that the same packets hit share
    one."""
    samples, ends = counters.samples, np.maximum.accumulate(counters.end)
    sums = {hits.alike(entry): np.zeros((4, samples), dtype=np.int64) for entry in entries}
    entry_of = {hits.alike(entry): entry for entry in entries}
    for part in hits:
        # the first reading that must, and that may, include each packet
        surely = np.searchsorted(
            counters.begin, to_counters(clock, part.high)[1], side="right"
        ).astype(np.int32)
        perhaps = np.searchsorted(ends, to_counters(clock, part.low)[0], side="left").astype(
            np.int32
        )
        whole = (
            {way: _rows(part, way, surely, perhaps, samples) for way in range(len(part.ways))}
            if len(part.ways) <= FEW
            else {}
        )
        for alike, entry in entry_of.items():
            for way, number in part.members.get(entry, ()):
                rows = whole[way] if way in whole else _rows(part, way, surely, perhaps, samples)
                sums[alike] += rows * number
    totals = {alike: np.cumsum(rows, axis=1) for alike, rows in sums.items()}
    return {
        entry: _Upto(*(totals[hits.alike(entry)][row] for row in (0, 2, 1, 3))) for entry in entries
    }


def _rows(
    part: Tally,
    way: int,
    surely: npt.NDArray[np.int32],
    perhaps: npt.NDArray[np.int32],
    samples: int,
) -> Ints:
    """(packets and bytes that each reading is the first to include for sure, and perhaps) of one
    way; int64 (4, S)."""
    mine = slice(int(part.offsets[way]), int(part.offsets[way + 1]))
    result = np.zeros((4, samples), dtype=np.int64)
    weights = part.bytes[mine].astype(np.float64)
    for row, first in ((0, surely[mine]), (2, perhaps[mine])):
        result[row] = np.bincount(first, minlength=samples)[:samples]
        result[row + 1] = np.bincount(first, weights, minlength=samples)[:samples]
    return result


def _account(upto: _Upto, counters: Counters, entry: int, policy: bool) -> Account:
    (packets_low, packets_high), (bytes_low, bytes_high) = (
        counters.packets_of(entry),
        counters.bytes_of(entry),
    )
    uncounted = np.zeros(len(packets_low), dtype=bool)
    if policy and counters.samples and counters.first_zero[entry]:
        # nft 1.8.9 counts a policy only from -P or -Z on: before its counter first stands above
        # zero, it may not count. In the interval in which it begins to move it counts, unless it
        # surely missed a hit before.
        uncounted = np.cumsum(packets_low) == 0
        begins = int(np.argmin(uncounted)) if not uncounted.all() else 0
        if not uncounted.all() and upto.low[begins] > upto.high[0]:
            uncounted[begins] = True
    if counters.counterless[entry]:
        uncounted[:] = True
    open_ended = uncounted | ~counters.known_of(entry)
    if open_ended.any():
        packets_high, bytes_high = (
            np.where(open_ended, UNBOUNDED, packets_high),
            np.where(open_ended, UNBOUNDED, bytes_high),
        )
    explained, residual, included = balance(upto.low, upto.high, packets_low, packets_high)
    explained_bytes, residual_bytes, _ = balance(
        upto.low_bytes, upto.high_bytes, bytes_low, bytes_high
    )
    return Account(
        explained, residual, explained_bytes, residual_bytes, included, uncounted, open_ended
    )


def balance(low: Ints, high: Ints, moved_low: Ints, moved_high: Ints) -> tuple[Ints, Ints, Ints]:
    """(explained, residual, upto): see :class:`Account`. ``low`` and ``high`` (S,), movements
    (S-1,).

    Where movements lead through all intervals the numbers follow at once; where not, sample by
    sample."""
    far = int(high[-1]) + int(moved_low.sum()) + 1 if len(high) else 1  # as good as unbounded
    if far * len(high) >= 1 << 62:
        return _step_by_step(low, high, moved_low, moved_high)
    most = np.minimum(moved_high, far)
    rise, climb = np.r_[0, np.cumsum(moved_low)], np.r_[0, np.cumsum(most)]
    floor = np.maximum.accumulate(low - rise) + rise
    ceiling = np.minimum.accumulate(high - climb) + climb
    if (floor <= high).all() and (ceiling >= low).all():
        upto = np.maximum.accumulate((floor - climb)[::-1])[::-1] + climb
        step = np.diff(upto)
        if (
            (step >= moved_low).all()
            and (step <= most).all()
            and (upto >= floor).all()
            and (upto <= ceiling).all()
        ):
            return step, np.zeros(len(step), dtype=np.int64), upto
    return _step_by_step(low, high, moved_low, moved_high)


def _step_by_step(
    low: Ints, high: Ints, moved_low: Ints, moved_high: Ints
) -> tuple[Ints, Ints, Ints]:
    """Forward, the feasible interval of hits so far is carried along; where a movement leads out of
    it, the gap is that interval's residual. Backward, one consistent number is chosen for every
    sample."""
    lows, highs, least_moved, most_moved = (
        low.tolist(),
        high.tolist(),
        moved_low.tolist(),
        moved_high.tolist(),
    )
    samples = len(lows)
    floor, ceiling = lows.copy(), highs.copy()
    residual = [0] * max(samples - 1, 0)
    for k in range(1, samples):
        least, most = floor[k - 1] + least_moved[k - 1], ceiling[k - 1] + most_moved[k - 1]
        if least > highs[k]:
            residual[k - 1], floor[k], ceiling[k] = least - highs[k], highs[k], highs[k]
        elif most < lows[k]:
            residual[k - 1], floor[k], ceiling[k] = most - lows[k], lows[k], lows[k]
        else:
            floor[k], ceiling[k] = max(least, lows[k]), min(most, highs[k])
    upto = floor.copy()
    for k in range(samples - 1, 0, -1):
        shift = residual[k - 1]
        least = upto[k] - (most_moved[k - 1] - shift if shift < 0 else most_moved[k - 1])
        most = upto[k] - (least_moved[k - 1] - shift if shift > 0 else least_moved[k - 1])
        wanted = min(max(floor[k - 1], least), most)
        upto[k - 1] = min(max(wanted, floor[k - 1]), ceiling[k - 1])
    included = np.array(upto, dtype=np.int64)
    return np.diff(included), np.array(residual, dtype=np.int64), included
