"""Hits of packets and their tallies tell the same."""

from __future__ import annotations

import numpy as np

from correlator.firewall.walk.path import End, Path
from correlator.reconcile.possible.walks import Walked, Way
from correlator.reconcile.settle.hits import spread, tally_of


def test_packets_without_a_way_hit_nothing() -> None:
    """Of a kind that has no way, neither the hits nor the tally count anything, whatever kind comes
    next."""
    path = Path((), End.SENT, -1, (), (0, 0), (0, 0))
    kinds = ((Way((1, 2), frozenset(), path),), (), (Way((3,), frozenset(), path),))
    walked = Walked(np.array([0, 1, 2], dtype=np.int64), np.arange(3), kinds, frozenset())
    rows, way, when = (
        np.arange(3),
        np.zeros(3, dtype=np.int64),
        np.array([10, 20, 30], dtype=np.int64),
    )
    hits = spread(rows, way, walked, when, when, when)
    tally = tally_of(rows, way, walked, when, when, when)
    assert sorted(zip(hits.entry.tolist(), hits.low.tolist(), strict=True)) == [
        (1, 10),
        (2, 10),
        (3, 30),
    ]
    counted = {
        entry: tally.gather(tally.low, members).tolist() for entry, members in tally.members.items()
    }
    assert counted == {1: [10], 2: [10], 3: [30]}
