"""The packet flow: what the page draws adds up to what the ledger proves."""

from __future__ import annotations

from pathlib import Path

import pytest

import correlator
from correlator.firewall.walk.path import End
from correlator.reconcile.analysis import Analysis, PathView, Step
from correlator.report.page.diagram import Box, both
from correlator.report.page.entries import catalogue
from correlator.report.page.flow import HOST, WIRE_IN, WIRE_OUT, Flow, flow, stations
from tests.conftest import CAPTURES


def flow_of(analysis: Analysis) -> Flow:
    """The flow of a whole analysis."""
    return flow(analysis.ways(), catalogue(analysis.rules))


def view(*hooks: str, end: End, came: str = "eth0", gone: str = "") -> PathView:
    """A way that was noticed in these hooks and ended so."""
    steps = [Step("policy", hook, "filter", hook, 0, "policy", "ACCEPT") for hook in hooks]
    return PathView(
        "original",
        "NEW",
        1,
        60,
        0,
        0,
        came,
        gone,
        (*steps, Step("end", hooks[-1], end=end)),
        "rules",
        "exact",
    )


def test_hits_in_hooks_are_the_hits_of_the_rules_table(recorded: Path) -> None:
    """A rule's packets, summed over the hooks that lead to it, are those that the rules table
    explains by it."""
    analysis = correlator.load(recorded)
    known = catalogue(analysis.rules)
    drawn = [0] * len(known.lanes)
    for hits in flow(analysis.ways(), known).hits.values():
        for hit in hits:
            drawn[hit.lane] += hit.packets
    find = known.find()
    explained = [0] * len(known.lanes)
    for row in analysis.rules.itertuples():
        entry = find[(str(row.table), str(row.chain), int(row.rule_number), str(row.rule))]
        explained[known.entries[entry].lane] += int(row.explained_packets)
    assert drawn == explained
    assert sum(drawn) > 0


def test_no_packet_is_lost_between_hooks(recorded: Path) -> None:
    """What goes into a hook goes on from it or is said to end there, and what came from the wire
    and the host is all there."""
    analysis = correlator.load(recorded)
    moves = flow_of(analysis)
    for hook in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"):
        entered = sum(n for (_, to), n in moves.edges.items() if to == hook)
        left = sum(n for (start, _), n in moves.edges.items() if start == hook)
        assert entered == left + sum(moves.ended.get(hook, {}).values()), hook
    began = sum(n for (start, _), n in moves.edges.items() if start in (WIRE_IN, HOST))
    assert began + moves.unplaced == sum(way.packets for way in analysis.ways())


def test_ways_of_all_are_the_paths_of_each(recorded: Path) -> None:
    """Analysis.ways() holds every packet of every connection's paths, with the same hits."""
    analysis = correlator.load(recorded)

    def sums(views: list[PathView]) -> dict[tuple[object, ...], int]:
        found: dict[tuple[object, ...], int] = {}
        for way in views:
            hits = tuple(
                (s.table, s.chain, s.rule_number, s.text)
                for s in way.steps
                if s.kind in ("rule", "policy")
            )
            key = (way.direction, way.state, way.in_interface, way.out_interface, way.status, hits)
            found[key] = found.get(key, 0) + way.packets
        return found

    each = [
        path
        for number in analysis.connections["connection"]
        for path in analysis.paths(int(number))
    ]
    assert sums(list(analysis.ways())) == sums(each)


@pytest.mark.parametrize(
    ("way", "stops"),
    [
        (
            view("FORWARD", "POSTROUTING", end=End.SENT, gone="docker0"),
            [WIRE_IN, "PREROUTING", "FORWARD", "POSTROUTING", WIRE_OUT],
        ),
        (view("PREROUTING", "FORWARD", end=End.DROPPED), [WIRE_IN, "PREROUTING", "FORWARD"]),
        (view("INPUT", end=End.DELIVERED), [WIRE_IN, "PREROUTING", "INPUT", HOST]),
        (
            view("POSTROUTING", end=End.SENT, came="", gone="eth0"),
            [HOST, "OUTPUT", "POSTROUTING", WIRE_OUT],
        ),
        (
            view("PREROUTING", "INPUT", end=End.DELIVERED, came="", gone="lo"),
            [HOST, "OUTPUT", "POSTROUTING", "PREROUTING", "INPUT", HOST],
        ),
        (view("PREROUTING", end=End.NOT_FOR_US), [WIRE_IN, "PREROUTING"]),
        (
            view("PREROUTING", "POSTROUTING", end=End.SENT, gone="eth0"),
            [WIRE_IN, "PREROUTING", "FORWARD", "POSTROUTING", WIRE_OUT],
        ),
    ],
)
def test_hooks_in_which_nothing_happened_are_filled_in(way: PathView, stops: list[str]) -> None:
    """Steps name only hooks with a hit; the way through netfilter has one order only, so the others
    are known."""
    assert stations(way) == stops


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes, with what stands below them, share a place."""
    apart = (
        one.x + one.width <= other.x
        or other.x + other.width <= one.x
        or one.reach <= other.y
        or other.reach <= one.y
    )
    return not apart


def test_diagrams_have_their_boxes_side_by_side(recorded: Path) -> None:
    """In both layouts no box covers another, and all are on the plane."""
    analysis = correlator.load(recorded)
    known = catalogue(analysis.rules)
    for diagram in both(flow(analysis.ways(), known), known):
        for i, box in enumerate(diagram.boxes):
            assert box.x >= 0
            assert box.x + box.width <= diagram.width
            assert box.reach <= diagram.height
            assert not any(overlap(box, other) for other in diagram.boxes[i + 1 :])


def test_a_rule_that_drops_is_drawn_however_many_others_were_hit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a hook shows few of its rules, those that drop are among them, and the rest is
    counted."""
    monkeypatch.setattr("correlator.report.page.diagram.LINES", 2)
    analysis = correlator.load(CAPTURES / "published")
    known = catalogue(analysis.rules)
    box = next(
        box for box in both(flow(analysis.ways(), known), known)[0].boxes if box.title == "FORWARD"
    )
    assert [line.left for line in box.lines if line.kind == "rule"] == [
        "FORWARD:1 to DOCKER-USER",
        "DOCKER-USER:1 DROP",
    ]
    assert [line.left for line in box.lines if line.kind == "note"] == ["and 10 more that were hit"]
    assert box.pills == (("2 dropped", True),)
