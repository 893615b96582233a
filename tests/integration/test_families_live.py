"""Hosts of both families against the kernel's own trace: with rules of iptables and ip6tables, and
with nft's own, whose chains of family inet both meet."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import correlator
from correlator.report.findings import find
from tests.lab.cases import client, serve
from tests.lab.dual import API6, CLIENT6, DENIED6, HOST6, DualLab, DualRecorder
from tests.lab.native import GuardedLab, GuardedRecorder, NativeLab, NativeRecorder
from tests.lab.net import HOST, OUTSIDE, Lab
from tests.lab.trace import OWN_TABLE
from tests.truth import Key, compare

pytestmark = pytest.mark.live
TAPS = ("eth0", "docker0", "lo", "vc1", "vc2")
A, B = OUTSIDE
COMMAND = (sys.executable, "-m", "correlator", "capture")


def talk(lab: Lab) -> None:
    """What is published, denied, rejected and closed, in both families; containers' own, pings."""
    for target, source, denied in ((HOST, A, B), (HOST6, CLIENT6, DENIED6)):
        assert client(lab, "out", "tcp", target, 80, source=source, count=4) == 4
        client(lab, "out", "tcp", target, 80, source=denied)
        client(lab, "out", "tcp", target, 22, source=denied)
        client(lab, "out", "tcp", target, 8022, source=source)
        client(lab, "out", "udp", target, 9, source=source)
        assert client(lab, "c1", "tcp", source, 8080, count=3) == 3
        lab.run("out", "ping", "-c", "2", "-i", "0.2", target)
        lab.run("c2", "ping", "-c", "2", "-i", "0.2", source)
    assert client(lab, "out", "udp", HOST6, 5353, source=CLIENT6, count=3) == 3
    assert client(lab, "out", "tcp", API6, 80, source=CLIENT6) == 0
    client(lab, "out", "tcp", HOST, 8081, source=A, count=3)
    lab.run("c2", "ping", "-c", "2", "-i", "0.2", "172.17.0.2")


def record(lab: Lab, recorder: DualRecorder | NativeRecorder) -> None:
    """Servers, and all of :func:`talk` while it is recorded."""
    serve(lab, "c1", "tcp:80", "udp:53", "--six")
    serve(lab, "c2", "tcp:80", "--six")
    serve(lab, "out", "tcp:8080", "--six")
    with recorder:
        talk(lab)


def told_apart(analysis: correlator.Analysis, folder: Path) -> tuple[list[Key], int]:
    """(rows that are not the kernel's, or that it has and no row says; how many it has). The trace
    goes on longer than the taps: of what neighbours ask each other meanwhile it has more."""
    hits = analysis.table("hits")
    found = compare(hits[hits["table"] != OWN_TABLE], folder / "truth" / "hits.csv")
    fewer = [key for key, truth, said in found.wrong if not (_asked(key) and said < truth)]
    missing = [key for key in found.missing if not _asked(key)]
    return [*found.extra, *fewer, *missing], found.rows


def _asked(key: Key) -> bool:
    return key[0] == "58" and key[5] == "untracked"


def without(folder: Path, *names: str) -> Path:
    """The recording without some of its files."""
    for name in names:
        (folder / name).unlink()
    return folder


def test_iptables_of_both_families(tmp_path: Path) -> None:
    """Every row of IPv4 and of IPv6 is the kernel's, none that says exact is wrong."""
    with DualLab() as lab:
        record(lab, DualRecorder(lab, tmp_path, TAPS))
    differ, rows = told_apart(correlator.load(tmp_path), tmp_path)
    assert not differ
    assert rows > 100


def test_a_firewall_of_nft_beside_iptables(tmp_path: Path) -> None:
    """With iptables' counters, ip6tables' and nft's listing in one folder every table is walked, in
    one order of priorities: what iptables accepts, the firewall behind it drops. Without the
    listing nothing that says exact is wrong: what was tried again and dropped again is open."""
    with GuardedLab() as lab:
        record(lab, GuardedRecorder(lab, tmp_path, TAPS))
    analysis = correlator.load(tmp_path)
    differ, rows = told_apart(analysis, tmp_path)
    assert not differ
    assert rows > 100
    assert not analysis.ledger["residual_packets"].any()
    (dropped_there,) = (f for f in find(analysis) if "inet guard/forward:2" in f.rules)
    assert dropped_there.kind == "dropped"
    unlisted = correlator.load(without(tmp_path, "nft.log", "nft-json.log")).table("hits")
    found = compare(unlisted, tmp_path / "truth" / "hits.csv")
    wrong = [key for key, truth, said in found.wrong if not (_asked(key) and said < truth)]
    assert (wrong, found.extra) == ([], [])


def test_native_tables_of_both_families(tmp_path: Path) -> None:
    """So it is with nft's own tables, from either notation: a counter of family inet counts the
    packets of both, and balances against both."""
    with NativeLab() as lab:
        record(lab, NativeRecorder(lab, tmp_path, TAPS))
    for left_out in ("nft-json.log", "nft.log"):
        kept = (tmp_path / left_out).read_bytes()
        analysis = correlator.load(without(tmp_path, left_out))
        (tmp_path / left_out).write_bytes(kept)
        assert not told_apart(analysis, tmp_path)[0], left_out
        ledger = analysis.ledger
        both = ledger[ledger["table"].isin(["inet site"])]
        assert len(both)
        assert not both["residual_packets"].any(), left_out
        assert {"inet site", "ip6 doors", "doors"} <= set(analysis.rules["table"].astype(str))
        assert not analysis.rules.duplicated(
            ["generation", "table", "chain", "rule_number"]
        ).any(), left_out


def test_a_capture_of_native_tables_and_both_families(tmp_path: Path) -> None:
    """`correlator capture` samples every table over netlink: what it replays to is the kernel's, in
    both families, with every counter of family inet explained."""
    with NativeLab() as lab:
        serve(lab, "c1", "tcp:80", "udp:53", "--six")
        serve(lab, "c2", "tcp:80", "--six")
        serve(lab, "out", "tcp:8080", "--six")
        taps = [word for name in TAPS for word in ("-i", name)]
        with NativeRecorder(lab, tmp_path / "plain", TAPS):
            session = lab.start(
                "host", *COMMAND, "-o", str(tmp_path / "s"), *taps, stdout=subprocess.PIPE
            )
            until = time.monotonic() + 20
            while not (tmp_path / "s" / "samples.jsonl").exists():
                assert time.monotonic() < until
                time.sleep(0.1)
            time.sleep(1)
            talk(lab)
            time.sleep(1)
            lab.stop(session, signal.SIGINT, wait=60)
        assert session.stdout is not None
        assert b"ip6 doors" in session.stdout.read()
    analysis = correlator.load(tmp_path / "s")
    differ, rows = told_apart(analysis, tmp_path / "plain")
    assert not differ
    assert rows > 100
