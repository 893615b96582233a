"""What counters settle of open choices, and what they leave open."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from correlator.firewall.walk.path import End, Path
from correlator.reconcile.clocks import Clock
from correlator.reconcile.possible.choices import Choices, Unit
from correlator.reconcile.possible.walks import Walked, Way
from correlator.reconcile.settle.settle import Settlement, settle
from tests.unit.reconcile.settle.made import (
    POLICY,
    RULE,
    SIZE,
    START,
    STEP,
    counters_of,
    tallies_of,
)

NONE = np.zeros(0, dtype=np.int64)
PATH = Path((), End.SENT, -1, (), (0, 0), (0, 0))
WAYS = (Way((RULE,), frozenset(), PATH), Way((POLICY,), frozenset(), PATH))


def settled(
    when: list[int], connections: list[int], counted_by_rule: list[int], lost: Sequence[int] = ()
) -> Settlement:
    """Packets at these times, of these connections, each of which hit the rule or fell to the
    policy; the rule counted those with these numbers, and others that were ``lost``."""
    count, times = len(when), np.array(when, dtype=np.int64)
    rows = np.arange(count)
    labels = SimpleNamespace(connection=np.array(connections), direction=np.zeros(count, int))
    explored = SimpleNamespace(
        rows=SimpleNamespace(
            crossing=rows, alternative=np.array(connections), columns={"reply": np.zeros(count)}
        ),
        alternatives=SimpleNamespace(hypothesis=np.zeros(max(connections) + 1, dtype=np.int64)),
        hypotheses=[SimpleNamespace(labels=labels)],
        walked=Walked(np.zeros(count, dtype=np.int64), rows[:1], (WAYS,), frozenset()),
    )
    units = tuple(Unit((((row, 0),), ((row, 1),))) for row in range(count))
    by_rule = np.isin(rows, counted_by_rule)
    counters = counters_of(np.r_[times[by_rule], np.array(lost, dtype=np.int64)], times[~by_rule])
    base, size = tallies_of(NONE, NONE, NONE), np.full(count, SIZE)
    choices = Choices(NONE, units, NONE, NONE)
    return settle(explored, choices, base, counters, Clock(), times, times, size)  # type: ignore[arg-type]


def middle(interval: int) -> int:
    """The middle of an interval."""
    return START + interval * STEP + STEP // 2


def test_alone_in_its_interval_a_packet_is_settled() -> None:
    """Where one packet fell between two readings, the counter that moved tells its way."""
    found = settled([middle(2), middle(5)], [0, 1], [1])
    assert dict(found.taken) == {0: 1, 1: 0}
    assert not found.standing


def test_packets_of_one_connection_are_alike() -> None:
    """Of three packets of one connection and direction two hit the rule: which ones shows in no
    table, so all are settled."""
    found = settled([middle(3)] * 3, [0] * 3, [0, 2])
    assert sorted(way for _, way in found.taken) == [0, 0, 1]


def test_packets_of_several_connections_are_not() -> None:
    """Of three connections two hit the rule: any of them may be the other one, and what stands
    first adds up to what was counted."""
    found = settled([middle(3)] * 3, [0, 1, 2], [0, 2])
    assert not found.taken
    first = [unit.options[0][0][1] for unit in found.standing]
    assert sorted(first) == [0, 0, 1]


def test_a_sum_that_nothing_meets_is_told() -> None:
    """A rule that counted more than all packets could have hit breaks its sums; packets of other
    intervals are settled all the same."""
    lost = [middle(2)] * 5
    found = settled([middle(2), middle(5)], [0, 1], [0, 1], lost)
    assert found.broken > 0
    assert dict(found.taken)[1] == 0
