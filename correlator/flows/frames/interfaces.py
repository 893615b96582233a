"""Which interface netfilter saw each frame on: VLANs, and captures of all interfaces at once
(``tcpdump -i any``).

A tagged frame on eth0 is one of eth0.100 to the rules. A cooked header names the interface by its
index (SLL2) or not at all (SLL), and one packet shows up to three times: on the port of a bridge
and on the bridge, coming or going. Where the header tells them apart, the ports stay ports
(:mod:`correlator.flows.frames.bridge_ports`). Elsewhere what is kept is what a capture of the
bridge would have shown: of a packet received, the last sight (behind the bridge's PREROUTING); of
one sent, the first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from correlator.addresses import in_network, is_loopback
from correlator.decode.link import SLL, SLL2
from correlator.errors import InputError
from correlator.flows.keys import mix

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from correlator.dataset.facts import Facts
    from correlator.decode import Capture

    Ints = npt.NDArray[np.int64]

TWIN_NS = 3_000_000
RECEIVED, SENT = 1, 2


def split_vlans(capture: Capture, facts: Facts) -> Capture:
    """The capture with tagged frames on the VLAN's own interface (``eth0.100``; vlan100 where the
    facts name it so).

    Where that interface was captured too, it shows the same frames untagged: the tagged ones are
    left out."""
    packets = capture.packets
    vlan, codes = packets["vlan"].to_numpy(), packets["interface"].to_numpy().astype(np.int64)
    if not (vlan >= 0).any():
        return capture
    interfaces = list(capture.interfaces)
    keep = np.ones(len(packets), dtype=bool)
    for code, number in sorted(
        set(zip(codes[vlan >= 0].tolist(), vlan[vlan >= 0].tolist(), strict=True))
    ):
        rows = (codes == code) & (vlan == number)
        parent = capture.interfaces[code]
        name = f"{parent.name}.{number}"
        name = (
            f"vlan{number}"
            if name not in facts.interfaces and f"vlan{number}" in facts.interfaces
            else name
        )
        if name in capture.names:
            keep &= ~rows
            continue
        interfaces.append(replace(parent, name=name))
        codes[rows] = len(interfaces) - 1
    used = np.unique(codes[keep]).tolist()
    position = np.full(len(interfaces), -1, dtype=np.int16)
    position[used] = np.arange(len(used))
    kept = packets[keep].assign(interface=position[codes[keep]]).reset_index(drop=True)
    return replace(capture, interfaces=tuple(interfaces[code] for code in used), packets=kept)


def name_interfaces(capture: Capture, facts: Facts) -> Capture:
    """The capture with its cooked frames on named interfaces; others are left as they are.

    Raises :class:`~correlator.errors.InputError` where a cooked capture needs facts and there are
    none."""
    cooked = [code for code, i in enumerate(capture.interfaces) if i.link_type in (SLL, SLL2)]
    packets = capture.packets
    rows = np.flatnonzero(np.isin(packets["interface"].to_numpy(), cooked))
    if not len(rows):
        return capture
    if not facts.interfaces:
        file = capture.interfaces[cooked[0]].file
        raise InputError(
            f"{file}: a capture of `any` does not name its interfaces: save `ip -j addr`, `ip -d "
            f"-j link` and "
            "`ip -j route show table all` as addr.json, link.json and route.json beside it"
        )
    names = list(dict.fromkeys([*capture.names, *facts.interfaces]))
    codes = packets["interface"].to_numpy().astype(np.int64)
    codes[rows] = _by_index(capture, facts, names, codes[rows])
    unknown = rows[codes[rows] < 0]
    codes[unknown] = _by_address(packets, facts, names, unknown)
    ports = [
        names.index(name)
        for name, fact in facts.interfaces.items()
        if fact.master and facts.is_bridge(fact.master)
    ]
    keep = _once(packets, rows[~np.isin(codes[rows], ports)]) & (codes >= 0)
    used = np.unique(codes[keep]).tolist()
    position = np.full(len(names), -1, dtype=np.int16)
    position[used] = np.arange(len(used))
    kept = packets[keep].assign(interface=position[codes[keep]]).reset_index(drop=True)
    first = {i.name: i for i in capture.interfaces}
    any_one = capture.interfaces[cooked[0]]
    interfaces = tuple(first.get(names[code], replace(any_one, name=names[code])) for code in used)
    return replace(capture, interfaces=interfaces, packets=kept)


def _by_index(capture: Capture, facts: Facts, names: list[str], codes: Ints) -> Ints:
    """The named interface of every code; -1 where its file gives no index."""
    known = {fact.index: name for name, fact in facts.interfaces.items() if fact.index}
    table = np.array(
        [names.index(known[i.index]) if i.index in known else -1 for i in capture.interfaces],
        dtype=np.int64,
    )
    return table[codes]


def _by_address(packets: pd.DataFrame, facts: Facts, names: list[str], rows: Ints) -> Ints:
    """Sent frames bear the address of the interface that sent them; received ones came from where
    the route to their source leads; what goes from an own address to an own address is on
    loopback."""
    mac, direction = packets["mac_src"].to_numpy()[rows], packets["direction"].to_numpy()[rows]
    src, dst = (
        packets["src"].to_numpy()[rows].astype(np.int64),
        packets["dst"].to_numpy()[rows].astype(np.int64),
    )
    own = np.array(
        sorted(a for fact in facts.interfaces.values() for a, _ in fact.addresses), dtype=np.int64
    )
    result = np.full(len(rows), -1, dtype=np.int64)
    for name, fact in facts.interfaces.items():
        if fact.mac and not fact.master:  # a bridge takes the address of one of its ports
            result[(direction == SENT) & (mac == fact.mac)] = names.index(name)
    routes = sorted(
        (r for r in facts.routes if r.device and r.kind == "unicast"),
        key=lambda r: (-r.length, r.metric),
    )
    peer = np.where(direction == SENT, dst, src)
    for route in routes:
        inside = in_network(peer, route.destination, route.length)
        if route.device in names:
            result[(result < 0) & inside] = names.index(route.device)
    loops = (
        (np.isin(src, own) | is_loopback(src)) & (np.isin(dst, own) | is_loopback(dst)) & (mac == 0)
    )
    if "lo" in names:
        result[loops] = names.index("lo")
    return result


def _once(packets: pd.DataFrame, rows: Ints) -> npt.NDArray[np.bool_]:
    """Which frames stay: of sights of one packet going one way, with the same TTL and close in
    time, one."""
    names = (
        "protocol",
        "ip_id",
        "seq",
        "ack",
        "tcp_flags",
        "payload_length",
        "payload_hash",
        "icmp_type",
        "icmp_code",
        "fragment_offset",
        "ttl",
        "direction",
        "inner_ip_id",
    )
    key = mix(*(packets[name].to_numpy()[rows] for name in names))
    time, direction = packets["time"].to_numpy()[rows], packets["direction"].to_numpy()[rows]
    src, dst = packets["src"].to_numpy()[rows], packets["dst"].to_numpy()[rows]
    order = np.lexsort((time, key))
    a, b = order[:-1], order[1:]
    # NAT rewrites one side between the sights of a bridge's port and the bridge; the other side
    # stays
    twin = (
        (key[a] == key[b])
        & (time[b] - time[a] <= TWIN_NS)
        & ((src[a] == src[b]) | (dst[a] == dst[b]))
    )
    keep = np.ones(len(packets), dtype=bool)
    keep[rows[a[twin & (direction[a] == RECEIVED)]]] = False
    keep[rows[b[twin & (direction[b] == SENT)]]] = False
    return keep
