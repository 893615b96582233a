"""Blocks with comments: what comes out of a reader is what went in."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from correlator.dataset.commented import MAX_COMMENT, Commented, blocks
from correlator.dataset.pcapng import interface, section
from correlator.decode import pcapng
from correlator.decode.frames import padded

NUMBERS = (
    st.integers(0, 2**62 - 1),
    st.integers(0, 2),
    st.integers(0, 2**40),
    st.integers(-1, 2),
    st.integers(0, 1),
)
FRAMES = st.lists(st.tuples(st.binary(max_size=70), *NUMBERS), max_size=30)
COMMENTS = (b"", b"nat/DOCKER:2 DNAT", "né".encode() * 9)


def written(
    frames: list[tuple[bytes, int, int, int, int, int]], comments: tuple[bytes, ...] = COMMENTS
) -> bytes:
    """A file of (data, time, direction, packet, comment, interface)."""
    sources = [b"".join(frame[0] for frame in frames if frame[5] == n) for n in (0, 1)]
    at, starts = [0, 0], []
    for frame in frames:
        starts.append(at[frame[5]])
        at[frame[5]] += len(frame[0])
    size = np.array([len(frame[0]) for frame in frames], dtype=np.int64)
    columns = [np.array([frame[i] for frame in frames], dtype=np.int64) for i in range(1, 6)]
    time, direction, packet, comment, source = columns
    batch = Commented(
        source,
        np.array(starts, dtype=np.int64),
        size,
        size + 1000,
        time,
        source,
        direction,
        packet,
        comment,
    )
    head = section("test") + interface("a", 1, 0) + interface("b", 1, 0)
    return head + bytes(blocks(batch, [padded(data) for data in sources], comments))


def options(data: bytes, start: int, kept: int) -> dict[int, bytes]:
    """The options of the block whose data begin at ``start``, by a reader of this test's own."""
    position, found = start + kept + -kept % 4, {}
    end = start - 28 + struct.unpack_from("=I", data, start - 24)[0] - 4
    while position < end:
        code, size = struct.unpack_from("=HH", data, position)
        if code == 0:
            assert position + 4 == end
            return found
        assert code not in found
        found[code] = data[position + 4 : position + 4 + size]
        position += 4 + size + -size % 4
    assert position == end
    return found


@given(FRAMES)
def test_what_is_read_is_what_was_written(
    frames: list[tuple[bytes, int, int, int, int, int]],
) -> None:
    """Any frames, times, directions, packet ids and comments come back as they were, in order."""
    data = written(frames)
    found = pcapng.index(data, "x", None, "x")
    assert not found.warnings
    assert len(found) == len(frames)
    for i, (frame, time, direction, packet, comment, source) in enumerate(frames):
        start, kept = int(found.start[i]), int(found.captured[i])
        assert data[start : start + kept] == frame
        assert (found.time[i], found.wire[i], found.direction[i], found.interface[i]) == (
            time,
            kept + 1000,
            direction,
            source,
        )
        expected = {1: COMMENTS[comment]} if comment >= 0 else {}
        expected |= {2: struct.pack("=I", direction)} if direction else {}
        expected |= {5: struct.pack("=Q", packet)} if packet else {}
        assert options(data, start, kept) == expected


def test_a_comment_that_is_too_long_is_cut() -> None:
    """An option holds 65,535 bytes: more is cut, and the file stays whole."""
    data = written([(b"abc", 1, 1, 1, 0, 0), (b"d", 2, 0, 0, -1, 0)], (b"x" * 70_000,))
    found = pcapng.index(data, "x", None, "x")
    assert len(found) == 2
    assert options(data, int(found.start[0]), 3)[1] == b"x" * MAX_COMMENT
