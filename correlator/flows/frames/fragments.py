"""Fragments -> datagrams: netfilter sees a datagram once, after reassembly.

nf_defrag_ipv4.c puts fragments together at priority -400, before raw, and what the host sends is
cut only after POSTROUTING: so the frames of one datagram on one interface are one hit, with the
reassembled length. Incomplete datagrams never reach a rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.decode.network6 import FRAGMENT, bit
from correlator.flows.keys import mix

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

FRAGMENT_HEADER = 8
L4_HEADER = {1: 8, 17: 8, 58: 8}
REASSEMBLY_NS = 30_000_000_000
"""net.ipv4.ipfrag_time: how long the kernel waits for the rest."""


def reassemble(packets: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """(packets with one row a datagram, number of fragments whose datagram is incomplete).

    The row is the first fragment's, at the time of the last one, with ``length`` as reassembled
    (RFC 791). A first fragment that carries a whole datagram's length already (seen behind the
    reassembly) stays as it is."""
    offset = packets["fragment_offset"].to_numpy().astype(np.int64)
    piece = (offset > 0) | packets["more_fragments"].to_numpy()
    if not piece.any():
        return packets, 0
    rows = np.flatnonzero(piece)
    time = packets["time"].to_numpy()
    group = _groups(packets, rows, offset, time)
    order = np.lexsort((offset[rows], group))
    rows, group = rows[order], group[order]
    starts = np.flatnonzero(np.r_[True, np.diff(group) != 0])
    size = (packets["length"].to_numpy().astype(np.int64) - packets["header_length"].to_numpy())[
        rows
    ]
    more = packets["more_fragments"].to_numpy()[rows]
    kept, when, total, lost = [], [], [], 0
    for begin, end in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
        reached = 0
        for i in range(begin, end):
            if offset[rows[i]] > reached:
                break
            reached = max(reached, int(offset[rows[i]] + size[i]))
        else:
            if not more[end - 1]:
                kept.append(rows[begin])
                when.append(int(time[rows[begin:end]].max()))
                total.append(reached)
                continue
        lost += end - begin
    whole = packets.drop(index=packets.index[np.setdiff1d(rows, np.array(kept, dtype=np.int64))])
    if kept:
        _rewrite(whole, packets.index[np.array(kept)], np.array(when), np.array(total))
    return whole.sort_values("time", kind="stable", ignore_index=True), lost


def _groups(
    packets: pd.DataFrame,
    rows: npt.NDArray[np.int64],
    offset: npt.NDArray[np.int64],
    time: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Which datagram each fragment belongs to: same interface and identification, each offset once,
    close in time."""
    key = mix(
        *(
            packets[name].to_numpy()[rows]
            for name in ("interface", "src", "dst", "protocol", "ip_id")
        )
    )
    group = np.zeros(len(rows), dtype=np.int64)
    current: dict[int, tuple[int, set[int], int]] = {}
    count = 0
    for i in np.argsort(time[rows], kind="stable").tolist():
        name, at = int(key[i]), int(time[rows[i]])
        found = current.get(name)
        if found is None or int(offset[rows[i]]) in found[1] or at - found[2] > REASSEMBLY_NS:
            found = (count, set(), at)
            current[name] = found
            count += 1
        found[1].add(int(offset[rows[i]]))
        group[i] = found[0]
    return group


def _rewrite(
    whole: pd.DataFrame,
    index: pd.Index[int],
    when: npt.NDArray[np.int64],
    total: npt.NDArray[np.int64],
) -> None:
    header = whole.loc[index, "header_length"].to_numpy().astype(np.int64)
    extensions = whole.loc[index, "extensions"].to_numpy()
    pieces = extensions & bit(FRAGMENT) > 0  # their header goes (nf_ct_frag6_reasm)
    header = header - np.where(pieces, FRAGMENT_HEADER, 0)
    whole.loc[index, "header_length"] = header.astype(np.int16)
    # who sends it on in pieces gives them another identification (ip6_fragment)
    own, label = (whole.loc[index, name].to_numpy() for name in ("ip_id", "flow_label"))
    whole.loc[index, "ip_id"] = np.where(pieces, label, own)
    whole.loc[index, "extensions"] = extensions & np.uint8(0xFF ^ bit(FRAGMENT))
    upper = np.array(
        [L4_HEADER.get(int(p), 0) for p in whole.loc[index, "protocol"]], dtype=np.int64
    )
    whole.loc[index, "time"] = when
    whole.loc[index, "length"] = (header + total).astype(np.int32)
    whole.loc[index, "payload_length"] = (total - upper).astype(np.int32)
    whole.loc[index, "more_fragments"] = False
    whole.loc[index, "malformed"] = (
        False  # its transport header's length speaks of the datagram, not of the frame
    )
