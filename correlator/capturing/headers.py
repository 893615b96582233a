"""How many bytes of a frame are headers: what a capture keeps where payloads are private.

Kept are link, IP and transport headers with their options, and of ICMP errors the headers of the
packet that they quote (RFC 792). Frames that hold no IP keep at most :data:`OTHER` bytes (an ARP
packet whole)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Words = npt.NDArray[np.uint32]
    Raw = npt.NDArray[np.uint8]

LONGEST = 14 + 8 + 60 + 8 + 60 + 20
"""Ethernet, two tags, IP with options, ICMP, quoted IP with options and the TCP header that RFC
1812 lets it quote."""
OTHER = 42
IPV4, IPV6, TAGS = 0x0800, 0x86DD, (0x8100, 0x88A8)
TRANSPORT = np.full(256, 8, dtype=np.int64)
"""Header bytes behind IP, by protocol, where nothing tells better: UDP, ESP, AH, GRE; SCTP's common
header is longer. Of IPv6, an extension header, and what follows it."""
TRANSPORT[132] = 12
TRANSPORT[[0, 43, 44, 60]] = 8 + 20
NEIGHBOURS, NEIGHBOUR = (133, 137), 32
"""Types of ICMPv6 that ask for neighbours and tell of them (RFC 4861), and bytes of theirs that say
whose address is meant: two of them have nothing else that tells them apart."""
ERRORS = (3, 4, 5, 11, 12)
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58


def _word(*parts: int) -> np.uint32:
    """Four bytes as the word that they are in memory."""
    return np.uint32(int.from_bytes(bytes(parts), sys.byteorder))


PLAIN_KIND, PLAIN_KIND_MASK = _word(8, 0, 0x45, 0), _word(0xFF, 0xFF, 0xFF, 0)
"""Bytes 12 to 15 of an Ethernet frame: IPv4 with a header of 20 bytes."""
NO_FRAGMENT, NO_FRAGMENT_MASK = (
    (_word(0, 0, 0, TCP), _word(0, 0, 0, UDP)),
    _word(0x1F, 0xFF, 0, 0xFF),
)
"""Bytes 20 to 23: where in its packet it begins, and the protocol."""
DATA_OFFSET = 46
"""The byte that tells how long TCP's header is."""


def header_lengths(
    words: Words, start: Ints, captured: Ints, ethernet: npt.NDArray[np.bool_] | np.bool_
) -> Ints:
    """What :func:`any_header_lengths` says of frames that begin at words ``start``, most of them at
    little cost: nearly all that cross a host are TCP or UDP in plain IPv4."""
    offset = words[start + 5] & NO_FRAGMENT_MASK
    tcp = offset == NO_FRAGMENT[0]
    plain = (
        (tcp | (offset == NO_FRAGMENT[1]))
        & (words[start + 3] & PLAIN_KIND_MASK == PLAIN_KIND)
        & ethernet
    )
    data = words.view(np.uint8)
    lengths = np.full(len(start), 42, dtype=np.int64)
    if tcp.any():
        size = (data[start * 4 + DATA_OFFSET] >> 4).astype(np.int64)
        lengths = np.where(tcp, 34 + 4 * np.maximum(size, 5), lengths)
    lengths = np.minimum(lengths, captured)
    if not plain.all():
        rows = np.flatnonzero(~plain)
        link = np.broadcast_to(ethernet, len(start))[rows]
        lengths[rows] = any_header_lengths(data, start[rows] * 4, captured[rows], link)
    return lengths


def any_header_lengths(
    data: Raw, start: Ints, captured: Ints, ethernet: npt.NDArray[np.bool_]
) -> Ints:
    """Bytes of headers of every frame, at most what was captured; int64 (n,).

    ``data`` holds frames that begin at ``start`` (n,) and of which ``captured`` (n,) bytes are
    there; ``ethernet`` (n,) says which bear a link header (the others begin with IP)."""
    last = len(data) - 1

    def u8(at: Ints) -> Ints:
        return data[np.minimum(at, last)].astype(np.int64)

    def u16(at: Ints) -> Ints:
        return u8(at) << 8 | u8(at + 1)

    link = np.where(ethernet, 14, 0)
    kind = np.where(ethernet, u16(start + 12), np.where(u8(start) >> 4 == 6, IPV6, IPV4))
    for _ in range(2):
        tagged = np.isin(kind, TAGS) & ethernet
        if not tagged.any():
            break
        kind = np.where(tagged, u16(start + link + 2), kind)
        link = link + 4 * tagged
    network = start + link
    four, six = kind == IPV4, kind == IPV6
    size = np.where(four, (u8(network) & 15) * 4, 40)
    protocol = np.where(four, u8(network + 9), u8(network + 6))
    first = ~four | (u16(network + 6) & 0x1FFF == 0)
    above = network + size
    length = TRANSPORT[protocol]
    length = np.where(protocol == TCP, np.maximum((u8(above + 12) >> 4) * 4, 20), length)
    kind_of_icmp = u8(above)
    quotes = (four & (protocol == ICMP) & np.isin(kind_of_icmp, ERRORS)) | (
        six & (protocol == ICMPV6) & (kind_of_icmp < 128)
    )
    asks = six & (protocol == ICMPV6)
    asks &= (kind_of_icmp >= NEIGHBOURS[0]) & (kind_of_icmp <= NEIGHBOURS[1])
    length = np.where(asks, NEIGHBOUR, length)
    quoted = np.where(four, (u8(above + 8) & 15) * 4 + 20, 60)
    length = length + np.where(quotes, quoted, 0)
    whole = link + size + np.where(first, length, 0)
    return np.minimum(np.where(four | six, whole, OTHER), captured)
