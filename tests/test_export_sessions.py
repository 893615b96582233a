"""Exports of sessions, made here from a shipped recording with the session's own writers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from correlator.dataset import pcapng
from correlator.dataset.schema import EXPORTS
from correlator.dataset.session import PACKETS, RULESETS, Manifest, Recorded
from correlator.dataset.writer import Folder
from correlator.decode import read_frames
from tests.conftest import CAPTURES
from tests.test_cli import run

CASE = CAPTURES / "published"
NAMES = ("eth0", "docker0")
COUNTS = re.compile(r"\[(\d+):(\d+)\]")


def session(path: Path, *, empty: bool) -> Path:
    """A session with the frames of a recording (or none), the drops that its kernel counted, and
    its samples."""
    folder = Folder.make(path)
    folder.append(
        PACKETS, pcapng.section("test") + b"".join(pcapng.interface(name, 1, 128) for name in NAMES)
    )
    times = [0, 0]
    for number, name in enumerate(NAMES):
        frames = read_frames(CASE / f"{name}.pcap")
        times = [int(frames.time.min()), int(frames.time.max())]
        for start, kept, time in zip(
            frames.start.tolist(), frames.captured.tolist(), frames.time.tolist(), strict=True
        ):
            if not empty:
                folder.append(
                    PACKETS, pcapng.packet(bytes(frames.data[start : start + kept]), time, number)
                )
    folder.append(PACKETS, pcapng.statistics(1, times[1], 127, 3))
    samples = (CASE / "counters.log").read_text().split("# sample ")[1:]
    folder.write_ruleset(
        "nft-1.rules",
        re.sub(r"^\[\d+:\d+\] ", "", samples[0].split("\n", 1)[1], flags=re.MULTILINE),
    )
    folder.append_record({"ruleset": 1, "backend": "nft", "file": f"{RULESETS}/nft-1.rules"})
    for sample in samples:
        begin, end = (
            int(stamp.replace(".", ""))
            for stamp in re.findall(r"=(\d+\.\d{9})", sample.split("\n", 1)[0])
        )
        lines = [line for line in sample.splitlines()[1:] if re.match(r"\[|:\S+ [A-Z]", line)]
        counts = [[number, *map(int, COUNTS.findall(line)[0])] for number, line in enumerate(lines)]
        folder.append_record(
            {
                "backend": "nft",
                "begin": begin,
                "end": end,
                "counters": [n for part in counts for n in part],
            }
        )
    recorded = tuple(Recorded(name, 1) for name in NAMES)
    folder.write_manifest(Manifest(complete=True, interfaces=recorded, backends=("nft",)))
    folder.close()
    facts = path / "facts" / "1"
    facts.mkdir(parents=True)
    for name in ("addr.json", "link.json", "route.json", "sysctl.txt"):
        shutil.copy(CASE / name, facts)
    (facts / "time.json").write_text(json.dumps({"time": times[0] - 2 * 10**9}))
    return path


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A session in which nothing was sent."""
    return session(tmp_path / "empty", empty=True)


@pytest.mark.parametrize("name", list(EXPORTS))
def test_tables_of_a_session_without_a_packet(name: str, empty: Path, tmp_path: Path) -> None:
    """They have no rows of packets, and all their columns."""
    path = tmp_path / "x.csv"
    assert run("export", empty, name, "-o", path).returncode == 0
    assert path.read_text().splitlines()[0] == ",".join(EXPORTS[name])


def test_a_session_without_a_packet_exports(empty: Path, tmp_path: Path) -> None:
    """A pcapng with its interfaces and no frame, and a conn.log with a header and no line."""
    assert run("export", empty, "pcapng", "-o", tmp_path / "x.pcapng").stdout.startswith(
        "wrote 0 packets"
    )
    assert [one.name for one in read_frames(tmp_path / "x.pcapng").interfaces] == list(NAMES)
    assert (
        run("export", empty, "connections", "--format", "zeek", "-o", tmp_path / "x.log").returncode
        == 0
    )
    assert all(line.startswith("#") for line in (tmp_path / "x.log").read_text().splitlines())


@pytest.mark.skipif(shutil.which("capinfos") is None, reason="needs capinfos")
def test_a_session_exports_in_order_with_its_drops(tmp_path: Path) -> None:
    """A session's file holds interface after interface here; the export is in order of time, with
    what the kernel dropped."""
    folder = session(tmp_path / "s", empty=False)
    done = run("export", folder, "pcapng", "-o", tmp_path / "x.pcapng")
    assert done.returncode == 0, done.stderr
    shown = subprocess.run(
        ["capinfos", "-M", str(tmp_path / "x.pcapng")], capture_output=True, text=True, check=True
    ).stdout
    assert "Strict time order:   True" in shown
    assert "docker0: 3 packets were lost while capturing" in shown
    before, after = read_frames(folder / PACKETS), read_frames(tmp_path / "x.pcapng")
    assert len(after) == len(before) > 200
    assert [(one.name, one.received, one.dropped) for one in after.interfaces] == [
        (one.name, one.received, one.dropped) for one in before.interfaces
    ]
