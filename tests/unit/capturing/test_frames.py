"""Frames out of a ring, and into a file: what is quick says the same as what is general."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from correlator.capturing.headers import any_header_lengths, header_lengths
from correlator.capturing.ring import find_frames
from correlator.dataset import pcapng

MAC_AND_NET = 82 | 96 << 16


def _frame(kind: int, ip: bytes, above: bytes) -> bytes:
    return b"\2" * 12 + struct.pack(">H", kind) + ip + above


def _ip(protocol: int, words: int = 5, fragment: int = 0) -> bytes:
    head = struct.pack(">BBHHHBBHII", 0x40 | words, 0, 100, 7, fragment, 64, protocol, 0, 1, 2)
    return head + bytes(4 * (words - 5))


def _tcp(words: int) -> bytes:
    return struct.pack(">HHIIBBHHH", 1, 2, 3, 4, words << 4, 0x10, 5, 6, 7) + bytes(200)


FRAMES = {
    "udp": (_frame(0x0800, _ip(17), bytes(100)), 42),
    "tcp": (_frame(0x0800, _ip(6), _tcp(5)), 54),
    "tcp with options": (_frame(0x0800, _ip(6), _tcp(15)), 94),
    "tcp that says less than a header": (_frame(0x0800, _ip(6), _tcp(2)), 54),
    "ip with options": (_frame(0x0800, _ip(6, 8), _tcp(8)), 78),
    "first fragment": (_frame(0x0800, _ip(17, fragment=0x2000), bytes(100)), 42),
    "later fragment": (_frame(0x0800, _ip(17, fragment=0x2010), bytes(100)), 34),
    "echo": (_frame(0x0800, _ip(1), b"\x08" + bytes(99)), 42),
    "error": (_frame(0x0800, _ip(1), b"\3\3" + bytes(6) + _ip(6) + _tcp(5)), 82),
    "ipv6": (_frame(0x86DD, b"\x60" + bytes(5) + b"\x11" + bytes(33), bytes(100)), 62),
    "tagged": (_frame(0x8100, b"\0\7\x08\0" + _ip(17), bytes(100)), 46),
    "arp": (_frame(0x0806, bytes(28), bytes(20)), 42),
}
"""Each with the length of its headers by the RFCs (791, 793, 768, 792, 8200, 802.1Q), or of ARP
whole."""


def _laid_out(frames: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """(words that hold these frames with room around them, the word at which each begins)."""
    words, at = [np.zeros(8, dtype=np.uint32)], []
    for frame in frames:
        at.append(sum(map(len, words)))
        words.append(np.frombuffer(frame.ljust((len(frame) + 67) // 4 * 4, b"\0"), dtype=np.uint32))
    return np.concatenate(words), np.array(at)


def test_headers_only() -> None:
    """Kept are headers, by what the RFCs say of each kind of frame, alone and among others, and
    never more than is there."""
    names = list(FRAMES)
    words, at = _laid_out([FRAMES[name][0] for name in names])
    sizes = np.array([len(FRAMES[name][0]) for name in names])
    expected = {name: FRAMES[name][1] for name in names}
    every = np.ones(len(at), dtype=bool)
    assert (
        dict(zip(names, header_lengths(words, at, sizes, every).tolist(), strict=True)) == expected
    )
    assert (
        dict(
            zip(
                names,
                any_header_lengths(words.view(np.uint8), at * 4, sizes, every).tolist(),
                strict=True,
            )
        )
        == expected
    )
    for i, name in enumerate(names):
        assert header_lengths(words, at[[i]], sizes[[i]], every[[i]]).tolist() == [expected[name]]
    assert header_lengths(words, at, np.full(len(at), 37), every).max() == 37


def test_quick_lengths_are_the_general_ones() -> None:
    """Frames of random bytes, most of them nearly IP: both ways of telling the length agree on all
    of them."""
    random = np.random.default_rng(5)
    frames = []
    for _ in range(3000):
        frame = bytearray(random.bytes(int(random.integers(60, 170))))
        if random.random() < 0.9:
            frame[12:15] = b"\x08\0" + bytes([0x45 if random.random() < 0.8 else 0x46])
        if random.random() < 0.8:
            frame[20:22] = b"\0\0"
            frame[23] = int(random.choice([6, 17, 1]))
        frames.append(bytes(frame))
    words, at = _laid_out(frames)
    sizes, ethernet = np.array([len(frame) for frame in frames]), random.random(len(frames)) < 0.9
    quick = header_lengths(words, at, sizes, ethernet)
    assert (quick == any_header_lengths(words.view(np.uint8), at * 4, sizes, ethernet)).all()
    assert len(np.unique(quick)) > 20


@pytest.mark.parametrize("misleading", [False, True])
def test_frames_are_found_by_their_chain(misleading: bool) -> None:
    """Each header is found where the one before it says, also where a frame's bytes look like a
    header."""
    random = np.random.default_rng(9)
    words, expected, place = np.zeros(40_000, dtype=np.uint32), [], 12
    for _ in range(900):
        expected.append(place)
        step = int(random.integers(18, 21)) * 2
        words[place], words[place + 6] = step * 4, MAC_AND_NET
        if misleading:
            words[place + 20] = MAC_AND_NET
        place += step
    found = find_frames(words[: place + 3], 12, 900)
    assert found.tolist() == expected


def test_blocks_hold_the_frames_in_their_order() -> None:
    """Frames of many lengths, written together: a reader of pcapng finds each one's bytes, time,
    direction and length."""
    random = np.random.default_rng(3)
    frames = [random.bytes(int(size)) for size in random.integers(1, 90, 400)]
    words, at = _laid_out(frames)
    kept = np.array([len(frame) for frame in frames])
    count = np.arange(len(frames))
    batch = pcapng.Batch(words, at, kept, kept + 5, count + (7 << 40), count % 3, count % 2 + 1)
    data, place = bytes(pcapng.packets(batch)), 0
    for i, frame in enumerate(frames):
        kind, length, interface, high, low, captured, wire = struct.unpack_from("=7I", data, place)
        assert (kind, interface, high << 32 | low, captured, wire) == (
            6,
            i % 3,
            i + (7 << 40),
            len(frame),
            len(frame) + 5,
        )
        assert data[place + 28 : place + 28 + captured] == frame
        assert set(data[place + 28 + captured : place + length - 16]) <= {0}
        assert struct.unpack_from("=HHIII", data, place + length - 16) == (
            2,
            4,
            i % 2 + 1,
            0,
            length,
        )
        place += length
    assert place == len(data)
