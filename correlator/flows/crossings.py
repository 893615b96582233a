"""Frames -> crossings: the two sights of one packet, coming in and leaving, joined.

A packet that the host forwards is seen twice: on the tap of the interface it came in by, and, after
its NAT and with its TTL one less, on the tap of the one it left by. What NAT leaves alone names it:
protocol, IP id, TCP sequence/acknowledgement/flags or ICMP type and sequence, payload length and
first payload bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.addresses import is_ipv6, is_multicast
from correlator.flows.conntrack import ICMP6
from correlator.flows.frames.direction import BRIDGED, IN, LOOP, OUT
from correlator.flows.keys import WINDOW_NS, invariant_key, mix

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from correlator.arrays import Bools, Bytes, Ints


NEIGHBOURS = range(133, 138)
"""Types of ICMPv6 that only neighbours send each other (RFC 4861)."""
ALONE = -2
"""In the place of a partner: none is looked for."""


def join(packets: pd.DataFrame, wire: Bytes) -> tuple[Ints, Ints]:
    """Pair frames that came in with frames that left.

    Returns (came_in, left): int64 arrays of row numbers of ``packets``, one row a crossing, -1
    where that sight is missing; ordered by time. Loopback and bridged frames are crossings by
    themselves (the same row in both)."""
    time = packets["time"].to_numpy()
    ttl = packets["ttl"].to_numpy().astype(np.int64)
    key = invariant_key(packets)
    addresses = (packets["src"].to_numpy(), packets["dst"].to_numpy())
    # what neighbours ask each other no router sends on: it keeps its addresses
    asks = (packets["protocol"].to_numpy() == ICMP6) & np.isin(packets["icmp_type"], NEIGHBOURS)
    key = np.where(asks, mix(key, *addresses), key)
    partner = np.full(len(packets), -1, dtype=np.int64)
    step = np.where(wire == OUT, 1, 0)
    target = addresses[1].astype(np.int64)
    flooded = is_ipv6(target) & is_multicast(target)  # by a bridge: each copy is its own
    partner[flooded] = ALONE
    _pair(mix(key, ttl + step), time, wire, addresses, partner)
    _pair(key, time, wire, addresses, partner)  # a rule of target TTL may have rewritten it
    partner[flooded] = -1
    rows = np.arange(len(packets))
    single = (wire == LOOP) | (wire == BRIDGED)
    came = (wire == IN) | single
    left_only = (wire == OUT) & (partner < 0)
    keep = came | left_only
    came_in = np.where(came, rows, -1)[keep]
    left = np.where(single, rows, np.where(wire == OUT, rows, partner))[keep]
    order = np.argsort(time[keep], kind="stable")
    return came_in[order], left[order]


def _pair(
    key: npt.NDArray[np.uint64],
    time: Ints,
    wire: Bytes,
    addresses: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]],
    partner: Ints,
) -> None:
    """Pair the rows that have no partner yet, within equal keys, in order of time; writes
    ``partner`` both ways."""
    open_rows = np.flatnonzero((partner == -1) & ((wire == IN) | (wire == OUT)))
    if not len(open_rows):
        return
    order = open_rows[np.lexsort((wire[open_rows], time[open_rows], key[open_rows]))]
    keys = key[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    sizes = np.diff(np.r_[starts, len(order)])
    # the usual group: one frame in, one frame out
    twos = starts[sizes == 2]
    first, second = order[twos], order[twos + 1]
    good = (wire[first] == IN) & (wire[second] == OUT)
    gap = time[second] - time[first]
    good &= (gap >= 0) & (gap <= WINDOW_NS) & _alike(first, second, addresses)
    partner[first[good]], partner[second[good]] = second[good], first[good]
    for start, size in zip(starts[sizes > 2].tolist(), sizes[sizes > 2].tolist(), strict=True):
        _pair_group(order[start : start + size], time, wire, addresses, partner)


def _alike(
    a: Ints, b: Ints, addresses: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]
) -> Bools:
    """Both ends rewritten at once is rare (hairpin) but happens, so this only keeps a packet from
    its own mirror."""
    src, dst = addresses
    result: Bools = ~((src[a] == dst[b]) & (dst[a] == src[b]) & (src[a] != dst[a]))
    return result


def _pair_group(
    rows: Ints,
    time: Ints,
    wire: Bytes,
    addresses: tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]],
    partner: Ints,
) -> None:
    """Several packets that look alike (a datagram sent again): frames that share an address first,
    then by time."""
    src, dst = addresses
    for strict in (True, False):
        waiting: list[int] = []
        for row in rows.tolist():
            if partner[row] >= 0:
                continue
            if wire[row] == IN:
                waiting.append(row)
                continue
            for i, candidate in enumerate(waiting):
                shared = src[candidate] == src[row] or dst[candidate] == dst[row]
                mirrored = src[candidate] == dst[row] and dst[candidate] == src[row]
                if (
                    time[row] - time[candidate] <= WINDOW_NS
                    and not mirrored
                    and (shared or not strict)
                ):
                    partner[row], partner[candidate] = candidate, row
                    del waiting[i]
                    break
