"""pcapng as a session writes it (draft-ietf-opsawg-pcapng): blocks of bytes, to be appended to a
file.

Times are epoch ns (if_tsresol 9). Each packet says whether it was received or sent (epb_flags).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.dataset.files import open_file

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Words = npt.NDArray[np.uint32]

SECTION, INTERFACE, STATISTICS, ENHANCED = 0x0A0D0D0A, 1, 5, 6
HEAD_WORDS, TAIL_WORDS = 7, 4
"""Of an enhanced packet block around its data: kind, length, interface, time (2), captured, wire;
flags (2), end, length."""
FLAGS_OPTION = 2 | 4 << 16
EXPORTED = "correlator export"
"""The application in files that `correlator export` wrote: they hold packets a second time."""


MASKS = np.frombuffer(
    b"".join(bytes([0xFF] * (kept or 4)).ljust(4, b"\0") for kept in range(4)), dtype=np.uint32
)
"""What stays of the last word of data of which 0 (all), 1, 2 or 3 bytes are kept."""


@dataclass(frozen=True, slots=True)
class Batch:
    """n frames to write. ``words`` uint32: what they were copied from, with :data:`HEAD_WORDS`
    before and :data:`TAIL_WORDS` behind each, and ``at`` int64 (n,) the word at which each begins;
    ``time`` int64 (n,), epoch ns; ``kept`` and ``wire`` bytes, ``interface`` and ``direction`` (1
    received, 2 sent), integers (n,)."""

    words: Words
    at: Ints
    kept: Ints
    wire: npt.NDArray[np.integer]
    time: Ints
    interface: npt.NDArray[np.integer]
    direction: npt.NDArray[np.integer]


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("=HH", code, len(value)) + value + bytes(-len(value) % 4)


def _block(kind: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("=II", kind, length) + body + struct.pack("=I", length)


def section(application: str, comment: str = "") -> bytes:
    """Section header block; ``application`` is what wrote it."""
    options = _option(1, comment.encode()) if comment else b""
    options += _option(4, application.encode())
    return _block(SECTION, struct.pack("=IHHq", 0x1A2B3C4D, 1, 0, -1) + options + bytes(4))


def interface(name: str, link_type: int, snap_length: int, expression: str = "") -> bytes:
    """Interface description block, with ns times; ``expression`` is the capture filter."""
    options = _option(2, name.encode()) + _option(9, b"\x09")
    if expression:
        options += _option(11, b"\x00" + expression.encode())
    return _block(INTERFACE, struct.pack("=HHI", link_type, 0, snap_length) + options + bytes(4))


def statistics(number: int, time: int, received: int | None, dropped: int | None) -> bytes:
    """Interface statistics block: packets received and dropped so far (None: nobody counted)."""
    body = struct.pack("=III", number, time >> 32, time & 0xFFFFFFFF)
    counts = [(code, count) for code, count in ((4, received), (5, dropped)) if count is not None]
    return _block(
        STATISTICS,
        body
        + b"".join(_option(code, struct.pack("=Q", count)) for code, count in counts)
        + bytes(4),
    )


def packets(batch: Batch) -> bytes | memoryview:
    """Enhanced packet blocks, in the order of the batch."""
    if not len(batch.at):
        return b""
    data = (batch.kept + 3) >> 2
    there = np.flatnonzero(np.bincount(data)).tolist()
    if len(there) == 1:
        return _same_size(batch, slice(None), there[0]).ravel().data.cast("B")
    # frames of one length are rows of one array: a handful of copies instead of one a frame
    ends = np.cumsum(data + (HEAD_WORDS + TAIL_WORDS))
    out = np.empty(int(ends[-1]), dtype=np.uint32)
    for size in there:
        rows = np.flatnonzero(data == size)
        blocks = _same_size(batch, rows, size)
        windows(out, blocks.shape[1])[ends[rows] - blocks.shape[1]] = blocks
    return out.data.cast("B")


def windows(words: Words, width: int) -> Words:
    """A view of every ``width`` words that follow each other: row i begins at word i."""
    return np.lib.stride_tricks.as_strided(words, (max(len(words) - width + 1, 0), width), (4, 4))


def _same_size(batch: Batch, rows: Ints | slice, size: int) -> Words:
    """The blocks of frames that all keep ``size`` words; uint32 (rows, words of a block)."""
    width = size + HEAD_WORDS + TAIL_WORDS
    blocks = windows(batch.words, width)[
        batch.at[rows] - HEAD_WORDS
    ]  # the data in its place, the rest written over
    time, kept = batch.time[rows], batch.kept[rows]
    head = (
        ENHANCED,
        width * 4,
        batch.interface[rows],
        time >> 32,
        time & 0xFFFFFFFF,
        kept,
        batch.wire[rows],
    )
    for column, value in enumerate(head):
        blocks[:, column] = np.asarray(value)
    if size:
        blocks[:, HEAD_WORDS + size - 1] &= MASKS[kept & 3]
    blocks[:, -4], blocks[:, -3], blocks[:, -2], blocks[:, -1] = (
        FLAGS_OPTION,
        batch.direction[rows],
        0,
        width * 4,
    )
    return blocks


def is_exported(path: Path) -> bool:
    """Whether `correlator export` wrote this file of a folder. Raises
    :class:`~correlator.errors.InputError` where it is not to be opened."""
    with open_file(path, path.parent) as file:
        head = file.read(8)
        if head[:4] != b"\x0a\x0d\x0d\x0a" or len(head) < 8:
            return False
        return EXPORTED.encode() in file.read(struct.unpack("=I", head[4:])[0] & 0xFFFFF)


def packet(data: bytes, time: int, number: int = 0) -> bytes:
    """One enhanced packet block without options."""
    head = struct.pack("=IIIII", number, time >> 32, time & 0xFFFFFFFF, len(data), len(data))
    return _block(ENHANCED, head + data + bytes(-len(data) % 4))
