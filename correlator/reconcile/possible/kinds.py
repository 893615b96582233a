"""Kinds of packet: rows that no rule can tell apart, walked once.

A row is projected on what the rules read (in which of the
ranges that they mention does an address fall), not on values: the cost grows with kinds, not with
packets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.addresses import (
    END_OF_IPV4,
    LIMITED_BROADCAST,
    LOOPBACK,
    MULTICAST,
    groups6,
    link_local6,
    localhost6,
    network_range,
)
from correlator.endpoints import address_of, port_of
from correlator.firewall.conditions.ternary import Reads
from correlator.firewall.sets import ADDRESS, PORT
from correlator.firewall.view import View
from correlator.firewall.walk.path import Passage
from correlator.flows.conntrack import S_INVALID, S_UNTRACKED, STATE_NAMES
from correlator.flows.keys import mix
from correlator.reconcile.possible.rows import LEAVES_NO, LEAVES_YES, Rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from correlator.arrays import Ints
    from correlator.firewall.view import Host


def cut_points(reads: Iterable[Reads], host: Host) -> dict[str, Ints]:
    """Where addresses, ports, lengths and TTLs start to be told apart: by rules, and by the host's
    own tables."""
    asked = list(reads)
    addresses = {0, 1, *LOOPBACK, *MULTICAST, LIMITED_BROADCAST, END_OF_IPV4}
    addresses |= {END_OF_IPV4 + 1, localhost6(), localhost6() + 1}
    addresses |= {end for low, high in (groups6(), link_local6()) for end in (low, high + 1)}
    for read in asked:
        addresses |= read.addresses
    for address in (*host.local, *host.broadcast, *host.anycast):
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
    "attached",
)
_RARE = ("aside", "flooded")
"""Asked only where there is such a row."""


_OPTIONAL = (
    "tos",
    "tcp_flags",
    "tcp_option_kinds",
    "icmp_type",
    "icmp_code",
    "packet_type",
    "extensions",
)


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
    key += [v[name] for name in _RARE if v[name].any()]
    key.append(np.searchsorted(sorted(set(host.mtus.values())), v["indivisible"]))
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
        state=STATE_NAMES[state] if state != S_UNTRACKED or v["aside"] else "NEW",
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
        indivisible=v["indivisible"],
        malformed=bool(v["malformed"]),
        extensions=v["extensions"],
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
        bool(v["aside"]),
        bool(v["flooded"]),
        bool(v["attached"]),
    )
