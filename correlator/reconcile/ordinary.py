"""Ordinary connections decided: classes of endpoints and of packets, each combination walked once.

What rules can tell of a packet of an ordinary connection is the class of its endpoints (in which of the ranges that rules
mention do they fall, which of them are the same) and the class of the packet itself. So a walk of each combination that
occurs is a walk of every packet. Combinations that leave more than one way are no ordinary ones after all.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.flows.connections import FRESH, Crossings
from correlator.flows.conntrack import QUERY, SYN
from correlator.flows.crossings import mix
from correlator.flows.witness import told_openings
from correlator.reconcile.kinds import LEAVES_YES, Rows, cut_points
from correlator.reconcile.moments import widen
from correlator.reconcile.walks import walk_rows

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.firewall.matches import Reads
    from correlator.firewall.view import Host
    from correlator.flows.folded import Folded
    from correlator.flows.witness import Witness
    from correlator.reconcile.generations import Stage
    from correlator.reconcile.kinds import Surroundings
    from correlator.reconcile.walks import Walked, Way

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

ICMP, TCP = 1, 6


@dataclass(frozen=True)
class Ordinary:
    """Connections that are decided. ``folded`` holds them among others; arrays over its connections (c,): ``kept`` bool,
    ``group`` int64 (class of endpoints). ``combination`` int64 (groups, kinds): number of the row of ``rows`` and
    ``walked`` that stands for it, -1 where it does not occur. ``way`` (rows,): the one way of each; None where it is left
    to others. ``names``: interfaces by code.
    """

    folded: Folded
    kept: Bools
    group: Ints
    combination: Ints
    rows: Rows
    walked: Walked
    way: tuple[Way | None, ...]
    names: tuple[str, ...]

    @cached_property
    def _mine(self) -> Bools | None:
        """Whose packets these are, among all that were folded; None: all of them."""
        return None if self.kept.all() else self.kept[self.folded.owner]

    def _taken(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return values if self._mine is None else values[self._mine]

    def owner(self) -> npt.NDArray[np.int32]:
        """The connection of every packet (row of ``folded.connections``), in order of time."""
        return self._taken(self.folded.owner)

    def came(self) -> Ints:
        """When every packet came in, epoch ns."""
        return self._taken(self.folded.came)

    def kind(self) -> npt.NDArray[np.uint16]:
        """The class of every packet (row of ``folded.kinds``)."""
        return self._taken(self.folded.kind)

    def direction(self) -> npt.NDArray[np.uint8]:
        """0 original, 1 reply, of every packet."""
        return self._taken(self.folded.kinds["direction"][self.folded.kind])

    def packets(self) -> tuple[npt.NDArray[np.int32], Ints, Ints, npt.NDArray[np.int32]]:
        """(combination, low, high, length) of every packet of these connections, in order of time."""
        f = self.folded
        code = self._taken(self.combination.astype(np.int32)[self.group.astype(np.int32)[f.owner], f.kind])
        came = self.came()
        low, high = widen(came, came + self._taken(f.span))
        return code, low, high, self._taken(f.length)


def untold(folded: Folded, witness: Witness | None) -> Bools:
    """Pairs of which conntrack says, or may yet say, that they opened otherwise than by their first packet; (pairs,)."""
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
        np.arange(n), none, first, protocol, client, dialled.astype(np.int64), none, none, ~yes, ~yes, np.arange(n), yes, kind,
        none, none,
    )  # fmt: skip


def decide(folded: Folded, scene: Surroundings, stage: Stage) -> Ordinary:
    """Walk every combination; what is kept are whole pairs, since a pair is one thing to conntrack."""
    c = folded.connections
    spoiled = folded.pairs["tainted"].astype(bool) | untold(folded, scene.witness)
    kept = ~spoiled[c["pair"]] & (c["dialled"] >= 0)
    group, examples = _groups(folded, kept, stage.program.reads, scene.host)
    kinds = max(len(folded.kinds), 1)
    found = _occurring(folded, kept, group, len(examples), kinds)
    combination = np.full((len(examples), kinds), -1, dtype=np.int64)
    combination.ravel()[found] = np.arange(len(found))
    rows = expand_rows(folded, examples[found // kinds], found % kinds)
    walked = walk_rows(rows, [stage], scene)
    ways = tuple(_one_way(walked, kind) for kind in walked.kind.tolist())
    bad = np.array([way is None for way in ways], dtype=bool)
    if bad.any():
        kept = kept & ~_touched(folded, group, combination, bad)
    spoiled[c["pair"][~kept]] = True
    return Ordinary(folded, kept & ~spoiled[c["pair"]], group, combination, rows, walked, ways, scene.names)


def rest_pairs(ordinary: Ordinary) -> Bools:
    """Pairs that are left to others, (pairs,)."""
    result = np.ones(len(ordinary.folded.pairs), dtype=bool)
    result[ordinary.folded.connections["pair"][ordinary.kept]] = False
    return result


def _one_way(walked: Walked, kind: int) -> Way | None:
    """The way of a kind that has one, and whose packets conntrack follows."""
    ways = walked.ways[kind]
    return ways[0] if len(ways) == 1 and kind not in walked.too_many and not ways[0].path.untracked else None


def _groups(folded: Folded, kept: Bools, reads: Reads, host: Host) -> tuple[Ints, Ints]:
    """(class of every connection's endpoints, a connection of each class); classes of those not kept mean nothing."""
    c, cuts = folded.connections, cut_points([reads], host)
    protocol = c["protocol"]
    ends = [c[name] for name in ("client", "dialled", "server", "seen")]
    addresses = [end >> 16 for end in ends]
    ports = [np.where(protocol == ICMP, 0, end & 0xFFFF) for end in ends]
    key: list[npt.NDArray[np.integer]] = [protocol]
    key += [np.searchsorted(cuts["address"], address, side="right") for address in addresses]
    key += [np.searchsorted(cuts["port"], port, side="right") for port in ports]
    (client, dialled, server, seen), (client_port, dialled_port, server_port, seen_port) = addresses, ports
    same = (server == dialled, server_port == dialled_port, client == seen, client_port == seen_port, c["server"] == c["dialled"],
            c["client"] == c["seen"])  # fmt: skip
    key.append(sum(part.astype(np.int64) << i for i, part in enumerate(same)))
    if any(name.startswith("set:") for name in reads.fields):
        key += addresses
    name = np.where(kept, mix(*key), np.uint64(0))
    _, first, group = np.unique(name, return_index=True, return_inverse=True)
    return group.astype(np.int64), first.astype(np.int64)


def _occurring(folded: Folded, kept: Bools, group: Ints, groups: int, kinds: int) -> Ints:
    """Combinations (group * kinds + kind) that any packet of a kept connection shows."""
    narrow = group.astype(np.int32)
    if groups * kinds <= 1 << 22:
        code = narrow[folded.owner] * np.int32(kinds) + folded.kind
        counts = np.bincount(code if kept.all() else code[kept[folded.owner]], minlength=groups * kinds)
        return np.flatnonzero(counts)
    code = group[folded.owner] * kinds + folded.kind
    return np.unique(code[kept[folded.owner]])


def _touched(folded: Folded, group: Ints, combination: Ints, bad: Bools) -> Bools:
    """Connections with a packet of a combination that is ``bad`` (rows,)."""
    code = combination[group[folded.owner], folded.kind]
    result = np.zeros(len(folded.connections), dtype=bool)
    result[folded.owner[(code >= 0) & bad[np.maximum(code, 0)]]] = True
    return result


def expand_rows(folded: Folded, connection: Ints, kind: Ints) -> Rows:
    """Packets of these connections and kinds (both (m,)), as :func:`correlator.reconcile.kinds.expand` would make them."""
    c, k = folded.connections[connection], folded.kinds[kind]
    reply = k["direction"] == 1
    client, dialled, server, seen = (c[name].astype(np.int64) for name in ("client", "dialled", "server", "seen"))
    source, target = np.where(reply, server, client), np.where(reply, seen, dialled)
    into, onto = np.where(reply, client, server), np.where(reply, dialled, seen)
    protocol = k["protocol"].astype(np.int64)
    flat = protocol == ICMP
    n = len(connection)
    zero, one = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64)
    nat = k["nat"].astype(np.int64)
    columns: dict[str, npt.NDArray[np.integer]] = {
        "protocol": protocol, "src": source >> 16, "sport": np.where(flat, 0, source & 0xFFFF), "dst": target >> 16,
        "dport": np.where(flat, 0, target & 0xFFFF), "to": into >> 16, "to_port": np.where(flat, 0, into & 0xFFFF),
        "from": onto >> 16, "from_port": np.where(flat, 0, onto & 0xFFFF), "state": k["state"], "reply": reply.astype(np.int64),
        "seen_reply": k["seen_reply"], "destination_nat": nat, "source_nat": nat, "enters": one, "loops": zero, "bridged": zero,
        "in_code": k["in_code"], "out_code": k["out_code"], "leaves": one * LEAVES_YES, "ttl": k["ttl"],
        "length": k["length"], "tos": k["tos"], "tcp_flags": k["flags"], "tcp_option_kinds": k["option_kinds"],
        "icmp_type": np.where(flat, k["icmp_type"], -1), "icmp_code": np.where(flat, 0, -1), "mac": zero, "packet_type": zero,
        "malformed": zero, "fragment": zero, "connmark": zero, "client": client, "dialled": dialled, "seen": seen, "server": server,
        "dnat": (dialled != server) & (nat == 0), "snat": (client != seen) & (nat == 0),
    }  # fmt: skip
    return Rows(np.arange(n), zero, zero, {name: np.asarray(values, dtype=np.int64) for name, values in columns.items()})
