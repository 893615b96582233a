"""Many events as few numbers: bins, and what falls into them. Pure arithmetic on arrays, times in
seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

OWN, BINS = 480, 240
"""Up to so many intervals of the counters are drawn as they are; more are summed into so many
bins."""

NOISE = 1e-6
"""Packets: what is less than that from a whole number is that number."""


def choose_edges(begin: Floats, end: Floats, low: float, high: float) -> tuple[Floats, bool]:
    """(edges, whether they are the intervals' own) for a window from ``low`` to ``high``.

    ``begin`` and ``end`` (l,) are the counters' intervals; where they are few enough to be told
    apart, their own borders serve, so that every number is what a counter counted; else at most
    ``BINS`` equal ones of a round width. Edges reach over the whole window."""
    own = np.unique(np.concatenate([begin, end]))
    if not len(own) or len(own) > OWN:
        step = round_step(max(high - low, 1e-6) / BINS)
        count = int(np.ceil((high - low) / step - 1e-9))
        return np.linspace(low, low + count * step, count + 1), False
    step = max(float(np.median(end - begin)), (high - low) / OWN, 1e-6)
    before = own[0] - step * np.arange(max(int(np.ceil((own[0] - low) / step)), 0), 0, -1)
    after = own[-1] + step * np.arange(1, max(int(np.ceil((high - own[-1]) / step)), 0) + 1)
    return np.concatenate([before, own, after]), True


def round_step(least: float) -> float:
    """The smallest of 1, 2 and 5 times a power of ten that is at least ``least``."""
    power = 10.0 ** np.floor(np.log10(least))
    return float(next(power * base for base in (1, 2, 5, 10) if power * base >= least * (1 - 1e-9)))


def spread(begin: Floats, end: Floats, amount: Floats, edges: Floats) -> Floats:
    """Sums per bin (b,) of amounts (n,) that lie evenly over their stretches; what lies inside of
    ``edges`` is kept whole."""
    width = end - begin
    short = width <= 1e-3 * float(np.diff(edges).min())
    points, _ = np.histogram(((begin + end) / 2)[short], bins=edges, weights=amount[short])
    begin, end, amount, width = begin[~short], end[~short], amount[~short], width[~short]
    if not len(begin):
        return points.astype(float)
    rate = amount / width
    return _clean(points + np.diff(_ramps(begin, rate, edges) - _ramps(end, rate, edges)))


def _ramps(start: Floats, rate: Floats, at: Floats) -> Floats:
    """Sum of ``rate * (at - start)`` over all that started before each of ``at``."""
    order = np.argsort(start, kind="stable")
    rates = np.r_[0.0, np.cumsum(rate[order])]
    weighted = np.r_[0.0, np.cumsum((rate * (start - at[0]))[order])]
    n = np.searchsorted(start[order], at)
    result: Floats = rates[n] * (at - at[0]) - weighted[n]
    return result


def _clean(sums: Floats) -> Floats:
    """Without the rounding errors of sums of floats: whole numbers are whole, and nothing is
    nothing."""
    whole = np.rint(sums)
    return np.where(np.abs(sums - whole) < NOISE, whole, sums)


def packets_between(first: Floats, last: Floats, packets: Ints, edges: Floats) -> Floats:
    """Packets per bin (b,) of hits (n,): one at ``first``, one at ``last``, the others evenly
    between."""
    points = np.concatenate([first, last[packets > 1]])
    found, _ = np.histogram(points, bins=edges)
    many = packets > 2
    return found + spread(first[many], last[many], (packets[many] - 2).astype(float), edges)


def open_between(first: Floats, last: Floats, edges: Floats) -> Ints:
    """How many of the stretches (n,) touch each bin (b,)."""
    begun = np.searchsorted(np.sort(first), edges[1:], side="left")
    over = np.searchsorted(np.sort(last), edges[:-1], side="left")
    return (begun - over).astype(np.int64)


def lanes(first: Floats, last: Floats, apart: float, most: int) -> Ints | None:
    """Lane (n,) of each stretch, so that none of one lane lie closer than ``apart``; None where
    ``most`` do not suffice.

    ``first`` is sorted. The lowest free lane is taken, so the number of lanes is how many were open
    at once."""
    free = np.full(most, -np.inf)
    lane = np.zeros(len(first), dtype=np.int64)
    for i, (begin, end) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        found = np.flatnonzero(free <= begin)
        if not len(found):
            return None
        lane[i] = found[0]
        free[found[0]] = end + apart
    return lane
