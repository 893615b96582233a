"""What is a reset and what is not: readings of nothing, policies that are zeroed, policies that
begin to count."""

from __future__ import annotations

import numpy as np
import pytest

from correlator.firewall.samples.read import parse_counter_log
from correlator.reconcile.clocks import Clock
from correlator.reconcile.intake.counters import UNBOUNDED, Counters, read_counters
from correlator.reconcile.intake.generations import register
from correlator.reconcile.settle.ledger import Account, keep_ledger
from tests.unit.reconcile.settle.test_offset_and_ledger import hits_at

SECOND = 1_000_000_000


def log(*readings: tuple[int, int]) -> str:
    """Snapshots a second apart of a rule that all packets hit, and of the policy behind it."""
    return "".join(
        f"{1_795_511_734 + i}\n*filter\n:INPUT ACCEPT [{policy}:{policy * 60}]\n"
        f"[{rule}:{rule * 60}] -A INPUT -p tcp\nCOMMIT\n"
        for i, (rule, policy) in enumerate(readings)
    )


def counters_of(*readings: tuple[int, int]) -> Counters:
    """The counters of such a log."""
    found = parse_counter_log(log(*readings))
    return read_counters(found, register(found.rulesets))


def test_a_reading_of_nothing_between_two_is_left_out() -> None:
    """A counter never falls to zero and comes back higher: what printed all zeros once reset
    nothing (calico-accountant#1)."""
    found = parse_counter_log(log((5, 5), (0, 0), (7, 6), (9, 9)))
    assert (len(found.begin), len(found.warnings)) == (3, 1)
    assert np.asarray(found.packets[0]).tolist() == [[5, 5], [7, 6], [9, 9]]


@pytest.mark.parametrize(
    "readings",
    [
        ((5, 5), (0, 0), (1, 1)),  # reset, and counted on
        ((5, 5), (0, 0), (7, 4)),  # one of them is lower: a reset for certain
        ((0, 0), (0, 0), (7, 7)),  # nothing had come yet
        ((5, 5), (0, 0), (0, 0)),  # never back
    ],
)
def test_a_reset_is_no_bad_reading(readings: tuple[tuple[int, int], ...]) -> None:
    """Where any counter tells of a reset, all readings stay."""
    found = parse_counter_log(log(*readings))
    assert len(found.begin) == len(readings)


def test_policies_that_are_zeroed_while_rules_go_on_tell_lower_bounds() -> None:
    """`iptables-legacy-restore --noflush` zeroes the policies of its tables and keeps the rules'
    numbers (kubernetes#110328): once seen, such a policy may have been zeroed in any interval."""
    counters = counters_of((10, 10), (20, 10), (30, 4))
    least, most = counters.packets_of(1)
    assert (least.tolist(), most.tolist()) == ([0, 4], [UNBOUNDED, UNBOUNDED])
    assert counters.packets_of(0)[0].tolist() == [10, 10]
    zeroed_both = counters_of((10, 10), (20, 20), (3, 3))
    assert zeroed_both.packets_of(1)[1].tolist()[0] == 10


def account(hits: list[float], *readings: int) -> Account:
    """The account of a policy that so many readings show, with hits so many seconds after the first
    of them. A rule elsewhere counts all along."""
    times = np.array([round((1_795_511_734 + at) * SECOND) for at in hits], dtype=np.int64)
    text = "".join(
        f"# sample begin={1_795_511_734 + i}.000 end={1_795_511_734 + i}.001\n*filter\n"
        f":INPUT ACCEPT [{packets}:{packets * 60}]\n:X - [0:0]\n"
        f"[{i + 1}:60] -A X\nCOMMIT\n"
        for i, packets in enumerate(readings)
    )
    found = parse_counter_log(text)
    counters = read_counters(found, register(found.rulesets))
    policies = np.array([True, False])
    return keep_ledger(hits_at(times), counters, Clock(), policies).accounts[0]


def test_a_policy_that_moves_counts_from_then_on() -> None:
    """What a policy counted too little in the interval in which it began to move is a residual, not
    a counter that does not count yet."""
    short = account([1.5, 1.6, 1.7], 0, 0, 2, 2)
    assert short.residual.tolist() == [0, -1, 0]
    assert not short.uncounted[1]


def test_a_policy_that_missed_hits_before_it_moved_began_to_count_in_between() -> None:
    """`iptables -P` on nft starts a policy's counter: hits that came before it counted nothing."""
    late = account([0.5, 1.5, 1.6, 1.7], 0, 0, 2, 2)
    assert late.residual.tolist() == [0, 0, 0]
    assert late.uncounted[:2].all()
