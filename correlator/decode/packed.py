"""Files that gzip packed, and what they may hold: no capture of packets packs as tightly as what is
made to fill a disk or a memory."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from correlator.dataset.files import is_pipe, open_file, too_large
from correlator.errors import InputError

GZIP = b"\x1f\x8b"
PACKS = 12
"""How many times smaller gzip makes headers of packets, at most; whole packets much less."""
PACKS_MOST, SMALL = 250, 64 << 20
"""A file may hold so many times its size, or so many bytes. Headers of a flood, each like the one
before but for its time, pack 20 times; zeros 1000 times."""
_STEP = 1 << 20


def open_packets(path: Path) -> BinaryIO:
    """A file of packets, unpacked while it is read. Raises
    :class:`~correlator.errors.InputError`."""
    file = open_file(path)
    if file.read(len(GZIP)) != GZIP:
        file.seek(0)
        return file
    file.seek(0)
    return cast("BinaryIO", gzip.GzipFile(fileobj=io.BufferedReader(cast("io.RawIOBase", file))))


def is_gzip(path: Path) -> bool:
    """Whether a file is packed. Raises :class:`~correlator.errors.InputError`."""
    with open_file(path) as file:
        return file.read(len(GZIP)) == GZIP


def unpacked_size(path: Path, packs: int = PACKS) -> int:
    """Bytes of a file; of a packed one, about as many as it holds at most, or ``packs`` times its
    size; 0 of a pipe. Raises :class:`~correlator.errors.InputError`, OSError."""
    if is_pipe(path):
        return 0
    return os.stat(path).st_size * (packs if is_gzip(path) else 1)


def most_unpacked(packed: int) -> int:
    """Bytes that a file of so many packed ones may hold."""
    return max(packed * PACKS_MOST, SMALL)


def bomb(path: Path) -> InputError:
    """What is said of a file that holds more."""
    return InputError(
        f"{path}: unpacks to more than {PACKS_MOST} times its size: no capture does, and it is "
        f"read no further: unpack it yourself where you trust it"
    )


def gunzip(data: bytes, path: Path, most: int) -> bytes:
    """What a gzip file holds, as far as it goes (a cut one is read up to the cut); ``most``: bytes
    that it may hold, besides what :func:`most_unpacked` says.

    Raises zlib.error where it is damaged, :class:`~correlator.errors.InputError` where it holds
    more."""
    likely = most_unpacked(len(data))
    parts: list[bytes] = []
    total = 0
    while data[:2] == GZIP or not parts:  # gzip files may follow each other
        member = zlib.decompressobj(wbits=31)
        waiting = data
        while not member.eof:
            part = member.decompress(waiting, _STEP)
            waiting = member.unconsumed_tail
            parts.append(part)
            total += len(part)
            if total > likely:
                raise bomb(path)
            if total > most:
                raise too_large(path, total, most)
            if not part and not waiting:
                break  # cut
        data = member.unused_data
    return b"".join(parts)
