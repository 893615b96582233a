"""Packets with comments, as Wireshark's own tools see them."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

import correlator
from correlator.dataset.pcapng import is_exported
from correlator.decode import read_frames
from correlator.report.annotated import export_pcapng
from correlator.report.coloring import RULES, write_rules
from tests.conftest import CAPTURES
from tests.test_cli import refused, run

HIT = re.compile(r"^(\w+)/(\S+):(\d+|policy)(?: |$)")
DOUBT = re.compile(
    r"^(?:unverified: |ambiguous: (?:its rules counted fewer hits than it seems to have made: )?)"
)
FEWER = 'frame.comment matches "^ambiguous: its rules counted fewer"'
pytestmark = pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")


def tshark(
    path: Path, *fields: str, where: str = "", environment: dict[str, str] | None = None
) -> list[list[str]]:
    """The fields of every frame that the display filter ``where`` picks."""
    command = [
        "tshark",
        "-r",
        str(path),
        "-T",
        "fields",
        *(word for field in fields for word in ("-e", field)),
    ]
    command += ["-Y", where] if where else []
    command += ["--color"] if environment else []
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return [line.split("\t") for line in done.stdout.splitlines()]


def told(path: Path) -> Counter[tuple[int, str, str, int]]:
    """(connection, table, chain, rule number) -> packets, as the comments of a file tell it; a
    packet that two frames show counts once, and one that is ambiguous counts for all that it may
    have hit."""
    packets: dict[str, str] = {}
    for packet, comment in tshark(path, "frame.packet_id", "frame.comment"):
        if comment:
            assert packet
            assert packets.setdefault(packet, comment) == comment
    total: Counter[tuple[int, str, str, int]] = Counter()
    for comment in packets.values():
        way, number = comment.rsplit(" | connection ", 1)
        most: Counter[tuple[int, str, str, int]] = Counter()
        for candidate in DOUBT.sub("", way).split(" or "):
            found = [HIT.match(hit) for hit in re.split(r" \| | > ", candidate)]
            most |= Counter(
                (int(number), h[1], h[2], 0 if h[3] == "policy" else int(h[3])) for h in found if h
            )
        total += most
    return total


def counted(hits: pd.DataFrame) -> Counter[tuple[int, str, str, int]]:
    """The same from a hits table."""
    sums = hits.groupby(["connection", "table", "chain", "rule_number"], observed=True)[
        "packets"
    ].sum()
    return Counter(
        {(int(n), str(t), str(c), int(r)): int(packets) for (n, t, c, r), packets in sums.items()}
    )


def assert_sights_are_one_packet(path: Path) -> None:
    """Frames that share a packet id agree in all that NAT and forwarding leave alone, by
    Wireshark's reading."""
    same = (
        "ip.proto",
        "ip.id",
        "tcp.seq_raw",
        "tcp.ack_raw",
        "tcp.len",
        "udp.length",
        "icmp.type",
        "icmp.seq",
    )
    where = "frame.packet_id && !icmp.unused && ip.flags.mf == 0 && ip.frag_offset == 0"
    seen: dict[str, list[str]] = {}
    for packet, *rest in tshark(path, "frame.packet_id", *same, where=where):
        assert seen.setdefault(packet, rest) == rest
    assert seen


@pytest.fixture
def annotated(recorded: Path, tmp_path: Path) -> Path:
    """Each shipped recording, exported."""
    path = tmp_path / "annotated.pcapng"
    export_pcapng(correlator.load(recorded), path)
    return path


def test_comments_equal_the_hits(recorded: Path, annotated: Path) -> None:
    """What tshark lists as packet comments adds up to the hits table, connection by connection and
    rule by rule."""
    hits = correlator.load(recorded).hits
    assert counted(hits).total() > 5
    assert told(annotated) == counted(hits)
    assert_sights_are_one_packet(annotated)


def test_frames_are_those_that_went_in(recorded: Path, annotated: Path) -> None:
    """Every frame of every input is there once, byte for byte, with its time, its length on the
    wire and its interface."""
    shown = ("frame.interface_name", "frame.time_epoch", "frame.len", "frame.cap_len")
    pcaps = [path for path in recorded.glob("*.pcap") if path.stat().st_size > 24]
    before = [[path.stem, *row[1:]] for path in pcaps for row in tshark(path, *shown)]
    after = tshark(annotated, *shown)
    assert sorted(after) == sorted(before)
    assert [row[1] for row in after] == sorted(row[1] for row in after)
    bodies = []
    for frames in (read_frames(path) for path in (annotated, *pcaps)):
        places = zip(frames.start.tolist(), frames.captured.tolist(), strict=True)
        bodies.append(Counter(bytes(frames.data[start : start + kept]) for start, kept in places))
    assert bodies[0] == sum(bodies[1:], Counter())


def test_wiresharks_tools_open_it(annotated: Path, tmp_path: Path) -> None:
    """capinfos finds nothing wrong with it, and what editcap copies keeps its comments."""
    shown = subprocess.run(
        ["capinfos", "-M", str(annotated)], capture_output=True, text=True, check=True
    )
    assert "Strict time order:   True" in shown.stdout
    assert "nanoseconds (9)" in shown.stdout
    copy = tmp_path / "copy.pcapng"
    subprocess.run(["editcap", str(annotated), str(copy)], capture_output=True, check=True)
    fields = ("frame.comment", "frame.interface_name", "frame.packet_id")
    assert tshark(copy, *fields) == tshark(annotated, *fields)


def test_an_export_replays(recorded: Path, annotated: Path, tmp_path: Path) -> None:
    """The exported file with the same counters gives the same hits as the files that it was made
    from."""
    folder = Path(
        shutil.copytree(
            recorded, tmp_path / "again", ignore=shutil.ignore_patterns("*.pcap", "truth")
        )
    )
    shutil.copy(annotated, folder)
    pd.testing.assert_frame_equal(
        correlator.load(folder).hits, correlator.load(recorded).hits, check_categorical=False
    )


def test_both_sights_of_a_packet_carry_its_whole_way(tmp_path: Path) -> None:
    """Of a packet that crossed the host both frames, on eth0 and docker0, bear the same comment and
    the same packet id."""
    path = tmp_path / "x.pcapng"
    analysis = correlator.load(CAPTURES / "published")
    export_pcapng(analysis, path)
    opened = tshark(
        path,
        "frame.interface_name",
        "frame.packet_id",
        "frame.comment",
        where="tcp.flags == 2 && tcp.port == 80",
    )
    pairs: dict[str, set[str]] = {}
    for interface, packet, comment in opened:
        if "DROP" not in comment and "DNAT" in comment:
            pairs.setdefault(packet, set()).add(interface)
            assert " > nat/DOCKER:2 DNAT 172.17.0.2:80 | filter/" in comment
    assert {"eth0", "docker0"} in pairs.values()


def test_display_filters_of_the_docs(tmp_path: Path) -> None:
    """The filters that docs/wireshark.md shows pick what it says, counted from the tables."""
    path = tmp_path / "x.pcapng"
    analysis = correlator.load(CAPTURES / "user")
    export_pcapng(analysis, path)
    rules = analysis.hits.astype({"table": str, "chain": str})
    dropped = set(rules[rules["target"] == "DROP"]["connection"])
    packets = tshark(path, "frame.comment", where='frame.comment contains " DROP"')
    assert dropped
    assert {int(comment.rsplit(" ", 1)[1]) for (comment,) in packets} == dropped
    door = rules[
        (rules["chain"] == "DOCKER") & (rules["table"] == "nat") & (rules["rule_number"] == 2)
    ]
    shown = {
        row[0]
        for row in tshark(path, "frame.packet_id", where='frame.comment contains "nat/DOCKER:2 "')
    }
    assert len(shown) == door["packets"].sum() > 0
    mine = {
        row[0]
        for row in tshark(path, "frame.packet_id", where='frame.comment matches "connection 2$"')
    }
    assert len(mine) == analysis.packets[analysis.packets["connection"] == 2]["crossing"].nunique()
    silent = tshark(path, "ip.version", "eth.type", where="!frame.comment")
    assert {row[1] for row in silent} <= {
        "0x0806",
        "0x86dd",
    }  # ARP and IPv6: no iptables rule sees them


def test_direction_is_what_the_analysis_found(tmp_path: Path) -> None:
    """A pcap does not say which way a frame went: the export does, as the packets table does."""
    path = tmp_path / "x.pcapng"
    analysis = correlator.load(CAPTURES / "published")
    export_pcapng(analysis, path)
    words = {"0x00000001": "in", "0x00000002": "out"}
    rows = tshark(
        path, "frame.interface_name", "frame.time_epoch", "frame.packet_flags_direction", where="ip"
    )
    shown = sorted((name, time, words[flag]) for name, time, flag in rows)
    table = analysis.packets
    wanted = [
        (str(p.interface), f"{p.time // 10**9}.{p.time % 10**9:09d}", str(p.wire))
        for p in table.itertuples()
        if str(p.wire)
    ]
    assert shown == sorted(wanted)


def test_losses_are_kept(tmp_path: Path) -> None:
    """Drop counts of a pcapng input are in the export, and the warnings in the file's own
    comment."""
    analysis = correlator.load(_session_like(tmp_path))
    path = tmp_path / "x.pcapng"
    export_pcapng(analysis, path)
    shown = subprocess.run(
        ["capinfos", "-M", str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert "7 packets were lost while capturing" in shown
    assert shown.count("Number of stat entries = 1") == 1
    assert [
        (one.name, one.dropped) for one in read_frames(path).interfaces if one.dropped is not None
    ] == [("docker0", 7)]


def _session_like(tmp_path: Path) -> Path:
    """The published recording with docker0 as a pcapng that says it lost packets, and eth0
    gzipped."""
    folder = Path(shutil.copytree(CAPTURES / "published", tmp_path / "mixed"))
    big, statistics = tmp_path / "docker0.pcapng", struct.pack("<IIIHHQI", 0, 0, 0, 5, 8, 7, 0)
    subprocess.run(["editcap", "-F", "pcapng", str(folder / "docker0.pcap"), str(big)], check=True)
    data = (
        big.read_bytes()
        + struct.pack("<II", 5, len(statistics) + 12)
        + statistics
        + struct.pack("<I", len(statistics) + 12)
    )
    (folder / "docker0.pcapng").write_bytes(data)
    (folder / "docker0.pcap").unlink()
    subprocess.run(["gzip", str(folder / "eth0.pcap")], check=True)
    return folder


def _swapped(data: bytes) -> bytes:
    """A little-endian nanosecond pcap in the other byte order, in microseconds."""
    out, position = (
        struct.pack(">IHHiIII", 0xA1B2C3D4, 2, 4, *struct.unpack_from("<iIII", data, 8)),
        24,
    )
    while position < len(data):
        seconds, nanos, kept, wire = struct.unpack_from("<IIII", data, position)
        out += (
            struct.pack(">IIII", seconds, nanos // 1000, kept, wire)
            + data[position + 16 : position + 16 + kept]
        )
        position += 16 + kept
    return out


def test_inputs_of_every_form(tmp_path: Path) -> None:
    """Microseconds, the other byte order, gzip, several files of one interface: frames and comments
    as from the originals."""
    folder = Path(shutil.copytree(CAPTURES / "published", tmp_path / "forms"))
    (folder / "docker0.pcap").write_bytes(_swapped((folder / "docker0.pcap").read_bytes()))
    for part, which in (("a", ["-r", "-F", "pcapng"]), ("b", ["-F", "nsecpcap"])):
        command = [
            "editcap",
            *which,
            str(folder / "eth0.pcap"),
            str(tmp_path / f"{part}.pcap"),
            "1-40",
        ]
        subprocess.run(command, check=True, capture_output=True)
    subprocess.run(["gzip", str(tmp_path / "b.pcap")], check=True)
    out, plain = tmp_path / "out.pcapng", tmp_path / "plain.pcapng"
    pcaps = [
        ("eth0", tmp_path / "a.pcap"),
        ("eth0", tmp_path / "b.pcap.gz"),
        ("docker0", folder / "docker0.pcap"),
    ]
    analysis = correlator.load(pcaps=pcaps, counters=folder / "counters.log", facts=folder)
    export_pcapng(analysis, out)
    export_pcapng(correlator.load(CAPTURES / "published"), plain)
    assert told(out) == told(plain) == counted(analysis.hits)
    names = subprocess.run(
        ["capinfos", "-M", str(out)], capture_output=True, text=True, check=True
    ).stdout
    assert names.count("Name = eth0") == names.count("Name = docker0") == 1

    def by_interface(path: Path) -> dict[str, list[list[str]]]:
        found: dict[str, list[list[str]]] = {}
        for name, *row in tshark(
            path, "frame.interface_name", "frame.len", "ip.id", "tcp.seq_raw", "frame.comment"
        ):
            found.setdefault(name, []).append(row)
        return found

    assert by_interface(out) == by_interface(plain)


@pytest.mark.parametrize(
    ("name", "missing"), [("balance", "docker0"), ("user", ""), ("published", "")]
)
def test_what_is_not_exact_says_so(name: str, missing: str, tmp_path: Path) -> None:
    """Without counters no comment passes for exact, and a packet that may have gone several ways
    lists them all."""
    folder = Path(shutil.copytree(CAPTURES / name, tmp_path / name))
    text = (folder / "counters.log").read_text().split("# sample")[1].split("\n", 1)[1]
    (folder / "rules.v4").write_text(re.sub(r"^\[\d+:\d+\] ", "", text, flags=re.MULTILINE))
    for file in ("counters.log", "listing.log", *([f"{missing}.pcap"] if missing else [])):
        (folder / file).unlink()
    analysis = correlator.load(folder)
    path = tmp_path / "x.pcapng"
    export_pcapng(analysis, path)
    assert told(path) == counted(analysis.hits)
    comments = [row[0] for row in tshark(path, "frame.comment", where="frame.comment")]
    assert all(comment.startswith(("unverified: ", "ambiguous: ")) for comment in comments)
    doubtful = set(analysis.hits[analysis.hits["status"] == "ambiguous"]["connection"])
    assert bool(doubtful) == (name != "published")
    assert {int(c.rsplit(" ", 1)[1]) for c in comments if c.startswith("ambiguous: ")} == doubtful


def test_a_repeated_frame_makes_no_exact_claim(tmp_path: Path) -> None:
    """Where rules counted fewer hits than the packets seem to have made, the packets of these hits
    say so."""
    folder = Path(shutil.copytree(CAPTURES / "published", tmp_path / "more"))
    data = (folder / "eth0.pcap").read_bytes()
    position = 24
    for _ in range(20):
        position += 16 + struct.unpack_from("<I", data, position + 8)[0]
    size = 16 + struct.unpack_from("<I", data, position + 8)[0]
    again = bytearray(data[position : position + size])
    again[16 + 18] ^= 1  # another IP id: a packet that nobody counted
    (folder / "eth0.pcap").write_bytes(
        data[: position + size] + bytes(again) + data[position + size :]
    )
    analysis = correlator.load(folder)
    path = tmp_path / "x.pcapng"
    export_pcapng(analysis, path)
    doubtful = set(analysis.hits[analysis.hits["status"] == "ambiguous"]["connection"])
    comments = [row[0] for row in tshark(path, "frame.comment", where=FEWER)]
    assert doubtful
    assert {int(comment.rsplit(" ", 1)[1]) for comment in comments} == doubtful


def test_fragments_carry_their_datagrams_way(tmp_path: Path) -> None:
    """Every fragment of a datagram bears the comment and the packet id of the whole."""
    path = tmp_path / "x.pcapng"
    analysis = correlator.load(CAPTURES / "fragments")
    export_pcapng(analysis, path)
    where = "ip.flags.mf == 1 or ip.frag_offset > 0"
    rows = tshark(path, "frame.interface_name", "ip.id", "ip.src", "frame.packet_id", where=where)
    assert len(rows) > len(analysis.packets) / 2
    datagrams: dict[tuple[str, ...], set[str]] = {}
    for *datagram, packet in rows:
        datagrams.setdefault(tuple(datagram), set()).add(packet)
    assert all(len(found) == 1 and "" not in found for found in datagrams.values())
    assert not (analysis.frames()["packet"] < 0).any()


def test_coloring_rules_color(tmp_path: Path) -> None:
    """Wireshark's own matcher, given the file as its colorfilters, colors drops, rejects and
    translations."""
    words = ("-o", tmp_path / "x.pcapng", "--coloring-rules", tmp_path / "colorfilters")
    assert run("export", CAPTURES / "user", "pcapng", *words).returncode == 0
    environment = {
        "WIRESHARK_CONFIG_DIR": str(tmp_path),
        "HOME": str(tmp_path),
        "PATH": "/usr/bin:/bin",
    }
    rows = tshark(
        tmp_path / "x.pcapng", "frame.coloring_rule.name", "frame.comment", environment=environment
    )
    names = {rule.name for rule in RULES}
    for name, comment in rows:
        assert name in names
        assert (name == "correlator: dropped") == (" DROP" in comment)
        assert (name == "correlator: rejected") == (" REJECT" in comment)
        assert (name == "correlator: not seen by rules") == (not comment)
    assert {
        "correlator: dropped",
        "correlator: rejected",
        "correlator: destination translated",
    } <= {row[0] for row in rows}


def test_coloring_rules_are_one_a_line(tmp_path: Path) -> None:
    """Each line is @name@filter@[background][foreground] with 16-bit colors, as Wireshark's
    colorfilters file has it."""
    path = tmp_path / "colorfilters"
    write_rules(path)
    lines = path.read_text().splitlines()
    form = re.compile(r"^@[^@]+@[^@]+@\[\d{1,5},\d{1,5},\d{1,5}\]\[\d{1,5},\d{1,5},\d{1,5}\]$")
    assert len([line for line in lines if form.match(line)]) == len(RULES) == len(lines) - 1


def test_an_export_beside_its_input_is_no_second_capture(tmp_path: Path) -> None:
    """Written into the folder that it was made from, the next replay of that folder is what it
    was."""
    folder = Path(shutil.copytree(CAPTURES / "published", tmp_path / "case"))
    before = run("replay", folder).stdout
    done = run("export", folder, "pcapng", "-o", folder / "annotated.pcapng")
    assert (
        done.stdout
        == f"wrote 243 packets to {folder}/annotated.pcapng, 237 with the rules that they "
        f"traversed\n"
    )
    assert is_exported(folder / "annotated.pcapng")
    assert run("replay", folder).stdout == before


def test_refusals(tmp_path: Path) -> None:
    """Another ending, the input itself, coloring rules of a table: one line each, and nothing
    written."""
    folder = Path(shutil.copytree(CAPTURES / "published", tmp_path / "case"))
    subprocess.run(
        ["editcap", "-F", "pcapng", str(folder / "eth0.pcap"), str(folder / "eth0.pcapng")],
        check=True,
    )
    (folder / "eth0.pcap").unlink()
    data = (folder / "eth0.pcapng").read_bytes()
    assert "expected .pcapng" in refused("export", folder, "pcapng", "-o", tmp_path / "x.pcap")
    assert "is what the packets were read from" in refused(
        "export", folder, "pcapng", "-o", folder / "eth0.pcapng"
    )
    assert "goes with packets" in refused(
        "export", folder, "hits", "-o", tmp_path / "x.csv", "--coloring-rules", tmp_path / "c"
    )
    assert "does not exist" in refused(
        "export", folder, "pcapng", "-o", tmp_path / "no" / "x.pcapng"
    )
    assert (folder / "eth0.pcapng").read_bytes() == data
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case"]
