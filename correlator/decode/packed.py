"""Files that gzip packed."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

GZIP = b"\x1f\x8b"
PACKS = 12
"""How many times smaller gzip makes headers of packets, at most; whole packets much less."""


def is_gzip(path: Path) -> bool:
    """Whether a file is packed. Raises OSError."""
    with path.open("rb") as file:
        return file.read(len(GZIP)) == GZIP


def unpacked_size(path: Path) -> int:
    """Bytes of a file; of a packed one, about as many as it holds at most. Raises OSError."""
    return path.stat().st_size * (PACKS if is_gzip(path) else 1)


def gunzip(data: bytes) -> bytes:
    """What a gzip file holds, as far as it goes (a cut one is read up to the cut). Raises
    zlib.error where it is damaged."""
    try:
        return gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile):
        return zlib.decompressobj(wbits=31).decompress(data)
