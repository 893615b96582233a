"""What goes wrong around a recording, in the plain lab: each thing is said, in the session and in
every report of it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

import correlator
from tests.integration.test_capture_small import (
    CORRELATOR,
    WEB,
    A,
    _background,
    _capture,
    _one_line,
)
from tests.lab.cases import client, published_rules, serve
from tests.lab.net import HOST, ROOT, Lab

pytestmark = pytest.mark.live


def _manifest(session: Path) -> dict[str, object]:
    return dict(json.loads((session / "manifest.json").read_text()))


def _records(session: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (session / "samples.jsonl").read_text().splitlines()]


FILL = """
import socket, sys
stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
stream.setsockopt(socket.IPPROTO_UDP, 103, 18)  # UDP_SEGMENT
stream.connect((sys.argv[1], 9))
for _ in range(400_000 // 64):
    stream.send(bytes(18 * 64))
"""


def test_what_was_lost_is_said(tmp_path: Path) -> None:
    """A recorder that is stopped (SIGSTOP) while 400,000 packets come: the kernel's count of those
    that did not fit is in the manifest, in the pcapng and in every report, and so are the samples
    that were left out."""
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        lab.run("out", "ip", "link", "set", "eth0", "gso_max_segs", "1")
        lab.run(
            "host",
            "iptables-nft",
            "-t",
            "raw",
            "-A",
            "PREROUTING",
            "-p",
            "udp",
            "--dport",
            "9",
            "-j",
            "DROP",
        )
        process = _background(lab, "-o", str(tmp_path / "s"), "-i", "eth0")
        time.sleep(0.3)
        process.send_signal(signal.SIGSTOP)
        lab.run("out", sys.executable, "-c", FILL, HOST)
        time.sleep(0.3)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        process.terminate()
        printed, _ = process.communicate(timeout=120)
    [tap] = _manifest(tmp_path / "s")["interfaces"]  # type: ignore[misc]
    assert tap["dropped"] > 10_000
    assert tap["received"] >= 400_000
    analysis = correlator.load(tmp_path / "s")
    sent = analysis.packets[analysis.packets["dport"] == 9]
    assert len(sent) + tap["dropped"] == 400_000
    row = next(
        line for line in printed.splitlines() if line.startswith("warning") and "eth0" in line
    )
    assert re.search(rf"{tap['dropped']:,}|{tap['dropped']}", row)
    shown = subprocess.run(
        ["capinfos", str(tmp_path / "s" / "packets.pcapng")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Number of stat entries" in shown.stdout
    assert "counter samples were left out: the machine was busy" in printed


def test_rules_that_change_are_new_generations(tmp_path: Path) -> None:
    """A rule that comes in mid-run is a ruleset of its own, with its whole text, at its time; in
    both backends, with every hit of a rule still explained."""
    for backend in ("nft", "legacy"):
        session = tmp_path / backend
        with Lab() as lab:
            lab.run("host", f"iptables-{backend}-restore", stdin=published_rules(WEB))
            serve(lab, "c1", "tcp:80")
            process = _background(lab, "-o", str(session), "-i", "eth0", "-i", "docker0")
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=3) == 3
            before = time.time_ns()
            lab.run(
                "host",
                f"iptables-{backend}",
                "-I",
                "DOCKER-USER",
                "-s",
                "203.0.113.9",
                "-j",
                "DROP",
            )
            after = time.time_ns()
            time.sleep(0.3)
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=3) == 3
            process.terminate()
            assert process.wait(60) == 0
        rulesets = [record for record in _records(session) if "ruleset" in record]
        assert [record["file"] for record in rulesets] == [
            f"rulesets/{backend}-{number}.rules" for number in (1, 2)
        ]
        texts = [(session / str(record["file"])).read_text() for record in rulesets]
        assert ["203.0.113.9" in text for text in texts] == [False, True]
        assert before < int(str(rulesets[1]["time"])) < after + 250_000_000
        analysis = correlator.load(session)
        assert analysis.generations == 2
        # iptables-legacy zeroes a table's policy counters whenever a rule changes: what they
        # counted just before is gone
        ledger = (
            analysis.ledger
            if backend == "nft"
            else analysis.ledger[analysis.ledger["rule_number"] > 0]
        )
        assert not (ledger["residual_packets"] != 0).any()
        served = analysis.connections[analysis.connections["protocol"].astype(str) == "tcp"]
        assert list(served["status"]) == ["exact"] * 6


def test_facts_are_saved_again_when_they_change(tmp_path: Path) -> None:
    """An address that comes and a member that a set loses in mid-run: new versions of the facts,
    each from its time on."""
    with Lab() as lab:
        lab.run("host", "ipset", "create", "bad", "hash:ip")
        lab.run("host", "ipset", "add", "bad", "203.0.113.9")
        lab.rules(published_rules(WEB, user="-A DOCKER-USER -m set --match-set bad src -j DROP\n"))
        process = _background(lab, "-o", str(tmp_path / "s"), "-i", "eth0")
        time.sleep(0.8)
        lab.run("host", "ip", "addr", "add", "10.77.0.1/24", "dev", "docker0")
        time.sleep(1.2)
        lab.run("host", "ipset", "del", "bad", "203.0.113.9")
        time.sleep(2.2)
        process.terminate()
        assert process.wait(60) == 0
    versions = sorted((tmp_path / "s" / "facts").iterdir(), key=lambda path: int(path.name))
    addressed = ["10.77.0.1" in (path / "addr.json").read_text() for path in versions]
    member = ["203.0.113.9" in (path / "ipsets.txt").read_text() for path in versions]
    times = [json.loads((path / "time.json").read_text())["time"] for path in versions]
    assert addressed == sorted(addressed)
    assert (addressed[0], addressed[-1]) == (False, True)
    assert member == sorted(member, reverse=True)
    assert (member[0], member[-1]) == (True, False)
    assert times == sorted(times)
    assert len(versions) <= 5  # what did not change is not saved again


WRAPPER = """#!/bin/bash
# prints one rule that the kernel does not have: what is read directly cannot be brought together with it
(exec -a iptables-nft-save xtables-nft-multi "$@") | sed 's/^\\(\\[0:0\\] \\)\\?-A DOCKER-ISOLATION-STAGE-1 -j RETURN$/&\\n\\1-A DOCKER-ISOLATION-STAGE-1 -j RETURN/'
"""  # noqa: E501 - a text as it is read


def _but_iptables(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith(("ip", "xtables", "nft"))]


def test_counters_that_cannot_be_read_directly(open_path: Path) -> None:
    """Where the kernel's rules and iptables-save's text do not agree, each sample is a forked
    iptables-save -c: the session and the report say so, and connections are attributed all the
    same."""
    tools = open_path / "tools"
    shutil.copytree("/usr/sbin", tools, symlinks=True, ignore=_but_iptables)
    (tools / "iptables-nft-save").unlink()
    (tools / "iptables-nft-save").write_text(WRAPPER)
    (tools / "iptables-nft-save").chmod(0o755)
    there = ("unshare", "-m", "sh", "-c", f'mount --bind {tools} /usr/sbin && exec "$@"', "sh")
    rules = published_rules(WEB)
    with Lab() as lab:
        lab.rules(rules)
        serve(lab, "c1", "tcp:80")
        words = ("-o", str(open_path / "s"), "-i", "eth0", "-i", "docker0", "--", "sleep", "1.5")
        command = ["ip", "netns", "exec", lab.space("host"), *there, *CORRELATOR, "capture", *words]
        with subprocess.Popen(command, cwd=ROOT, text=True, stdout=-1, stderr=-1) as process:
            assert process.stderr is not None
            process.stderr.readline()
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=2) == 2
            printed, complained = process.communicate(timeout=60)
    assert process.returncode == 0, complained
    assert _manifest(open_path / "s")["reading"] == "iptables-save"
    assert "warning   counters of iptables-nft cannot be read directly" in printed
    analysis = correlator.load(open_path / "s")
    assert list(analysis.connections["outcome"]).count("DNAT") == 2
    nat = analysis.hits[analysis.hits["rule"].str.contains("DNAT")]
    assert int(nat["packets"].sum()) == 2


def test_without_iptables_installed(tmp_path: Path) -> None:
    """Neither iptables-save nor nft on the machine: one line that says what to install."""
    empty = tmp_path / "empty"
    empty.mkdir()
    hide = ("unshare", "-m", "sh", "-c", f'mount --bind {empty} /usr/sbin && exec "$@"', "sh")
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        done = _capture(
            lab, "-i", "eth0", "-o", str(tmp_path / "s"), "--duration", "1s", before=hide
        )
    _one_line(done, "neither iptables-save nor nft is here", "install iptables")
    assert not (tmp_path / "s").exists()


def test_no_lock_is_waited_for(tmp_path: Path) -> None:
    """While somebody holds the xtables lock (iptables itself refuses then), a session of
    iptables-legacy's counters goes on."""
    lock = tmp_path / "lock"
    environment = {"XTABLES_LOCKFILE": str(lock)}
    with Lab() as lab:
        lab.run("host", "iptables-legacy-restore", stdin=published_rules(WEB))
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            refused = subprocess.run(
                ["ip", "netns", "exec", lab.space("host"), "iptables-legacy", "-w", "1", "-S"],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, **environment},
            )
            done = _capture(
                lab, "-i", "eth0", "-o", str(tmp_path / "s"), "--duration", "1s", **environment
            )
    assert "holding the xtables lock" in refused.stderr
    assert done.returncode == 0, done.stderr
    assert len([record for record in _records(tmp_path / "s") if "begin" in record]) >= 5


def test_every_interface_has_a_name(tmp_path: Path) -> None:
    """`any` is no interface of a session."""
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        _one_line(_capture(lab, "-i", "any", "-o", str(tmp_path / "s")), "-i any", "name them")


def _read_terminal(handle: int, until: float) -> bytes:
    data = b""
    while time.monotonic() < until:
        if select.select([handle], [], [], 0.1)[0]:
            try:
                data += os.read(handle, 1 << 16)
            except OSError as error:
                assert error.errno == errno.EIO  # noqa: PT017  the other end is closed
                return data
    return data


def _watched(lab: Lab, session: Path, rows: int, columns: int) -> str:
    """What a terminal of this size shows of a recording around a command that says five lines."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    command = [
        "ip",
        "netns",
        "exec",
        lab.space("host"),
        *CORRELATOR,
        "capture",
        "-o",
        str(session),
        "-i",
        "eth0",
    ]
    process = subprocess.Popen(
        [*command, "--", "sh", "-c", "for i in 1 2 3 4 5; do echo line $i; sleep 0.5; done"],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    assert client(lab, "out", "tcp", HOST, 80, source=A, count=60, gap=0.05) == 60
    shown = _read_terminal(ours, time.monotonic() + 60).decode()
    os.close(ours)
    assert process.wait(60) == 0, shown
    return shown


def test_the_live_row(tmp_path: Path) -> None:
    """On a terminal the last row shows packets, drops, samples and the rules that move most, while
    the command's own output passes above it; at the end the row is given back. A terminal that does
    not know its size shows none of it."""
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        serve(lab, "c1", "tcp:80")
        shown = _watched(lab, tmp_path / "s", 30, 120)
        plain = _watched(lab, tmp_path / "plain", 0, 0)
    rows = re.findall(r"\x1b\[7m([^\x1b]*)\x1b\[0m", shown)
    assert re.search(r"^ +[\d.]+ s  [\d,]+ packets, none dropped  [\d,]+ samples", rows[-1])
    assert any("filter/FORWARD:1" in row for row in rows)
    counts = [int(row.split(" s  ")[1].split(" ")[0].replace(",", "")) for row in rows]
    assert counts == sorted(counts)
    assert counts[-1] > 100
    assert [f"line {number}" in shown for number in range(1, 6)] == [True] * 5
    assert shown.rindex("\x1b[7m") < shown.index("connections in")
    assert shown.rindex("\x1b[1;30r") > shown.rindex("\x1b[7m")  # all rows scroll again
    assert "\x1b[7m" not in plain  # a progress bar may be shown where the analysis takes its time
    assert "line 5" in plain
