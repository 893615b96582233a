"""pcapng files -> frames (draft-ietf-opsawg-pcapng): several interfaces, drop counts, direction
flags."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

import numpy as np

from correlator.decode.frames import (
    MAX_FRAME,
    MOST_FRAMES,
    MOST_INTERFACES,
    MOST_TIME,
    Frames,
    Interface,
    padded,
    too_many,
)
from correlator.decode.pcap import cut
from correlator.errors import InputError

MAGIC = b"\x0a\x0d\x0d\x0a"
SECTION, INTERFACE, OLD_PACKET, SIMPLE, STATISTICS, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 5, 6
IF_NAME, IF_RESOLUTION, IF_OFFSET = 2, 9, 14
EPB_FLAGS, EPB_DROPS = 2, 4
ISB_RECEIVED, ISB_DROPPED = 4, 5
LONGEST_NAME = 255
"""Characters of an interface's name that are kept."""


@dataclass(slots=True)
class _Reader:
    data: bytes
    path: str
    name: str | None
    fallback: str
    most: int = MOST_FRAMES
    order: str = "<"
    interfaces: list[Interface] = field(default_factory=list)
    clocks: list[tuple[int, int]] = field(default_factory=list)
    section: int = 0
    rows: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    drops: dict[int, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def options(self, position: int, end: int) -> dict[int, bytes]:
        """The options between two positions; of those that repeat, the last."""
        found: dict[int, bytes] = {}
        while position + 4 <= end:
            code, size = struct.unpack_from(f"{self.order}HH", self.data, position)
            if code == 0 or position + 4 + size > end:
                break
            found[code] = self.data[position + 4 : position + 4 + size]
            position += 4 + size + (-size % 4)
        return found

    def add_interface(self, position: int, end: int) -> bool:
        """False where it cannot be: its clock has no such unit, or there are too many."""
        link_type, _, snap = struct.unpack_from(f"{self.order}HHI", self.data, position)
        options = self.options(position + 8, end)
        named = options.get(IF_NAME, b"").split(b"\0")[0].decode("utf-8", "replace")[:LONGEST_NAME]
        self.interfaces.append(
            Interface(self.name or named or self.fallback, link_type, snap, file=self.path)
        )
        resolution = (options.get(IF_RESOLUTION) or b"\x06")[0]
        units = 1 << (resolution & 0x7F) if resolution & 0x80 else 10 ** (resolution & 0x7F)
        self.clocks.append((units, self.number(options.get(IF_OFFSET), signed=True) or 0))
        return len(self.interfaces) <= MOST_INTERFACES

    def number(self, option: bytes | None, signed: bool = False) -> int | None:
        """An option of 64 bits; None where it is not there, or of another size."""
        if option is None or len(option) != 8:
            return None
        return int.from_bytes(option, "little" if self.order == "<" else "big", signed=signed)

    def time(self, interface: int, high: int, low: int) -> int:
        units, seconds = self.clocks[interface]
        stamp = high << 32 | low
        return seconds * 1_000_000_000 + (
            stamp if units == 1_000_000_000 else stamp * 1_000_000_000 // units
        )

    def add_packet(self, position: int, end: int, old: bool) -> bool:
        """False where the block contradicts itself."""
        shape = f"{self.order}HHIIII" if old else f"{self.order}IIIII"
        values = struct.unpack_from(shape, self.data, position)
        number, (high, low, captured, wire) = self.section + values[0], values[-4:]
        start = position + struct.calcsize(shape)
        if number >= len(self.interfaces) or start + captured > end or captured > MAX_FRAME:
            return False
        direction = 0
        after = start + captured + (-captured % 4)
        if after + 4 <= end:
            options = self.options(after, end)
            flags = options.get(EPB_FLAGS)
            if flags is not None and len(flags) == 4:
                direction = struct.unpack(f"{self.order}I", flags)[0] & 3
            drops = self.number(options.get(EPB_DROPS))
            if drops is not None:
                self.drops[number] = self.drops.get(number, 0) + drops
        time = self.time(number, high, low)
        if not 0 <= time < MOST_TIME:
            return False
        self.rows.append((start, captured, wire, time, number, direction % 3))
        if len(self.rows) > self.most:
            raise too_many(self.path, self.most)
        return True

    def add_simple(self, position: int, end: int) -> bool:
        """A simple packet carries no time: it is told, and left out."""
        return position + 4 <= end and len(self.interfaces) > self.section

    def add_statistics(self, position: int, end: int) -> None:
        number = self.section + struct.unpack_from(f"{self.order}I", self.data, position)[0]
        if number >= len(self.interfaces):
            return
        options = self.options(position + 12, end)
        received, dropped = (self.number(options.get(code)) for code in (ISB_RECEIVED, ISB_DROPPED))
        self.interfaces[number] = replace(
            self.interfaces[number], received=received, dropped=dropped
        )


def index(
    data: bytes, path: str, name: str | None, fallback: str, most: int = MOST_FRAMES
) -> Frames:
    """The frames of a pcapng file; ``name`` overrides the interfaces' names, ``fallback`` serves
    where they have none. Raises :class:`~correlator.errors.InputError` where there are more than
    ``most``."""
    reader = _Reader(data, path, name, fallback, most)
    simple = _walk(reader)
    if not reader.interfaces and not reader.rows and reader.warnings:
        raise InputError(f"{path}: is cut within its file header: capture it again")
    if simple:
        reader.warnings.append(
            f"{path}: {simple} frames carry no time (simple packet blocks): left out"
        )
    table = np.array(reader.rows, dtype=np.int64).reshape(-1, 6)
    interfaces = [
        replace(i, dropped=reader.drops[n]) if i.dropped is None and n in reader.drops else i
        for n, i in enumerate(reader.interfaces)
    ]
    return Frames(
        padded(data),
        table[:, 0],
        table[:, 1],
        table[:, 2],
        table[:, 3],
        table[:, 4],
        table[:, 5],
        tuple(interfaces),
        tuple(reader.warnings),
    )


def _walk(reader: _Reader) -> int:
    """Read block after block; returns the number of simple packets."""
    data, size, position, simple = reader.data, len(reader.data), 0, 0
    while position < size:
        damaged = (
            f"{reader.path}: damaged at byte {position}, after frame {len(reader.rows)}: "
            f"read up to there"
        )
        if position + 12 > size:
            reader.warnings.append(cut(reader.path, position, len(reader.rows)))
            break
        if data[position : position + 4] == MAGIC:
            reader.order = ">" if data[position + 8 : position + 12] == b"\x1a\x2b\x3c\x4d" else "<"
            reader.section = len(reader.interfaces)
        kind, length = struct.unpack_from(f"{reader.order}II", data, position)
        if length < 12 or length % 4:
            reader.warnings.append(damaged)
            break
        if position + length > size:
            reader.warnings.append(cut(reader.path, position, len(reader.rows)))
            break
        body, end = position + 8, position + length - 4
        try:
            if kind == INTERFACE:
                if not reader.add_interface(body, end):
                    reader.warnings.append(damaged)
                    break
            elif kind in (ENHANCED, OLD_PACKET):
                if not reader.add_packet(body, end, kind == OLD_PACKET):
                    reader.warnings.append(damaged)
                    break
            elif kind == SIMPLE:
                simple += reader.add_simple(body, end)
            elif kind == STATISTICS:
                reader.add_statistics(body, end)
        except struct.error:
            reader.warnings.append(damaged)
            break
        position += length
    return simple
