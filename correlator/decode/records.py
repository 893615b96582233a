"""Frames as compact records, for the fold: what crossings and conntrack ask of an ordinary frame,
and whether it is one.

The kernel here says the same of Ethernet frames as :mod:`correlator.decode.link` and
:mod:`correlator.decode.network` do (a test holds them against each other), one frame after the
other instead of column by column. What is out of the ordinary (fragments, VLANs, ICMP errors,
broken headers, other protocols) is marked and left to them."""

from __future__ import annotations

import numpy as np

from correlator.decode.checksums import LARGEST
from correlator.decode.compiled import kernel, part, rare
from correlator.decode.frames import MOST_TIME
from correlator.decode.network import MOST_SCALE, WINDOW_SCALE

RECORD = np.dtype(
    [
        ("time", "i8"),
        ("key", "u8"),
        ("src", "u4"),
        ("dst", "u4"),
        ("inner_src", "u4"),
        ("inner_dst", "u4"),
        ("frame", "u4"),
        ("length", "i4"),
        ("option_kinds", "u4"),
        ("seq", "u4"),
        ("end", "u4"),
        ("ack", "u4"),
        ("window", "u2"),
        ("scale", "i1"),
        ("sport", "u2"),
        ("dport", "u2"),
        ("inner_sport", "u2"),
        ("inner_dport", "u2"),
        ("flags", "u2"),
        ("sequence", "u2"),
        ("interface", "u1"),
        ("protocol", "u1"),
        ("ttl", "u1"),
        ("tos", "u1"),
        ("icmp_type", "u1"),
        ("wire", "u1"),
        ("odd", "u1"),
        ("inner_protocol", "u1"),
    ]
)
"""One IPv4 frame: ``key`` is what NAT and forwarding leave alone, hashed with the TTL that it came
in with."""

IN, OUT, BRIDGED = 1, 2, 4
ICMP, TCP, UDP = 1, 6, 17
ARP, IPV4, IPV6 = 0x0806, 0x0800, 0x86DD
SKIPPED_ARP, SKIPPED_IPV6, SKIPPED_BROKEN, SKIPPED_OTHER = range(4)
ODD, KEYLESS, BROKEN = 1, 2, 4
"""Bits of ``odd``: out of the ordinary; with a key of nothing but IP's id and protocol; and what
may be another packet when fragments are put together."""
OWN_SEEN, OWN_TOLD, OWN_UNTOLD, OWN_LACKED, OWN_RAW, OWN_TAGGED = 1, 2, 4, 8, 16, 32
"""Bits of an interface's ``own``: a frame bore its own address; the direction of a frame is
recorded, or is not; such a unicast frame came while the own address is not known; one lacked an
address; one was tagged."""

PACKET, ANOTHER, CUT = range(3)
LATEST = MOST_TIME >> 32
"""The upper words of times, in ns."""

_A, _B, _C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(31)
_B_INVERSE = np.uint64(pow(int(_B), -1, 1 << 64))


@part
def byte(data, at):
    """One byte; an unsigned index is none that counts from the end, so that neighbours are read as
    one word."""
    return np.int64(data[np.uint64(at)])


@part
def _u16(data, at):
    return byte(data, at) << 8 | byte(data, at + 1)


@part
def u32(data, at):
    return (
        byte(data, at) << 24
        | byte(data, at + 1) << 16
        | byte(data, at + 2) << 8
        | byte(data, at + 3)
    )


@part
def mac_at(data, at):
    return _u16(data, at) << 32 | u32(data, at + 2)


@part
def little(data, at):
    return (
        byte(data, at)
        | byte(data, at + 1) << 8
        | byte(data, at + 2) << 16
        | byte(data, at + 3) << 24
    )


@part
def _mixed(total, value):
    total = (total ^ np.uint64(value)) * _B
    return total ^ (total >> _C)


@part
def bare(key, ttl):
    """A record's key without the TTL that was mixed in last."""
    key ^= (key >> _C) ^ (key >> np.uint64(62))
    return key * _B_INVERSE ^ np.uint64(ttl)


@rare
def _payload(data, at, available):
    """Hash of the first 32, 16, 8 or 4 bytes of payload, as many as every sight of the packet
    shows."""
    words = 8
    while words and available < 4 * words:
        words >>= 1
    total = np.uint64(words)
    for i in range(words):
        total = (total ^ np.uint64(little(data, at + 4 * i))) * _A
        total ^= total >> np.uint64(29)
    return total


@rare
def _options(data, r, at, end):
    """Which TCP options are there (bit k: one of kind k < 32), and the shift of window scale."""
    kinds = np.int64(0)
    for _ in range(40):
        if at >= end:
            break
        kind = np.int64(data[at])
        if kind == 0:
            break
        if kind < 32:
            kinds |= np.int64(1) << kind
        size = np.int64(1) if kind == 1 else np.int64(data[at + 1])
        if size < 1 or (kind != 1 and size < 2):
            break
        if kind == WINDOW_SCALE and size == 3 and at + 3 <= end:
            r.scale = min(np.int64(data[at + 2]), MOST_SCALE)
        at += size
    r.option_kinds = kinds


@rare
def _wrong_checksum(data, r, at, room):
    """As :func:`correlator.decode.checksums.wrong_checksums` says of one packet."""
    total = np.uint64(0)
    whole = room - (room & 3)
    for i in range(0, whole, 4):
        total += np.uint64(little(data, at + i))
    for i in range(whole, room):
        total += np.uint64(byte(data, at + i)) << np.uint64(8 * (i & 1))
    field, pseudo = _u16(data, at + 2), np.int64(0)
    if r.protocol != ICMP:
        field = _u16(data, at + (16 if r.protocol == TCP else 6))
        pseudo = np.int64(r.protocol) + room
        pseudo += (np.int64(r.src) >> 16) + (np.int64(r.src) & 0xFFFF)
        pseudo += (np.int64(r.dst) >> 16) + (np.int64(r.dst) & 0xFFFF)
        pseudo = _folded(pseudo)
        if field == pseudo or (r.protocol == UDP and field == 0):
            return False
    total = (total & np.uint64(0xFFFFFFFF)) + (total >> np.uint64(32))
    swapped = _folded(np.int64(total))
    return _folded(((swapped & 0xFF) << 8 | swapped >> 8) + pseudo) != 0xFFFF


@part
def _folded(total):
    for _ in range(3):
        total = (total & 0xFFFF) + (total >> 16)
    return total


@rare
def _quoted(data, r, at, end):
    """The addresses that an ICMP error quotes."""
    inner = at + 8
    if inner + 20 > end or data[inner] >> 4 != 4:
        return
    r.inner_protocol = data[inner + 9]
    r.inner_src, r.inner_dst = u32(data, inner + 12), u32(data, inner + 16)
    l4 = inner + np.int64(data[inner] & 15) * 4
    if _u16(data, inner + 6) & 0x1FFF or l4 + 8 > end:
        return
    if r.inner_protocol == TCP or r.inner_protocol == UDP:
        r.inner_sport, r.inner_dport = _u16(data, l4), _u16(data, l4 + 2)
    elif r.inner_protocol == ICMP:
        r.inner_sport = r.inner_dport = _u16(data, l4 + 4)


@part
def _transport(data, r, at, end, room, key):
    """Ports, flags and payload; returns the key, and marks what is out of the ordinary."""
    if r.protocol == TCP:
        if at + 20 > end or room < 20:
            r.odd |= KEYLESS | BROKEN
            return key
        r.sport, r.dport = _u16(data, at), _u16(data, at + 2)
        offset = np.int64(data[at + 12] >> 4) * 4
        if offset < 20 or offset > room:
            r.odd |= KEYLESS | BROKEN
            return key
        r.flags = _u16(data, at + 12) & 0x1FF
        if offset > 20:
            _options(data, r, at + 20, min(at + offset, end))
        r.seq, r.ack, r.window = u32(data, at + 4), u32(data, at + 8), _u16(data, at + 14)
        key = _mixed(_mixed(_mixed(key, u32(data, at + 4)), u32(data, at + 8)), np.int64(r.flags))
        header = offset
    elif r.protocol == UDP:
        stated = _u16(data, at + 4) if at + 8 <= end else np.int64(8)
        if at + 4 > end or room < 8 or stated > room or stated < 8:
            r.odd |= KEYLESS | BROKEN
            return key
        r.sport, r.dport = _u16(data, at), _u16(data, at + 2)
        header = np.int64(8)
    else:
        if at + 8 > end or room < 8:
            r.odd |= KEYLESS | BROKEN
            return key
        r.icmp_type = data[at]
        if r.icmp_type != 8 and r.icmp_type != 0:
            r.odd |= KEYLESS
            if r.icmp_type in (3, 4, 5, 11, 12):
                _quoted(data, r, at, end)
        r.sport = r.dport = _u16(data, at + 4)
        r.sequence = _u16(data, at + 6)
        if r.odd & KEYLESS:
            return key
        key = _mixed(
            _mixed(key, u32(data, at + 4)), np.int64(data[at]) << 8 | np.int64(data[at + 1])
        )
        header = np.int64(8)
    whole = room <= LARGEST - 20 and at + room <= end
    if r.wire == IN and whole and _wrong_checksum(data, r, at, room):
        r.odd |= ODD
    size = room - header if room > header else 0
    if r.protocol == TCP:
        r.end = np.int64(r.seq) + size + (r.flags & 1) + (r.flags >> 1 & 1)
    shown = end - at - header
    return _mixed(_mixed(key, size), _payload(data, at + header, shown if shown < size else size))


@part
def network_at(data, at):
    """(ethertype of the Ethernet frame there, where its packet begins), behind up to two VLAN
    tags."""
    ethertype, ip = _u16(data, at + 12), at + 14
    for _ in range(2):
        if ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100:
            ethertype, ip = _u16(data, ip + 2), ip + 4
    return ethertype, ip


@part
def parse(data, at, captured, wire_length, direction, mac, r, own):
    """Fill record ``r`` from the Ethernet frame at ``at``; -1 where it is one of IPv4, else why it
    is skipped.

    ``mac`` is the interface's own address, ``own`` (1,) its bits OWN_*.
    """
    end = at + captured
    if captured < 14:
        return SKIPPED_OTHER
    ethertype, ip = network_at(data, at)
    tagged = ip > at + 14
    if ip - at > captured:
        return SKIPPED_OTHER
    if ethertype != IPV4:
        return (
            SKIPPED_ARP
            if ethertype == ARP
            else SKIPPED_IPV6
            if ethertype == IPV6
            else SKIPPED_OTHER
        )
    if ip + 20 > end or data[ip] >> 4 != 4:
        return SKIPPED_BROKEN
    target, source = mac_at(data, at), mac_at(data, at + 6)
    group = data[at] & 1
    r.odd = ODD if tagged or group else 0
    if not group and source and target and mac and (source == mac or target == mac):
        own[0] |= OWN_SEEN
    if tagged or not source or not target:
        own[0] |= OWN_TAGGED if tagged else OWN_RAW
    if direction:
        r.wire = direction
        own[0] |= OWN_TOLD
    elif source == 0 or mac == 0:
        r.wire, r.odd = BRIDGED, r.odd | ODD
        own[0] |= OWN_UNTOLD | (0 if group else OWN_LACKED)
    else:
        r.wire = OUT if source == mac else IN if target == mac or group else BRIDGED
        own[0] |= OWN_UNTOLD
    if r.wire == BRIDGED:
        r.odd |= ODD
    header = np.int64(data[ip] & 15) * 4
    header = header if header > 20 else np.int64(20)
    total = _u16(data, ip + 2)
    r.length = total if total else wire_length - (ip - at)
    r.tos, r.ttl, r.protocol = data[ip + 1], data[ip + 8], data[ip + 9]
    r.src, r.dst = u32(data, ip + 12), u32(data, ip + 16)
    r.sport = r.dport = r.inner_sport = r.inner_dport = r.flags = r.sequence = 0
    r.inner_src = r.inner_dst = r.option_kinds = r.seq = r.end = r.ack = r.window = 0
    r.scale = -1
    r.icmp_type, r.inner_protocol = 255, 0
    key = np.uint64(_u16(data, ip + 4) << 8 | np.int64(r.protocol)) * _A
    if _u16(data, ip + 6) & 0x3FFF:
        r.odd |= KEYLESS | BROKEN
        if (
            _u16(data, ip + 6) & 0x1FFF == 0
            and ip + header + 4 <= end
            and (r.protocol == TCP or r.protocol == UDP)
        ):
            r.sport, r.dport = _u16(data, ip + header), _u16(data, ip + header + 2)
    elif r.protocol == TCP or r.protocol == UDP or r.protocol == ICMP:
        key = _transport(data, r, ip + header, end, np.int64(r.length) - header, key)
    else:
        r.odd |= KEYLESS
        if (r.protocol == 33 or r.protocol == 132 or r.protocol == 136) and ip + header + 4 <= end:
            r.sport, r.dport = _u16(data, ip + header), _u16(data, ip + header + 2)
    r.key = _mixed(key, np.int64(r.ttl) + (1 if r.wire == OUT else 0))
    return -1


@part
def record_header(data, at, big):
    """(seconds, fraction, bytes captured, bytes on the wire) of a pcap record."""
    if big:
        return u32(data, at), u32(data, at + 4), u32(data, at + 8), u32(data, at + 12)
    return little(data, at), little(data, at + 4), little(data, at + 8), little(data, at + 12)


@part
def direction_of(data, at, end):
    """The direction (1 in, 2 out) that the options of an enhanced packet block tell, 0 none; -1
    where frames were dropped."""
    direction = 0
    while at + 4 <= end:
        code = byte(data, at) | byte(data, at + 1) << 8
        width = byte(data, at + 2) | byte(data, at + 3) << 8
        if code == 0 or at + 4 + width > end:
            break
        if code == 2 and width == 4:
            direction = (byte(data, at + 4) & 3) % 3
        elif code == 4:
            return -1
        at += 4 + width + (-width & 3)
    return direction


@kernel
def scan_pcap(data, position, size, big, unit, limit, mac, interface, first, out, own, skipped):
    """Parse records of a pcap file from ``position`` until its bytes (``size``) or ``out`` are
    full.

    Returns (position reached, frames passed, records written, 1 where a record claims more than
    ``limit`` bytes)."""
    frames, written = 0, 0
    while position + 16 <= size and written < len(out):
        seconds, fraction, captured, wire = record_header(data, position, big)
        if captured > limit:
            return position, frames, written, 1
        if position + 16 + captured > size:
            break
        frames += 1
        r = out[written]
        why = parse(data, position + 16, captured, wire, 0, mac, r, own)
        if why < 0:
            r.time = seconds * 1_000_000_000 + fraction * unit
            r.frame, r.interface = first + frames, interface
            written += 1
        else:
            skipped[why] += 1
        position += 16 + captured
    return position, frames, written, 0


@part
def block_at(data, at, size, limit, interfaces):
    """(PACKET where an enhanced packet block stands there, ANOTHER block, or CUT: one that is not
    all there; its length, the number of its interface, and bytes captured)."""
    kind, length = little(data, at), little(data, at + 4)
    if kind != 6 or length < 32 or length & 3:
        return ANOTHER, length, np.int64(0), np.int64(0)
    if at + length > size:
        return CUT, length, np.int64(0), np.int64(0)
    number, captured = little(data, at + 8), little(data, at + 20)
    if number >= interfaces or captured > limit or 28 + captured > length - 4:
        return ANOTHER, length, number, captured
    return PACKET, length, number, captured


@kernel
def scan_blocks(data, position, size, limit, macs, codes, units, first, out, owns, skipped):
    """Parse enhanced packet blocks (little-endian) of a pcapng file until another block, the end,
    or a full ``out``.

    ``macs``, ``codes`` and ``units`` (ns) per interface of the section. Returns (position, frames,
    records, whether a block that is none of these stands at the position)."""
    frames, written = 0, 0
    while position + 12 <= size and written < len(out):
        what, length, number, captured = block_at(data, position, size, limit, len(codes))
        if what == ANOTHER:
            return position, frames, written, 1
        if what == CUT:
            break
        if (little(data, position + 12) + 1) * units[number] > LATEST:
            return position, frames, written, 1
        frames += 1
        direction = direction_of(
            data, position + 28 + captured + (-captured & 3), position + length - 4
        )
        if direction < 0:
            return position, frames - 1, written, 1
        r = out[written]
        wire, code = little(data, position + 24), codes[number]
        why = parse(data, position + 28, captured, wire, direction, macs[number], r, owns[code])
        if why < 0:
            r.time = (little(data, position + 12) << 32 | little(data, position + 16)) * units[
                number
            ]
            r.frame, r.interface = first + frames, codes[number]
            written += 1
        else:
            skipped[why] += 1
        position += length
    return position, frames, written, 0


@kernel
def merge(a, b, out):
    """Two runs of records in order of time as one, into ``out``; of one time, those of ``a``
    first."""
    i, j = 0, 0
    for k in range(len(out)):
        if j >= len(b) or (i < len(a) and a[i].time <= b[j].time):
            out[k] = a[i]
            i += 1
        else:
            out[k] = b[j]
            j += 1
