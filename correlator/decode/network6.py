"""IPv6 headers and what lies behind them, for all frames at once.

RFC 8200 (IPv6 and its extension headers), 4302 (AH), 4443 (ICMPv6), 4861 (neighbour discovery).
The transport header is what stands behind the extension headers, as netfilter looks for it
(ipv6_find_hdr, net/ipv6/exthdrs_core.c); a later fragment has none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.addresses import WIDTH6

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Ints
    from correlator.decode.frames import Bytes

BASE = 40
"""Bytes of the fixed header."""
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, NO_NEXT, DESTINATION = 0, 43, 44, 51, 59, 60
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION)
MOST_EXTENSIONS = 8
"""Extension headers of a packet that are followed: more are taken for what is cut."""
FRAGMENT_ID = 0x7FFFFFFF


def header6(data: Bytes, c: dict[str, npt.NDArray[Any]], at: Ints, end: Ints, wire: Ints) -> None:
    """The columns of the IPv6 header; ``header_length`` is with its extension headers, ``ip_id``
    the flow label, or the identification of a fragment. Addresses are left to :func:`addresses6`.
    """
    first = data.u32(at)
    c["tos"] = first >> 20 & 0xFF
    stated = data.u16(at + 4)
    c["length"] = np.where(stated == 0, wire, stated + BASE)
    c["ttl"] = data.u8(at + 7)
    c["flow_label"] = first & 0xFFFFF
    c["ip_id"] = c["flow_label"].copy()
    c["more_fragments"] = np.zeros(len(at), dtype=bool)
    c["fragment_offset"] = np.zeros(len(at), dtype=np.int64)
    protocol, here, headers = follow(data, data.u8(at + 6), at + BASE, end, c)
    c["protocol"] = protocol
    c["header_length"] = np.minimum(here - at, (1 << 15) - 1)
    c["extensions"] = headers
    c["dont_fragment"] = headers & bit(FRAGMENT) == 0


def bit(header: int) -> int:
    """The bit of an extension header in the column ``extensions``."""
    return 1 << EXTENSIONS.index(header)


def follow(
    data: Bytes, protocol: Ints, here: Ints, end: Ints, c: dict[str, npt.NDArray[Any]] | None
) -> tuple[Ints, Ints, Ints]:
    """(protocol behind the extension headers, where its header begins, bits of those passed), (n,).
    Notes fragments in ``c``; behind the header of a later fragment nothing is looked for."""
    protocol, here = protocol.copy(), here.copy()
    headers = np.zeros(len(here), dtype=np.int64)
    going = np.ones(len(here), dtype=bool)
    for _ in range(MOST_EXTENSIONS):
        going &= np.isin(protocol, EXTENSIONS) & (here + 8 <= end)
        rows = np.flatnonzero(going)
        if not len(rows):
            break
        kind, at = protocol[rows], here[rows]
        for header in EXTENSIONS:
            headers[rows[kind == header]] |= bit(header)
        cut = kind == FRAGMENT
        if c is not None and cut.any():
            pieces, place = rows[cut], data.u16(at[cut] + 2)
            c["fragment_offset"][pieces] = place & 0xFFF8
            c["more_fragments"][pieces] = place & 1 == 1
            c["ip_id"][pieces] = data.u32(at[cut] + 4) & FRAGMENT_ID
        later = cut & (data.u16(at + 2) & 0xFFF8 > 0)
        size = np.where(kind == AUTHENTICATION, data.u8(at + 1) * 4 + 8, data.u8(at + 1) * 8 + 8)
        protocol[rows], here[rows] = data.u8(at), at + np.where(cut, 8, size)
        going[rows[later]] = False
    return protocol, here, headers


def addresses6(
    data: Bytes, places: tuple[Ints, ...]
) -> tuple[tuple[npt.NDArray[np.uint64], ...], tuple[int, ...]]:
    """(for each of ``places`` (n,) of addresses, uint64 (n,): rows of the list of them; the list of
    their values of 128 bits)."""
    halves = np.concatenate(
        [np.stack([_u64(data, at), _u64(data, at + 8)], axis=1) for at in places]
    )
    found, which = np.unique(halves, axis=0, return_inverse=True)
    values = tuple(int(high) << WIDTH6 // 2 | int(low) for high, low in found.tolist())
    which, parts, begin = which.reshape(-1), [], 0
    for at in places:
        parts.append(which[begin : begin + len(at)].astype(np.uint64))
        begin += len(at)
    return tuple(parts), values


def _u64(data: Bytes, at: Ints) -> npt.NDArray[np.uint64]:
    return data.u32(at).astype(np.uint64) << np.uint64(32) | data.u32(at + 4).astype(np.uint64)


def address_sums6(data: Bytes, at: Ints) -> Ints:
    """The sums of the words of both addresses of each header, for the pseudo-header (RFC 8200,
    8.1), (n,)."""
    total = np.zeros(len(at), dtype=np.int64)
    for place in range(8, BASE, 2):
        total += data.u16(at + place)
    return total
