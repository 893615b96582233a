r"""Which way frames went on a bridge's ports, and on the bridge, where their files do not say.

A pcap of a port holds both ways alike, and no frame on it bears the port's own address: what comes
in bears the address of a station behind it (a container's end of a veth pair), what is sent goes to
one. So stations are put behind ports first, as the bridge itself learns them::

    station -- port ~~ bridge ~~ port -- station      what tells where a station is:
       |          \      |      /          |           a frame between it and the bridge itself is
       |           tap  tap  tap           |           on its port only; and the first sight of a
                                                       frame is on the port of its source

On the bridge's own tap a frame that neither comes from the bridge nor goes to it is a copy that a
promiscuous capture made of what passes from port to port. It is no packet of the host's, and where
the ports show it, it is left out (br_handle_frame_finish, br_pass_frame_up: the copy goes up the
stack as PACKET_OTHERHOST, and netfilter has seen the frame already)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from correlator.flows.frames.interfaces import RECEIVED, SENT, TWIN_NS
from correlator.flows.keys import invariant_key, mix

if TYPE_CHECKING:
    import pandas as pd

    from correlator.arrays import Bools, Bytes, Ints
    from correlator.dataset.facts import Facts
    from correlator.decode import Capture

GROUP_BIT = np.uint64(40)
"""The bit of a MAC address that a group's has set (IEEE 802, the first on the wire)."""


def port_directions(capture: Capture, facts: Facts) -> tuple[Bytes, Bools]:
    """(direction of every frame, int8 (n,): as recorded, else RECEIVED or SENT where stations tell,
    else 0; copies that a promiscuous capture of a bridge made of frames that its ports show, bool
    (n,))."""
    packets = capture.packets
    direction = packets["direction"].to_numpy().astype(np.int8)
    copies = np.zeros(len(packets), dtype=bool)
    codes = packets["interface"].to_numpy().astype(np.int64)
    names = capture.names
    bridges: dict[str, list[int]] = {}
    for code, name in enumerate(names):
        fact = facts.interfaces.get(name)
        if fact is not None and fact.master and facts.is_bridge(fact.master):
            bridges.setdefault(fact.master, []).append(code)
    for bridge, ports in bridges.items():
        mac = facts.interfaces[bridge].mac if bridge in facts.interfaces else 0
        own = names.index(bridge) if bridge in names else -1
        rows = np.flatnonzero(np.isin(codes, [*ports, own]))
        if not mac or not np.isin(codes[rows], ports).any() or (direction[rows] > 0).all():
            continue
        part = packets.iloc[rows]
        told, inside = _on_bridge(part, codes[rows], np.array(ports), own, mac)
        unsaid = direction[rows] == 0
        direction[rows[unsaid]] = told[unsaid]
        copies[rows[unsaid & inside]] = True
    return direction, copies


def _on_bridge(
    packets: pd.DataFrame, codes: Ints, ports: Ints, own: int, mac: int
) -> tuple[Bytes, Bools]:
    """(directions, copies) of the frames of one bridge with this ``mac``: on its ``ports``, and on
    its ``own`` tap (-1: there is none)."""
    src, dst = packets["mac_src"].to_numpy(), packets["mac_dst"].to_numpy()
    group = (dst >> GROUP_BIT) & np.uint64(1) == 1
    on_port = np.isin(codes, ports)
    on_bridge = codes == own
    behind = _stations(packets, codes, on_port, mac)
    at_source, at_target = (
        np.array([behind.get(one, -1) for one in side.tolist()], dtype=np.int64)
        for side in (src, dst)
    )
    told = np.zeros(len(packets), dtype=np.int8)
    came = on_port & ((at_source == codes) | (~group & (at_target >= 0) & (at_target != codes)))
    went = on_port & (
        (src == mac) | (~group & (at_target == codes)) | ((at_source >= 0) & (at_source != codes))
    )
    told[came & ~went] = RECEIVED
    told[went & ~came] = SENT
    told[on_bridge & (src == mac)] = SENT
    told[on_bridge & (src != mac) & (group | (dst == mac))] = RECEIVED
    inside = on_bridge & (src != mac) & (dst != mac) & ~group
    return told, inside & _shown_too(packets, inside, on_port)


def _stations(packets: pd.DataFrame, codes: Ints, on_port: Bools, mac: int) -> dict[int, int]:
    """Address of a station -> the port that it is behind, of those that can be told."""
    src, dst = packets["mac_src"].to_numpy(), packets["mac_dst"].to_numpy()
    votes: dict[int, Counter[int]] = {}
    for station, other in ((src, dst), (dst, src)):
        rows = np.flatnonzero(on_port & (other == mac) & (station != mac) & (station != 0))
        for name, code in zip(station[rows].tolist(), codes[rows].tolist(), strict=True):
            votes.setdefault(name, Counter())[code] += 1
    direct = {name: found.most_common(1)[0][0] for name, found in votes.items()}
    for first, _ in _twins(packets, np.flatnonzero(on_port), codes):
        name = int(src[first])
        if name not in direct and name != mac:
            votes.setdefault(name, Counter())[int(codes[first])] += 1
    return {name: found.most_common(1)[0][0] for name, found in votes.items()} | direct


def _twins(packets: pd.DataFrame, rows: Ints, codes: Ints) -> list[tuple[int, int]]:
    """(first, second) sight of frames that two ports show one after the other."""
    time = packets["time"].to_numpy()[rows]
    key = mix(
        invariant_key(packets.iloc[rows]),
        packets["ttl"].to_numpy()[rows],
        packets["mac_src"].to_numpy()[rows],
        packets["mac_dst"].to_numpy()[rows],
    )
    order = np.lexsort((time, key))
    a, b = order[:-1], order[1:]
    good = (key[a] == key[b]) & (time[b] > time[a]) & (time[b] - time[a] <= TWIN_NS)
    good &= codes[rows[a]] != codes[rows[b]]
    return list(zip(rows[a[good]].tolist(), rows[b[good]].tolist(), strict=True))


def _shown_too(packets: pd.DataFrame, asked: Bools, on_port: Bools) -> Bools:
    """Which of the frames ``asked`` of (n,) a port shows within TWIN_NS."""
    result = np.zeros(len(packets), dtype=bool)
    key = mix(invariant_key(packets), packets["ttl"].to_numpy(), packets["mac_src"].to_numpy())
    time = packets["time"].to_numpy()
    known: dict[int, list[int]] = {}
    for row in np.flatnonzero(on_port).tolist():
        known.setdefault(int(key[row]), []).append(int(time[row]))
    for row in np.flatnonzero(asked).tolist():
        result[row] = any(
            abs(when - int(time[row])) <= TWIN_NS for when in known.get(int(key[row]), ())
        )
    return result


def unnamed_ports(capture: Capture, facts: Facts) -> list[int]:
    """Interfaces that look like ports of a bridge that was captured too, where no ``link.json``
    says so: ends of veth pairs, most of whose frames the bridge's tap shows as they are."""
    if "link.json" in facts.present:
        return []
    packets, names = capture.packets, capture.names
    codes = packets["interface"].to_numpy()
    bridges = np.isin(codes, [code for code, name in enumerate(names) if facts.is_bridge(name)])
    found = []
    for code, name in enumerate(names):
        mine = codes == code
        if name.startswith("veth") and mine.any() and bridges.any():
            shown = _shown_too(packets, mine, bridges)
            if 2 * int(shown.sum()) > int(mine.sum()):
                found.append(code)
    return found
