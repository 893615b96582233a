"""The offset between the counters' clock and the packets', from the data, with its bounds.

For an offset d every sample bounds every rule's cumulative count: with c hits counted by a sample
that was read in [begin, end], the c-th hit came before the reading ended and the next one after it
began::

    packets' clock   ----x-----x------------x-------->      t[c] = the c-th hit, t[c+1] the next
    counters' clock  ---------------[read: c]-------->      begin, end

    begin - t[c+1] <= d <= end - t[c]

A drift r makes that ``d + r * x``, where x is the time since a reference, so that each bound is a
half-plane of the (d, r) plane, and what all of them leave is a convex polygon: the estimate and its
uncertainty at once::

      d ^    ________
        |   |        `--.__        above: upper bounds, d <= end - t[c] - r * x
        |   |  what is     |
        |   |__  left      |       the slope of each is -x, so that bounds far from the
        |      `--.________|       reference, on either side of it, cut the drift
        |                          below: lower bounds, d >= begin - t[c+1] - r * x
        +----------------------> r

The polygon starts as a box (DRIFT_PPM either way: no clock of a computer is worse) and is cut by
the bound that it violates most, until it violates none: of a million bounds a few dozen matter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.clocks import Clock

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.intake.counters import Counters
    from correlator.reconcile.tally import Tallies

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]

DRIFT_PPM = 200.0
"""Quartz keeps within 100 ppm; NTP slews by 500 at most, but not for long."""
VOTES, STEPS = 1500, 16
"""Hits and movements that vote at most (a square of them is looked at), and bases that are tried in
each sampling interval where hits lie outside of the log."""
MARGIN_NS = 1_000
"""Rounding of time stamps and of the fit; a bound is never claimed tighter than this."""


@dataclass(frozen=True)
class _Bounds:
    """Half-planes ``sign * (d + r * x) <= limit``: times x (s from the reference), limits in ns."""

    x: Floats
    limit: Ints
    sign: Floats
    entry: Ints


@dataclass(frozen=True)
class _Stretch:
    """One stretch of a counter that moved exactly: ``cumulative`` count at ``samples`` (numbers of
    readings), of an entry with ``count`` hits in all. ``base``: hits before the stretch, -1 where
    only the offset tells."""

    entry: int
    count: int
    samples: Ints
    cumulative: Ints
    base: int


def estimate(hits: Tallies, counters: Counters, entries: Ints) -> Clock:
    """The clock from the hits of ``entries`` (the register's numbers), which are known for
    certain."""
    if counters.samples < 2:
        return Clock()
    stretches = _stretches(hits, counters, entries)
    if not stretches:
        return Clock()
    reference = sum(hits.span) // 2
    anchored = [one for one in stretches if one.base >= 0]
    if not anchored:
        return _scan(stretches, hits, counters, _vote(stretches, hits, counters), reference)
    bounds = _bounds([(one, one.base) for one in anchored], hits, counters, reference)
    same = _fit(bounds, 0, reference)
    if same.consistent == same.constraints:
        return same
    coarse = _vote(stretches, hits, counters)
    return max((same, _fit(bounds, coarse, reference)), key=lambda fit: fit.consistent)


def _scan(
    stretches: list[_Stretch], hits: Tallies, counters: Counters, coarse: int, reference: int
) -> Clock:
    """The estimate where hits lie outside of the log: how many came before it depends on the offset
    itself, so every such number within reach is tried, and the bounds span all that agree best."""
    width = max(int(np.median(np.diff(counters.begin))), 1_000_000)
    bases = [0, *(coarse + step * width // STEPS for step in range(-2 * STEPS, 2 * STEPS + 1))]
    fits: dict[tuple[int, ...], Clock] = {}
    moments = np.array(bases, dtype=np.int64)
    before = [hits.before(one.entry, counters.begin[one.samples[0]] - moments) for one in stretches]
    for number, base in enumerate(bases):
        passed = tuple(int(one[number]) for one in before)
        if passed not in fits:
            bounds = _bounds(list(zip(stretches, passed, strict=True)), hits, counters, reference)
            fits[passed] = _fit(bounds, base, reference)
    most = max(fit.consistent for fit in fits.values())
    good = [
        fit
        for fit in fits.values()
        if fit.consistent == most and fit.low is not None and fit.high is not None
    ]
    if not good:
        return next(iter(fits.values()))
    chosen = next((fit for fit in good if fit.source == "same clock"), good[len(good) // 2])
    return replace(
        chosen,
        low=min(fit.low for fit in good if fit.low is not None),
        high=max(fit.high for fit in good if fit.high is not None),
        drift_low_ppm=min(fit.drift_low_ppm for fit in good),
        drift_high_ppm=max(fit.drift_high_ppm for fit in good),
    )


def _stretches(hits: Tallies, counters: Counters, entries: Ints) -> list[_Stretch]:
    """The stretches in which each entry's counter is known exactly, tied to its hits where the log
    spans all of them.

    The first stretch counts from the first hit on, the last one up to the last hit; between two
    there may be a reset that hides some. Entries that the same packets hit and whose counters moved
    alike bound alike: one stands for them."""
    result: list[_Stretch] = []
    seen: set[object] = set()
    for entry in entries.tolist():
        count = int(hits.counts[entry])
        if not count:
            continue
        moved, most = counters.packets_of(entry)
        if not moved.any():
            continue
        exact = counters.known_of(entry) & (moved == most)
        alike = (hits.alike(entry), moved.tobytes() + exact.tobytes())
        if alike in seen:
            continue
        seen.add(alike)
        runs = _runs(exact)
        total = sum(int(moved[a:b].sum()) for a, b in runs)
        whole = len(runs) == 1 and runs[0] == (0, len(moved)) and counters.present_of(entry)[0]
        spans_all = total == count if whole else 0 < total <= count
        for number, (a, b) in enumerate(runs):
            cumulative = np.r_[0, np.cumsum(moved[a:b])]
            base = -1
            if spans_all and a == 0:
                base = 0
            elif spans_all and b == len(moved):
                base = count - int(cumulative[-1])
            if (base >= 0 or whole) and (cumulative[-1] or number == 0):
                result.append(_Stretch(entry, count, np.arange(a, b + 1), cumulative, base))
    return result


def _runs(good: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches [begin, end) of True."""
    edges = np.flatnonzero(np.diff(np.r_[False, good, False].astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _vote(stretches: list[_Stretch], hits: Tallies, counters: Counters) -> int:
    """The offset that most pairs of hit and counter movement agree on, within one sampling
    interval."""
    width = max(int(np.median(np.diff(counters.begin))), 1_000_000)
    none = np.zeros(0, dtype=np.int64)
    wanted = {
        one.entry: (none, np.arange(0, one.count, max(1, one.count // VOTES))) for one in stretches
    }
    times = hits.times(wanted)
    votes: dict[int, float] = {}
    for one in stretches:
        moved = one.samples[1:][np.diff(one.cumulative) > 0]
        some = times[one.entry][1]
        moved = moved[:: max(1, len(moved) // VOTES)]
        apart = counters.end[moved][:, None] - some[None, :]
        bins, count = np.unique(apart // width, return_counts=True)
        for where, number in zip(bins.tolist(), count.tolist(), strict=True):
            # a hit falls into one of two neighbouring bins, according to where in the interval it
            # came
            votes[where] = votes.get(where, 0.0) + number / len(some)
    if not votes:
        return 0
    best = max(votes, key=lambda w: (votes[w] + votes.get(w - 1, 0) + votes.get(w + 1, 0), -abs(w)))
    return int(best * width)


def _bounds(
    stretches: list[tuple[_Stretch, int]], hits: Tallies, counters: Counters, reference: int
) -> _Bounds:
    """What stretches with so many hits before each of them bound."""
    wanted: dict[int, tuple[Ints, Ints]] = {}
    asked = []
    for one, before in stretches:
        counted = one.cumulative + before
        has, more = (counted >= 1) & (counted <= one.count), counted < one.count
        last, following = counted[has] - 1, np.maximum(counted[more], 0)
        known = wanted.get(one.entry, (last[:0], following[:0]))
        wanted[one.entry] = (np.union1d(known[0], last), np.union1d(known[1], following))
        asked.append((one, has, more, last, following))
    times = hits.times(wanted)
    parts = []
    for one, has, more, last, following in asked:
        begin, end = counters.begin[one.samples], counters.end[one.samples]
        numbers, found = wanted[one.entry], times[one.entry]
        last, following = (
            found[0][np.searchsorted(numbers[0], last)],
            found[1][np.searchsorted(numbers[1], following)],
        )
        x = np.r_[last - reference, following - reference] / 1e9
        limit = np.r_[end[has] - last, following - begin[more]]
        sign = np.r_[np.ones(len(last)), -np.ones(len(following))]
        parts.append(_Bounds(x, limit, sign, np.full(len(x), one.entry)))
    x, limit, sign, entry = (
        np.concatenate([getattr(one, name) for one in parts])
        for name in ("x", "limit", "sign", "entry")
    )
    return _Bounds(x, limit, sign, entry)


def _fit(bounds: _Bounds, base: int, reference: int) -> Clock:
    """The polygon of (d - base, r) that all bounds leave; without the entries that contradict the
    others if need be."""
    bounds = replace(
        bounds, limit=(bounds.limit - bounds.sign.astype(np.int64) * base).astype(float)
    )
    total = len(bounds.x)
    if not total:
        return Clock()
    polygon = _clip(bounds)
    if polygon is None:
        bounds = _majority(bounds)
        polygon = _clip(bounds) if len(bounds.x) else None
    if polygon is None:
        return Clock(base, None, None, 0.0, 0.0, 0.0, reference, "estimated", 0, total)
    polygon, moved = _tightest(polygon, bounds.x)
    reference += moved
    d, r = polygon[:, 0], polygon[:, 1]
    at_zero = _range_at(polygon, 0.0)
    if at_zero is not None and base + at_zero[0] - MARGIN_NS <= 0 <= base + at_zero[1] + MARGIN_NS:
        return Clock(
            0,
            int(base + d.min()),
            int(base + d.max()),
            0.0,
            float(r.min() / 1e3),
            float(r.max() / 1e3),
            reference,
            "same clock",
            len(bounds.x),
            total,
        )
    drift = 0.0 if at_zero is not None else float((r.min() + r.max()) / 2)
    low, high = _range_at(polygon, drift) or (float(d.min()), float(d.max()))
    return Clock(
        int(base + (low + high) / 2),
        int(base + d.min()),
        int(base + d.max()),
        drift / 1e3,
        float(r.min() / 1e3),
        float(r.max() / 1e3),
        reference,
        "estimated",
        len(bounds.x),
        total,
    )


def _tightest(polygon: Floats, x: Floats) -> tuple[Floats, int]:
    """(the polygon as seen from the time at which it bounds the offset best, how much later than
    the reference that is, ns).

    The width of an offset's range over time is a chain of straight lines that bend where two
    vertices change places."""
    d, r = polygon[:, 0], polygon[:, 1]
    apart, drift = d[:, None] - d[None, :], r[:, None] - r[None, :]
    bends = np.divide(-apart, drift, out=np.zeros_like(apart), where=drift != 0).ravel()
    times = np.clip(np.r_[0.0, bends], x.min(), x.max())
    width = [float(np.ptp(d + r * time)) for time in times]
    best = round(float(times[int(np.argmin(width))]), 6)
    return np.column_stack([d + r * best, r]), round(best * 1e9)


def _clip(bounds: _Bounds) -> Floats | None:
    """Vertices (v, 2) of the polygon of (d ns, r ns/s), or None where nothing is left.

    Cuts with the bound that is violated most until none is: few bounds matter, however many there
    are."""
    box = 4e9
    polygon: Floats = np.array(
        [
            [-box, -DRIFT_PPM * 1e3],
            [box, -DRIFT_PPM * 1e3],
            [box, DRIFT_PPM * 1e3],
            [-box, DRIFT_PPM * 1e3],
        ]
    )
    sides = np.stack([bounds.sign, bounds.sign * bounds.x])
    for _ in range(4096):
        excess = (polygon @ sides).max(axis=0) - bounds.limit
        worst = int(np.argmax(excess))
        if excess[worst] <= MARGIN_NS:
            return polygon
        cut = _cut(
            polygon, float(bounds.sign[worst]), float(bounds.x[worst]), float(bounds.limit[worst])
        )
        if cut is None:
            return None
        polygon = cut
    return polygon


def _cut(polygon: Floats, sign: float, x: float, limit: float) -> Floats | None:
    """Sutherland and Hodgman's clipping of a convex polygon by one half-plane."""
    value = sign * (polygon[:, 0] + polygon[:, 1] * x) - limit
    kept: list[Floats] = []
    for i in range(len(polygon)):
        a, b = value[i - 1], value[i]
        if (a > 0) != (b > 0):
            kept.append(polygon[i - 1] + (polygon[i] - polygon[i - 1]) * (a / (a - b)))
        if b <= 0:
            kept.append(polygon[i])
    return np.array(kept) if len(kept) else None


def _range_at(polygon: Floats, r: float) -> tuple[float, float] | None:
    """The range of d on the polygon at drift r; None where the polygon does not reach there."""
    found: list[float] = []
    for i in range(len(polygon)):
        (d0, r0), (d1, r1) = polygon[i - 1], polygon[i]
        if min(r0, r1) <= r <= max(r0, r1):
            found += [d0, d1] if r0 == r1 else [d0 + (d1 - d0) * (r - r0) / (r1 - r0)]
    return (float(min(found)), float(max(found))) if found else None


def _majority(bounds: _Bounds) -> _Bounds:
    """Without the entries whose own bounds exclude what most entries agree on."""
    intervals: list[tuple[int, float, float]] = []
    for entry in np.unique(bounds.entry).tolist():
        mine = bounds.entry == entry
        high = bounds.limit[mine & (bounds.sign > 0)]
        low = -bounds.limit[mine & (bounds.sign < 0)]
        intervals.append((entry, float(low.max(initial=-4e9)), float(high.min(initial=4e9))))
    sane = [i for i in intervals if i[1] <= i[2]] or intervals
    best, most = 0.0, -1
    for _, low, high in sane:
        for point in (low, high):
            agree = sum(lo <= point <= hi for _, lo, hi in sane)
            if agree > most:
                best, most = point, agree
    keep = [e for e, low, high in sane if low - 1e6 <= best <= high + 1e6]
    chosen = np.isin(bounds.entry, np.array(keep))
    return _Bounds(
        bounds.x[chosen], bounds.limit[chosen], bounds.sign[chosen], bounds.entry[chosen]
    )
