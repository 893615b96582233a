"""One suite over both decoders of frames: the one that reads columns, and the compiled one that the
fold reads records with. What is claimed here holds of either."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPerror, UDPerror
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from correlator.dataset.pcapng import interface, section
from correlator.decode import read_packets
from correlator.decode.records import RECORD
from correlator.decode.stream import SKIPPED, Names, Source
from correlator.flows.frames.interfaces import RECEIVED, SENT

HOST, PEER = "02:00:00:00:00:01", "02:00:00:00:00:02"
LINK = Ether(src=PEER, dst=HOST)
HEADER = ("time", "frame", "src", "dst", "protocol", "ttl", "tos", "length")
ALIKE = (*HEADER, "sport", "dport", "ack", "window", "inner_protocol", "inner_src", "inner_dst")
ALIKE += ("inner_sport", "inner_dport")
FIELDS = {name: name for name in ALIKE} | {
    "tcp_flags": "flags",
    "window_scale": "scale",
    "tcp_option_kinds": "option_kinds",
    "direction": "wire",
}
"""Columns of the table -> fields of a record."""
OTHERS = ("seq", "sequence", "icmp_type", "plain")


@dataclass(frozen=True)
class Read:
    """``packets``: of each IPv4 frame the fields that both have, and whether it is ``plain``: TCP,
    UDP or an echo, untagged, no fragment, with right checksums. ``skipped``: frames that hold none,
    by what they hold."""

    packets: list[dict[str, int]]
    skipped: dict[str, int]


def as_columns(path: Path) -> Read:
    """What the columnar decoder reads."""
    found = read_packets(path)
    table = found.packets
    tcp, echo = table["protocol"] == 6, table["icmp_type"].isin((0, 8))
    table = table.assign(sequence=table["seq"].where(echo, 0), seq=table["seq"].where(tcp, 0))
    wrong = table["bad_checksum"] & (table["direction"] == RECEIVED)  # nobody looks on the way out
    faulty = table["malformed"] | wrong | (table["vlan"] >= 0)
    part = table["more_fragments"] | (table["fragment_offset"] > 0)
    table["plain"] = ~(faulty | part) & (echo | table["protocol"].isin((6, 17)))
    rows = table[[*FIELDS, *OTHERS]].astype("int64").to_dict("records")
    return Read(rows, dict(found.skipped))


def as_records(path: Path) -> Read:
    """What the compiled decoder reads; what is not plain it leaves to the other."""
    source = Source(path, None, "eth0", Names({"eth0": int(HOST.replace(":", ""), 16)}))
    parts = [np.zeros(0, RECORD)]
    while len(part := source.read()):
        parts.append(part)
    records = np.concatenate(parts)
    kind = records["icmp_type"].astype(np.int64)
    columns = {name: records[field] for name, field in FIELDS.items()}
    columns |= {"seq": records["seq"], "sequence": records["sequence"]}
    columns |= {"icmp_type": np.where(kind == 255, -1, kind), "plain": records["odd"] == 0}
    lists = [column.astype(np.int64).tolist() for column in columns.values()]
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
    counts = zip(SKIPPED, source.skipped.tolist(), strict=True)
    return Read(rows, {name: count for name, count in counts if count})


Decoder = Callable[[Path], Read]
both = pytest.mark.parametrize("decoder", [as_columns, as_records])


def enhanced(frame: bytes, time: int, direction: int, wire: int = 0) -> bytes:
    """A packet of a pcapng file that says which way it went."""
    head = (0, time >> 32, time & 0xFFFFFFFF, len(frame), wire or len(frame))
    body = struct.pack("=IIIII", *head) + frame + bytes(-len(frame) % 4)
    body += struct.pack("=HHIHH", 2, 4, direction, 0, 0)
    return struct.pack("=II", 6, len(body) + 12) + body + struct.pack("=I", len(body) + 12)


def written(folder: Path, frames: Iterable[bytes], direction: int = RECEIVED) -> Path:
    """A pcapng file of eth0 with these frames, a microsecond apart from 1 s on."""
    blocks = (enhanced(one, 10**9 + 1000 * i, direction) for i, one in enumerate(frames))
    path = folder / "eth0.pcapng"
    path.write_bytes(section("x") + interface("eth0", 1, 0) + b"".join(blocks))
    return path


def frame(*layers: Packet) -> bytes:
    """The bytes of an Ethernet frame of these layers, from 10.0.0.2 to 10.0.0.1."""
    whole: Packet = LINK
    for layer in layers:
        whole = whole / layer
    return bytes(whole)


SENT_BY = IP(src="10.0.0.2", dst="10.0.0.1", ttl=61, tos=0x10, id=7)
BODY = Raw(b"odd number of bytes")


@both
def test_tcp(decoder: Decoder, tmp_path: Path) -> None:
    """Every field is where RFC 791 and 9293 put it; options count by their kinds, and window scale
    is at most 14 (RFC 7323)."""
    options = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 20)]
    tcp = TCP(sport=40_000, dport=80, seq=2**32 - 1, ack=9, flags="SA", window=501, options=options)
    [row] = decoder(written(tmp_path, [frame(SENT_BY, tcp, BODY)])).packets
    assert (row["src"], row["dst"], row["protocol"]) == (0x0A000002, 0x0A000001, 6)
    assert (row["ttl"], row["tos"], row["length"]) == (61, 0x10, 20 + 40 + len(BODY))
    assert (row["sport"], row["dport"], row["seq"], row["ack"]) == (40_000, 80, 2**32 - 1, 9)
    assert (row["tcp_flags"], row["window"], row["window_scale"]) == (0x12, 501, 14)
    assert row["tcp_option_kinds"] == 1 << 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 8
    assert (row["icmp_type"], row["inner_protocol"], row["plain"]) == (-1, 0, True)


@both
def test_udp_and_echo(decoder: Decoder, tmp_path: Path) -> None:
    """A datagram has ports; an echo has its id in the place of both, and its sequence."""
    frames = [frame(SENT_BY, UDP(sport=5, dport=53), BODY), frame(SENT_BY, ICMP(id=77, seq=3))]
    udp, echo = decoder(written(tmp_path, frames)).packets
    assert (udp["sport"], udp["dport"], udp["protocol"], udp["plain"]) == (5, 53, 17, True)
    assert (udp["seq"], udp["tcp_flags"], udp["window_scale"]) == (0, 0, -1)
    assert (echo["sport"], echo["dport"], echo["sequence"], echo["icmp_type"]) == (77, 77, 3, 8)
    assert echo["plain"]


@both
def test_icmp_errors_quote(decoder: Decoder, tmp_path: Path) -> None:
    """An error tells which packet it is about, and is not plain."""
    quoted = IPerror(src="10.0.0.1", dst="10.9.9.9") / UDPerror(sport=5, dport=53)
    [row] = decoder(written(tmp_path, [frame(SENT_BY, ICMP(type=3, code=3), quoted)])).packets
    assert (row["icmp_type"], row["inner_protocol"], row["plain"]) == (3, 17, False)
    assert (row["inner_src"], row["inner_dst"]) == (0x0A000001, 0x0A090909)
    assert (row["inner_sport"], row["inner_dport"]) == (5, 53)


TAGGED = {"802.1Q": [Dot1Q(vlan=100)], "802.1ad": [Dot1AD(vlan=5), Dot1Q(vlan=100)]}


@both
@pytest.mark.parametrize("tags", TAGGED)
def test_tags_are_stepped_over(decoder: Decoder, tags: str, tmp_path: Path) -> None:
    """Behind one tag or two stands the same packet; that it was tagged is told."""
    frames = [frame(*TAGGED[tags], SENT_BY, UDP(sport=5, dport=53))]
    [row] = decoder(written(tmp_path, frames)).packets
    assert (row["src"], row["sport"], row["dport"], row["plain"]) == (0x0A000002, 5, 53, False)


def _changed(data: bytes, place: int, value: bytes) -> bytes:
    return data[:place] + value + data[place + len(value) :]


WHOLE_TCP = frame(SENT_BY, TCP(sport=1, dport=80, flags="A"), BODY)
WHOLE_UDP = frame(SENT_BY, UDP(sport=1, dport=53), BODY)
FAULTS = {
    "a TCP header of 4 words": _changed(WHOLE_TCP, 14 + 20 + 12, b"\x40"),
    "a TCP header beyond the packet": _changed(WHOLE_TCP, 14 + 20 + 12, b"\xf0"),
    "UDP longer than the packet": _changed(WHOLE_UDP, 14 + 20 + 4, b"\x01\x00"),
    "UDP shorter than its header": _changed(WHOLE_UDP, 14 + 20 + 4, b"\x00\x07"),
    "a wrong TCP checksum": _changed(WHOLE_TCP, len(WHOLE_TCP) - 2, b"\0"),
    "a wrong UDP checksum": _changed(WHOLE_UDP, len(WHOLE_UDP) - 2, b"\0"),
    "the first fragment": _changed(WHOLE_UDP, 14 + 6, b"\x20\0"),
    "a later fragment": _changed(WHOLE_UDP, 14 + 6, b"\0\x40"),
    "a packet of no transport": _changed(WHOLE_UDP, 14 + 9, b"\x2f"),
}


@both
@pytest.mark.parametrize("what", FAULTS)
def test_what_the_kernel_would_not_take_as_it_is_is_told(
    decoder: Decoder, what: str, tmp_path: Path
) -> None:
    """Headers that conntrack refuses, wrong checksums, fragments, other protocols: none is plain,
    and the IP header is read all the same; the frames that they were made from are."""
    rows = decoder(written(tmp_path, [WHOLE_TCP, WHOLE_UDP, FAULTS[what]])).packets
    assert [row["plain"] for row in rows] == [True, True, False]
    assert (rows[2]["src"], rows[2]["dst"], rows[2]["ttl"]) == (0x0A000002, 0x0A000001, 61)


@both
def test_a_checksum_is_looked_at_as_it_comes_in(decoder: Decoder, tmp_path: Path) -> None:
    """On its way out a checksum may be left to hardware (CHECKSUM_PARTIAL): the pseudo-header's sum
    alone is no fault, neither way."""
    words = [*WHOLE_UDP[26:34], 0, 17, *(len(WHOLE_UDP) - 34).to_bytes(2, "big")]
    total = sum(int.from_bytes(words[i : i + 2], "big") for i in range(0, len(words), 2))
    total = (total & 0xFFFF) + (total >> 16)
    left = _changed(WHOLE_UDP, 14 + 20 + 6, total.to_bytes(2, "big"))
    for direction in (RECEIVED, SENT):
        [row] = decoder(written(tmp_path, [left], direction)).packets
        assert (row["direction"], row["plain"]) == (direction, True)


@both
def test_the_wires_length_counts_where_the_header_has_none(
    decoder: Decoder, tmp_path: Path
) -> None:
    """A super-packet of segmentation offload has 0 in its header: it is as long as the tap says."""
    large = _changed(WHOLE_TCP, 14 + 2, b"\0\0")
    path = tmp_path / "eth0.pcapng"
    block = enhanced(large, 10**9, RECEIVED, wire=80_014)
    path.write_bytes(section("x") + interface("eth0", 1, 0) + block)
    assert [row["length"] for row in decoder(path).packets] == [80_000]


@both
def test_what_holds_no_ipv4_is_counted(decoder: Decoder, tmp_path: Path) -> None:
    """ARP, another protocol, and IPv4 that is cut or says another version, each by its name; frames
    keep the number that they have in the file."""
    frames = [
        frame(ARP()),
        bytes(LINK)[:12] + b"\x88\xcc" + bytes(40),
        WHOLE_TCP[: 14 + 19],
        _changed(WHOLE_TCP, 14, b"\x55"),
        WHOLE_UDP,
    ]
    found = decoder(written(tmp_path, frames))
    assert found.skipped == {"ARP": 1, "other": 1, "cut or broken IPv4": 2}
    assert [(row["frame"], row["time"]) for row in found.packets] == [(5, 10**9 + 4000)]


@both
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("magic", "time"), [(0xA1B23C4D, 7 * 10**9 + 123), (0xA1B2C3D4, 7_000_123_000)]
)
def test_pcap_of_either_order_and_clock(
    decoder: Decoder, order: str, magic: int, time: int, tmp_path: Path
) -> None:
    """Micro- and nanoseconds, in either byte order, are epoch nanoseconds."""
    path = tmp_path / "eth0.pcap"
    head = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    one = struct.pack(f"{order}IIII", 7, 123, len(WHOLE_TCP), len(WHOLE_TCP)) + WHOLE_TCP
    path.write_bytes(head + one)
    assert [row["time"] for row in decoder(path).packets] == [time]


@both
@pytest.mark.parametrize("kept", [10_000, 60, 40, 36])
def test_a_snap_length_changes_no_header(decoder: Decoder, kept: int, tmp_path: Path) -> None:
    """Cut anywhere behind the IP header, addresses and lengths are as they were; cut behind the
    ports, these too."""
    [row] = decoder(written(tmp_path, [WHOLE_UDP[:kept]])).packets
    assert (row["src"], row["dst"], row["length"]) == (0x0A000002, 0x0A000001, len(WHOLE_UDP) - 14)
    assert (row["sport"], row["dport"]) == ((1, 53) if kept >= 38 else (0, 0))


SOUND = [
    WHOLE_TCP,
    WHOLE_UDP,
    frame(SENT_BY, TCP(flags="S", options=[("MSS", 1460), ("WScale", 7)])),
    frame(SENT_BY, ICMP(id=77, seq=3), BODY),
    frame(SENT_BY, ICMP(type=11), IPerror() / UDPerror(sport=5, dport=53)),
    frame(Dot1Q(vlan=100), SENT_BY, UDP(), BODY),
]
CHANGES = st.lists(st.tuples(st.integers(12, 120), st.integers(0, 255)), max_size=4)
DAMAGED = st.tuples(st.sampled_from(SOUND), CHANGES, st.integers(14, 140))


def _damaged(data: bytes, changes: list[tuple[int, int]], kept: int) -> bytes:
    for place, value in changes:
        data = _changed(data, place % len(data), bytes([value]))
    return data[:kept]


def assert_same(path: Path) -> int:
    """Both read the same frames; of each the same IP header, and the same in all where the compiled
    one calls it plain, which then the other does too. Returns how many were."""
    columns, records = as_columns(path), as_records(path)
    assert columns.skipped == records.skipped
    assert len(columns.packets) == len(records.packets)
    for one, other in zip(columns.packets, records.packets, strict=True):
        names = one if other["plain"] else HEADER
        assert [one[name] for name in names] == [other[name] for name in names]
    return sum(row["plain"] for row in records.packets)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(DAMAGED, min_size=1, max_size=30), st.sampled_from([RECEIVED, SENT]))
def test_damaged_frames_are_read_alike(
    tmp_path: Path, frames: list[tuple[bytes, list[tuple[int, int]], int]], direction: int
) -> None:
    """Whatever is overwritten or cut off."""
    assert_same(written(tmp_path, (_damaged(*one) for one in frames), direction))


def test_recordings_are_read_alike(recorded: Path, tmp_path: Path) -> None:
    """Every frame of every shipped recording; some of each are plain."""
    plain = 0
    for path in sorted(recorded.glob("*.pcap")):
        data, frames, position = path.read_bytes(), [], 24
        while position < len(data):
            size = int.from_bytes(data[position + 8 : position + 12], "little")
            frames.append(data[position + 16 : position + 16 + size])
            position += 16 + size
        plain += assert_same(written(tmp_path, frames))
    assert plain > 0
