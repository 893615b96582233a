"""Which way each frame went: received by the host, sent by it, on loopback, or between two ports of
a bridge.

Where neither the file nor ``link.json`` tells, frames that reappear with their TTL one less tell
which side of an interface is the host's; where none do, its own MAC is the one that every unicast
frame has on one side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.addresses import in_network
from correlator.flows.keys import WINDOW_NS, invariant_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from correlator.arrays import Bools, Bytes, Ints
    from correlator.dataset.facts import Facts
    from correlator.decode import Capture


IN, OUT, LOOP, BRIDGED = 1, 2, 3, 4
"""Which way a frame went: received by the host, sent by it, on loopback, or between two ports of a
bridge."""


@dataclass(frozen=True)
class Sight:
    """What the taps saw: ``wire`` int8 (n,) of IN, OUT, LOOP or BRIDGED; ``bridge`` bool per
    interface. ``within`` bool (n,): a bridge sent it, from an address of its own network.

    ``inferred`` names the facts that were worked out, for the report.
    """

    wire: Bytes
    bridge: Bools
    within: Bools
    macs: dict[str, int]
    inferred: tuple[str, ...]


def look(capture: Capture, facts: Facts, worked_out: Mapping[str, int] | None = None) -> Sight:
    """Tell for every frame whether the host received or sent it. ``worked_out``: MAC addresses of
    interfaces that were worked out from more frames than these."""
    worked_out = worked_out or {}
    packets = capture.packets
    wire = np.zeros(len(packets), dtype=np.int8)
    interface = packets["interface"].to_numpy()
    direction = packets["direction"].to_numpy()
    wire[direction == 1] = IN
    wire[direction == 2] = OUT
    votes = ttl_votes(packets)
    macs: dict[str, int] = {}
    guessed: list[str] = []
    for code, info in enumerate(capture.interfaces):
        if info.name in worked_out:
            guessed.append(info.name)
            macs[info.name] = worked_out[info.name]
        rows = np.flatnonzero(interface == code)
        if not len(rows):
            continue
        if info.name == "lo":
            wire[rows] = LOOP
            continue
        fact = facts.interfaces.get(info.name)
        mac = fact.mac if fact is not None else 0
        if info.name in worked_out:
            mac = worked_out[info.name]
        elif not mac and (wire[rows] == 0).any():
            mac = _own_mac(packets.iloc[rows], votes[rows])
            guessed.append(info.name)
        macs[info.name] = mac
        _by_mac(packets, rows, mac, wire)
        _by_address(packets, rows, votes, facts, wire)
    bridge = np.array([is_bridge_tap(info.name, facts) for info in capture.interfaces], dtype=bool)
    inferred = (f"MAC addresses of {', '.join(guessed)}",) if guessed else ()
    return Sight(wire, bridge, _within(packets, capture, facts, bridge, wire), macs, inferred)


def _within(
    packets: pd.DataFrame, capture: Capture, facts: Facts, bridge: Bools, wire: Bytes
) -> Bools:
    """Frames that a bridge sent from another's address of its own network: the host routed them
    back, or br_netfilter rewrote a bridged frame's destination in PREROUTING and sends it to its
    new neighbour by the bridge itself, ahead of FORWARD (br_nf_pre_routing_finish_bridge,
    net/bridge/br_netfilter_hooks.c)."""
    result = np.zeros(len(packets), dtype=bool)
    interface, source = packets["interface"].to_numpy(), packets["src"].to_numpy()
    for code in np.flatnonzero(bridge).tolist():
        fact = facts.interfaces.get(capture.interfaces[code].name)
        rows = np.flatnonzero((interface == code) & (wire == OUT))
        for address, length in fact.addresses if fact is not None and len(rows) else ():
            away = source[rows].astype(np.int64)
            result[rows] |= in_network(away, address, length) & (away != address)
    return result


def is_bridge_tap(name: str, facts: Facts) -> bool:
    """Whether the tap sits behind br_netfilter's PREROUTING."""
    return facts.bridges_filter and facts.is_bridge(name)


def ttl_votes(packets: pd.DataFrame) -> Bytes:
    """IN for a sight of a packet that next reappears with TTL one less, OUT for that second sight,
    else 0."""
    key, ttl = invariant_key(packets), packets["ttl"].to_numpy().astype(np.int64)
    time = packets["time"].to_numpy()
    order = np.lexsort((time, key))
    a, b = order[:-1], order[1:]
    pair = (key[a] == key[b]) & (ttl[a] == ttl[b] + 1) & (time[b] - time[a] < WINDOW_NS)
    votes = np.zeros(len(packets), dtype=np.int8)
    votes[a[pair]], votes[b[pair]] = IN, OUT
    return votes


def _own_mac(frames: pd.DataFrame, votes: Bytes) -> int:
    """The interface's own MAC, as the frames on it tell; 0 where nothing does."""
    src, dst = frames["mac_src"].to_numpy(), frames["mac_dst"].to_numpy()
    unicast = ((dst >> np.uint64(40)) & np.uint64(1)) == 0
    unicast &= src != 0
    candidates = set(np.unique(np.r_[src[unicast], dst[unicast]]).tolist())
    scores: list[tuple[int, int, int]] = []
    for mac in candidates:
        present = int(((src == mac) | (dst == mac))[unicast].sum())
        agree = int(((src == mac) & (votes == OUT)).sum() + ((dst == mac) & (votes == IN)).sum())
        oppose = int(((src == mac) & (votes == IN)).sum() + ((dst == mac) & (votes == OUT)).sum())
        scores.append((agree - oppose, present, mac))
    return max(scores)[2] if scores else 0


def _by_mac(packets: pd.DataFrame, rows: Ints, mac: int, wire: Bytes) -> None:
    if not mac:
        return
    src = packets["mac_src"].to_numpy()[rows]
    dst = packets["mac_dst"].to_numpy()[rows]
    unknown = (wire[rows] == 0) & (src != 0)
    group = ((dst >> np.uint64(40)) & np.uint64(1)) == 1
    told = np.where(src == mac, OUT, np.where((dst == mac) | group, IN, BRIDGED))
    wire[rows[unknown]] = told[unknown]


def _by_address(packets: pd.DataFrame, rows: Ints, votes: Bytes, facts: Facts, wire: Bytes) -> None:
    """Frames without link addresses (raw IP): by reappearance, else by the host's own addresses."""
    unknown = rows[wire[rows] == 0]
    if not len(unknown):
        return
    own = np.array([a for f in facts.interfaces.values() for a, _ in f.addresses], dtype=np.uint64)
    sent = np.isin(packets["src"].to_numpy()[unknown], own)
    wire[unknown] = np.where(votes[unknown] != 0, votes[unknown], np.where(sent, OUT, IN))
