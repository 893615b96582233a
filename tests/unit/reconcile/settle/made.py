"""Counters and hits made to measure, of a ruleset of one rule and its chain's policy."""

from __future__ import annotations

import numpy as np

from correlator.firewall import parse_iptables_save
from correlator.firewall.samples.log import CounterLog
from correlator.reconcile.intake.counters import Counters, read_counters
from correlator.reconcile.intake.generations import register
from correlator.reconcile.tally import Tallies, tally

RULES = parse_iptables_save("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -j ACCEPT\nCOMMIT\n")
RULE, POLICY = 0, 1
START, STEP, READING, SIZE = 1_700_000_000_000_000_000, 100_000_000, 2_000_000, 60
"""ns, ns between readings, ns that a reading takes, bytes of every packet."""


def counters_of(rule: np.ndarray, policy: np.ndarray, samples: int = 20) -> Counters:
    """What readings show of packets that the rule and the policy counted at these times; each
    counts what came before its middle."""
    begin = START + np.arange(samples, dtype=np.int64) * STEP
    middle = begin + READING // 2
    packets = np.stack(
        [np.searchsorted(np.sort(times), middle, side="right") for times in (rule, policy)], axis=1
    ).astype(np.int64)
    none = np.zeros(samples, dtype=np.int32)
    columns = ((packets,), (packets,), (packets * SIZE,), (packets * SIZE,))
    log = CounterLog((RULES,), begin, begin + READING, none, *columns, "save")
    return read_counters(log, register((RULES,)))


def tallies_of(low: np.ndarray, high: np.ndarray, entry: np.ndarray) -> Tallies:
    """Packets that hit an entry each, somewhen between two times."""
    size = np.full(len(low), SIZE, dtype=np.int64)
    return Tallies(2, tally([(RULE,), (POLICY,)], entry, low, high, size))
