"""Enhanced packet blocks with comments (draft-ietf-opsawg-pcapng), from frames that lie anywhere in
a file's bytes.

Blocks are put together as arrays: what has one length is copied at once, so that a million packets
take seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.dataset.pcapng import ENHANCED

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Raw = npt.NDArray[np.uint8]

HEAD, COMMENT, FLAGS, PACKET_ID = 28, 1, 2, 5
MAX_COMMENT = 65535


@dataclass(frozen=True)
class Commented:
    """n frames to write, in this order; arrays int64 (n,).

    ``source`` is the number of the data in which a frame lies, at ``start``, with ``kept`` bytes of
    the ``wire`` bytes that it had. ``direction``: 0 unknown, 1 received, 2 sent. ``packet``: what
    all sights of one packet share (epb_packetid), 0 none. ``comment``: index into the comments, -1
    none."""

    source: Ints
    start: Ints
    kept: Ints
    wire: Ints
    time: Ints
    interface: Ints
    direction: Ints
    packet: Ints
    comment: Ints


def blocks(frames: Commented, data: Sequence[Raw], comments: Sequence[bytes]) -> memoryview:
    """The blocks of all frames, one behind the other. Comments that are too long for an option are
    cut."""
    comments = [comment[:MAX_COMMENT] for comment in comments]
    pool = np.frombuffer(b"".join(comments) + b"\0", dtype=np.uint8)
    sizes = np.array([*map(len, comments), 0], dtype=np.int64)
    begins = np.cumsum(sizes) - sizes
    said = frames.comment >= 0
    text = np.where(said, sizes[frames.comment], 0)
    at_text = HEAD + _padded(frames.kept)
    at_flags = at_text + np.where(said, 4 + _padded(text), 0)
    at_packet = at_flags + 8 * (frames.direction > 0)
    at_end = at_packet + 12 * (frames.packet > 0)
    some = at_end > at_text
    total = at_end + 4 * some + 4
    block = np.cumsum(total) - total
    out = np.zeros(int(total.sum()), dtype=np.uint8)
    head = np.stack(
        [
            np.full(len(total), ENHANCED),
            total,
            frames.interface,
            frames.time >> 32,
            frames.time & 0xFFFFFFFF,
            frames.kept,
            frames.wire,
        ],
        axis=1,
    )
    _put(out, block, head.astype(np.uint32))
    for number, raw in enumerate(data):
        rows = np.flatnonzero(frames.source == number)
        _copy(out, (block + HEAD)[rows], raw, frames.start[rows], frames.kept[rows])
    rows = np.flatnonzero(said)
    _put(out, (block + at_text)[rows], (COMMENT | text[rows] << 16).astype(np.uint32))
    _copy(out, (block + at_text)[rows] + 4, pool, begins[frames.comment[rows]], text[rows])
    rows = np.flatnonzero(frames.direction > 0)
    flags = np.stack([np.full(len(rows), FLAGS | 4 << 16), frames.direction[rows]], axis=1)
    _put(out, (block + at_flags)[rows], flags.astype(np.uint32))
    rows = np.flatnonzero(frames.packet > 0)
    ids = np.stack(
        [
            np.full(len(rows), PACKET_ID | 8 << 16),
            frames.packet[rows] & 0xFFFFFFFF,
            frames.packet[rows] >> 32,
        ],
        axis=1,
    )
    _put(out, (block + at_packet)[rows], ids.astype(np.uint32))
    _put(out, block + total - 4, total.astype(np.uint32))
    return out.data


def _padded(size: Ints) -> Ints:
    return (size + 3) & ~3


def _windows(raw: Raw, size: int) -> npt.NDArray[np.void]:
    """A view of every ``size`` bytes that follow each other as one item: item i begins at byte
    i."""
    return np.ndarray(
        (max(len(raw) - size + 1, 0),), dtype=f"V{size}", buffer=raw.data, strides=(1,)
    )


def _put(out: Raw, at: Ints, words: npt.NDArray[np.uint32]) -> None:
    """Write rows of words, one row a place."""
    if len(at):
        width = words.size // len(words) * 4
        _windows(out, width)[at] = np.ascontiguousarray(words).view(f"V{width}").reshape(-1)


def _copy(out: Raw, at: Ints, source: Raw, start: Ints, size: Ints) -> None:
    """Copy runs of bytes; runs of one length at once."""
    if not len(at):
        return
    order = np.argsort(size, kind="stable")
    lengths, first = np.unique(size[order], return_index=True)
    for length, begin, end in zip(
        lengths.tolist(), first.tolist(), [*first[1:].tolist(), len(order)], strict=True
    ):
        rows = order[begin:end]
        if length:
            _windows(out, length)[at[rows]] = _windows(source, length)[start[rows]]
