"""Taps on a bridge's ports, folded into the bridge's own.

Netfilter knows bridged frames by the bridge's name, so that is what they get here. A port's receive
tap sits before PREROUTING, where the bridge's sits behind it (br_netfilter_hooks.c): of a frame
that both show, the port's sight is kept, with the destination that the container dialled. Of a
frame sent, the bridge's is kept. What only ports show went from one container to another inside the
bridge."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from correlator.addresses import is_ipv6, is_multicast
from correlator.flows.frames.interfaces import RECEIVED, SENT, TWIN_NS
from correlator.flows.frames.port_direction import GROUP_BIT, port_directions, unnamed_ports
from correlator.flows.keys import invariant_key, mix

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from correlator.dataset.facts import Facts
    from correlator.decode import Capture

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

ON_PORT = "on_port"
"""Column of the packet table, bool: the frame was seen on a bridge's port, before PREROUTING or
behind POSTROUTING."""


def fold_ports(capture: Capture, facts: Facts) -> Capture:
    """The capture with frames of ports on their bridges, each once, and the column :data:`ON_PORT`.

    Frames of ports whose direction nobody recorded, and no station tells, are left out, and said to
    be. Where bridge-nf-call-iptables is 0, rules do not see what stays inside a bridge: it is left
    out."""
    told, copies = port_directions(capture, facts)
    packets = capture.packets.assign(direction=told)
    codes = packets["interface"].to_numpy().astype(np.int64)
    direction = packets["direction"].to_numpy()
    names = list(capture.names)
    masters = {
        code: fact.master
        for code, name in enumerate(names)
        if (fact := facts.interfaces.get(name)) is not None
    }
    bridge_of = {
        code: master for code, master in masters.items() if master and facts.is_bridge(master)
    }
    unnamed = unnamed_ports(capture, facts)
    on_port = np.isin(codes, [*bridge_of, *unnamed])
    ports_own = _sent_by_port(packets, codes, names, bridge_of, facts)
    direction = np.where(ports_own, SENT, direction).astype(np.int8)
    packets = packets.assign(direction=direction)
    port = np.isin(codes, list(bridge_of)) & (direction > 0) & ~ports_own
    if not on_port.any():
        return replace(capture, packets=capture.packets.assign(**{ON_PORT: False}))
    unknown = on_port & ~port & ~ports_own
    interfaces = list(capture.interfaces)
    for code, master in sorted(bridge_of.items()):
        if master not in names:
            names.append(master)
            interfaces.append(
                replace(capture.interfaces[code], name=master, received=None, dropped=None)
            )
    codes_before = codes.copy()
    table = np.arange(len(names))
    for code, master in bridge_of.items():
        table[code] = names.index(master)
    codes[port] = table[codes[port]]
    alike = mix(invariant_key(packets), packets["ttl"].to_numpy(), codes)
    key = mix(alike, direction)
    time = packets["time"].to_numpy()
    src, dst = packets["src"].to_numpy(), packets["dst"].to_numpy()
    keep = ~copies & ~unknown
    paired = _pair(key, time, port, direction, src, dst, keep)
    inside = port & ~paired
    group = (packets["mac_dst"].to_numpy() >> GROUP_BIT) & np.uint64(1) == 1
    group |= is_multicast(dst.astype(np.int64))  # a cooked header does not tell whom a frame is for
    flooded = inside & group & (direction == SENT)
    keep &= ~flooded | _from_a_port(
        alike, time, direction == RECEIVED, flooded & is_ipv6(dst.astype(np.int64))
    )
    if not facts.bridges_filter:
        keep &= ~inside
    used = np.unique(codes[keep]).tolist()
    position = np.full(len(names), -1, dtype=np.int16)
    position[used] = np.arange(len(used))
    kept = packets.assign(interface=position[codes], **{ON_PORT: port})[keep].reset_index(drop=True)
    losses = tuple(
        f"{one.name}: {one.dropped} packets were lost while capturing ({one.file})"
        for code, one in enumerate(capture.interfaces)
        if code in bridge_of and one.dropped
    )
    return replace(
        capture,
        interfaces=tuple(interfaces[code] for code in used),
        packets=kept,
        warnings=(*capture.warnings, *losses, *_left_out(capture, codes_before, unknown, unnamed)),
    )


def _sent_by_port(
    packets: pd.DataFrame, codes: Ints, names: list[str], bridge_of: dict[int, str], facts: Facts
) -> Bools:
    """Frames of ports' own: a port has an address of IPv6 and tells of it, past its bridge."""
    source = packets["mac_src"].to_numpy()
    result = np.zeros(len(packets), dtype=bool)
    for code, master in bridge_of.items() if facts.family == 6 else ():
        mac = facts.interfaces[names[code]].mac
        bridge = facts.interfaces.get(master)
        if mac and (bridge is None or bridge.mac != mac):
            result |= (codes == code) & (source == mac)
    return result


def _from_a_port(alike: npt.NDArray[np.uint64], time: Ints, received: Bools, asked: Bools) -> Bools:
    """Which of the frames ``asked`` of (n,) a bridge had received just before: the others are the
    host's own."""
    came: dict[int, list[int]] = {}
    for row in np.flatnonzero(received).tolist():
        came.setdefault(int(alike[row]), []).append(int(time[row]))
    result = np.zeros(len(time), dtype=bool)
    for row in np.flatnonzero(asked).tolist():
        ago = [int(time[row]) - when for when in came.get(int(alike[row]), ())]
        result[row] = any(0 <= one <= TWIN_NS for one in ago)
    return result


def _left_out(capture: Capture, codes: Ints, unknown: Bools, unnamed: list[int]) -> list[str]:
    """What is said of frames on ports that are not used."""
    count = np.bincount(codes[unknown], minlength=len(capture.names))
    return [
        f"{name}: {number} frames on this port of a bridge were left out: "
        + (
            "`ip -d -j link` (link.json) would say whose port it is"
            if code in unnamed
            else "nothing tells which way they went"
        )
        for code, (name, number) in enumerate(zip(capture.names, count.tolist(), strict=True))
        if number
    ]


def _pair(
    key: npt.NDArray[np.uint64],
    time: Ints,
    port: Bools,
    direction: npt.NDArray[np.int8],
    src: npt.NDArray[np.uint64],
    dst: npt.NDArray[np.uint64],
    keep: Bools,
) -> Bools:
    """Which frames of ports their bridge shows too; of each such two, clears ``keep`` of the one
    that tells less."""
    order = np.lexsort((time, key))
    paired = np.zeros(len(key), dtype=bool)
    starts = np.flatnonzero(np.r_[True, key[order][1:] != key[order][:-1]])
    sizes = np.diff(np.r_[starts, len(order)])
    twos = starts[sizes == 2]
    a, b = order[twos], order[twos + 1]
    good = (
        (port[a] != port[b])
        & (time[b] - time[a] <= TWIN_NS)
        & ((src[a] == src[b]) | (dst[a] == dst[b]))
    )
    _settle(a[good], b[good], port, direction, paired, keep)
    for start, size in zip(starts[sizes > 2].tolist(), sizes[sizes > 2].tolist(), strict=True):
        open_rows: list[int] = []
        for row in order[start : start + size].tolist():
            match = next(
                (
                    o
                    for o in open_rows
                    if port[o] != port[row]
                    and time[row] - time[o] <= TWIN_NS
                    and (src[o] == src[row] or dst[o] == dst[row])
                ),
                None,
            )
            if match is None:
                open_rows.append(row)
                continue
            open_rows.remove(match)
            _settle(np.array([match]), np.array([row]), port, direction, paired, keep)
    return paired


def _settle(
    a: Ints, b: Ints, port: Bools, direction: npt.NDArray[np.int8], paired: Bools, keep: Bools
) -> None:
    on_port, on_bridge = np.where(port[a], a, b), np.where(port[a], b, a)
    paired[on_port] = True
    keep[np.where(direction[on_port] == RECEIVED, on_bridge, on_port)] = False
