"""How many packets went from hook to hook, and which rules they hit there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from correlator.firewall.walk.path import End
from correlator.report.page.entries import Catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from correlator.reconcile.analysis import PathView

WIRE_IN, WIRE_OUT, HOST = "in", "out", "host"
UNSEEN = "not captured"
AFTER = {
    "PREROUTING": ("FORWARD", "INPUT"),
    "OUTPUT": ("POSTROUTING",),
    "FORWARD": ("POSTROUTING",),
}
"""Where a packet goes on to from a hook in which it did not end."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule (by its lane) in a hook, with the packets that hit it there; ``depth`` of the jumps
    that led to it."""

    lane: int
    depth: int
    packets: int


@dataclass(frozen=True)
class Flow:
    """``hits`` by (hook, table) in the order of traversal, unhit ones too; ``edges`` packets by
    (from, to), where from and to are hooks, ``in`` (wire), ``out`` (wire) or ``host``; ``ended``
    packets by hook and by what became of them there; ``incoming`` and ``outgoing`` packets by
    interface; ``unplaced`` packets that fit no way."""

    hits: dict[tuple[str, str], tuple[Hit, ...]]
    edges: dict[tuple[str, str], int]
    ended: dict[str, dict[str, int]]
    incoming: dict[str, int]
    outgoing: dict[str, int]
    unplaced: int


def flow(ways: Iterable[PathView], known: Catalogue) -> Flow:
    """Add up the ways of all packets."""
    find = known.find()
    hits: Counter[tuple[str, str, int]] = Counter()
    edges: Counter[tuple[str, str]] = Counter()
    ended: dict[str, Counter[str]] = {}
    incoming: Counter[str] = Counter()
    outgoing: Counter[str] = Counter()
    unplaced = 0
    for way in ways:
        if not way.steps:
            unplaced += way.packets
            continue
        for step in way.steps:
            if step.kind in ("rule", "policy"):
                at = find.get((step.table, step.chain, step.rule_number, step.text))
                if at is not None:
                    hits[(step.hook, step.table, known.entries[at].lane)] += way.packets
        stops = stations(way)
        for pair in pairwise(stops):
            edges[pair] += way.packets
        if stops[0] == WIRE_IN:
            incoming[way.in_interface or UNSEEN] += way.packets
        if stops[-1] == WIRE_OUT:
            outgoing[way.out_interface or UNSEEN] += way.packets
        elif stops[-1] != HOST:
            end = way.steps[-1].text if way.steps[-1].kind == "end" else "ends here"
            ended.setdefault(stops[-1], Counter())[end] += way.packets
    listed = {
        (hook, table): tuple(Hit(lane, depth, hits[(hook, table, lane)]) for lane, depth in lines)
        for (hook, table), lines in known.met.items()
    }
    return Flow(
        listed,
        dict(edges),
        {hook: dict(ends.most_common()) for hook, ends in ended.items()},
        dict(incoming.most_common()),
        dict(outgoing.most_common()),
        unplaced,
    )


def stations(way: PathView) -> list[str]:
    """The stops of a way: ``in``, hooks, ``out`` or ``host``; the last is a hook where the packet
    ended in it.

    Steps name only hooks in which something happened, so the ones between are filled in by the only
    order there is."""
    seen = list(dict.fromkeys(step.hook for step in way.steps))
    end = way.steps[-1]
    loops = not way.in_interface and bool(way.out_interface) and end.end is End.DELIVERED
    if loops and seen[0] in (
        "PREROUTING",
        "INPUT",
    ):  # loopback, of which OUTPUT and POSTROUTING had nothing to say
        seen = ["OUTPUT", "POSTROUTING", *seen]
    stops = [HOST if seen[0] in ("OUTPUT", "POSTROUTING") else WIRE_IN]
    if seen[0] == "POSTROUTING":
        seen.insert(0, "OUTPUT")
    if seen[0] in ("FORWARD", "INPUT"):
        seen.insert(0, "PREROUTING")
    for hook in seen:
        if hook == "POSTROUTING" and stops[-1] == "PREROUTING":
            stops.append("FORWARD")
        stops.append(hook)
    if end.end is End.SENT:
        if stops[-1] in AFTER:
            stops += ["POSTROUTING"] if stops[-1] != "PREROUTING" else ["FORWARD", "POSTROUTING"]
        stops.append(WIRE_OUT)
    elif end.end is End.DELIVERED:
        stops += [*([] if stops[-1] == "INPUT" else ["INPUT"]), HOST]
    return stops


def totals(packets: dict[str, int], shown: int = 3) -> tuple[tuple[str, int], ...]:
    """The busiest interfaces, the others in one line."""
    items = list(packets.items())
    rest = sum(n for _, n in items[shown:])
    return (*items[:shown], *([(f"{len(items) - shown} more", rest)] if rest else []))
