"""pcap and pcapng readers, against scapy and tshark as independent readers, and against damage."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from correlator.decode import COLUMNS, Capture, concat, read_packets
from correlator.errors import InputError
from tests.conftest import CAPTURES

FRAME = bytes.fromhex(
    "020000000001020000000002"
    "0800"
    "4500003c8ba4400040060000ac1f2001ac110002"
    "a0870050000000010000000250120200abcd0000" + "61" * 20
)
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def pcap(frames: list[tuple[int, int, bytes]], order: str, nano: bool, link: int = 1) -> bytes:
    """A classic pcap file; frames as (seconds, fraction, bytes)."""
    magic = 0xA1B23C4D if nano else 0xA1B2C3D4
    data = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for seconds, fraction, frame in frames:
        data += struct.pack(f"{order}IIII", seconds, fraction, len(frame), len(frame)) + frame
    return data


def block(kind: int, body: bytes, order: str) -> bytes:
    """A pcapng block."""
    body += bytes(-len(body) % 4)
    return (
        struct.pack(f"{order}II", kind, 12 + len(body))
        + body
        + struct.pack(f"{order}I", 12 + len(body))
    )


def read_or_refuse(path: Path) -> Capture | None:
    """What the reader makes of a file; None where it refuses it, which it does in one line."""
    refusal = ""
    try:
        return read_packets(path)
    except InputError as error:
        refusal = str(error)
    assert refusal
    assert "\n" not in refusal
    return None


def option(code: int, value: bytes, order: str) -> bytes:
    """A pcapng option."""
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("nano", "expected"), [(True, 7_000_000_123), (False, 7_000_123_000)])
def test_pcap_times_and_orders(order: str, nano: bool, expected: int, tmp_path: Path) -> None:
    """Micro- and nanoseconds in either byte order are epoch nanoseconds."""
    path = tmp_path / "eth0.pcap"
    path.write_bytes(pcap([(7, 123, FRAME)], order, nano))
    capture = read_packets(path)
    assert capture.names == ("eth0",)
    assert capture.packets["time"].tolist() == [expected]


def test_fields_are_those_of_the_headers(tmp_path: Path) -> None:
    """Every field is where RFC 791 and 9293 put it."""
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap([(1, 0, FRAME)], "<", True))
    row = read_packets(path).packets.iloc[0]
    assert (row["src"], row["dst"]) == (0xAC1F2001, 0xAC110002)
    assert (row["sport"], row["dport"], row["protocol"], row["ttl"]) == (0xA087, 80, 6, 64)
    assert (row["seq"], row["ack"], row["tcp_flags"], row["ip_id"]) == (1, 2, 0x12, 0x8BA4)
    assert (row["length"], row["payload_length"], row["mac_dst"]) == (60, 20, 0x020000000001)


@pytest.mark.parametrize(
    ("coverage", "checksum", "refused"),
    [(0, 1, False), (8, 1, False), (18, 1, False), (3, 1, True), (19, 1, True), (8, 0, True)],
)
def test_udp_lite_covers_its_header(
    coverage: int, checksum: int, refused: bool, tmp_path: Path
) -> None:
    """Conntrack refuses a datagram of UDP-Lite whose coverage ends within its header or beyond its
    end, and one without a checksum (RFC 3828, 3.1; udplite_error; traced: INVALID)."""
    lite = struct.pack(">HHHH", 1, 2, coverage, checksum) + bytes(10)
    frame = bytes(Ether() / IP(src="10.0.0.1", dst="10.0.0.2", proto=136) / Raw(lite))
    (tmp_path / "eth0.pcap").write_bytes(pcap([(0, 0, frame)], "<", True))
    assert read_packets(tmp_path / "eth0.pcap", "eth0").packets["malformed"].tolist() == [refused]


@pytest.mark.parametrize(
    "name",
    ["published/eth0.pcap", "published/docker0.pcap", "fragments/eth0.pcap", "user/eth0.pcap"],
)
def test_scapy_reads_the_same(name: str) -> None:
    """scapy, an independent reader, sees the same addresses, ports, lengths and times."""
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.utils import PcapReader

    ours = read_packets(CAPTURES / name).packets
    theirs = [p for p in PcapReader(str(CAPTURES / name)) if IP in p]
    assert len(ours) == len(theirs)
    for row, packet in zip(ours.itertuples(), theirs, strict=True):
        ip = packet[IP]
        assert row.length == ip.len
        assert (row.ttl, row.protocol, row.ip_id, row.fragment_offset) == (
            ip.ttl,
            ip.proto,
            ip.id,
            ip.frag * 8,
        )
        assert row.src == int.from_bytes(bytes(map(int, ip.src.split("."))), "big")
        assert abs(row.time - int(packet.time * 10**9)) < 2
        if ip.frag == 0 and (TCP in ip or UDP in ip) and ICMP not in ip:
            layer = ip[TCP] if TCP in ip else ip[UDP]
            assert (row.sport, row.dport) == (layer.sport, layer.dport)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_interfaces_drops_and_directions(order: str, tmp_path: Path) -> None:
    """Interfaces have their names, drop counts and clocks; frames their direction."""
    data = block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)
    for name, resolution in ((b"eth0", b"\x09"), (b"docker0", b"\x06")):
        options = option(2, name, order) + option(9, resolution, order) + option(0, b"", order)
        data += block(1, struct.pack(f"{order}HHI", 1, 0, 128) + options, order)
    for number, stamp, flags in ((0, 5_000_000_007, 1), (1, 5_000_009, 2)):
        body = struct.pack(
            f"{order}IIIII", number, stamp >> 32, stamp & 0xFFFFFFFF, len(FRAME), len(FRAME)
        )
        body += (
            FRAME
            + bytes(-len(FRAME) % 4)
            + option(2, struct.pack(f"{order}I", flags), order)
            + option(0, b"", order)
        )
        data += block(6, body, order)
    data += block(
        5,
        struct.pack(f"{order}III", 0, 0, 0) + option(5, struct.pack(f"{order}Q", 17), order),
        order,
    )
    path = tmp_path / "all.pcapng"
    path.write_bytes(data)
    capture = read_packets(path)
    assert capture.names == ("eth0", "docker0")
    assert capture.packets["time"].tolist() == [5_000_000_007, 5_000_009_000]
    assert capture.packets["direction"].tolist() == [1, 2]
    assert [i.dropped for i in capture.interfaces] == [17, None]


@pytest.mark.skipif(
    shutil.which("editcap") is None and not Path("/usr/bin/editcap").exists(),
    reason="needs tshark's editcap",
)
def test_a_pcapng_of_wireshark_is_the_pcap(tmp_path: Path) -> None:
    """What Wireshark's editcap writes from a pcap reads as that pcap."""
    source = CAPTURES / "published" / "eth0.pcap"
    target = tmp_path / "eth0.pcapng"
    subprocess.run(["editcap", "-F", "pcapng", str(source), str(target)], check=True)
    one, other = read_packets(source, "eth0").packets, read_packets(target, "eth0").packets
    assert one.equals(other)


def test_vlan_raw_and_cooked_links(tmp_path: Path) -> None:
    """802.1Q, raw IP and both cooked headers lead to the same IP header."""
    ip = FRAME[14:]
    kinds = {
        1: FRAME[:12] + bytes.fromhex("81000064") + FRAME[12:],
        101: ip,
        113: bytes.fromhex("000400010006020000000002") + b"\0\0\x08\0" + ip,
        276: bytes.fromhex("0800000000000003000104060200000000020000") + ip,
        0: b"\2\0\0\0" + ip,
    }
    for link, frame in kinds.items():
        path = tmp_path / f"{link}.pcap"
        path.write_bytes(pcap([(1, 0, frame)], "<", True, link))
        row = read_packets(path).packets.iloc[0]
        assert (row["sport"], row["dport"], row["length"]) == (0xA087, 80, 60), link
        assert row["vlan"] == (100 if link == 1 else -1)
        assert row["direction"] == (2 if link in (113, 276) else 0)


def test_unknown_link_types_are_refused(tmp_path: Path) -> None:
    """A link type that nobody taught us is said by number."""
    path = tmp_path / "wifi.pcap"
    path.write_bytes(pcap([(1, 0, FRAME)], "<", True, 127))
    with pytest.raises(InputError, match="link type 127"):
        read_packets(path)


def test_columns_have_their_declared_dtypes() -> None:
    """The packet table is exactly what columns.py declares, also where captures are put
    together."""
    parts = [read_packets(CAPTURES / "published" / f"{name}.pcap") for name in ("eth0", "docker0")]
    whole = concat(parts)
    assert {name: str(dtype) for name, dtype in whole.packets.dtypes.items()} == {
        n: d for n, (d, _) in COLUMNS.items()
    }
    assert np.all(np.diff(whole.packets["time"]) >= 0)
    assert len(whole.packets) == sum(len(part.packets) for part in parts)


@QUICK
@given(
    cut=st.integers(0, 4000),
    flips=st.lists(st.tuples(st.integers(0, 11_000), st.integers(0, 255)), max_size=12),
)
def test_damage_never_surprises(cut: int, flips: list[tuple[int, int]], tmp_path: Path) -> None:
    """Whatever is cut off or overwritten, a pcap is read as far as it goes or refused in one
    line."""
    data = bytearray((CAPTURES / "published" / "eth0.pcap").read_bytes())
    for place, value in flips:
        data[place % len(data)] = value
    path = tmp_path / "eth0.pcap"
    path.write_bytes(bytes(data[: len(data) - cut % len(data)]))
    capture = read_or_refuse(path)
    assert capture is None or set(capture.packets.columns) == set(COLUMNS)


@QUICK
@given(tail=st.binary(max_size=400))
def test_random_blocks_never_surprise(tail: bytes, tmp_path: Path) -> None:
    """Nothing behind a pcapng section header breaks the reader."""
    path = tmp_path / "x.pcapng"
    path.write_bytes(block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1), "<") + tail)
    read_or_refuse(path)
