"""The inner loops of :mod:`correlator.decode.peek`."""

from __future__ import annotations

import numpy as np

from correlator.decode.compiled import kernel, part
from correlator.decode.records import IPV4, byte, little, mac_at, record_header

ENDS = np.dtype([("source", "i8"), ("target", "i8"), ("interface", "i8")])
"""One unicast IPv4 frame: the MAC addresses, and the number of the interface."""


@part
def _look(data, at, captured, e):
    """Fill ``e`` from the frame at ``at``, where it is one that :func:`correlator.decode.records.parse` takes; whether it is."""
    if captured < 14 or data[at] & 1:
        return False
    ethertype, ip = byte(data, at + 12) << 8 | byte(data, at + 13), at + 14
    for _ in range(2):
        if ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100:
            ethertype, ip = byte(data, ip + 2) << 8 | byte(data, ip + 3), ip + 4
    if ethertype != IPV4 or ip + 20 > at + captured or data[ip] >> 4 != 4:
        return False
    e.target, e.source = mac_at(data, at), mac_at(data, at + 6)
    return e.source != 0


@kernel
def peek_pcap(data, position, size, big, limit, interface, out):
    """As :func:`correlator.decode.records.scan_pcap`."""
    frames, written = 0, 0
    while position + 16 <= size and written < len(out):
        _, _, captured, _ = record_header(data, position, big)
        if captured > limit:
            return position, frames, written, 1
        if position + 16 + captured > size:
            break
        frames += 1
        if _look(data, position + 16, captured, out[written]):
            out[written].interface = interface
            written += 1
        position += 16 + captured
    return position, frames, written, 0


@kernel
def peek_blocks(data, position, size, limit, codes, out):
    """As :func:`correlator.decode.records.scan_blocks`."""
    frames, written = 0, 0
    while position + 12 <= size and written < len(out):
        kind, length = little(data, position), little(data, position + 4)
        if kind != 6 or length < 32 or length & 3:
            return position, frames, written, 1
        if position + length > size:
            break
        number, captured = little(data, position + 8), little(data, position + 20)
        if number >= len(codes) or captured > limit or 28 + captured > length - 4:
            return position, frames, written, 1
        frames += 1
        if _look(data, position + 28, captured, out[written]):
            out[written].interface = codes[number]
            written += 1
        position += length
    return position, frames, written, 0
