"""The inner loops of :mod:`correlator.decode.peek`."""

from __future__ import annotations

import numpy as np

from correlator.decode.compiled import kernel, part
from correlator.decode.records import (
    ANOTHER,
    CUT,
    IPV4,
    block_at,
    mac_at,
    network_at,
    record_header,
)

ENDS = np.dtype([("source", "i8"), ("target", "i8"), ("interface", "i8")])
"""One unicast IPv4 frame: the MAC addresses, and the number of the interface."""


@part
def _look(data, at, captured, e):
    """Fill ``e`` from the frame at ``at``, where it is one that
    :func:`correlator.decode.records.parse` takes; whether it is."""
    if captured < 14 or data[at] & 1:
        return False
    ethertype, ip = network_at(data, at)
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
        what, length, number, captured = block_at(data, position, size, limit, len(codes))
        if what == ANOTHER:
            return position, frames, written, 1
        if what == CUT:
            break
        frames += 1
        if _look(data, position + 28, captured, out[written]):
            out[written].interface = codes[number]
            written += 1
        position += length
    return position, frames, written, 0
