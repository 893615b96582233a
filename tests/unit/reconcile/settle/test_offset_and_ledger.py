"""The clock's bounds and the ledger's balance, on hits and counters made to measure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlator.firewall import parse_iptables_save
from correlator.firewall.samples.log import CounterLog
from correlator.reconcile.clocks import Clock
from correlator.reconcile.intake.counters import read_counters
from correlator.reconcile.intake.generations import register
from correlator.reconcile.settle.ledger import _step_by_step as step_by_step
from correlator.reconcile.settle.ledger import balance, keep_ledger
from correlator.reconcile.settle.offset import estimate
from correlator.reconcile.tally import Tallies, tally

RULES = parse_iptables_save("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n")
START, SECOND, SIZE = 1_700_000_000_000_000_000, 1_000_000_000, 60


def sampled(
    times: np.ndarray, offset: int, ppm: float, count: int = 60, step: int = SECOND // 10
) -> CounterLog:
    """What a counter log of another clock shows of hits at ``times``; each reading takes 2 ms."""
    begin = START + np.arange(count, dtype=np.int64) * step
    middle = begin + 1_000_000
    packets = np.searchsorted(times, middle, side="right").astype(np.int64)
    shift = offset + ((begin - START) * ppm / 1e6).astype(np.int64)
    values = np.stack([packets, np.zeros_like(packets)], axis=1)
    generation = np.zeros(count, dtype=np.int32)
    return CounterLog(
        (RULES,),
        begin + shift,
        begin + shift + 2_000_000,
        generation,
        (values,),
        (values,),
        (values * SIZE,),
        (values * SIZE,),
        "save",
    )


def hits_at(times: np.ndarray, blocks: int = 0) -> Tallies:
    """Hits of the rule, each counted within 20 us: all at once, or in so many blocks."""
    ways = [(0,)]
    parts = [
        tally(ways, np.zeros(len(t), dtype=np.int64), t, t + 20_000, np.full(len(t), SIZE))
        for t in (np.array_split(times, blocks) if blocks else [times])
    ]
    if not blocks:
        return Tallies(2, parts[0])
    begins = [int(part.low[0]) for part in parts]
    sizes = np.array([len(times)])
    return Tallies(
        2,
        tally(ways, times[:0], times[:0], times[:0], times[:0]),
        ((0,),),
        sizes,
        begins,
        lambda: iter(parts),
    )


@pytest.mark.parametrize("offset", [0, 3_217_000_000, -86_400 * SECOND, 7_000_000])
@pytest.mark.parametrize("ppm", [0.0, 40.0, -120.0])
def test_bounds_contain_the_truth(offset: int, ppm: float) -> None:
    """Whatever the offset and the drift, both lie within the bounds that are reported."""
    rng = np.random.default_rng(7)
    times = np.sort(START + rng.integers(SECOND, 5 * SECOND, 80))
    counters = read_counters(sampled(times, offset, ppm), register((RULES,)))
    clock = estimate(hits_at(times), counters, np.array([0]))
    at_reference = offset + (clock.reference - START) * ppm / 1e6
    assert clock.low is not None
    assert clock.high is not None
    assert clock.low <= at_reference <= clock.high
    assert clock.drift_low_ppm <= ppm <= clock.drift_high_ppm
    assert clock.high - clock.low < 400_000_000


def test_a_long_run_tells_the_drift() -> None:
    """Over an hour, 40 ppm are 144 ms: more than the readings' doubt, so the drift is found and not
    only bounded."""
    times = START + np.arange(1, 3_500, dtype=np.int64) * SECOND + 333_000_000
    counters = read_counters(sampled(times, 3_217_000_000, 40.0, count=36_000), register((RULES,)))
    clock = estimate(hits_at(times), counters, np.array([0]))
    assert clock.drift_low_ppm > 0
    assert clock.drift_low_ppm <= 40 <= clock.drift_high_ppm
    assert clock.drift_ppm == pytest.approx(40, abs=30)


def test_a_missing_hit_is_the_residual_of_its_interval() -> None:
    """One hit less on the packets' side is +1 in exactly the interval that counted it."""
    times = START + np.arange(1, 50, dtype=np.int64) * 97_000_000
    counters = read_counters(sampled(times, 0, 0.0), register((RULES,)))
    policies = np.array([False, True])
    whole = keep_ledger(hits_at(times), counters, Clock(), policies)
    assert not whole.residual
    lost = 20
    ledger = keep_ledger(hits_at(np.delete(times, lost)), counters, Clock(), policies)
    account = ledger.accounts[0]
    (interval,) = np.flatnonzero(account.residual).tolist()
    assert (ledger.residual, ledger.lines) == (1, 1)
    assert counters.begin[interval] <= times[lost] <= counters.end[interval + 1]
    assert account.residual[interval] == 1
    assert account.residual_bytes[interval] == SIZE


@pytest.mark.parametrize("blocks", [1, 7])
def test_blocks_tell_the_same(blocks: int) -> None:
    """Clock and ledger are the same, however many blocks the packets come in; late ones of a block
    may belong behind early ones of the next."""
    rng = np.random.default_rng(11)
    times = np.sort(START + rng.integers(SECOND, 5 * SECOND, 80))
    counters = read_counters(sampled(times, 3_217_000_000, 40.0), register((RULES,)))
    clock = estimate(hits_at(times), counters, np.array([0]))
    assert estimate(hits_at(times, blocks), counters, np.array([0])) == clock
    policies = np.array([False, True])
    one, other = (
        keep_ledger(hits, counters, clock, policies)
        for hits in (hits_at(times), hits_at(times, blocks))
    )
    assert one.accounts[0].explained.tolist() == other.accounts[0].explained.tolist()
    assert one.residual == other.residual


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 8)), min_size=1, max_size=60),
    st.integers(1, 6),
)
def test_times_by_number_are_those_of_all_hits(hits: list[tuple[int, int]], blocks: int) -> None:
    """Earliest and latest times picked block by block are those that sorting all of them would
    pick."""
    low = np.sort(np.array([begin for begin, _ in hits], dtype=np.int64)) * SECOND
    high = low + np.array([lasts for _, lasts in hits]) * SECOND
    parts = [
        tally([(0,)], np.zeros(len(a), dtype=np.int64), a, b, np.ones(len(a)))
        for a, b in zip(np.array_split(low, blocks), np.array_split(high, blocks), strict=True)
        if len(a)
    ]
    begins, none = [int(part.low.min()) for part in parts], np.zeros(0, dtype=np.int64)
    tallies = Tallies(
        1,
        tally([(0,)], none, none, none, none),
        ((0,),),
        np.array([len(low)]),
        begins,
        lambda: iter(parts),
    )
    every = np.arange(len(low))
    earliest, latest = tallies.times({0: (every, every)})[0]
    assert earliest.tolist() == np.sort(low).tolist()
    assert latest.tolist() == np.sort(high).tolist()


@given(st.data())
def test_balanced_at_once_is_balanced_step_by_step(data: st.DataObject) -> None:
    """Whatever readings may include and counters moved by, the short way says what the long one
    does."""
    samples = data.draw(st.integers(1, 12))
    steps = st.lists(st.integers(0, 6), min_size=samples, max_size=samples)
    low = np.cumsum(data.draw(steps)).astype(np.int64)
    high = np.maximum.accumulate(low + np.array(data.draw(steps)))
    few = st.lists(st.integers(0, 6), min_size=samples - 1, max_size=samples - 1)
    least = np.array(data.draw(few), dtype=np.int64)
    extra = st.lists(
        st.sampled_from([0, 0, 1, 1 << 60]), min_size=samples - 1, max_size=samples - 1
    )
    more = np.array(data.draw(extra), dtype=np.int64)
    quick, slow = (
        balance(low, high, least, least + more),
        step_by_step(low, high, least, least + more),
    )
    for one, other in zip(quick, slow, strict=True):
        assert one.tolist() == other.tolist()
