"""The fold says the same as the packet-by-packet way, of everything that can be told apart."""

from __future__ import annotations

import gzip
import re
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import correlator
from benchmarks.rulesets import docker_ports
from benchmarks.workload import MACS, make_workload
from correlator.errors import CorrelatorError, InputError
from correlator.flows.fold import mac_votes
from correlator.flows.fold import process as aside
from correlator.flows.fold.plan import FOLDED, UNFOLDED, Plan
from correlator.reconcile import build
from correlator.reconcile.analysis import Analysis
from correlator.reconcile.loading import load_files
from correlator.report.page.render import render_page
from correlator.report.terminal import render_replay
from tests.conftest import CAPTURES

FACTS = ("addr.json", "link.json", "route.json", "sysctl.txt")
HITS = ["connection", "direction", "first_seen", "table", "chain", "rule_number"]


def both_ways(
    folder: Path, offset: float | None = None, plan: Plan = FOLDED
) -> tuple[Analysis, Analysis]:
    """(folded, packet by packet)."""
    folded = load_files(folder, clock_offset=offset, plan=plan)
    return folded, load_files(folder, clock_offset=offset, plan=UNFOLDED)


def plain(frame: pd.DataFrame, by: list[str] | None) -> pd.DataFrame:
    """The same values, without the order of categories."""
    words = {
        name: frame[name].astype(str)
        for name, dtype in frame.dtypes.items()
        if isinstance(dtype, pd.CategoricalDtype)
    }
    frame = frame.assign(**words)
    return frame.sort_values(by, kind="stable", ignore_index=True) if by else frame


def assert_same(folded: Analysis, other: Analysis) -> None:
    """All tables, warnings, paths and the clock."""
    for name, by in (
        ("connections", None),
        ("hits", HITS),
        ("ledger", None),
        ("rules", None),
        ("packets", None),
    ):
        pd.testing.assert_frame_equal(
            plain(getattr(folded, name), by), plain(getattr(other, name), by), obj=name
        )
    exported = [plain(one.table("connections"), None) for one in (folded, other)]
    pd.testing.assert_frame_equal(*exported, obj="connections with Community IDs")
    assert folded.warnings == other.warnings
    assert folded.interfaces == other.interfaces
    assert folded.clock == other.clock
    assert folded.inferred == other.inferred
    assert folded.host == other.host
    for number in range(1, len(other.connections) + 1, max(1, len(other.connections) // 40)):
        assert folded.paths(number) == other.paths(number)


def test_recordings(recorded: Path) -> None:
    """Every shipped recording reads the same folded and not."""
    assert_same(*both_ways(recorded))


@pytest.mark.parametrize("share", [0.02, 0.2])
@pytest.mark.parametrize("name", ["published", "collision", "reuse", "older"])
def test_lost_frames(name: str, share: float, tmp_path: Path) -> None:
    """With frames missing at random, what is no longer ordinary is left to the packet-by-packet
    way: the same again."""
    random = np.random.default_rng(int(share * 100))
    shutil.copytree(CAPTURES / name, tmp_path / "c", ignore=shutil.ignore_patterns("truth"))
    for path in (tmp_path / "c").glob("*.pcap"):
        data, position, kept = path.read_bytes(), 24, []
        while position < len(data):
            size = 16 + int.from_bytes(data[position + 8 : position + 12], "little")
            if random.random() >= share:
                kept.append(data[position : position + size])
            position += size
        path.write_bytes(data[:24] + b"".join(kept))
    assert_same(*both_ways(tmp_path / "c"))


def test_a_workload_whose_counts_are_known(tmp_path: Path) -> None:
    """A small benchmark workload: every rule's hits and bytes, every outcome, every frame as
    planned; the same unfolded."""
    answer = make_workload(tmp_path / "w", 20_000, 1_200, seconds=30)
    folded, other = both_ways(tmp_path / "w")
    assert_same(replace(folded, source=""), replace(other, source=""))
    assert_right(folded, answer.hits, answer.connections, answer.frames)


def test_a_large_report_is_bounded(tmp_path: Path) -> None:
    """Of many connections the report names the clients with the most, by the generator's count; of
    many rules it shows those that most packets hit, and every one that has a residual."""
    answer = make_workload(
        tmp_path, packets=6_000, connections=300, seconds=20, extra=docker_ports(50)
    )
    analysis = correlator.load(tmp_path)
    text = render_replay(analysis)
    assert re.search(
        rf"^{answer.connections['MASQUERADE']} +\d+\+\d+ +172\.17\.0\.2$", text, re.MULTILINE
    )
    assert text.count("\n") < 130
    off = replace(analysis, rules=analysis.rules.assign(residual_packets=1))
    shown = render_replay(off).split("Ledger (packets per rule)\n")[1].splitlines()[1:]
    assert len(shown) == len(analysis.rules)


def test_gzipped_files(tmp_path: Path) -> None:
    """What gzip packed is folded as it is unpacked; a file that was cut is read up to the cut,
    packet by packet."""
    make_workload(tmp_path, packets=6_000, connections=300, seconds=20)
    for path in list(tmp_path.glob("*.pcap")):
        path.with_suffix(".pcap.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
        path.unlink()
    folded, other = both_ways(tmp_path)
    assert folded.tables.verdict.ordinary is not None
    assert_same(folded, other)
    cut = tmp_path / "eth0.pcap.gz"
    cut.write_bytes(cut.read_bytes()[:-1000])
    folded, other = both_ways(tmp_path)
    assert render_replay(folded) == render_replay(other)
    assert any("eth0.pcap.gz" in warning for warning in other.warnings)


def test_rules_that_change_once(tmp_path: Path) -> None:
    """A container starts during a recording: every count as planned, also of the rule that came
    with it; most connections, those that live across the change among them, are folded; and the
    same unfolded."""
    answer = make_workload(tmp_path / "w", 20_000, 1_200, seconds=30, changes=1)
    folded, other = both_ways(tmp_path / "w")
    assert_same(folded, other)
    assert_right(folded, answer.hits, answer.connections, answer.frames)
    verdict = folded.tables.verdict  # type: ignore[attr-defined]
    assert folded.generations == 2
    assert verdict.ordinary.kept.mean() > 0.9
    c = verdict.ordinary.folded.connections[verdict.ordinary.kept]
    assert (
        (c["first"] < verdict.ordinary.timetable.until[0])
        & (c["last"] > verdict.ordinary.timetable.since[0])
    ).any()


@pytest.mark.parametrize("offset", [None, 0.0, 0.3])
@pytest.mark.parametrize("changes", [2, 5])
def test_rules_that_come_and_go(changes: int, offset: float | None, tmp_path: Path) -> None:
    """Whatever the clock is said to be, and however often rules change, folded and unfolded are the
    same."""
    make_workload(tmp_path / "w", 10_000, 600, seconds=30, changes=changes, shift_ns=300_000_000)
    assert_same(*both_ways(tmp_path / "w", offset))


@pytest.mark.parametrize(("resolution", "divisor"), [(9, 1), (6, 1_000)])
def test_pcapng_of_micro_and_nanoseconds(resolution: int, divisor: int, tmp_path: Path) -> None:
    """Both interfaces in one pcapng, with times in nano- or microseconds: folded, and the same as
    unfolded."""
    folder = Path(
        shutil.copytree(
            CAPTURES / "published", tmp_path / "c", ignore=shutil.ignore_patterns("truth")
        )
    )
    blocks = [block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    frames = []
    for number, name in enumerate(("eth0", "docker0")):
        options = struct.pack("<HH", 2, len(name)) + name.encode() + bytes(-len(name) % 4)
        options += struct.pack("<HHB3xI", 9, 1, resolution, 0)
        blocks.append(block(1, struct.pack("<HHI", 1, 0, 65535) + options))
        data, position = (folder / f"{name}.pcap").read_bytes(), 24
        while position < len(data):
            seconds, nanos, captured, wire = struct.unpack_from("<IIII", data, position)
            frames.append(
                (
                    seconds * 10**9 + nanos,
                    number,
                    wire,
                    data[position + 16 : position + 16 + captured],
                )
            )
            position += 16 + captured
    for path in folder.glob("*.pcap"):
        path.unlink()
    for time, number, wire, frame in sorted(frames):
        head = struct.pack(
            "<IIIII", number, time // divisor >> 32, time // divisor & 0xFFFFFFFF, len(frame), wire
        )
        blocks.append(block(6, head + frame))
    (folder / "all.pcapng").write_bytes(b"".join(blocks))
    folded, other = both_ways(folder)
    assert folded.tables.verdict.ordinary.kept.mean() > 0.5  # type: ignore[attr-defined]
    assert_same(folded, other)


def block(kind: int, body: bytes) -> bytes:
    """A pcapng block."""
    body += bytes(-len(body) % 4)
    return struct.pack("<II", kind, 12 + len(body)) + body + struct.pack("<I", 12 + len(body))


def without_facts(source: Path, folder: Path, missing: tuple[str, ...] = FACTS) -> Path:
    """A copy of a recording of which no such facts were saved."""
    return Path(shutil.copytree(source, folder, ignore=shutil.ignore_patterns("truth", *missing)))


@pytest.mark.parametrize(
    "missing", [FACTS, ("addr.json",), ("link.json",)], ids=["none", "no addresses", "no links"]
)
def test_recordings_without_facts(recorded: Path, missing: tuple[str, ...], tmp_path: Path) -> None:
    """What is worked out of the host is the same whether frames pass by or are weighed together,
    and so is all that follows."""
    assert_same(*both_ways(without_facts(recorded, tmp_path / "c", missing)))


@pytest.mark.parametrize("apart", [False, True])
def test_a_workload_without_facts(apart: bool, tmp_path: Path) -> None:
    """Pcaps and a counter log are enough: every count as planned, most connections folded; and the
    same unfolded."""
    answer = make_workload(tmp_path / "w", 20_000, 1_200, seconds=30, facts=False)
    folded, other = both_ways(tmp_path / "w", plan=Plan(fold=0, process=0) if apart else FOLDED)
    assert_same(folded, other)
    assert_right(folded, answer.hits, answer.connections, answer.frames)
    assert folded.inferred == (
        "MAC addresses of docker0, eth0",
        "the host's addresses and bridge subnets",
    )
    assert folded.tables.verdict.ordinary.kept.all()  # type: ignore[attr-defined]


@pytest.mark.parametrize("tries", [1, 3])
def test_a_wrong_guess_is_found_out(
    tries: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the first frames mislead, all of them say so: the other address is tried, or every
    packet looked at by itself."""
    answer = make_workload(tmp_path / "w", 20_000, 1_200, seconds=30, facts=False)
    monkeypatch.setattr(
        mac_votes,
        "guess_macs",
        lambda _files, _known: {"eth0": MACS["gateway"], "docker0": MACS["web"]},
    )
    folded, other = both_ways(tmp_path / "w", plan=replace(FOLDED, guesses=tries))
    found = folded.tables.verdict.intake.folded  # type: ignore[attr-defined]
    assert (found is None) == (tries == 1)
    assert found is None or found.macs == {"docker0": MACS["docker0"], "eth0": MACS["eth0"]}
    assert_same(folded, other)
    assert_right(folded, answer.hits, answer.connections, answer.frames)


def test_an_interface_of_which_no_frame_tells(tmp_path: Path) -> None:
    """Where nothing that an interface shows was forwarded, its own address is the one that most
    frames bear, the rest is folded as ever, and a host's own traffic tells its addresses."""
    make_workload(tmp_path / "w", 20_000, 1_200, seconds=30, facts=False)
    quiet = (
        shutil.copytree(CAPTURES / "inside", tmp_path / "q", ignore=shutil.ignore_patterns("truth"))
        / "docker0.pcap"
    )
    shutil.copy(quiet, tmp_path / "w" / "br-quiet.pcap")
    folded, other = both_ways(tmp_path / "w")
    assert folded.tables.verdict.ordinary.kept.sum() > 1_000  # type: ignore[attr-defined]
    assert "MAC addresses of br-quiet, docker0, eth0" in folded.inferred
    assert_same(folded, other)


@pytest.mark.parametrize(("apart", "changes"), [(False, 0), (True, 0), (False, 1), (True, 1)])
def test_packets_on_disk_and_in_another_process(
    apart: bool, changes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few packets are held at a time, and whoever reads them, the report is the same, byte
    for byte; nothing is left behind on the disk."""
    folder, spools = tmp_path / "w", tmp_path / "spools"
    spools.mkdir()
    answer = make_workload(folder, 20_000, 1_200, seconds=30, changes=changes)
    monkeypatch.setenv("TMPDIR", str(spools))
    held = load_files(folder, plan=FOLDED)
    plan = Plan(fold=0, process=0 if apart else 1 << 60, block=1_500)
    spooled = load_files(folder, plan=plan)
    assert len(spooled.tables.verdict.ordinary.folded.packets.begins) > 5  # type: ignore[attr-defined]
    assert list(spools.iterdir()) == []
    assert render_replay(spooled, everything=True) == render_replay(held, everything=True)
    assert_same(spooled, held)
    assert_right(spooled, answer.hits, answer.connections, answer.frames)


def test_no_report_reads_packets_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a report says of connections, that they were refused among it, it says without looking
    at folded packets one by one; and says the same."""
    folded, other = both_ways(CAPTURES / "modern")
    expected = render_replay(other, everything=True), render_page(other)
    refused = folded.connections.loc[folded.connections["state"] == "refused", "connection"]
    assert refused.isin(folded.tables.numbering.ordinary).any()  # type: ignore[attr-defined]
    monkeypatch.setattr(build, "PacketReader", None)
    assert (render_replay(folded, everything=True), render_page(folded)) == expected
    with pytest.raises(TypeError):
        _ = folded.packets


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    """Packets that have to be looked at one by one, and would take more memory than allowed, are
    refused in one line."""
    make_workload(tmp_path / "w", 60_000, 4_000, seconds=30)
    with pytest.raises(
        InputError,
        match=r"w: needs about 0\.\d GiB of memory, and 0\.1 GiB may be taken \(--max-memory\)",
    ):
        load_files(tmp_path / "w", max_memory=100 << 20, plan=UNFOLDED)


def test_a_reader_that_dies_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the process that reads packets is killed, one line says so."""
    make_workload(tmp_path / "w", 20_000, 1_200, seconds=30)
    monkeypatch.setattr(aside, "SERVE", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(
        CorrelatorError, match="reading the packets ended with status -9: too little memory"
    ):
        load_files(tmp_path / "w", plan=Plan(fold=0, process=0))


def assert_right(
    analysis: Analysis,
    hits: dict[str, tuple[int, int]],
    connections: dict[str, int],
    frames: dict[str, int],
) -> None:
    """The analysis is what the workload was planned to be, in each of its tables."""
    assert_planned(analysis, hits, connections, frames)
    sums = analysis.hits.groupby(["table", "chain", "rule_number"], observed=True)[
        ["packets", "bytes"]
    ].sum()
    assert sorted(map(tuple, sums.to_numpy().tolist())) == sorted(hits.values())


def assert_planned(
    analysis: Analysis,
    hits: dict[str, tuple[int, int]],
    connections: dict[str, int],
    frames: dict[str, int],
) -> None:
    """The analysis is what the workload was planned to be: every rule's hits and bytes, every
    outcome, every frame."""
    assert analysis.interfaces == frames
    assert analysis.connections["outcome"].astype(str).value_counts().to_dict() == connections
    assert (analysis.connections["status"] == "exact").all()
    assert not analysis.balances[["residual_packets", "residual_bytes"]].any(axis=None)
    rules = analysis.rules[analysis.rules["explained_packets"] > 0]
    found: dict[str, tuple[int, int]] = {}
    for row in rules.itertuples():
        name = f"{row.table}/{row.chain}:{row.rule_number or 'policy'}"
        known = found.get(name, (0, 0))
        found[name] = (known[0] + row.explained_packets, known[1] + row.explained_bytes)
    assert found == hits
