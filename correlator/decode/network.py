"""IP headers and what lies behind them, for all frames of a family at once.

RFC 791 (IPv4), 9293 (TCP), 768 (UDP), 792 (ICMP), 4443 (ICMPv6); IPv6's own headers are read by
:mod:`correlator.decode.network6`. A field that the snap length cut off is 0 and the row
``truncated``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.addresses import END_OF_IPV4
from correlator.decode.checksums import address_sums, wrong_checksums
from correlator.decode.frames import Bytes, Frames
from correlator.decode.link import IPV4, IPV6, Network
from correlator.decode.network6 import (
    BASE,
    ROUTING,
    address_sums6,
    addresses6,
    bit,
    follow,
    header6,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
UDP_LITE = 136
PORTED = (6, 17, 33, 132, UDP_LITE)
ICMP_QUERIES = (0, 8, 13, 14, 15, 16, 17, 18)
ICMP_ERRORS = (3, 4, 5, 11, 12)
ICMP6_QUERIES = (128, 129, 139, 140)
ICMP6_INFORMS = 128
"""The first type of ICMPv6 that is no error (RFC 4443, 2.1)."""
L4_HEADER = {ICMP: 8, UDP: 8, 33: 12, 132: 12, 136: 8, ICMP6: 8}
WINDOW_SCALE, MOST_SCALE = 3, 14
LADDER = (8, 4, 2, 1)
"""Words of payload that are hashed: as many as were captured of every sight of the packet, in
coarse steps."""


def decode_network(
    frames: Frames, network: Network, family: int = 4
) -> tuple[dict[str, npt.NDArray[Any]], tuple[int, ...], tuple[tuple[str, int], ...]]:
    """(columns of the frames of IPv4, or of IPv6 where ``family`` is 6; what their addresses from
    2**32 on stand for, in order; what else there was, and how often)."""
    data = Bytes(frames.data)
    end = frames.start + frames.captured
    room = end - network.position
    version = data.u8(network.position) >> 4
    kind, least = (IPV6, BASE) if family == 6 else (IPV4, 20)
    whole = (network.ethertype == kind) & (version == family) & (room >= least)
    rows = np.flatnonzero(whole)
    at, end = network.position[rows], end[rows]
    c: dict[str, npt.NDArray[Any]] = {
        "time": frames.time[rows],
        "interface": network.interface[rows],
        "frame": _numbers(frames)[rows],
        "direction": network.direction[rows],
        "packet_type": network.packet_type[rows],
        "mac_src": network.mac_src[rows],
        "mac_dst": network.mac_dst[rows],
        "vlan": network.vlan[rows],
    }
    wire = frames.wire[rows] - (at - frames.start[rows])
    if family == 6:
        header6(data, c, at, end, wire)
        _transport(data, c, at + c["header_length"], end, ICMP6, address_sums6(data, at))
        values = _errors6(data, c, at, at + c["header_length"], end)
        return c, values, _skipped(network, whole, kind)
    _header(data, c, at, wire)
    _transport(data, c, at + c["header_length"], end, ICMP, address_sums(c["src"], c["dst"]))
    _errors(data, c, at + c["header_length"], end)
    return c, (), _skipped(network, whole, kind)


def _numbers(frames: Frames) -> Ints:
    if frames.number is not None:
        return frames.number
    return np.arange(1, len(frames) + 1, dtype=np.int64)


def _skipped(network: Network, whole: Bools, asked: int) -> tuple[tuple[str, int], ...]:
    names = {0x0806: "ARP", IPV6: "IPv6", IPV4: "IPv4"}
    names[asked] = f"cut or broken {names[asked]}"
    kinds, counts = np.unique(network.ethertype[~whole], return_counts=True)
    found: dict[str, int] = {}
    for kind, count in zip(kinds.tolist(), counts.tolist(), strict=True):
        name = names.get(kind, "other")
        found[name] = found.get(name, 0) + count
    return tuple(found.items())


def _header(data: Bytes, c: dict[str, npt.NDArray[Any]], at: Ints, wire: Ints) -> None:
    c["header_length"] = np.maximum((data.u8(at) & 15) * 4, 20)
    c["tos"] = data.u8(at + 1)
    total = data.u16(at + 2)
    c["length"] = np.where(total == 0, wire, total)
    c["ip_id"] = data.u16(at + 4)
    fragment = data.u16(at + 6)
    c["dont_fragment"] = fragment & 0x4000 != 0
    c["more_fragments"] = fragment & 0x2000 != 0
    c["fragment_offset"] = (fragment & 0x1FFF) * 8
    c["ttl"], c["protocol"] = data.u8(at + 8), data.u8(at + 9)
    c["src"], c["dst"] = data.u32(at + 12), data.u32(at + 16)
    c["extensions"] = c["flow_label"] = np.zeros(len(at), dtype=np.int64)


def _transport(
    data: Bytes, c: dict[str, npt.NDArray[Any]], at: Ints, end: Ints, control: int, sums: Ints
) -> None:
    """Ports, TCP's fields, payload, and whether all of it was there. ``control``: the protocol
    number of the family's ICMP; ``sums`` of both addresses' words."""
    protocol, first = c["protocol"], c["fragment_offset"] == 0
    room = c["length"] - c["header_length"]
    tcp, udp, icmp = ((protocol == p) & first for p in (TCP, UDP, control))

    def has(size: int) -> Bools:
        result: Bools = at + size <= end
        return result

    ported = np.isin(protocol, PORTED) & first & has(4)
    c["icmp_type"] = np.where(icmp & has(2), data.u8(at), -1)
    c["icmp_code"] = np.where(icmp & has(2), data.u8(at + 1), -1)
    queries = ICMP_QUERIES if control == ICMP else ICMP6_QUERIES
    query = icmp & np.isin(c["icmp_type"], queries) & has(8)
    number = data.u16(at + 4)
    c["sport"] = np.where(ported, data.u16(at), np.where(query, number, np.where(first, 0, -1)))
    c["dport"] = np.where(ported, data.u16(at + 2), np.where(query, number, np.where(first, 0, -1)))
    full = tcp & has(20)
    c["seq"] = np.where(full, data.u32(at + 4), np.where(query, data.u16(at + 6), 0))
    c["ack"] = np.where(full, data.u32(at + 8), 0)
    offset = np.where(full, (data.u8(at + 12) >> 4) * 4, 0)
    c["tcp_flags"] = np.where(full, data.u16(at + 12) & 0x1FF, 0)
    c["window"] = np.where(full, data.u16(at + 14), 0)
    c["tcp_option_kinds"], c["window_scale"] = _options(data, full, at, offset, end)
    header = np.zeros(len(at), dtype=np.int64)
    for known, length in L4_HEADER.items():
        if known not in (ICMP, ICMP6) or known == control:
            header[(protocol == known) & first] = length
    header = np.where(tcp, np.maximum(offset, 20), header)
    c["payload_length"] = np.maximum(room - header, 0)
    stated = data.u16(at + 4)
    # UDP-Lite covers its header at least, and has a checksum always (RFC 3828; udplite_error)
    covers = (stated == 0) | ((stated >= 8) & (stated <= room))
    lite = (protocol == UDP_LITE) & first & ((room < 8) | (has(8) & ~covers))
    lite |= (protocol == UDP_LITE) & first & has(8) & (data.u16(at + 6) == 0)
    c["malformed"] = (
        (tcp & ((room < 20) | (full & ((offset < 20) | (offset > room)))))
        | (udp & ((room < 8) | (has(8) & ((stated > room) | (stated < 8)))))
        | (icmp & (room < 8))
        | lite
    )
    c["truncated"] = first & (at + np.minimum(header, room) > end)
    c["bad_checksum"] = first & ~c["more_fragments"] & ~c["malformed"]
    c["bad_checksum"] &= c["extensions"] & bit(ROUTING) == 0  # which hides the last destination
    c["bad_checksum"] &= wrong_checksums(data.data, at, room, end, protocol, sums, control)
    c["payload_hash"] = _hash(data, at + header, np.minimum(end - at - header, c["payload_length"]))


def _options(data: Bytes, full: Bools, at: Ints, offset: Ints, end: Ints) -> tuple[Ints, Ints]:
    """(bit k of a row: a TCP option of kind k is there; the shift of window scale, RFC 7323, as
    conntrack reads it, -1 none)."""
    kinds, scale = np.zeros(len(at), dtype=np.int64), np.full(len(at), -1, dtype=np.int64)
    active = np.flatnonzero(full & (offset > 20))
    position, limit = at[active] + 20, np.minimum(at + offset, end)[active]
    for _ in range(40):
        going = position < limit
        active, position, limit = active[going], position[going], limit[going]
        if not len(active):
            break
        kind = data.u8(position)
        known = (kind > 0) & (kind < 32)
        kinds[active[known]] |= np.int64(1) << kind[known]
        length = np.where(kind == 1, 1, data.u8(position + 1))
        shift = (kind == WINDOW_SCALE) & (length == 3) & (position + 3 <= limit)
        scale[active[shift]] = np.minimum(data.u8(position[shift] + 2), MOST_SCALE)
        going = (kind > 0) & ((kind == 1) | (length >= 2))
        active, position, limit = active[going], (position + length)[going], limit[going]
    return kinds, scale


def _hash(data: Bytes, at: Ints, available: Ints) -> npt.NDArray[np.uint64]:
    result = np.zeros(len(at), dtype=np.uint64)
    done = np.zeros(len(at), dtype=bool)
    for words in LADDER:
        rows = np.flatnonzero(~done & (available >= 4 * words))
        if not len(rows):
            continue
        total = np.full(len(rows), words, dtype=np.uint64)
        values = data.words(at[rows], words)
        for i in range(words):
            total = (total ^ values[:, i]) * np.uint64(0x9E3779B97F4A7C15)
            total ^= total >> np.uint64(29)
        result[rows] = total
        done[rows] = True
    return result


def _errors(data: Bytes, c: dict[str, npt.NDArray[Any]], at: Ints, end: Ints) -> None:
    """The header that an ICMP error quotes; its own payload hash is dropped, since NAT rewrites
    what it quotes."""
    n = len(at)
    for name in (
        "inner_protocol",
        "inner_src",
        "inner_dst",
        "inner_sport",
        "inner_dport",
        "inner_ip_id",
    ):
        c[name] = np.zeros(n, dtype=np.int64)
    kind = np.isin(c["icmp_type"], ICMP_ERRORS)
    c["payload_hash"][kind] = 0
    inner = at + 8
    rows = np.flatnonzero(kind & (inner + 20 <= end) & (data.u8(inner) >> 4 == 4))
    if not len(rows):
        return
    inner = inner[rows]
    protocol = data.u8(inner + 9)
    c["inner_protocol"][rows] = protocol
    c["inner_ip_id"][rows] = data.u16(inner + 4)
    c["inner_src"][rows], c["inner_dst"][rows] = data.u32(inner + 12), data.u32(inner + 16)
    l4 = inner + (data.u8(inner) & 15) * 4
    first = (data.u16(inner + 6) & 0x1FFF == 0) & (l4 + 8 <= end[rows])
    ported = first & np.isin(protocol, PORTED)
    query = first & (protocol == ICMP)
    for name, at_port in (("inner_sport", 0), ("inner_dport", 2)):
        c[name][rows] = np.where(
            ported, data.u16(l4 + at_port), np.where(query, data.u16(l4 + 4), 0)
        )


def _errors6(
    data: Bytes, c: dict[str, npt.NDArray[Any]], base: Ints, at: Ints, end: Ints
) -> tuple[int, ...]:
    """The header that an ICMPv6 error quotes, as :func:`_errors` does, and the addresses of all
    (columns from 2**32 on; returns what these stand for)."""
    n, inner = len(at), at + 8
    for name in ("inner_protocol", "inner_sport", "inner_dport", "inner_ip_id"):
        c[name] = np.zeros(n, dtype=np.int64)
    kind = (c["icmp_type"] >= 0) & (c["icmp_type"] < ICMP6_INFORMS)
    c["payload_hash"][kind] = 0
    rows = np.flatnonzero(kind & (inner + BASE <= end) & (data.u8(inner) >> 4 == 6))
    inner, end = inner[rows], end[rows]
    quoted: dict[str, npt.NDArray[Any]] = {
        "ip_id": data.u32(inner) & 0xFFFFF,
        "fragment_offset": np.zeros(len(rows), dtype=np.int64),
        "more_fragments": np.zeros(len(rows), dtype=bool),
    }
    protocol, l4, _ = follow(data, data.u8(inner + 6), inner + BASE, end, quoted)
    c["inner_protocol"][rows], c["inner_ip_id"][rows] = protocol, quoted["ip_id"]
    first = (quoted["fragment_offset"] == 0) & (l4 + 8 <= end)
    ported, query = first & np.isin(protocol, PORTED), first & (protocol == ICMP6)
    for name, at_port in (("inner_sport", 0), ("inner_dport", 2)):
        c[name][rows] = np.where(
            ported, data.u16(l4 + at_port), np.where(query, data.u16(l4 + 4), 0)
        )
    (src, dst, inner_src, inner_dst), values = addresses6(
        data, (base + 8, base + 24, inner + 8, inner + 24)
    )
    for name, numbers in (("src", src), ("dst", dst)):
        c[name] = numbers + np.uint64(END_OF_IPV4)
    for name, numbers in (("inner_src", inner_src), ("inner_dst", inner_dst)):
        c[name] = np.zeros(n, dtype=np.uint64)
        c[name][rows] = numbers + np.uint64(END_OF_IPV4)
    return values
