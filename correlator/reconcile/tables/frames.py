"""Every frame of the input files -> the row of the packets table that it is a sight of.

Not every frame has a row of its own: of a bridge's port and the bridge itself one sight is kept
(``flows.ports``, ``flows.interfaces``), of a datagram's fragments the first (``flows.fragments``).
They are sights of the same packet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from correlator.flows.frames.fragments import REASSEMBLY_NS
from correlator.flows.frames.interfaces import TWIN_NS
from correlator.flows.keys import invariant_key, mix

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Ints

    Words = npt.NDArray[np.uint64]

NONE = -1


def frame_rows(raw: pd.DataFrame, kept: pd.DataFrame) -> pd.DataFrame:
    """``file``, ``frame`` and ``packet`` of every IPv4 frame, int64, in order of file and frame;
    ``raw``: all of them, ``kept``: those with a row of the packets table, in its order."""
    name = _names(raw)
    order = np.argsort(name, kind="stable")
    packet = np.full(len(raw), NONE, dtype=np.int64)
    packet[order[np.searchsorted(name[order], _names(kept))]] = np.arange(len(kept))
    if (packet == NONE).any():
        _fragments(raw, kept, packet)
        _twins(raw, packet)
    columns = {name: raw[name].to_numpy().astype(np.int64) for name in ("file", "frame")}
    return pd.DataFrame({**columns, "packet": packet}).iloc[order].reset_index(drop=True)


def _names(packets: pd.DataFrame) -> Ints:
    """A number that no other frame has."""
    names: Ints = packets["file"].to_numpy().astype(np.int64) << 40 | packets[
        "frame"
    ].to_numpy().astype(np.int64)
    return names


def _fragments(raw: pd.DataFrame, kept: pd.DataFrame, packet: Ints) -> None:
    """Give fragments the row of the datagram that they made: on the same interface, complete only
    after they came."""
    pieces = (raw["fragment_offset"].to_numpy() > 0) | raw["more_fragments"].to_numpy()
    heads = np.flatnonzero(pieces & (packet != NONE))
    members = np.flatnonzero(pieces & (packet == NONE))
    if not len(heads) or not len(members):
        return
    key = mix(*(raw[name].to_numpy() for name in ("interface", "src", "dst", "protocol", "ip_id")))
    complete = kept["time"].to_numpy()[packet[heads]]
    begun = raw["time"].to_numpy()[members]
    _, after = _neighbours(key[heads], complete, key[members], begun)
    good = (after != NONE) & (complete[np.maximum(after, 0)] - begun <= REASSEMBLY_NS)
    members, after = members[good], after[good]
    # a datagram has each offset once: where two fragments claim it, one is of a datagram that never
    # was complete
    place = pd.DataFrame({"head": after, "offset": raw["fragment_offset"].to_numpy()[members]})
    sure = ~place.duplicated(keep=False).to_numpy()
    packet[members[sure]] = packet[heads[after[sure]]]


def _twins(raw: pd.DataFrame, packet: Ints) -> None:
    """Give frames that another tap showed too the row of that sight."""
    key = mix(invariant_key(raw), raw["ttl"].to_numpy())
    shown, alone = np.flatnonzero(packet != NONE), np.flatnonzero(packet == NONE)
    time = raw["time"].to_numpy()
    before, after = _neighbours(key[shown], time[shown], key[alone], time[alone])
    src, dst = raw["src"].to_numpy(), raw["dst"].to_numpy()
    best, gap = (
        np.full(len(alone), NONE, dtype=np.int64),
        np.full(len(alone), TWIN_NS + 1, dtype=np.int64),
    )
    for near in (before, after):
        other = shown[np.maximum(near, 0)]
        away = np.abs(time[other] - time[alone])
        good = (
            (near != NONE)
            & (away < gap)
            & ((src[other] == src[alone]) | (dst[other] == dst[alone]))
        )
        best[good], gap[good] = packet[other[good]], away[good]
    packet[alone] = best


def _neighbours(keys: Words, times: Ints, asked: Words, when: Ints) -> tuple[Ints, Ints]:
    """For each (asked, when): the last of (keys, times) with that key at or before it, and the
    first at or after it; -1 where there is none."""
    count = len(keys)
    key, time = np.concatenate([keys, asked]), np.concatenate([times, when])
    known = np.arange(len(key)) < count
    found = []
    for forward in (True, False):
        order = np.lexsort((~known if forward else known, time, key))
        order = order if forward else order[::-1]
        last = np.maximum.accumulate(np.where(known[order], np.arange(len(order)), -1))
        near = np.where(last >= 0, order[np.maximum(last, 0)], NONE)
        same = (near != NONE) & (key[np.maximum(near, 0)] == key[order])
        result = np.full(len(key), NONE, dtype=np.int64)
        result[order] = np.where(same, near, NONE)
        found.append(result[count:])
    return found[0], found[1]
