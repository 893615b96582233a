"""Frames that have no row of their own find the packet that they are a sight of, and none where
there is none."""

from __future__ import annotations

import shutil
import struct
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import correlator
from correlator.reconcile.tables.frames import NONE, _neighbours
from tests.conftest import CAPTURES

POINTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=20)


@given(POINTS, POINTS)
def test_neighbours_are_the_nearest_of_the_key(
    known: list[tuple[int, int]], asked: list[tuple[int, int]]
) -> None:
    """As a search through all of them finds."""
    keys, times = (np.array([point[i] for point in known], dtype=np.int64) for i in (0, 1))
    wanted, when = (np.array([point[i] for point in asked], dtype=np.int64) for i in (0, 1))
    before, after = _neighbours(keys.astype(np.uint64), times, wanted.astype(np.uint64), when)
    for i, (key, time) in enumerate(asked):
        early = [t for k, t in known if k == key and t <= time]
        late = [t for k, t in known if k == key and t >= time]
        for found, best in (
            (before[i], max(early, default=None)),
            (after[i], min(late, default=None)),
        ):
            assert (found == NONE) == (best is None)
            assert best is None or (keys[found], times[found]) == (key, best)


def _cut_one_fragment(path: Path) -> tuple[int, set[int]]:
    """Take the first fragment with MF and an offset out of a pcap; (its IP id, frames of its
    siblings by their new number)."""
    data = path.read_bytes()
    records, position = [], 24
    while position < len(data):
        size = 16 + struct.unpack_from("<I", data, position + 8)[0]
        records.append(data[position : position + size])
        position += size

    def header(record: bytes) -> tuple[int, int, int]:
        return struct.unpack_from(">HHH", record, 16 + 12)[0], *struct.unpack_from(
            ">HH", record, 16 + 14 + 4
        )  # type: ignore[return-value]

    gone = next(
        i
        for i, r in enumerate(records)
        if header(r)[0] == 0x800 and header(r)[2] & 0x2000 and header(r)[2] & 0x1FFF
    )
    number = header(records[gone])[1]
    del records[gone]
    path.write_bytes(data[:24] + b"".join(records))
    return number, {i for i, r in enumerate(records, 1) if header(r)[:2] == (0x800, number)}


def test_fragments_of_what_never_was_whole_are_of_no_packet(tmp_path: Path) -> None:
    """With one fragment missing no rule saw the others on that interface: they are sights of no
    packet."""
    folder = Path(shutil.copytree(CAPTURES / "fragments", tmp_path / "case"))
    _, siblings = _cut_one_fragment(folder / "eth0.pcap")
    analysis = correlator.load(folder)
    number = next(i for i, (_, path) in enumerate(analysis.files) if path.endswith("eth0.pcap"))
    frames = analysis.frames()
    alone = frames[frames["packet"] == NONE]
    assert siblings
    assert set(alone["file"]) == {number}
    assert set(alone["frame"]) == siblings


def test_every_frame_is_named_once(recorded: Path) -> None:
    """Each IPv4 frame of each file has one line, and what has a row of its own has that one."""
    analysis = correlator.load(recorded)
    frames = analysis.frames()
    assert not frames.duplicated(["file", "frame"]).any()
    names = [Path(path).stem for _, path in analysis.files]
    own = analysis.packets.reset_index(names="packet")
    own = own.assign(file=own["interface"].astype(str).map(names.index))
    joined = own.merge(frames, on=["file", "frame"], suffixes=("", "_told"))
    assert len(joined) == len(own)
    assert (joined["packet"] == joined["packet_told"]).all()
