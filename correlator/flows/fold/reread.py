"""Frames of some pairs, read again from files that were folded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.decode.frames import MAX_FRAME, PADDING, Frames
from correlator.decode.records import RECORD
from correlator.decode.stream import BUFFER, STRETCH
from correlator.flows.fold.reread_kernel import REREAD, reread_blocks, reread_pcap

if TYPE_CHECKING:
    from correlator.arrays import Bools, Ints
    from correlator.decode.stream import Source
    from correlator.flows.fold.folded import Folded


def reread(source: Source, macs: Ints, units: Ints, folded: Folded, wanted: Bools) -> Frames:
    """The frames of a file whose pair is ``wanted`` (pairs,); ``source`` is freshly opened,
    ``macs`` are its interfaces' own, ``units`` those of their times (ns)."""
    names = (
        folded.keys,
        folded.values,
        wanted,
        np.zeros(1, dtype=RECORD),
        np.zeros(1, dtype=np.uint8),
    )
    found, parts, bytes_of, base, frames = np.empty(STRETCH, dtype=REREAD), [], [], 0, 0
    out = np.empty(STRETCH * 64 + MAX_FRAME, dtype=np.uint8)
    while True:
        if source.reader is None:
            source.position, passed, count, filled = reread_pcap(
                source.buffer,
                source.position,
                source.filled,
                source.big,
                source.unit,
                frames,
                int(macs[0]),
                *names,
                found,
                out,
            )
        else:
            source.position, passed, count, filled = reread_blocks(
                source.buffer,
                source.position,
                source.filled,
                frames,
                macs,
                units,
                *names,
                found,
                out,
            )
        frames += passed
        if count:
            part = found[:count].copy()
            part["start"] += base
            parts.append(part)
            bytes_of.append(out[:filled].copy())
            base += filled
        elif not passed or source.filled - source.position < BUFFER // 2:
            source.fill()
            if source.ended:
                break
    table = np.concatenate(parts) if parts else found[:0]
    data = np.concatenate([*bytes_of, np.zeros(PADDING, dtype=np.uint8)])
    column = {name: table[name].astype(np.int64) for name in REREAD.names or ()}
    return Frames(
        data,
        column["start"],
        column["captured"],
        column["wire"],
        column["time"],
        column["interface"],
        column["direction"],
        (),
        (),
        column["number"],
    )
