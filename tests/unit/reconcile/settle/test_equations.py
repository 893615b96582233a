"""The sums that counters make of open choices: the truth meets all of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from correlator.reconcile.clocks import Clock
from correlator.reconcile.settle.equations import Equations
from tests.unit.reconcile.settle.made import (
    POLICY,
    RULE,
    SIZE,
    START,
    STEP,
    counters_of,
    tallies_of,
)

moments = st.tuples(st.integers(STEP, 18 * STEP), st.integers(0, STEP // 2), st.booleans())
"""(when a packet was counted, how far off the sights of it may be, whether the rule counted it)."""


@settings(max_examples=60, deadline=None)
@given(st.lists(moments, min_size=1, max_size=12), st.lists(moments, max_size=12))
def test_what_happened_meets_every_sum(
    open_ones: list[tuple[int, int, bool]], settled: list[tuple[int, int, bool]]
) -> None:
    """Whatever was counted when, and however close to a reading: what packets really hit lies
    within the bounds of every sum."""
    times = {
        entry: np.array(
            [START + at for at, _, rule in (*open_ones, *settled) if rule == (entry == RULE)],
            dtype=np.int64,
        )
        for entry in (RULE, POLICY)
    }
    known = np.array(settled, dtype=np.int64).reshape(-1, 3)
    base = tallies_of(
        START + known[:, 0] - known[:, 1],
        START + known[:, 0] + known[:, 1],
        np.where(known[:, 2] > 0, RULE, POLICY),
    )
    amounts = [
        [{entry: [(START + at - off, START + at + off, SIZE)]} for entry in (RULE, POLICY)]
        for at, off, _ in open_ones
    ]
    equations = Equations(base, counters_of(times[RULE], times[POLICY]), Clock(), amounts)
    options = [[equations.sums(amount) for amount in unit] for unit in amounts]
    for number, (low, high) in equations.bounds().items():
        taken = [
            options[i][RULE if rule else POLICY].get(number, 0)
            for i, (_, _, rule) in enumerate(open_ones)
        ]
        assert low <= sum(taken) <= high


def test_between_clean_readings_a_sum_is_exact() -> None:
    """Where no packet may have come while counters were read, least and most are the same: what was
    counted less what is settled."""
    at = START + 5 * STEP + STEP // 2
    base = tallies_of(np.array([at]), np.array([at]), np.array([RULE]))
    counters = counters_of(np.array([at, at, at]), np.zeros(0, dtype=np.int64))
    unit = [{RULE: [(at, at, SIZE)]}, {POLICY: [(at, at, SIZE)]}]
    equations = Equations(base, counters, Clock(), [unit, unit])
    sums = equations.sums(unit[0])
    bounds = equations.bounds()
    assert {bounds[number] for number, value in sums.items() if value == 1} == {(2, 2)}
    assert {bounds[number] for number, value in sums.items() if value == SIZE} == {
        (2 * SIZE, 2 * SIZE)
    }
