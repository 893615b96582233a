"""Files of packets that were made to break their readers."""

from __future__ import annotations

import gzip
import os
import struct
from collections import deque
from pathlib import Path

import numpy as np
import pytest

from correlator.dataset.pcapng import interface, packet, section
from correlator.decode import pcapng, read_frames, read_packets
from correlator.decode.frames import MOST_INTERFACES
from correlator.decode.packed import SMALL
from correlator.decode.stream import Names, Source, UnusualError
from correlator.errors import InputError

PCAP = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)
FRAME = bytes(12) + b"\x08\x00" + bytes.fromhex("4500001400000000400000000a0000010a000002")


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("=HH", code, len(value)) + value + bytes(-len(value) % 4)


def _interface(*options: bytes) -> bytes:
    body = struct.pack("=HHI", 1, 0, 0) + b"".join(options) + bytes(4)
    return struct.pack("=II", 1, 12 + len(body)) + body + struct.pack("=I", 12 + len(body))


CLOCKS = {
    "a second of 10**127 units": _interface(_option(9, b"\x7f")),
    "a second of 2**127 units": _interface(_option(9, b"\xff")),
    "an offset of 2**63 seconds": _interface(_option(14, b"\xff" * 7 + b"\x7f")),
    "an offset of -2**63 seconds": _interface(_option(14, b"\0" * 7 + b"\x80")),
    "an offset of 65 bytes": _interface(_option(14, b"\xff" * 65)),
    "whole seconds": _interface(_option(9, b"\0")),
}


@pytest.mark.parametrize("what", CLOCKS)
def test_any_clock_of_an_interface_is_read_or_told(tmp_path: Path, what: str) -> None:
    """if_tsresol and if_tsoffset may be anything: times are within 1970 and 2116, or the file is
    damaged from there on, in one line."""
    file = tmp_path / "eth0.pcapng"
    file.write_bytes(section("x") + CLOCKS[what] + packet(FRAME, 1 << 63) + packet(FRAME, 5))
    frames = read_frames(file)
    assert ((frames.time >= 0) & (frames.time < 1 << 62)).all()
    assert len(frames) == 2 or "damaged at byte" in frames.warnings[0]


@pytest.mark.parametrize("time", [0, (1 << 62) - 1, 1 << 62, (1 << 62) + (1 << 32), (1 << 64) - 1])
def test_both_readers_agree_on_when_time_ends(tmp_path: Path, time: int) -> None:
    """A time beyond 2116 is damage to both readers; the fold's leaves it to the other."""
    file = tmp_path / "eth0.pcapng"
    file.write_bytes(section("x") + interface("eth0", 1, 0) + packet(FRAME, time))
    there = len(read_frames(file))
    assert there == (time < 1 << 62)
    source = Source(file, None, "eth0", Names({"eth0": 1}))
    if there:
        records = source.read()
        assert records["time"].tolist() == read_packets(file).packets["time"].tolist() == [time]
    else:
        with pytest.raises(UnusualError):
            source.read()


def test_counts_of_any_size_are_64_bits_or_none(tmp_path: Path) -> None:
    """Numbers of frames received and dropped are eight bytes: a number of 60,000 bytes is none."""
    body = struct.pack("=III", 0, 0, 0) + _option(4, b"\xff" * 60_000) + _option(5, b"\xff" * 8)
    block = struct.pack("=II", 5, 12 + len(body)) + body + struct.pack("=I", 12 + len(body))
    file = tmp_path / "eth0.pcapng"
    file.write_bytes(section("x") + interface("eth0", 1, 0) + block)
    one = read_frames(file).interfaces[0]
    assert (one.received, one.dropped) == (None, (1 << 64) - 1)


def test_names_and_numbers_of_interfaces_are_bounded(tmp_path: Path) -> None:
    """A name of 60,000 letters is cut; what tells of more interfaces than any host has is damage;
    so is a cooked capture of as many."""
    data = section("x") + _interface(_option(2, b"x" * 60_000)) * (MOST_INTERFACES + 9)
    frames = pcapng.index(data, "x", None, "x")
    assert len(frames.interfaces[0].name) == pcapng.LONGEST_NAME
    assert "damaged" in frames.warnings[0]
    file = tmp_path / "any.pcap"
    cooked = [struct.pack(">HHIHBB8x", 0x0800, 0, i, 1, 0, 6) for i in range(MOST_INTERFACES + 1)]
    head = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 276)
    file.write_bytes(head + b"".join(struct.pack("<IIII", 1, 1, 20, 20) + one for one in cooked))
    with pytest.raises(InputError, match="names 4,098 interfaces"):
        read_packets(file)


def test_more_frames_than_may_be_are_refused(tmp_path: Path) -> None:
    """Frames of no bytes are 16 bytes of a file each: they are counted, not guessed by its size."""
    file = tmp_path / "eth0.pcap"
    file.write_bytes(PCAP + bytes(16) * 1000)
    assert len(read_frames(file, most=1000)) == 1000
    with pytest.raises(InputError, match="more than 999 packets"):
        read_frames(file, most=999)


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """What unpacks to more than any capture does is refused, by both readers, having unpacked no
    more than may be."""
    file = tmp_path / "eth0.pcap.gz"
    with gzip.open(file, "wb") as out:
        out.write(PCAP)
        for _ in range(2 * SMALL >> 20):
            out.write(bytes(1 << 20))
    assert file.stat().st_size < SMALL / 250
    with pytest.raises(InputError, match="unpacks to more than 250 times its size"):
        read_frames(file)
    source = Source(file, None, "eth0", Names({}))
    with pytest.raises(InputError, match="unpacks to more than 250 times its size"):
        deque(iter(source.read, None), maxlen=0)


def test_gzip_files_that_follow_each_other_are_one(tmp_path: Path) -> None:
    """Members of a packed file are read to the last; a cut one up to the cut."""
    records = b"".join(
        struct.pack("<IIII", i, 0, len(FRAME), len(FRAME)) + FRAME for i in range(200)
    )
    first, second = PCAP + records[: len(records) // 2], records[len(records) // 2 :]
    file = tmp_path / "eth0.pcap.gz"
    file.write_bytes(gzip.compress(first) + gzip.compress(second))
    assert len(read_frames(file)) == 200
    file.write_bytes(gzip.compress(first) + gzip.compress(os.urandom(0) + second)[:-40])
    assert 100 <= len(read_frames(file)) < 200
    assert np.all(np.diff(read_frames(file).time) > 0)
