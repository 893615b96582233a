"""Sessions to draw: recordings as they are, laid end to end, thinned, shifted, cut."""

from __future__ import annotations

import math
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import correlator
from correlator.reconcile.analysis import Analysis
from tests.conftest import CAPTURES

CLIENTS, DENIED = bytes((172, 31, 32)), bytes((172, 31, 40, 9))
"""Clients outside; the one that a rule of the recording drops, which keeps its address and moves on
in its ports."""

IGMP, ICMP, ECHO, ERRORS = 2, 1, (0, 8), (3, 11)


@lru_cache(maxsize=16)
def load(name: str) -> Analysis:
    """A shipped recording."""
    return correlator.load(CAPTURES / name)


def frames(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(epoch ns, length on the wire, bytes) of a little-endian nanosecond pcap."""
    position = 24
    while position < len(data):
        seconds, nanos, captured, wire = struct.unpack_from("<IIII", data, position)
        yield seconds * 10**9 + nanos, wire, data[position + 16 : position + 16 + captured]
        position += 16 + captured


def record(stamp: int, wire: int, frame: bytes) -> bytes:
    """One record of such a pcap."""
    return struct.pack("<IIII", stamp // 10**9, stamp % 10**9, len(frame), wire) + frame


def late(copy: int) -> int:
    """How much later a copy begins, in ns: now closer to the last one, now farther."""
    return sum(round((9 + 3.5 * math.sin(k / 7)) * 1e9) for k in range(copy))


@lru_cache(maxsize=2)
def tiled(copies: int) -> Analysis:
    """:func:`tile`, replayed once."""
    with TemporaryDirectory() as folder:
        return correlator.load(tile(Path(folder) / "tiled", copies))


def tile(folder: Path, copies: int) -> Path:
    """Copies of the recording ``published`` one after the other, each with connections of its own;
    counters count on."""
    shutil.copytree(CAPTURES / "published", folder)
    (folder / "listing.log").unlink()
    for pcap in folder.glob("*.pcap"):
        data = pcap.read_bytes()
        parts = (
            record(t + late(k), w, _moved(f, k))
            for k in range(copies)
            for t, w, f in list(frames(data))
        )
        pcap.write_bytes(data[:24] + b"".join(parts))
    log = folder / "counters.log"
    log.write_text(_tile_log(log.read_text(), copies))
    return folder


def _moved(frame: bytes, copy: int) -> bytes:
    """Another client's frame, and another's in what an ICMP error quotes: checksums are not mended,
    nobody looks at them."""
    moved = bytearray(frame)
    _move(moved, 14, copy)
    if moved[23] == ICMP and moved[34] in ERRORS:
        _move(moved, 42, copy)
    if moved[23] == IGMP:
        moved[32] = copy % 250
    if moved[23] == ICMP and moved[34] in ECHO:
        moved[38:40] = _later(moved[38:40], copy)
    return bytes(moved)


def _move(moved: bytearray, header: int, copy: int) -> None:
    """Another client's addresses and ports in the IPv4 header that begins at ``header``."""
    ports = moved[header + 9] in (6, 17)
    for place, port in ((header + 12, header + 20), (header + 16, header + 22)):
        if bytes(moved[place : place + 3]) == CLIENTS:
            moved[place + 2] = (32 + 3 * copy) % 250 + 1
        if bytes(moved[place : place + 4]) == DENIED and ports:
            moved[port : port + 2] = _later(moved[port : port + 2], copy)


def _later(number: bytes | bytearray, copy: int) -> bytes:
    return ((int.from_bytes(number, "big") + copy) % 65536).to_bytes(2, "big")


def _tile_log(text: str, copies: int) -> str:
    parts = samples(text)
    count = re.compile(r"\[(\d+):(\d+)\]")
    first, last = (
        [tuple(map(int, found)) for found in count.findall(part)] for part in (parts[0], parts[-1])
    )
    step = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(first, last, strict=True)]

    def counted(part: str, copy: int) -> str:
        numbers = iter(step)

        def more(found: re.Match[str]) -> str:
            packets, size = next(numbers)
            return f"[{int(found[1]) + copy * packets}:{int(found[2]) + copy * size}]"

        return count.sub(more, shift(part, late(copy)))

    return "".join(counted(part, copy) for copy in range(copies) for part in parts)


def samples(text: str) -> list[str]:
    """The snapshots of a counter log."""
    return [part for part in re.split(r"(?=^# sample)", text, flags=re.MULTILINE) if part.strip()]


def shift(text: str, ns: int) -> str:
    """A counter log whose clock is ``ns`` ahead."""

    def moved(found: re.Match[str]) -> str:
        stamp = int(found[1]) * 10**9 + int(found[2]) + ns
        return f"{stamp // 10**9}.{stamp % 10**9:09d}"

    return re.sub(r"(?<==)(\d{10})\.(\d{9})", moved, text)


def thinned(folder: Path, keep: Callable[[int], bool], name: str = "published") -> Path:
    """A recording whose pcaps lost the frames whose time (ns since the first of them all) is not to
    ``keep``."""
    shutil.copytree(CAPTURES / name, folder)
    first = min(t for pcap in folder.glob("*.pcap") for t, _, _ in frames(pcap.read_bytes()))
    for pcap in folder.glob("*.pcap"):
        data = pcap.read_bytes()
        pcap.write_bytes(
            data[:24] + b"".join(record(t, w, f) for t, w, f in frames(data) if keep(t - first))
        )
    return folder


def with_log(folder: Path, change: Callable[[str], str], name: str = "published") -> Path:
    """A recording whose counter log was changed."""
    shutil.copytree(CAPTURES / name, folder)
    (folder / "listing.log").unlink()
    log = folder / "counters.log"
    log.write_text(change(log.read_text()))
    return folder


def without_counters(folder: Path, name: str = "published") -> Path:
    """A recording of which only the rules are left."""
    with_log(folder, lambda text: text, name)
    text = samples((folder / "counters.log").read_text())[0].split("\n", 1)[1]
    (folder / "rules.v4").write_text(re.sub(r"^\[\d+:\d+\] ", "", text, flags=re.MULTILINE))
    (folder / "counters.log").unlink()
    return folder


GAP = (2_000_000_000, 2_200_000_000)
"""The stretch of ``published`` that :func:`lossy` loses: connections of the host to itself and of
the container."""


def lossy(folder: Path) -> Path:
    """``published`` without what was on the wire in ``GAP``."""
    return thinned(folder, lambda t: not GAP[0] < t < GAP[1])
