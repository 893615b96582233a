"""A rule that came once between two readings: no packet met it before, every later one did."""

from __future__ import annotations

import numpy as np
import pytest

from correlator.firewall import parse_iptables_save
from correlator.reconcile.intake.generations import Stages, register
from correlator.reconcile.possible.changes import order_changes
from correlator.reconcile.possible.choices import Choices, find_choices
from tests.unit.reconcile.possible.made import explored_of, way

BEFORE = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j ACCEPT\nCOMMIT\n"
AFTER = BEFORE.replace("-A FORWARD -j ACCEPT", "-A FORWARD -j LOG\n-A FORWARD -j ACCEPT")
MILLISECOND = 1_000_000


def _stages(first: str, second: str) -> tuple[Stages, int, int]:
    """(the stages, the transition's number, the register's number of the rule that changed)."""
    rulesets = (parse_iptables_save(first), parse_iptables_save(second))
    stages = Stages(rulesets, register(rulesets), frozenset())
    number = stages.number(0, 1)
    (entry,) = stages.changing(number)
    return stages, number, entry


def _ordered(first: str, second: str, met: dict[int, bool], packets: int) -> Choices:
    """Choices of so many packets, a millisecond apart, of which the wire shows that some ``met``
    the rule, or did not."""
    stages, number, entry = _stages(first, second)
    with_rule, without = way(entry, 90), way(90, absent=[entry])
    kinds = [[with_rule, without], [with_rule], [without]]
    rows = [(n, 0, 0 if n not in met else 1 if met[n] else 2) for n in range(packets)]
    explored = explored_of(kinds, rows, [0], program=number)
    times = np.arange(packets, dtype=np.int64) * MILLISECOND
    choices = find_choices(explored, frozenset({"docker0"}), counted=True)
    return order_changes(explored, choices, stages, times, times)


@pytest.mark.parametrize(("first", "second", "sense"), [(BEFORE, AFTER, 1), (AFTER, BEFORE, 0)])
def test_open_packets_share_one_moment_of_change(first: str, second: str, sense: int) -> None:
    """Of three packets none, the last, the last two or all met a rule that came (of one that went:
    the first ones): four options, not eight."""
    (unit,) = _ordered(first, second, {}, 3).units
    met = {tuple(1 - way for _, way in option) for option in unit.options}
    moments = {(0, 0, 0), (0, 0, 1), (0, 1, 1), (1, 1, 1)}
    assert met == (moments if sense else {moment[::-1] for moment in moments})


def _ways_left(choices: Choices) -> dict[int, set[int]]:
    """The ways that are left of every open packet."""
    left: dict[int, set[int]] = {}
    for unit in choices.units:
        for option in unit.options:
            for row, taken in option:
                left.setdefault(row, set()).add(taken)
    return left


def test_what_the_wire_settles_bounds_the_moment() -> None:
    """A packet that met the new rule: all later ones did. One that did not: no earlier one did."""
    later = _ways_left(_ordered(BEFORE, AFTER, {2: True}, 5))
    assert (later[3], later[4]) == ({0}, {0})
    earlier = _ways_left(_ordered(BEFORE, AFTER, {2: False}, 5))
    assert (earlier[0], earlier[1]) == ({1}, {1})
