"""The packets of a recording as a pcapng file whose packet comments say which rules each one
traversed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from correlator.dataset.commented import Commented, blocks
from correlator.dataset.pcapng import EXPORTED, interface, section, statistics
from correlator.decode import read_frames
from correlator.errors import InputError
from correlator.plain import lines, one_line
from correlator.report.machine import write_whole
from correlator.version import __version__

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.decode import Frames, Interface
    from correlator.reconcile.analysis import Analysis

    Ints = npt.NDArray[np.int64]

CHUNK = 1 << 24
"""Bytes of frames that are put together at once."""
BESIDE = 256
"""What a block takes beside its frame, about."""
MEANING = (
    "Packet comments name the iptables rules that each packet traversed, in order: "
    "table/chain:number, base chains separated by "
    "' | '. Sights of one packet share its packet id."
)


@dataclass(frozen=True)
class _Whole:
    """Every frame of every input file in order of time; arrays int64 (n,). ``packet``: its row of
    the packets table, or -1; ``ends``: bytes up to and with it."""

    files: tuple[Frames, ...]
    file: Ints
    at: Ints
    interface: Ints
    packet: Ints
    ends: Ints
    interfaces: tuple[Interface, ...]


def check_ending(path: Path) -> None:
    """Raises :class:`~correlator.errors.InputError` for a name that Wireshark's users would not
    take for a pcapng file."""
    if path.suffix != ".pcapng":
        raise InputError(f"{path}: unknown ending {path.suffix!r}: expected .pcapng")


def export_pcapng(analysis: Analysis, path: Path) -> tuple[int, int]:
    """Write the file; returns (frames, those with a comment). Raises
    :class:`~correlator.errors.InputError`."""
    check_ending(path)
    if any(path.resolve() == Path(file).resolve() for _, file in analysis.files):
        raise InputError(f"{path}: is what the packets were read from: name another file")
    whole = _gather(analysis)
    commented = 0

    def write(temporary: Path) -> None:
        nonlocal commented
        with temporary.open("wb") as file:
            commented = _write(file, analysis, whole)

    write_whole(path, write)
    return len(whole.at), commented


def _gather(analysis: Analysis) -> _Whole:
    """Read the input files again, and tell every frame its row."""
    rows = analysis.frames()
    file, frame, packet = (rows[name].to_numpy() for name in ("file", "frame", "packet"))
    interfaces: dict[tuple[str, int], list[Interface]] = {}
    files, parts = [], []
    for number, (name, path) in enumerate(analysis.files):
        frames = read_frames(path, name)
        mine = file == number
        if mine.any() and frame[mine].max() > len(frames):
            raise InputError(f"{path}: changed while it was being read")
        place = np.full(len(frames), -1, dtype=np.int64)
        place[frame[mine] - 1] = packet[mine]
        for one in frames.interfaces:
            interfaces.setdefault((one.name, one.link_type), []).append(one)
        known = list(interfaces)
        codes = np.array(
            [known.index((one.name, one.link_type)) for one in frames.interfaces] or [0],
            dtype=np.int64,
        )
        numbers = np.full(len(frames), number), np.arange(len(frames)), codes[frames.interface]
        parts.append((frames.time, frames.captured, *numbers, place))
        files.append(frames)
    time, *columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(time, kind="stable")
    size, file, at, code, row = (column[order] for column in columns)
    return _Whole(
        tuple(files),
        file,
        at,
        code,
        row,
        np.cumsum(size + BESIDE),
        tuple(map(_one, interfaces.values())),
    )


def _one(parts: list[Interface]) -> Interface:
    """One interface that several files or sections tell of."""
    snaps = [part.snap_length for part in parts]
    received, dropped = (
        [n for part in parts if (n := getattr(part, name)) is not None]
        for name in ("received", "dropped")
    )
    return replace(
        parts[0],
        snap_length=max(snaps) if min(snaps) else 0,
        received=sum(received) if received else None,
        dropped=sum(dropped) if dropped else None,
    )


def _write(file: BinaryIO, analysis: Analysis, whole: _Whole) -> int:
    """Write all blocks; returns how many packets bear a comment."""
    file.write(section(f"{EXPORTED} {__version__}", lines([MEANING, *analysis.warnings])))
    for one in whole.interfaces:
        file.write(interface(one.name, one.link_type, one.snap_length))
    paths, packets = analysis.packet_paths(), analysis.packets
    texts = [one_line(text).encode() for text in paths.texts]
    connection, crossing = packets["connection"].to_numpy(), packets["crossing"].to_numpy()
    wire = packets["wire"].map({"": 0, "in": 1, "out": 2}).to_numpy().astype(np.int64)
    data = [frames.data for frames in whole.files]
    total = 0
    for rows in _chunks(whole.ends):
        row = whole.packet[rows]
        known = row >= 0
        code = np.where(known, paths.code[row], -1) if len(paths.code) else row
        owner = np.where(known, connection[row], 0) if len(packets) else row
        pairs, comment = np.unique(code << 40 | owner, return_inverse=True)
        comments = [
            _comment(texts, pair >> 40, pair & (1 << 40) - 1)
            for pair in pairs.tolist()
            if pair >= 0
        ]
        skipped = len(pairs) - len(comments)
        f = _frames(whole, rows)
        shown = np.where(
            f["direction"] > 0, f["direction"], np.where(known, wire[row], 0) if len(packets) else 0
        )
        batch = Commented(
            whole.file[rows],
            f["start"],
            f["captured"],
            f["wire"],
            f["time"],
            whole.interface[rows],
            shown,
            np.where(known, crossing[row], 0) if len(packets) else np.zeros_like(row),
            np.where(code >= 0, comment - skipped, -1),
        )
        file.write(blocks(batch, data, comments))
        total += int((code >= 0).sum())
    _write_statistics(file, whole)
    return total


def _chunks(ends: Ints) -> list[slice]:
    """Stretches of frames that can be put together at once."""
    cuts = np.flatnonzero(np.diff(ends // CHUNK)) + 1
    bounds = [0, *cuts.tolist(), len(ends)]
    return [slice(begin, end) for begin, end in pairwise(bounds) if end > begin]


def _comment(texts: list[bytes], code: int, connection: int) -> bytes:
    return texts[code] + b" | connection %d" % connection


def _frames(whole: _Whole, rows: slice) -> dict[str, Ints]:
    """Where these frames lie, and what their files say of them."""
    file, at = whole.file[rows], whole.at[rows]
    result = {
        name: np.zeros(len(at), dtype=np.int64)
        for name in ("start", "captured", "wire", "time", "direction")
    }
    for number, frames in enumerate(whole.files):
        mine = np.flatnonzero(file == number)
        for name, values in result.items():
            values[mine] = getattr(frames, name)[at[mine]]
    return result


def _write_statistics(file: BinaryIO, whole: _Whole) -> None:
    """What the capturing tool said of losses, for each interface of which it said something."""
    for number, one in enumerate(whole.interfaces):
        if one.received is None and one.dropped is None:
            continue
        rows = np.flatnonzero(whole.interface == number)
        last = rows[-1] if len(rows) else -1
        time = int(whole.files[whole.file[last]].time[whole.at[last]]) if len(rows) else 0
        file.write(statistics(number, time, one.received, one.dropped))
