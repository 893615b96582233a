"""The second reading's inner loop: frames of some pairs copied out of files."""

from __future__ import annotations

import numpy as np

from correlator.decode.compiled import kernel, part
from correlator.decode.records import direction_of, little, parse, record_header
from correlator.flows.fold.names_kernel import endpoint, find, name_of

REREAD = np.dtype(
    [
        ("start", "i8"),
        ("captured", "i8"),
        ("wire", "i8"),
        ("time", "i8"),
        ("interface", "i8"),
        ("direction", "i8"),
        ("number", "i8"),
    ]
)
"""One frame that was copied: where it starts among the copied bytes, and what its record says."""


@part
def _keep(data, at, captured, filled, p, out):
    p.start, p.captured = filled, captured
    for i in range(captured):
        out[filled + i] = data[at + i]


@part
def _wanted(data, at, captured, wire, direction, mac, keys, values, wanted, scratch, own):
    """Whether a frame belongs to one of the ``wanted`` pairs (pairs,), as the fold's table of names
    tells."""
    r = scratch[0]
    if parse(data, at, captured, wire, direction, mac, r, own) >= 0:
        return False
    name = name_of(r.protocol, endpoint(r.src, r.sport), endpoint(r.dst, r.dport))
    slot = find(keys, name)
    return keys[slot] == 0 or wanted[values[slot]]


@kernel
def reread_pcap(
    data, position, size, big, unit, first, mac, keys, values, wanted, scratch, own, found, out
):
    """Copy the frames of ``wanted`` pairs out of a pcap file's bytes.

    Returns (position reached, frames passed, frames copied, bytes filled).
    """
    frames, count, filled = 0, 0, 0
    while position + 16 <= size:
        seconds, fraction, captured, wire = record_header(data, position, big)
        if position + 16 + captured > size or count >= len(found) or filled + captured > len(out):
            break
        frames += 1
        if _wanted(data, position + 16, captured, wire, 0, mac, keys, values, wanted, scratch, own):
            p = found[count]
            _keep(data, position + 16, captured, filled, p, out)
            p.wire, p.time, p.interface, p.direction = (
                wire,
                seconds * 1_000_000_000 + fraction * unit,
                0,
                0,
            )
            p.number = first + frames
            count += 1
            filled += captured
        position += 16 + captured
    return position, frames, count, filled


@kernel
def reread_blocks(
    data, position, size, first, macs, units, keys, values, wanted, scratch, own, found, out
):
    """The same of pcapng blocks; those that hold no packet are passed over."""
    frames, count, filled = 0, 0, 0
    while position + 12 <= size:
        kind, length = little(data, position), little(data, position + 4)
        if position + length > size or length < 12:
            break
        if kind == 6:
            captured = little(data, position + 20)
            if count >= len(found) or filled + captured > len(out):
                break
            frames += 1
            direction = direction_of(
                data, position + 28 + captured + (-captured & 3), position + length - 4
            )
            number, wire = little(data, position + 8), little(data, position + 24)
            mac = macs[number] if number < len(macs) else 0
            if _wanted(
                data,
                position + 28,
                captured,
                wire,
                direction,
                mac,
                keys,
                values,
                wanted,
                scratch,
                own,
            ):
                p = found[count]
                _keep(data, position + 28, captured, filled, p, out)
                p.wire, p.time = (
                    wire,
                    (little(data, position + 12) << 32 | little(data, position + 16))
                    * units[number],
                )
                p.interface, p.direction, p.number = number, direction, first + frames
                count += 1
                filled += captured
        position += length
    return position, frames, count, filled
