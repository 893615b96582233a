"""Community ID v1: the name by which Zeek, Suricata, Wireshark and others know one flow, whichever
way they see it.

Spec: https://github.com/corelight/community-id-spec. ``1:`` and the base64 of the SHA-1 of seed,
lower and higher endpoint's address, protocol, a zero, and their ports. ICMP's type stands for its
source port and the type that answers it for its destination port; a message that nothing answers is
one-way, with its code for a destination port, and not put in order."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.addresses import book, is_ipv6
from correlator.flows.keys import mix

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

ICMP, ICMP6 = 1, 58
PORTED = (ICMP, 6, 17, ICMP6, 132)
ANSWERS = {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 10: 9, 9: 10, 17: 18, 18: 17}
"""ICMP type -> the type that answers it, both ways."""
ANSWERS6 = {128: 129, 133: 134, 135: 136, 130: 131, 139: 140, 144: 145}
"""The same of ICMPv6, one way."""
ALPHABET = np.frombuffer(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", dtype=np.uint8
)
SEED = 0
DIGEST = 20


def icmp_ports(kind: Ints, code: Ints, six: Bools | bool = False) -> tuple[Ints, Ints, Bools]:
    """(source port, destination port, whether nothing answers it) of ICMP messages, or where
    ``six`` of ICMPv6 ones; arguments and results (n,)."""
    answer = np.full((2, 256), -1, dtype=np.int64)
    answer[0, list(ANSWERS)] = list(ANSWERS.values())
    for one, other in ANSWERS6.items():
        answer[1, [one, other]] = other, one
    found = answer[np.asarray(six).astype(np.int64), np.clip(kind, 0, 255)]
    return kind, np.where(found >= 0, found, code), found < 0


def community_ids(
    protocol: Ints, src: Ints, sport: Ints, dst: Ints, dport: Ints, one_way: Bools
) -> npt.NDArray[Any]:
    """The Community ID of each tuple; arguments int64 (n,) (addresses as numbers, ``one_way``
    bool), result object (n,).

    Each distinct tuple is hashed once, whichever way round it stands.
    """
    swap = ~one_way & ((src > dst) | ((src == dst) & (sport > dport)))
    low, high = np.where(swap, dst, src), np.where(swap, src, dst)
    low_port, high_port = np.where(swap, dport, sport), np.where(swap, sport, dport)
    ported = np.isin(protocol, PORTED)
    low_port, high_port = np.where(ported, low_port, 0), np.where(ported, high_port, 0)
    _, first, inverse = np.unique(
        mix(protocol, low, high, low_port, high_port), return_index=True, return_inverse=True
    )
    one, other = _addresses(low[first]), _addresses(high[first])
    behind = 2 + 2 * one.shape[1]
    size = behind + 6
    message = np.empty((len(first), size), dtype=np.uint8)
    message[:, 0:2] = _bytes(np.full(len(first), SEED), ">u2")
    message[:, 2:behind] = np.concatenate([one, other], axis=1)
    message[:, behind], message[:, behind + 1] = protocol[first], 0
    message[:, behind + 2 : behind + 4] = _bytes(low_port[first], ">u2")
    message[:, behind + 4 :] = _bytes(high_port[first], ">u2")
    data, sha1 = message.tobytes(), hashlib.sha1
    ends = np.where(ported[first], size, size - 4).tolist()
    digests = [sha1(data[size * i : size * i + end]).digest() for i, end in enumerate(ends)]
    result: npt.NDArray[Any] = _base64(
        np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, DIGEST)
    )[inverse]
    return result


def _addresses(numbers: Ints) -> npt.NDArray[np.uint8]:
    """Addresses of one family in network order; uint8 (n, 4) or (n, 16)."""
    if not is_ipv6(numbers).any():
        return _bytes(numbers, ">u4")
    known = book()
    written = b"".join(known.value(number).to_bytes(16, "big") for number in numbers.tolist())
    return np.frombuffer(written, dtype=np.uint8).reshape(-1, 16)


def _bytes(values: Ints, dtype: str) -> npt.NDArray[np.uint8]:
    """Numbers in network order; uint8 (n, size)."""
    return values.astype(dtype).view(np.uint8).reshape(len(values), np.dtype(dtype).itemsize)


def _base64(digests: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
    """``1:`` and the base64 of each digest, object (n,): 20 bytes are 27 letters and a filler."""
    padded = np.zeros((len(digests), DIGEST + 1), dtype=np.int64)
    padded[:, :DIGEST] = digests
    word = padded[:, 0::3] << 16 | padded[:, 1::3] << 8 | padded[:, 2::3]
    text = np.empty((len(digests), 30), dtype=np.uint8)
    text[:, 0], text[:, 1] = ord("1"), ord(":")
    for place, shift in enumerate((18, 12, 6, 0)):
        text[:, 2 + place :: 4] = ALPHABET[word >> shift & 63]
    text[:, -1] = ord("=")
    return text.view("S30")[:, 0].astype("U30").astype(object)
