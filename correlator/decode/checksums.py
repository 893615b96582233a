"""Whether transport checksums are right (RFC 1071), of packets that were captured whole.

A sender may leave the checksum to its hardware: then the field holds the sum of the pseudo-header
only, on the wire between two namespaces or virtual machines too, and the kernel takes it for right.
Packets that were put together on receipt are larger than any frame, and not looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools, Ints

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
FIELD = {ICMP: 2, TCP: 16, UDP: 6, ICMP6: 2}
"""Where the checksum stands in its header."""
LARGEST = 1500
"""Bytes of L3."""


def wrong_checksums(
    data: npt.NDArray[np.uint8],
    at: Ints,
    room: Ints,
    end: Ints,
    protocol: npt.NDArray[np.uint8],
    sums: Ints,
    control: int = ICMP,
) -> Bools:
    """Which packets have a wrong one, (n,); False where that cannot be told.

    ``at``: where the transport header begins in ``data`` (two bytes more than any frame are there),
    ``room``: bytes from there to the packet's end, ``end``: of what was captured; ``sums`` of both
    addresses' words; ``control``: the protocol number of the family's ICMP."""
    result = np.zeros(len(at), dtype=bool)
    largest = LARGEST - (20 if control == ICMP else 40)
    known = np.isin(protocol, (TCP, UDP, control))
    rows = np.flatnonzero(known & (room >= 8) & (room <= largest) & (at + room <= end))
    rows = rows[(protocol[rows] != TCP) | (room[rows] >= 20)]
    if not len(rows):
        return result
    at, room, kind = at[rows], room[rows], protocol[rows].astype(np.int64)
    place = at + np.select([kind == one for one in FIELD], list(FIELD.values()))
    field = data[place].astype(np.int64) << 8 | data[place + 1]
    pseudo = _folded(np.where(kind == ICMP, 0, kind + room + sums[rows].astype(np.int64)))
    right = _folded(_summed(data, at, room) + pseudo) == 0xFFFF
    left = (kind != ICMP) & ((field == pseudo) | ((kind == UDP) & (field == 0)))
    result[rows] = ~right & ~left
    return result


def address_sums(source: Ints, target: Ints) -> Ints:
    """The sums of the words of IPv4 addresses, for the pseudo-header (n,)."""
    sums: Ints = (source >> 16) + (source & 0xFFFF) + (target >> 16) + (target & 0xFFFF)
    return sums


def _folded(total: Ints) -> Ints:
    """A sum in one's complement."""
    for _ in range(3):
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _summed(data: npt.NDArray[np.uint8], at: Ints, room: Ints) -> Ints:
    """The sum of each packet's words in network order. A word that is read the other way round
    gives a sum that is the other way round."""
    total = np.zeros(len(at), dtype=np.int64)
    for parity in (0, 1):
        mine = np.flatnonzero((at & 1) == parity)
        if not len(mine):
            continue
        words = data[parity : parity + (len(data) - parity) // 2 * 2].view("<u2")
        begin = at[mine] >> 1
        bounds = np.stack([begin, begin + (room[mine] >> 1)], axis=1).ravel()
        total[mine] = np.add.reduceat(words, bounds, dtype=np.int64)[::2]
    total += np.where(room & 1, data[at + room - 1], 0)
    total = _folded(total)
    return (total & 0xFF) << 8 | total >> 8
