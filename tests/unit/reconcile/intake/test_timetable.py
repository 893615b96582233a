"""Which rules packets met: told one by one, and in stretches of time."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from correlator.firewall.languages.iptables_save import parse_iptables_save
from correlator.reconcile.clocks import Clock
from correlator.reconcile.intake.generations import Stages, register
from correlator.reconcile.intake.timetable import Timetable
from correlator.reconcile.times import widen

MS, SECOND = 1_000_000, 1_000_000_000
RULES = "*filter\n:FORWARD ACCEPT [0:0]\n{}COMMIT\n"
RULESETS = tuple(
    parse_iptables_save(
        RULES.format(f"-A FORWARD -s 10.0.0.{number} -j DROP\n" if number else ""), "here"
    )
    for number in range(4)
)


def timetable(generation: list[int], every: int, clock: Clock) -> Timetable:
    """Of readings ``every`` ns that take 2 ms each, of these generations."""
    begin = np.arange(len(generation), dtype=np.int64) * every
    counters = SimpleNamespace(
        samples=len(generation), begin=begin, end=begin + 2 * MS, generation=np.array(generation)
    )
    stages = Stages(RULESETS, register(RULESETS), frozenset())
    return Timetable.of(stages, counters, clock)  # type: ignore[arg-type]


def met(table: Timetable, low: int, high: int) -> tuple[int, int]:
    """(first, last) generation that a packet counted within [low, high] may have met."""
    stage = table.stages.stages[int(table.stage_of(np.array([low]), np.array([high]))[0])]
    return stage.first, stage.last


def test_between_two_readings_either_may_have_been_met() -> None:
    """From when the last reading before a change began until the first one after it ended, nobody
    knows."""
    table = timetable([0, 0, 1, 1], 100 * MS, Clock())
    assert met(table, 99 * MS, 99 * MS) == (0, 0)
    assert met(table, 100 * MS, 100 * MS) == (0, 1)
    assert met(table, 202 * MS, 202 * MS) == (0, 1)
    assert met(table, 202 * MS + 1, 203 * MS) == (1, 1)
    assert met(table, 0, 300 * MS) == (0, 1)


def test_the_clocks_offset_moves_it() -> None:
    """A counters' clock that is ahead: the change was earlier on the packets' clock."""
    table = timetable([0, 0, 1, 1], 100 * MS, Clock(offset=50 * MS, source="given"))
    assert met(table, 49 * MS, 49 * MS) == (0, 0)
    assert met(table, 50 * MS, 50 * MS) == (0, 1)
    assert met(table, 153 * MS, 153 * MS) == (1, 1)


@settings(deadline=None)
@given(
    steps=st.lists(st.integers(0, 1), min_size=1, max_size=3 * 4),
    every=st.sampled_from([50 * MS, 3 * SECOND]),
    packets=st.lists(
        st.tuples(st.integers(-SECOND, 40 * SECOND), st.sampled_from([0, 8_000, 150 * MS])),
        max_size=60,
    ),
    offset=st.sampled_from([0, 700 * MS, -3 * SECOND]),
    drift=st.sampled_from([0.0, 180.0]),
)
def test_stretches_say_the_same(
    steps: list[int], every: int, packets: list[tuple[int, int]], offset: int, drift: float
) -> None:
    """Cut up by stretches of time, every packet has the stage that it has by itself, once."""
    generation = np.minimum(np.cumsum(steps), 3).tolist()
    table = timetable(
        generation,
        every,
        Clock(offset=offset, drift_ppm=drift, reference=5 * SECOND, source="given"),
    )
    came, span = np.array(sorted(packets), dtype=np.int64).reshape(-1, 2).T
    stage = np.full(len(came), -1, dtype=np.int64)
    for which, number in table.stretches(came, span.astype(np.int32)):
        assert (stage[which] == -1).all()
        stage[which] = number
    assert stage.tolist() == table.stage_of(*widen(came, came + span)).tolist()
