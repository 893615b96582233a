"""Bins and lanes: sums are kept, whole numbers stay whole, and brute force agrees."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlator.report.plot.density import (
    BINS,
    OWN,
    choose_edges,
    lanes,
    open_between,
    packets_between,
    round_step,
    spread,
)

STRETCHES = st.lists(
    st.tuples(st.floats(0, 90), st.floats(0, 10), st.integers(1, 500)), min_size=1, max_size=40
)
EDGES = np.linspace(0.0, 100.0, 51)


@given(STRETCHES)
def test_what_is_spread_is_kept(stretches: list[tuple[float, float, int]]) -> None:
    """Amounts laid over stretches inside of the edges add up to themselves, and none is
    negative."""
    begin, width, amount = (
        np.array(column, dtype=float) for column in zip(*stretches, strict=True)
    )
    found = spread(begin, begin + width, amount, EDGES)
    assert found.sum() == pytest.approx(amount.sum(), abs=1e-3)
    assert found.min() >= 0


@given(STRETCHES)
def test_spread_is_what_each_bin_overlaps(stretches: list[tuple[float, float, int]]) -> None:
    """A bin holds of each stretch the part that lies in it (computed pair by pair here)."""
    begin, width, amount = (
        np.array(column, dtype=float) for column in zip(*stretches, strict=True)
    )
    width += 0.01
    low, high = EDGES[:-1, None], EDGES[1:, None]
    part = np.clip(np.minimum(begin + width, high) - np.maximum(begin, low), 0, None) / width
    assert spread(begin, begin + width, amount, EDGES) == pytest.approx(
        (part * amount).sum(axis=1), abs=1e-3
    )


def test_intervals_that_are_the_bins_give_whole_numbers() -> None:
    """Where bins are the counters' intervals, what is drawn is exactly what was counted."""
    readings = np.cumsum(np.arange(401) % 3 * 1_234_567 + 100_000_003) / 1e9
    begin, end, amount = readings[:-1], readings[1:], np.arange(400) % 7
    edges, own = choose_edges(begin, end, float(begin[0]), float(end[-1]))
    assert own
    assert spread(begin, end, amount.astype(float), edges).tolist() == amount.tolist()


def test_many_intervals_become_round_bins() -> None:
    """More intervals than can be told apart become at most BINS bins of 1, 2 or 5 times a power of
    ten seconds."""
    begin = np.arange(OWN + 1) * 0.1
    edges, own = choose_edges(begin, begin + 0.1, 0.0, 48.2)
    assert not own
    assert len(edges) - 1 <= BINS
    assert np.diff(edges) == pytest.approx(0.5)
    assert edges[-1] >= 48.2
    assert [round_step(value) for value in (0.011, 0.2, 3.0, 5.0, 6.0)] == pytest.approx(
        [0.02, 0.2, 5.0, 5.0, 10.0]
    )


def test_edges_reach_over_the_window() -> None:
    """What lies before the first counter interval and after the last one has bins, too."""
    edges, own = choose_edges(np.array([2.0, 2.5]), np.array([2.5, 3.0]), 0.0, 5.2)
    assert own
    assert edges[0] <= 0
    assert edges[-1] >= 5.2
    assert {2.0, 2.5, 3.0} <= set(edges.tolist())
    assert (np.diff(edges) > 0).all()


def test_a_hit_counts_where_it_was_first_and_last_seen() -> None:
    """One packet at each end, the others between: two packets are where they were, not smeared."""
    edges = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    two = packets_between(np.array([0.5]), np.array([3.5]), np.array([2]), edges)
    assert two.tolist() == [1, 0, 0, 1]
    five = packets_between(np.array([0.5]), np.array([3.5]), np.array([5]), edges)
    assert five.tolist() == [1.5, 1, 1, 1.5]


@given(st.lists(st.tuples(st.floats(0, 90), st.floats(0, 10)), max_size=40))
def test_open_connections_are_counted_as_they_touch(stretches: list[tuple[float, float]]) -> None:
    """A connection is open in every bin that it touches (looked at one by one here)."""
    first = np.array([begin for begin, _ in stretches])
    last = np.array([begin + long for begin, long in stretches])
    brute = [int(((first < high) & (last >= low)).sum()) for low, high in itertools.pairwise(EDGES)]
    assert open_between(first, last, EDGES).tolist() == brute


@given(st.lists(st.tuples(st.floats(0, 90), st.floats(0, 10)), min_size=1, max_size=25))
def test_lanes_keep_spans_apart(stretches: list[tuple[float, float]]) -> None:
    """No two spans of one lane touch, and there are no more lanes than were ever open at once."""
    stretches.sort()
    first = np.array([begin for begin, _ in stretches])
    last = np.array([begin + long for begin, long in stretches])
    lane = lanes(first, last, 0.5, 25)
    assert lane is not None
    for number in set(lane.tolist()):
        mine = lane == number
        assert (first[mine][1:] >= last[mine][:-1] + 0.5).all()
    at_once = max(int(((first <= t) & (last + 0.5 > t)).sum()) for t in first)
    assert lane.max() + 1 <= at_once
    assert lanes(np.zeros(3), np.ones(3), 0.5, 2) is None
