"""Ordinary connections decided: classes of endpoints and of packets, each combination walked once.

What rules can tell of a packet of an ordinary connection is the class of its endpoints (in which of
the ranges that rules mention do they fall, which of them are the same) and the class of the packet
itself. So a walk of each combination that occurs is a walk of every packet. Combinations that leave
more than one way are no ordinary ones after all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from correlator.endpoints import address_of, port_of
from correlator.flows.conntrack import QUERY, SYN
from correlator.flows.conntrack_events import told_openings
from correlator.flows.keys import mix
from correlator.flows.labels import FRESH
from correlator.flows.pairs import Crossings
from correlator.reconcile.possible.decided import Ordinary
from correlator.reconcile.possible.folded_rows import expand_rows, join_rows
from correlator.reconcile.possible.kinds import cut_points
from correlator.reconcile.possible.walks import walk_rows

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools, Ints
    from correlator.firewall.conditions.ternary import Reads
    from correlator.firewall.view import Host
    from correlator.flows.conntrack_events import Witness
    from correlator.flows.fold.folded import Folded
    from correlator.reconcile.intake.timetable import Timetable
    from correlator.reconcile.possible.rows import Rows
    from correlator.reconcile.possible.scene import Setting
    from correlator.reconcile.possible.walks import Walked, Way

ICMP, TCP = 1, 6


STRETCH = 1 << 16
"""Connections that are worked on at a time."""


def decide(folded: Folded, scene: Setting, timetable: Timetable) -> Ordinary:
    """Walk every combination; what is kept are whole pairs, since a pair is one thing to
    conntrack."""
    stages = timetable.stages
    c = folded.connections
    spoiled = folded.pairs["tainted"].astype(bool) | untold(folded, scene.witness)
    kept = ~spoiled[c["pair"]] & (c["dialled"] >= 0)
    group, examples = _groups(
        folded, kept, [stages.stages[number].program.reads for number in stages.plain()], scene.host
    )
    group, examples = _by_life(folded, timetable, group, examples)
    kinds = max(len(folded.kinds), 1)
    combination: dict[int, npt.NDArray[np.int32]] = {}
    parts: list[Rows] = []
    for stage, found in sorted(
        _occurring(folded, timetable, kept, group, len(examples) * kinds, kinds).items()
    ):
        first = sum(map(len, parts))
        combination[stage] = np.full((len(examples), kinds), -1, dtype=np.int32)
        combination[stage].ravel()[found] = np.arange(first, first + len(found))
        parts.append(expand_rows(folded, examples[found // kinds], found % kinds, stage))
    none = np.zeros(0, dtype=np.int64)
    rows = join_rows(parts or [expand_rows(folded, none, none)])
    walked = walk_rows(rows, stages.stages, scene)
    changing = {stage: stages.changing(stage) for stage in combination}
    ways = tuple(
        _one_way(walked, kind, changing[stage])
        for kind, stage in zip(walked.kind.tolist(), rows.program.tolist(), strict=True)
    )
    result = Ordinary(folded, kept, group, timetable, combination, rows, walked, ways, scene.names)
    bad = np.array([way is None for way in ways], dtype=bool)
    if bad.any():
        kept = kept & ~_touched(result, bad)
    spoiled[c["pair"][~kept]] = True
    return replace(result, kept=kept & ~spoiled[c["pair"]])


def rest_pairs(ordinary: Ordinary) -> Bools:
    """Pairs that are left to others, (pairs,)."""
    result = np.ones(len(ordinary.folded.pairs), dtype=bool)
    result[ordinary.folded.connections["pair"][ordinary.kept]] = False
    return result


def _one_way(walked: Walked, kind: int, changing: frozenset[int]) -> Way | None:
    """The way of a kind that has one, whose packets conntrack follows, and that tells nothing of
    when rules changed."""
    ways = walked.ways[kind]
    if len(ways) != 1 or kind in walked.too_many or ways[0].path.untracked:
        return None
    return None if changing & {*ways[0].hits, *ways[0].absent} else ways[0]


def _groups(
    folded: Folded, kept: Bools, reads: list[Reads], host: Host
) -> tuple[npt.NDArray[np.int32], Ints]:
    """(class of every connection's endpoints, a connection of each class); classes of those not
    kept mean nothing."""
    group, examples = np.zeros(len(kept), dtype=np.int32), list[int]()
    number, cuts = dict[int, int](), cut_points(reads, host)
    for begin in range(0, len(kept), STRETCH):
        part = slice(begin, begin + STRETCH)
        names = np.where(kept[part], _class(folded.connections[part], cuts, reads), np.uint64(0))
        found, first, at = np.unique(names, return_index=True, return_inverse=True)
        for name, where in zip(found.tolist(), first.tolist(), strict=True):
            if number.setdefault(name, len(number)) == len(examples):
                examples.append(begin + where)
        group[part] = np.array([number[name] for name in found.tolist()], dtype=np.int32)[at]
    return group, np.array(examples, dtype=np.int64)


def _by_life(
    folded: Folded, timetable: Timetable, group: npt.NDArray[np.int32], examples: Ints
) -> tuple[npt.NDArray[np.int32], Ints]:
    """The same classes, cut up by how many changes of rules each connection began and ended after:
    few live to see many, and what is kept for each combination of their class is little that
    way."""
    if timetable.steady:
        return group, examples
    code = group.astype(np.int64)
    for name in ("first", "last"):
        code = code * (len(timetable.until) + 1) + timetable.passed(folded.connections[name])
    _, first, found = np.unique(code, return_index=True, return_inverse=True)
    return found.astype(np.int32), first.astype(np.int64)


def _class(
    c: npt.NDArray[np.void], cuts: dict[str, Ints], reads: list[Reads]
) -> npt.NDArray[np.uint64]:
    """A name for what rules can tell of the endpoints of each of some connections, (n,)."""
    protocol = c["protocol"]
    ends = [c[name] for name in ("client", "dialled", "server", "seen")]
    addresses = [address_of(end) for end in ends]
    ports = [np.where(protocol == ICMP, 0, port_of(end)) for end in ends]
    key: list[npt.NDArray[np.integer]] = [protocol]
    key += [np.searchsorted(cuts["address"], address, side="right") for address in addresses]
    key += [np.searchsorted(cuts["port"], port, side="right") for port in ports]
    (client, dialled, server, seen), (client_port, dialled_port, server_port, seen_port) = (
        addresses,
        ports,
    )
    same = (
        server == dialled,
        server_port == dialled_port,
        client == seen,
        client_port == seen_port,
        c["server"] == c["dialled"],
        c["client"] == c["seen"],
    )
    key.append(sum(part.astype(np.int64) << i for i, part in enumerate(same)))
    if any(name.startswith("set:") for one in reads for name in one.fields):
        key += addresses
    return mix(*key)


def _occurring(
    folded: Folded,
    timetable: Timetable,
    kept: Bools,
    group: npt.NDArray[np.int32],
    codes: int,
    kinds: int,
) -> dict[int, Ints]:
    """stage -> combinations (group * kinds + kind, of so many ``codes``) that any packet of a kept
    connection shows there."""
    every, dense = kept.all(), codes <= 1 << 24
    seen: dict[int, Bools] = {}
    found: dict[int, set[int]] = {}
    for packets in folded.packets:
        for which, stage in timetable.stretches(packets.came, packets.span):
            owner = packets.owner[which]
            code = group[owner].astype(np.int64) * kinds + packets.kind[which]
            code = code if every else code[kept[owner]]
            if dense:
                seen.setdefault(stage, np.zeros(codes, dtype=bool))[code] = True
            else:
                found.setdefault(stage, set()).update(np.unique(code).tolist())
    if dense:
        return {stage: np.flatnonzero(there) for stage, there in seen.items()}
    return {stage: np.array(sorted(some), dtype=np.int64) for stage, some in found.items()}


def _touched(ordinary: Ordinary, bad: Bools) -> Bools:
    """Connections with a packet of a combination that is ``bad`` (rows,)."""
    result = np.zeros(len(ordinary.kept), dtype=bool)
    for block in ordinary.blocks():
        result[block.owner[bad[block.combination]]] = True
    return result


def untold(folded: Folded, witness: Witness | None) -> Bools:
    """Pairs of which conntrack says, or may yet say, that they opened otherwise than by their first
    packet; (pairs,)."""
    doubtful = folded.pairs["question"].astype(bool)
    if witness is None or not len(folded.connections):
        return doubtful
    told = np.full(len(folded.pairs), -1, dtype=np.int8)
    told[_first(folded)] = told_openings(witness, _openers(folded))
    result: Bools = (doubtful & (told != FRESH)) | (told > FRESH)
    return result


def _first(folded: Folded) -> Ints:
    """The pairs that have a connection, in the order of their first ones."""
    return np.unique(folded.connections["pair"]).astype(np.int64)


def _openers(folded: Folded) -> Crossings:
    """The first packet of each of these pairs, as crossings."""
    c = folded.connections
    _, at = np.unique(c["pair"], return_index=True)
    c = c[at]
    n = len(c)
    dialled = np.where(c["dialled"] < 0, c["server"], c["dialled"])
    protocol = c["protocol"].astype(np.int64)
    none, yes = np.full(n, -1, dtype=np.int64), np.ones(n, dtype=bool)
    kind = np.where(protocol == TCP, SYN, np.where(protocol == ICMP, QUERY, 0)).astype(np.int64)
    first, client = c["first"].astype(np.int64), c["client"].astype(np.int64)
    return Crossings(
        np.arange(n),
        none,
        first,
        protocol,
        client,
        dialled.astype(np.int64),
        none,
        none,
        ~yes,
        ~yes,
        ~yes,
        np.arange(n),
        yes,
        kind,
        none,
        none,
        np.zeros((n, 5), dtype=np.int64),
    )
