"""Classic pcap files -> frames (draft-ietf-opsawg-pcap): micro- and nanoseconds, either byte
order."""

from __future__ import annotations

import struct

import numpy as np

from correlator.decode.frames import MAX_FRAME, MOST_FRAMES, Frames, Interface, padded, too_many
from correlator.errors import InputError

MAGICS: dict[bytes, tuple[str, int]] = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}
"""Magic number -> (byte order, nanoseconds per unit of the fraction)."""

HEADER = 24


def index(data: bytes, path: str, name: str, most: int = MOST_FRAMES) -> Frames:
    """The frames of a pcap file. Raises :class:`~correlator.errors.InputError` where even its
    header is cut, or where there are more than ``most``."""
    if len(data) < HEADER:
        raise InputError(f"{path}: is cut within its file header: capture it again")
    order, unit = MAGICS[data[:4]]
    snap_length, link_type = struct.unpack_from(f"{order}II", data, 16)
    record = struct.Struct(f"{order}IIII")
    unpack, size, position = record.unpack_from, len(data), HEADER
    rows: list[tuple[int, int, int, int, int]] = []
    warnings: tuple[str, ...] = ()
    while position < size:
        if position + 16 > size:
            warnings = (cut(path, position, len(rows)),)
            break
        seconds, fraction, captured, wire = unpack(data, position)
        if captured > MAX_FRAME:
            warnings = (
                f"{path}: damaged at byte {position}, after frame {len(rows)}: read up to there",
            )
            break
        if position + 16 + captured > size:
            warnings = (cut(path, position, len(rows)),)
            break
        rows.append((position + 16, captured, wire, seconds, fraction))
        if len(rows) > most:
            raise too_many(path, most)
        position += 16 + captured
    table = np.array(rows, dtype=np.int64).reshape(-1, 5)
    zeros = np.zeros(len(table), dtype=np.int64)
    interface = Interface(name, link_type & 0xFFFF, snap_length, file=path)
    return Frames(
        padded(data),
        table[:, 0],
        table[:, 1],
        table[:, 2],
        table[:, 3] * 1_000_000_000 + table[:, 4] * unit,
        zeros,
        zeros,
        (interface,),
        warnings,
    )


def cut(path: str, position: int, frames: int) -> str:
    """The warning for a file that ends within a record."""
    return f"{path}: cut short at byte {position}, after frame {frames}: read up to there"
