"""One connection hook by hook: the ways of its packets, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from correlator.flows.conntrack import STATE_NAMES
from correlator.reconcile.analysis import PathView
from correlator.reconcile.settle.judge import evidence_in_words, judge
from correlator.reconcile.tables.columns import DIRECTIONS
from correlator.reconcile.tables.steps import steps_of

if TYPE_CHECKING:
    from correlator.reconcile.possible.walks import Way
    from correlator.reconcile.tables.rule_numbers import RuleNumbers


@dataclass(frozen=True)
class Alike:
    """Packets that went alike, as whoever decided them hands them over: their ``direction`` and
    ``state`` (numbers), the ``stage`` of rules that they met and their ``way`` through it (None
    where there is none); what rules saw of the first one (``packet``: the columns of ``Rows``);
    where they came in and left; how many ``packets`` and ``bytes``, when the ``first`` and the
    ``last`` was seen; all their ``facts``, and what is left to choose from, in words."""

    direction: int
    state: int
    stage: int
    way: Way | None
    packet: dict[str, int]
    in_interface: str
    out_interface: str
    packets: int
    bytes: int
    first: int
    last: int
    facts: int
    candidates: str = ""


def path_of(alike: Alike, numbers: RuleNumbers) -> PathView:
    """The way that some packets took alike, as reports show it."""
    status, reason = judge(alike.facts, alike.candidates)
    way = alike.way
    return PathView(
        DIRECTIONS[alike.direction],
        STATE_NAMES[alike.state],
        alike.packets,
        alike.bytes,
        alike.first,
        alike.last,
        alike.in_interface,
        alike.out_interface,
        steps_of(alike.stage, way, alike.packet, numbers) if way is not None else (),
        evidence_in_words(alike.facts),
        status,
        reason if status == "ambiguous" else "",
    )
