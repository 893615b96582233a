"""Kinds of packet: rows that no rule can tell apart, walked once.

A row is one crossing under one alternative. It is projected on what the rules read (in which of the
ranges that they mention does an address fall), not on values: the cost grows with kinds, not with
packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.addresses import (
    END_OF_IPV4,
    LIMITED_BROADCAST,
    LOOPBACK,
    MULTICAST,
    is_loopback,
    network_range,
)
from correlator.endpoints import NOWHERE, address_of, pack, port_of
from correlator.firewall.conditions.ternary import Reads
from correlator.firewall.sets import ADDRESS, PORT
from correlator.firewall.view import View
from correlator.firewall.walk.path import Passage
from correlator.flows.conntrack import (
    RELATED_KIND,
    REPLY,
    S_INVALID,
    S_RELATED,
    S_UNTRACKED,
    STATE_NAMES,
)
from correlator.flows.crossings import BRIDGED, mix
from correlator.reconcile.possible.alternatives import of_groups

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    import pandas as pd

    from correlator.firewall.view import Host
    from correlator.flows.conntrack_events import Witness
    from correlator.flows.host import Sight
    from correlator.flows.pairs import Crossings
    from correlator.reconcile.possible.alternatives import Alternatives, Reading

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

LEAVES_NO, LEAVES_YES, LEAVES_UNWATCHED = 0, 1, 2


@dataclass(frozen=True)
class Rows:
    """Crossings under their alternatives; every array has shape (m,). Endpoints are split into
    address and port.

    ``crossing`` and ``alternative`` say whose row it is. ``to_*`` is the destination after
    destination NAT and ``from_*`` the source after source NAT (-1: the wire does not tell).
    ``client`` ... ``server`` are the connection's endpoints for rules that ask for tuples."""

    crossing: Ints
    alternative: Ints
    program: Ints
    columns: dict[str, Ints]

    def __len__(self) -> int:
        return len(self.crossing)


@dataclass(frozen=True)
class Surroundings:
    """What a walk asks beside the packet: the host, names of interfaces by code, those that were
    captured; and conntrack."""

    host: Host
    names: tuple[str, ...]
    watched: frozenset[str]
    witness: Witness | None


@dataclass(frozen=True)
class Scene:
    """What does not change between readings: the packets, where they were seen, the host around
    them."""

    packets: pd.DataFrame
    crossings: Crossings
    sight: Sight
    host: Host
    names: tuple[str, ...]
    in_code: Ints
    out_code: Ints
    watched: frozenset[str]
    witness: Witness | None = None


def expand(
    scene: Scene,
    readings: list[Reading],
    alternatives: Alternatives,
    program_of: Ints,
    connmark: Ints,
) -> Rows:
    """The rows of all alternatives. ``program_of`` (n,): index of the program that saw each
    crossing; ``connmark`` (n,): each crossing's connection mark (-1 unknown)."""
    crossings = scene.crossings
    by_pair = np.argsort(crossings.pair, kind="stable")
    count = int(crossings.pair.max()) + 1 if len(crossings) else 0
    starts = np.searchsorted(crossings.pair[by_pair], np.arange(count + 1))
    sizes = starts[alternatives.pair + 1] - starts[alternatives.pair]
    alternative = np.repeat(np.arange(len(alternatives.pair)), sizes)
    within = np.arange(len(alternative)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    crossing = by_pair[starts[alternatives.pair[alternative]] + within]
    columns: dict[str, Ints] = {}
    reading_of = alternatives.reading[alternative]
    for number, reading in enumerate(readings):
        rows = np.flatnonzero(reading_of == number)
        part = _columns(
            scene,
            reading,
            crossing[rows],
            alternatives.dialled[alternative[rows]],
            connmark[crossing[rows]],
        )
        for name, values in part.items():
            columns.setdefault(name, np.zeros(len(crossing), dtype=np.int64))[rows] = values
    return Rows(crossing, alternative, program_of[crossing], columns)


def _columns(
    scene: Scene, reading: Reading, at: Ints, door: Ints, connmark: Ints
) -> dict[str, Ints]:
    """What rules can see of these crossings, before they are binned."""
    c, labels, ends = scene.crossings, reading.labels, reading.ends
    shown = np.where(c.entered, c.came_in, c.left)[at]
    entered, sent = c.entered[at], c.sent[at]
    direction, state = labels.direction[at], labels.state[at]
    client, server, seen = ends.client[at], ends.server[at], ends.seen[at]
    dialled = np.where(ends.dialled[at] == NOWHERE, door, ends.dialled[at])
    dialled = np.where(dialled == NOWHERE, server, dialled)
    related = (state == S_RELATED) & (c.kind[at] == RELATED_KIND)
    loose = (direction > REPLY) | related  # its own tuple, as the wire shows it
    reply = direction == REPLY
    new_walk = labels.destination_nat[at]
    known_server = np.where((server == NOWHERE) & ~new_walk, dialled, server)
    known_seen = np.where((seen == NOWHERE) & ~labels.source_nat[at], client, seen)
    source = np.where(reply, np.where(known_server == NOWHERE, dialled, known_server), client)
    target = np.where(reply, np.where(known_seen == NOWHERE, client, known_seen), dialled)
    into = np.where(reply, client, known_server)
    onto = np.where(reply, dialled, known_seen)
    own_source = np.where(entered, c.in_source[at], c.out_source[at])
    own_target = np.where(entered, c.in_destination[at], c.out_destination[at])
    # an error behind a bridge's PREROUTING shows the restored destination: before, it was what the
    # server saw
    restored = (
        related
        & entered
        & c.after_prerouting[at]
        & reply
        & (address_of(own_target) == address_of(client))
    )
    portless = pack(address_of(seen), np.zeros_like(seen))
    before = np.where(restored & (seen != NOWHERE), portless, own_target)
    source = np.where(loose, own_source, source)
    target = np.where(loose, np.where(related, before, own_target), target)
    into = np.where(loose, np.where(sent, c.out_destination[at], own_target), into)
    onto = np.where(loose, np.where(sent, c.out_source[at], NOWHERE), onto)
    p = {name: scene.packets[name].to_numpy()[shown].astype(np.int64) for name in _FIELDS}
    transit = ~entered & ~np.isin(
        address_of(source), np.array(sorted(scene.host.local), dtype=np.int64)
    )
    transit &= ~is_loopback(address_of(source)) & (
        state != S_RELATED
    )  # a reset of REJECT bears the server's address
    inside = (
        entered
        & (scene.in_code[at] == scene.out_code[at])
        & scene.sight.bridge[np.maximum(scene.in_code[at], 0)]
    )
    bridged = (scene.sight.wire[shown] == BRIDGED) | inside
    in_code = np.where(entered, scene.in_code[at], np.where(transit, ends.in_code[at], NOWHERE))
    in_code = _routed(scene, address_of(source), transit, in_code)
    protocol = np.where(related, 1, c.protocol[at])
    result = {
        "protocol": protocol,
        "src": address_of(source),
        "sport": port_of(source),
        "dst": address_of(target),
        "dport": port_of(target),
        "to": np.where(into == NOWHERE, NOWHERE, address_of(into)),
        "to_port": port_of(into),
        "from": np.where(onto == NOWHERE, NOWHERE, address_of(onto)),
        "from_port": port_of(onto),
        "state": state,
        "reply": reply.astype(np.int64),
        "seen_reply": labels.seen_reply[at].astype(np.int64),
        "destination_nat": new_walk.astype(np.int64),
        "source_nat": labels.source_nat[at].astype(np.int64),
        "enters": ((entered & ~c.loop[at]) | transit).astype(np.int64),
        "loops": c.loop[at].astype(np.int64),
        "bridged": bridged.astype(np.int64),
        "in_code": in_code,
        "out_code": np.where(sent, scene.out_code[at], NOWHERE),
        "leaves": np.where(c.loop[at], LEAVES_UNWATCHED, np.where(sent, LEAVES_YES, LEAVES_NO)),
        "ttl": p["ttl"] + transit,
        "length": p["length"],
        "tos": p["tos"],
        "tcp_flags": p["tcp_flags"],
        "tcp_option_kinds": p["tcp_option_kinds"],
        "icmp_type": p["icmp_type"],
        "icmp_code": p["icmp_code"],
        "mac": p["mac_src"],
        "packet_type": _packet_type(p, entered),
        "malformed": p["malformed"],
        "fragment": (p["fragment_offset"] > 0).astype(np.int64),
        "connmark": connmark,
        "joined": (reading.joined | ~of_groups(c)[at]).astype(np.int64),
        "client": client,
        "dialled": dialled,
        "seen": np.where(known_seen == NOWHERE, client, known_seen),
        "server": np.where(known_server == NOWHERE, dialled, known_server),
        "dnat": ((dialled != server) & (server != NOWHERE) & ~new_walk).astype(np.int64),
        "snat": ((client != seen) & (seen != NOWHERE) & ~labels.source_nat[at]).astype(np.int64),
    }
    flat = protocol == 1  # the id stands for both ports, and NAT rewrites it once for both
    for name in ("sport", "dport", "to_port", "from_port"):
        result[name] = np.where(flat, 0, result[name])
    return {name: np.asarray(values, dtype=np.int64) for name, values in result.items()}


def _routed(scene: Scene, address: Ints, transit: Bools, in_code: Ints) -> Ints:
    """Where no tap saw a forwarded packet come in: the interface that the route back to its source
    names."""
    unseen = transit & (in_code < 0)
    if not unseen.any():
        return in_code
    codes = {name: code for code, name in enumerate(scene.names)}
    found, inverse = np.unique(address[unseen], return_inverse=True)
    routes = [scene.host.route(int(a)) for a in found]
    told = np.array(
        [codes.get(r.device, -1) if r is not None else -1 for r in routes], dtype=np.int64
    )
    result = in_code.copy()
    result[unseen] = told[inverse]
    return result


_FIELDS = (
    "ttl",
    "length",
    "tos",
    "tcp_flags",
    "tcp_option_kinds",
    "icmp_type",
    "icmp_code",
    "mac_src",
    "mac_dst",
    "packet_type",
    "malformed",
    "fragment_offset",
)


def _packet_type(p: dict[str, Ints], entered: Bools) -> Ints:
    """skb->pkt_type of received frames (eth_type_trans): 0 to this host, 1 broadcast, 2 multicast;
    -1 unknown."""
    group = (p["mac_dst"] >> 40) & 1
    told = np.where(
        p["mac_dst"] == 0xFFFFFFFFFFFF,
        1,
        np.where(group == 1, 2, np.where(p["mac_dst"] > 0, 0, -1)),
    )
    return np.where(entered, np.where(p["packet_type"] >= 0, p["packet_type"], told), -1)


def cut_points(reads: Iterable[Reads], host: Host) -> dict[str, Ints]:
    """Where addresses, ports, lengths and TTLs start to be told apart: by rules, and by the host's
    own tables."""
    asked = list(reads)
    addresses = {0, 1, *LOOPBACK, *MULTICAST, LIMITED_BROADCAST, END_OF_IPV4}
    for read in asked:
        addresses |= read.addresses
    for address in (*host.local, *host.broadcast):
        addresses |= {address, address + 1}
    ports = set().union(*(r.ports for r in asked))
    for members in host.sets.values():
        addresses |= members.cuts[ADDRESS]
        ports |= members.cuts[PORT]
    for route in host.routes:
        low, high = network_range(route.net, route.length)
        addresses |= {low, high + 1}
    return {
        "address": np.array(sorted(addresses), dtype=np.int64),
        "port": np.array(sorted(ports), dtype=np.int64),
        "length": np.array(sorted(set().union(*(r.lengths for r in asked))), dtype=np.int64),
        "ttl": np.array(sorted({2}.union(*(r.ttls for r in asked))), dtype=np.int64),
        "mac": np.array(sorted(set().union(*(r.macs for r in asked))), dtype=np.int64),
    }


_WHOLE = (
    "protocol",
    "state",
    "reply",
    "seen_reply",
    "destination_nat",
    "source_nat",
    "enters",
    "loops",
    "bridged",
    "in_code",
    "out_code",
    "leaves",
    "malformed",
    "fragment",
    "connmark",
    "dnat",
    "snat",
    "joined",
)
_OPTIONAL = ("tos", "tcp_flags", "tcp_option_kinds", "icmp_type", "icmp_code", "packet_type")


def classify(rows: Rows, reads: list[Reads], host: Host) -> tuple[Ints, Ints]:
    """(representatives, kind): a row number for every kind, and every row's kind; int64 (kinds,)
    and (m,)."""
    cuts, v = cut_points(reads, host), rows.columns
    fields = set().union(*(r.fields for r in reads))

    def binned(name: str, cut: str) -> Ints:
        return np.searchsorted(cuts[cut], v[name], side="right")

    key = [rows.program, *(v[name] for name in _WHOLE)]
    key += [binned(name, "address") for name in ("src", "dst", "to", "from")]
    key += [binned(name, "port") for name in ("sport", "dport", "to_port", "from_port")]
    told = (
        v["to"] < 0,
        v["from"] < 0,
        v["to"] == v["dst"],
        v["to_port"] == v["dport"],
        v["from"] == v["src"],
    )
    key += [part.astype(np.int64) for part in (*told, v["from_port"] == v["sport"])]
    key += [binned("length", "length"), binned("ttl", "ttl")]
    key += [v[name] for name in _OPTIONAL if name in fields]
    if any(r.macs for r in reads):
        key.append(np.where(np.isin(v["mac"], cuts["mac"]), v["mac"], 0))
    if "tuples" in fields:
        for name in ("client", "dialled", "seen", "server"):
            key.append(np.searchsorted(cuts["address"], address_of(v[name]), side="right"))
            key.append(np.searchsorted(cuts["port"], port_of(v[name]), side="right"))
    if any(f.startswith("set:") for f in fields):
        key += [v["src"], v["dst"]]
    _, first, kind = np.unique(mix(*key), return_index=True, return_inverse=True)
    return first.astype(np.int64), kind.astype(np.int64)


def passage(rows: Rows, row: int, names: tuple[str, ...]) -> Passage:
    """One row as the walk takes it."""
    v = {name: int(values[row]) for name, values in rows.columns.items()}
    state = v["state"]
    tracked = state not in (S_INVALID, S_UNTRACKED)
    enters = bool(v["enters"])
    client, dialled, seen, server = v["client"], v["dialled"], v["seen"], v["server"]
    view = View(
        protocol=v["protocol"],
        src=v["src"],
        dst=v["dst"],
        sport=v["sport"],
        dport=v["dport"],
        in_interface=(names[v["in_code"]] if v["in_code"] >= 0 else None) if enters else "",
        state=STATE_NAMES[state] if state != S_UNTRACKED else "NEW",
        reply=bool(v["reply"]),
        seen_reply=bool(v["seen_reply"]),
        original=(address_of(client), port_of(client), address_of(dialled), port_of(dialled))
        if tracked
        else None,
        replied=(address_of(server), port_of(server), address_of(seen), port_of(seen))
        if tracked
        else None,
        dnat=bool(v["dnat"]),
        snat=bool(v["snat"]),
        connmark=v["connmark"] if v["connmark"] >= 0 else None,
        length=v["length"],
        ttl=v["ttl"],
        tos=v["tos"],
        tcp_flags=v["tcp_flags"],
        tcp_option_kinds=v["tcp_option_kinds"],
        icmp_type=v["icmp_type"],
        icmp_code=v["icmp_code"],
        mac_src=v["mac"] or None,
        packet_type=v["packet_type"] if v["packet_type"] >= 0 else None,
        fragment=bool(v["fragment"]),
        malformed=bool(v["malformed"]),
    )
    return Passage(
        view,
        enters,
        bool(v["loops"]),
        bool(v["destination_nat"]),
        bool(v["source_nat"]),
        (v["to"], v["to_port"]) if v["to"] >= 0 else None,
        (v["from"], v["from_port"]) if v["from"] >= 0 else None,
        {LEAVES_NO: False, LEAVES_YES: True}.get(v["leaves"]),
        names[v["out_code"]] if v["out_code"] >= 0 else None,
        bool(v["bridged"]),
        bool(v["joined"]),
    )
