"""Files -> records in order of time, a stretch at a time: what the fold reads, in bounded memory.

Pcap and pcapng (little-endian, microseconds or finer) of Ethernet interfaces, plain or gzipped;
:class:`UnusualError` where there is anything else, which :mod:`correlator.decode.capture` reads
instead."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from correlator.decode import pcap, pcapng
from correlator.decode.frames import MAX_FRAME, PADDING, Interface
from correlator.decode.link import ETHERNET
from correlator.decode.packed import bomb, is_gzip, most_unpacked, open_packets, unpacked_size
from correlator.decode.records import RECORD, merge, scan_blocks, scan_pcap

if TYPE_CHECKING:
    import numpy.typing as npt

    Records = npt.NDArray[np.void]

BUFFER = 2 << 20
STRETCH = 1 << 15
"""Records parsed at a time, of one file."""
HOLD_NS = 2_000_000_000
"""How far frames of one file may be out of order: interfaces' rings are written one after the
other."""
SECOND = 1_000_000_000
_EVER = 1 << 62
_RAW = np.dtype((np.void, RECORD.itemsize))
SKIPPED = ("ARP", "IPv6", "cut or broken IPv4", "other")


class UnusualError(Exception):
    """The files hold what the stream does not read."""


@dataclass
class Names:
    """Interfaces of all files under one numbering; ``macs`` their own addresses (0 unknown),
    ``own`` what was seen of them."""

    known: dict[str, int]
    interfaces: list[Interface] = field(default_factory=list)
    macs: list[int] = field(default_factory=list)
    own: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros((255, 1), dtype=np.uint8))

    def code(self, interface: Interface) -> int:
        """The number of an interface. Raises :class:`UnusualError` where it is none of the
        ordinary."""
        if interface.link_type != ETHERNET:
            raise UnusualError
        for code, one in enumerate(self.interfaces):
            if one.name == interface.name:
                return code
        if len(self.interfaces) >= 250:
            raise UnusualError
        self.interfaces.append(interface)
        self.macs.append(self.known.get(interface.name, 0) if interface.name != "lo" else 0)
        return len(self.interfaces) - 1


class Source:
    """One file, read from its beginning; ``frames`` passed so far, ``skipped`` (4,) those that hold
    no IPv4.

    What is read of a frame is of ``dtype``, and read by the two methods ``_scan_*``.
    """

    dtype = RECORD

    def __init__(self, path: Path, name: str | None, fallback: str, names: Names) -> None:
        self.path, self.names = path, names
        self.file: BinaryIO = open_packets(path)
        self.size = unpacked_size(path)
        self.most = most_unpacked(path.stat().st_size) if is_gzip(path) else _EVER
        self.buffer = np.zeros(BUFFER + MAX_FRAME + PADDING, dtype=np.uint8)
        self.position = self.filled = 0
        self.offset = 0
        self.ended = False
        self.frames = 0
        self.skipped = np.zeros(len(SKIPPED), dtype=np.int64)
        self.warnings: list[str] = []
        self.held = np.zeros(0, dtype=RECORD)
        self.taken, self.over = -_EVER, False
        self.codes, self.macs, self.units = (np.zeros(0, dtype=np.int64) for _ in range(3))
        self.fill()
        magic = self.buffer[:4].tobytes()
        self.reader: pcapng._Reader | None = None
        if magic in pcap.MAGICS and self.filled >= pcap.HEADER:
            self._begin_pcap(magic, name or fallback)
        elif magic == pcapng.MAGIC:
            self.reader = pcapng._Reader(b"", str(path), name, fallback)
        else:
            raise UnusualError

    @property
    def interfaces(self) -> list[Interface]:
        """The file's interfaces, as far as it was read."""
        return list(self.reader.interfaces) if self.reader is not None else [self.interface]

    def _begin_pcap(self, magic: bytes, name: str) -> None:
        order, self.unit = pcap.MAGICS[magic]
        self.big = order == ">"
        snap_length, link_type = struct.unpack_from(f"{order}II", self.buffer.data, 16)
        self.interface = Interface(name, link_type & 0xFFFF, snap_length, file=str(self.path))
        self.code = self.names.code(self.interface)
        self.position = pcap.HEADER

    def fill(self) -> None:
        """Move what is left to the front and read on behind it."""
        left = self.filled - self.position
        self.buffer[:left] = self.buffer[self.position : self.filled].copy()
        self.offset += self.position
        try:
            got = self.file.readinto(self.buffer[left : left + BUFFER].data)  # type: ignore[attr-defined]
        except (EOFError, OSError, zlib.error):  # of gzip: cut or damaged
            raise UnusualError from None
        self.position, self.filled = 0, left + got
        self.buffer[self.filled : self.filled + PADDING] = 0
        self.ended = got == 0
        if self.offset + self.filled > self.most:
            raise bomb(self.path)

    def read(self) -> Records:
        """The next records, in the file's order; none: it has ended."""
        out = np.empty(STRETCH, dtype=self.dtype)
        while True:
            before = self.position
            written = self._pcap(out) if self.reader is None else self._blocks(out)
            if written or self.ended:
                return out[:written]
            if self.position == before or self.filled - self.position < BUFFER // 2:
                self.fill()
                if self.ended and self.position < self.filled:
                    self._cut()
                    return out[:0]

    @property
    def reach(self) -> int:
        """Up to when everything of the file has been read, for all that is known; epoch ns."""
        return int(self.held["time"][-1]) - HOLD_NS if len(self.held) else -_EVER

    def hold(self, more: Records) -> None:
        """Keep records until the other files have come as far; none: the file has ended."""
        self.over = not len(more)
        both = (
            np.concatenate([self.held.view(_RAW), more.view(_RAW)]).view(RECORD)
            if len(self.held)
            else more
        )
        time = both["time"]
        self.held = both if (time[1:] >= time[:-1]).all() else both[np.argsort(time, kind="stable")]

    def take(self, until: int) -> Records:
        """What is held up to a time. Raises :class:`UnusualError` where the file goes back behind
        what was taken before."""
        count = int(np.searchsorted(self.held["time"], until, side="right"))
        part, self.held = self.held[:count], self.held[count:]
        if count:
            if int(part["time"][0]) < self.taken:
                raise UnusualError
            self.taken = int(part["time"][-1])
        return part

    def _cut(self) -> None:
        if self.reader is not None and self.filled - self.position >= 8:
            length = int.from_bytes(
                self.buffer[self.position + 4 : self.position + 8].tobytes(), "little"
            )
            if length < 12 or length % 4:
                raise UnusualError
        self.warnings.append(pcap.cut(str(self.path), self.offset + self.position, self.frames))

    def _scan_pcap(self, out: Records) -> Any:
        return scan_pcap(
            self.buffer,
            self.position,
            self.filled,
            self.big,
            self.unit,
            MAX_FRAME,
            self.names.macs[self.code],
            self.code,
            self.frames,
            out,
            self.names.own[self.code],
            self.skipped,
        )

    def _scan_blocks(self, out: Records) -> Any:
        return scan_blocks(
            self.buffer,
            self.position,
            self.filled,
            MAX_FRAME,
            self.macs,
            self.codes,
            self.units,
            self.frames,
            out,
            self.names.own,
            self.skipped,
        )

    def _pcap(self, out: Records) -> int:
        self.position, frames, written, damaged = self._scan_pcap(out)
        self.frames += frames
        if damaged:
            raise UnusualError
        return int(written)

    def _blocks(self, out: Records) -> int:
        assert self.reader is not None
        while True:
            self.position, frames, written, other = self._scan_blocks(out)
            self.frames += frames
            if not other or written:
                return int(written)
            length = int.from_bytes(
                self.buffer[self.position + 4 : self.position + 8].tobytes(), "little"
            )
            if length < 12 or length % 4 or length > MAX_FRAME:
                raise UnusualError
            if self.position + length > self.filled:
                return 0
            self._block(self.buffer[self.position : self.position + length].tobytes())
            self.position += length

    def _block(self, data: bytes) -> None:
        """A block that holds no packet."""
        reader = self.reader
        assert reader is not None
        kind = int.from_bytes(data[:4], "little")
        reader.data = data
        try:
            if kind == pcapng.SECTION:
                if data[8:12] != b"\x4d\x3c\x2b\x1a" or reader.interfaces:
                    raise UnusualError
            elif kind == pcapng.INTERFACE:
                if not reader.add_interface(8, len(data) - 4):
                    raise UnusualError
                units, seconds = reader.clocks[-1]
                if (
                    seconds or not 1_000_000 <= units <= SECOND or SECOND % units
                ):  # coarser ones: which came first?
                    raise UnusualError
                self.units = np.r_[self.units, SECOND // units]
                self.codes = np.r_[self.codes, self.names.code(reader.interfaces[-1])]
                self.macs = np.array(
                    [self.names.macs[code] for code in self.codes.tolist()], dtype=np.int64
                )
            elif kind == pcapng.STATISTICS:
                reader.add_statistics(8, len(data) - 4)
            elif kind in (pcapng.ENHANCED, pcapng.OLD_PACKET, pcapng.SIMPLE):
                raise UnusualError
        except struct.error:
            raise UnusualError from None


def stream(sources: Sequence[Source]) -> Iterator[Records]:
    """Records of all files in order of time; of one time, in the order of the files."""
    merged = _merged(sources)
    with ThreadPoolExecutor(max_workers=1) as reader:  # which goes on while what was read is used
        ahead = reader.submit(next, merged, None)
        while (records := ahead.result()) is not None:
            ahead = reader.submit(next, merged, None)
            yield records


def _merged(sources: Sequence[Source]) -> Iterator[Records]:
    while True:
        for source in sources:
            behind = min((other.reach for other in sources if not other.over), default=0)
            if not source.over and source.reach <= behind:
                source.hold(source.read())
        until = min((source.reach for source in sources if not source.over), default=_EVER)
        merged = np.zeros(0, dtype=RECORD)
        for source in sources:
            part = source.take(until)
            if len(merged) and len(part):
                both = np.empty(len(merged) + len(part), dtype=RECORD)
                merge(merged, part, both)
                merged = both
            else:
                merged = part if len(part) else merged
        if len(merged):
            yield merged
        if until == _EVER:
            return
