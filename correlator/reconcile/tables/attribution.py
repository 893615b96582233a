"""Every crossing under the reading that was chosen for it: its connection, direction, tuples and
way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.endpoints import pack
from correlator.firewall.walk.path import End
from correlator.flows.conntrack import ORIGINAL, REPLY, UNTRACKED
from correlator.reconcile.possible.walks import NO_WAY
from correlator.reconcile.settle.confirm import uncounted
from correlator.reconcile.settle.doubts import doubts_of_packets, twice
from correlator.reconcile.settle.judge import Fact, together, where
from correlator.reconcile.settle.unseen import unseen
from correlator.reconcile.tables.numbering import place, sight_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from correlator.arrays import Bools, Ints
    from correlator.reconcile.possible.choices import Option, Unit
    from correlator.reconcile.settle.judge import Facts
    from correlator.reconcile.verdict import Decided, Verdict


@dataclass(frozen=True)
class Attribution:
    """Arrays (k,), one row a crossing, in order of time.

    ``row`` in the explored rows, ``way`` its number (-1: rules and wire exclude every way, or leave
    too many), ``open``: still undecided (the likeliest is shown), ``connection`` from 1 in order of
    first packet. ``client`` ... ``server`` are endpoints: client ->
    dialled is the original tuple, server -> seen the reply tuple; for direction untracked, the
    packet's own source and destination. ``facts`` uint32: what the judge is told of each packet,
    apart from what the counters say of its hits."""

    row: Ints
    way: Ints
    open: Bools
    crossing: Ints
    connection: Ints
    direction: Ints
    state: Ints
    time: Ints
    protocol: Ints
    client: Ints
    dialled: Ints
    server: Ints
    seen: Ints
    facts: Facts

    def __len__(self) -> int:
        return len(self.row)


def attribute(verdict: Verdict, blind: bool) -> Attribution:
    """Collect the rows that were decided, are open, or fit nothing. ``blind``: an interface was not
    captured by which NAT may happen (:func:`correlator.reconcile.settle.unseen.is_blind`), and
    there are counters that might have told."""
    decided = verdict.decided
    standing = [pick for unit in decided.open for pick in unit.options[0]]
    open_rows = np.array(standing, dtype=np.int64).reshape(-1, 2)
    nothing = decided.nowhere
    row = np.r_[decided.row, open_rows[:, 0], nothing]
    way = np.r_[decided.way, open_rows[:, 1], np.full(len(nothing), NO_WAY)]
    still_open = np.zeros(len(row), dtype=bool)
    still_open[len(decided.row) : len(decided.row) + len(open_rows)] = True
    forks = decided.explored.walked.forks[decided.explored.walked.kind[row]]
    way = np.where(way >= forks, NO_WAY, way)
    crossing = decided.explored.rows.crossing[row]
    time = decided.scene.crossings.time[crossing]
    order = place(decided.scene.names, *sight_of(decided.scene, crossing), time)
    row, way, crossing, time = (part[order] for part in (row, way, crossing, time))
    still_open = still_open[order]
    code, direction, state = codes(decided, row)
    _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(1, len(first) + 1)
    ends = endpoints_of(decided, row, direction)
    connection = rank[inverse] if len(row) else code
    facts = unshown(decided, row, way, _answered(connection, direction))
    facts |= undecided(decided, row, way)
    facts |= doubts_of_packets(verdict, row, way, connection)
    protocol = protocols_of(decided, row, direction)
    facts |= same_tuples(protocol, ends[0], ends[1], direction, time, connection)
    if blind:
        facts |= unseen(decided, row, connection)[connection]
    return Attribution(
        row, way, still_open, crossing, connection, direction, state, time, protocol, *ends, facts
    )


def same_tuples(
    protocol: Ints, client: Ints, dialled: Ints, direction: Ints, time: Ints, connection: Ints
) -> Facts:
    """Which packets (k,) are of a connection whose original tuple another has at that time."""
    followed = direction != UNTRACKED
    tuples = [column[followed] for column in (protocol, client, dialled)]
    found = np.zeros(int(connection.max(initial=0)) + 1, dtype=bool)
    shared = twice(tuples, time[followed], connection[followed])
    found[: len(shared)] = shared
    return where(followed & found[connection], Fact.SAME_TUPLE)


def _answered(connection: Ints, direction: Ints) -> Bools:
    """Which packets (k,) are of a connection of which both directions were seen."""
    both = np.ones(int(connection.max(initial=0)) + 1, dtype=bool)
    for way in (ORIGINAL, REPLY):
        both &= np.bincount(connection[direction == way], minlength=len(both)) > 0
    return both[connection]


def unshown(decided: Decided, row: Ints, way: Ints, answered: Bools) -> Facts:
    """Of which packets (k,) the wire does not show how they ended: neither were they seen leaving,
    nor rightly not leaving; which should have been seen leaving; which ended in a chain that
    another one may come before; and which were delivered here, of connections of which nothing
    ``answered`` (k,) shows that."""
    walked, watched = decided.explored.walked, decided.scene.watched
    most = max(int(walked.forks.max(initial=1)), 1)
    told, leaves, tied, here = np.zeros((4, len(walked.ways), most), dtype=bool)
    for kind, ways in enumerate(walked.ways):
        leaves[kind, : len(ways)] = [found.path.end is End.SENT for found in ways]
        here[kind, : len(ways)] = [found.path.end is End.DELIVERED for found in ways]
        tied[kind, : len(ways)] = [found.path.tied for found in ways]
        told[kind, : len(ways)] = [
            found.path.end is not End.SENT or found.path.out_interface in watched for found in ways
        ]
    at = walked.kind[row], np.maximum(way, 0)
    sent = decided.scene.crossings.sent[decided.explored.rows.crossing[row]]
    there = way != NO_WAY
    return (
        where(~((sent | told[at]) & there), Fact.UNSHOWN)
        | where(there & leaves[at] & told[at] & ~sent, Fact.LOST)
        | where(there & tied[at], Fact.TIED)
        | where(there & here[at] & ~answered, Fact.UNANSWERED)
    )


def undecided(decided: Decided, row: Ints, way: Ints) -> Facts:
    """Which packets (k,) have no way, and which have several that differ in what is told of
    them."""
    walked = decided.explored.walked
    crowded = np.isin(walked.kind[row], np.array(sorted(walked.too_many), dtype=np.int64))
    nowhere = way == NO_WAY
    facts = where(nowhere, Fact.NO_WAY) | where(nowhere & crowded, Fact.CROWDED)
    place = {int(one): at for at, one in enumerate(decided.explored.rows.crossing[row].tolist())}
    for unit in decided.open:
        for crossing, several in candidates_of(decided, unit).items():
            if crossing in place:
                differs = Fact.DIFFERS if len(set(several)) > 1 else Fact(0)
                rule = Fact.RULE_OPEN if len({hits for _, hits in several}) > 1 else Fact(0)
                differs |= rule | open_fields([key for key, _ in several])
                facts[place[crossing]] |= differs | (Fact.CAPPED if unit.capped else Fact(0))
    return facts


def open_fields(tuples: Sequence[tuple[int, ...]]) -> Fact:
    """In what tuples with a direction (direction, client, dialled, server, seen) differ."""
    facts = (
        Fact.DIRECTION_OPEN,
        Fact.SRC_OPEN,
        Fact.DST_OPEN,
        Fact.REPLY_SRC_OPEN,
        Fact.REPLY_DST_OPEN,
    )
    found = Fact(0)
    for fact, values in zip(facts, zip(*tuples, strict=True), strict=True):
        found |= fact if len(set(values)) > 1 else Fact(0)
    return found


def facts_of_packets(verdict: Verdict, attribution: Attribution) -> Facts:
    """What the judge is told of each packet, (k,): its own facts and those of its hits."""
    decided, (_, of_hits) = verdict.decided, verdict.placed
    by_row = together(of_hits, decided.hits.row, len(decided.explored.rows))
    of_all: Facts = attribution.facts | by_row[attribution.row] | uncounted(verdict.books)
    return of_all


def candidates_of(
    decided: Decided, unit: Unit
) -> dict[int, list[tuple[tuple[int, ...], tuple[int, ...]]]]:
    """crossing -> (tuple with direction, hits) under each of a unit's options."""
    found: dict[int, list[tuple[tuple[int, ...], tuple[int, ...]]]] = {}
    for option in unit.options:
        for key, hits, row, _ in option_tuples(decided, option):
            found.setdefault(int(decided.explored.rows.crossing[row]), []).append((key, hits))
    return found


def codes(decided: Decided, row: Ints) -> tuple[Ints, Ints, Ints]:
    """(pair and connection within it, direction, state) of rows, under each one's own reading."""
    explored = decided.explored
    crossing = explored.rows.crossing[row]
    reading = explored.alternatives.hypothesis[explored.rows.alternative[row]]
    stacked = [
        np.stack([getattr(r.labels, name) for r in explored.hypotheses])[reading, crossing]
        for name in ("connection", "direction", "state")
    ]
    return decided.scene.crossings.pair[crossing] << 20 | stacked[0], stacked[1], stacked[2]


def endpoints_of(decided: Decided, row: Ints, direction: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """(client, dialled, server, seen) of rows; of untracked ones their own source and destination,
    both ways."""
    v = decided.explored.rows.columns
    own = direction == UNTRACKED
    source = pack(v["src"][row], v["sport"][row])
    target = pack(v["dst"][row], v["dport"][row])
    client, dialled = (
        np.where(own, source, v["client"][row]),
        np.where(own, target, v["dialled"][row]),
    )
    server, seen = np.where(own, target, v["server"][row]), np.where(own, source, v["seen"][row])
    return client, dialled, server, seen


def protocols_of(decided: Decided, row: Ints, direction: Ints) -> Ints:
    """The connection's protocol; an ICMP error that belongs to one bears that one's, a stray one
    its own."""
    crossing = decided.explored.rows.crossing[row]
    own = decided.explored.rows.columns["protocol"][row]
    return np.where(direction == UNTRACKED, own, decided.scene.crossings.protocol[crossing])


def option_tuples(
    decided: Decided, option: Option
) -> list[tuple[tuple[int, ...], tuple[int, ...], int, int]]:
    """(tuple with direction, hits, row, length) of every row of an option."""
    row = np.array([r for r, _ in option], dtype=np.int64)
    _, direction, _ = codes(decided, row)
    ends = endpoints_of(decided, row, direction)
    length = decided.explored.rows.columns["length"][row]
    result = []
    for i, (r, way) in enumerate(option):
        ways = decided.explored.walked.ways[int(decided.explored.walked.kind[r])]
        key = (int(direction[i]), *(int(end[i]) for end in ends))
        result.append((key, ways[way].hits if way < len(ways) else (), int(r), int(length[i])))
    return result
