"""What speaks against packets that were decided."""

from __future__ import annotations

import numpy as np
import pytest

from correlator.reconcile.settle.doubts import twice

TUPLE = (6, 17, 18)
"""One original tuple: protocol, client and what was dialled."""


@pytest.mark.parametrize(
    ("lives", "expected"),
    [
        ([(TUPLE, 0, 10), (TUPLE, 5, 6)], {1, 2}),
        ([(TUPLE, 0, 10), (TUPLE, 11, 20)], set()),
        ([(TUPLE, 0, 10), ((17, 17, 18), 5, 6)], set()),
        ([(TUPLE, 0, 30), ((6, 17, 19), 1, 2), (TUPLE, 40, 50), (TUPLE, 45, 60)], {1, 3, 4}),
    ],
)
def test_no_two_connections_have_one_tuple_at_one_time(
    lives: list[tuple[tuple[int, int, int], int, int]], expected: set[int]
) -> None:
    """Conntrack's table has a tuple once (nf_conntrack_hash_check_insert): of connections that
    would share one at a time, none is sure; those that follow one another are, unless others of
    their tuple meet."""
    packets = [
        (*tuples, time, number)
        for number, (tuples, begin, end) in enumerate(lives, start=1)
        for time in (begin, end)
    ]
    *tuples, time, number = (
        np.array(column, dtype=np.int64) for column in zip(*packets, strict=True)
    )
    assert set(np.flatnonzero(twice(tuples, time, number)).tolist()) == expected


def test_nothing_shares_nothing() -> None:
    """No packet, no connection, no doubt."""
    none = np.zeros(0, dtype=np.int64)
    assert not twice([none, none, none], none, none).any()
