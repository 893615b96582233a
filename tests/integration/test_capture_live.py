"""Sessions recorded live around a real Docker Engine, checked against the kernel's own trace."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import correlator
from tests.lab.docker import Town, docker_lab
from tests.lab.net import HOST, OUTSIDE, ROOT
from tests.truth import assert_right

pytestmark = pytest.mark.live
A, B = OUTSIDE
PAGE = ("--http", "--gap", "0.01")
VOLATILE = re.compile(
    r"^(kernel\.(random|ns_last_pid|pty\.nr)|fs\.(dentry|inode|file|quota)|net\.netfilter\.nf_conntrack_count|vm\.)"
)


@pytest.fixture(scope="module")
def town() -> Iterator[Town]:
    """The Docker lab with iptables-nft."""
    with docker_lab("nft") as found:
        yield found


@pytest.fixture(scope="module")
def recorded_around_clients(
    town: Town, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """(a session around all clients, with truth/hits.csv beside it; what capture printed)."""
    folder = tmp_path_factory.mktemp("clients")
    with town.traced(folder / "truth"):
        done = town.capture("-o", str(folder / "session"), "--", *town.clients)
    return folder, done.stdout


def _settings(town: Town) -> tuple[str, str, str, list[str]]:
    """The host's rules without counters, its links' promiscuity, and its sysctls."""
    lab = town.lab
    rules = re.sub(
        r"\[\d+:\d+\]|^#.*$", "", lab.run("host", "iptables-nft-save"), flags=re.MULTILINE
    )
    links = [
        f"{link['ifname']} {link['promiscuity']}"
        for link in json.loads(lab.run("host", "ip", "-j", "-d", "link"))
    ]
    sysctls = [
        line
        for line in lab.run("host", "sysctl", "-a", check=False).splitlines()
        if not VOLATILE.match(line)
    ]
    return rules, lab.run("host", "nft", "-s", "list", "ruleset"), "\n".join(links), sysctls


def _traffic(town: Town, *words: str) -> subprocess.Popen[bytes]:
    return town.lab.start(
        "out", sys.executable, "-m", "tests.lab.traffic", *words, stdout=subprocess.PIPE
    )


def _residuals(analysis: correlator.reconcile.analysis.Analysis) -> int:
    ledger = analysis.ledger
    return int(((ledger["residual_packets"] != 0) | (ledger["residual_bytes"] != 0)).sum())


def test_hits_equal_the_kernels_trace(recorded_around_clients: tuple[Path, str]) -> None:
    """Every way through Docker's rules: all rows as the kernel traced them, none extra, nothing
    unexplained, all exact."""
    folder, _ = recorded_around_clients
    analysis = correlator.load(folder / "session")
    assert_right(analysis.hits, folder / "truth" / "hits.csv")
    assert _residuals(analysis) == 0
    assert set(analysis.connections["status"]) == {"exact"}


def test_a_replay_says_what_the_live_run_said(
    recorded_around_clients: tuple[Path, str], town: Town
) -> None:
    """`correlator replay` prints byte for byte the report that capture ended with, and the
    containers' names in it."""
    folder, printed = recorded_around_clients
    replayed = subprocess.run(
        [sys.executable, "-m", "correlator", "replay", str(folder / "session")],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.endswith(replayed)
    assert printed.startswith(
        "8 of 8 services answer, 4 of 4 doors are shut\n"
    )  # the command's own output passed through
    assert "web (172.17.0.2):80" in replayed
    assert "api (172.18.0.2):80" in replayed


def test_session_is_private_and_whole(recorded_around_clients: tuple[Path, str]) -> None:
    """Folders are 0700 and files 0600; the manifest says how it went."""
    session = recorded_around_clients[0] / "session"
    modes = {path.stat().st_mode & 0o777 for path in session.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {
        path.stat().st_mode & 0o777
        for path in (session, *(p for p in session.rglob("*") if p.is_dir()))
    } == {0o700}
    manifest = json.loads((session / "manifest.json").read_text())
    assert (manifest["complete"], manifest["exit_status"], manifest["stopped_by"]) == (
        True,
        0,
        "command",
    )
    assert [one["dropped"] for one in manifest["interfaces"]] == [0] * 4
    assert manifest["events_lost"] == 0


def test_wireshark_reads_the_packets(recorded_around_clients: tuple[Path, str]) -> None:
    """tshark sees every frame with its interface's name and direction; capinfos the drop counts;
    nothing is malformed."""
    path = str(recorded_around_clients[0] / "session" / "packets.pcapng")
    fields = ("frame.interface_name", "frame.packet_flags_direction", "_ws.malformed")
    command = ["tshark", "-r", path, "-T", "fields", *(word for f in fields for word in ("-e", f))]
    rows = [
        line.split("\t")
        for line in subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.splitlines()
    ]
    analysis = correlator.load(recorded_around_clients[0] / "session")
    names = pd.Series([row[0] for row in rows])
    assert set(analysis.interfaces) <= set(names)
    assert {int(row[1], 16) for row in rows} == {1, 2}
    assert not any(row[2] for row in rows)
    assert not any(
        row[1] == "0x00000002" for row in rows if row[0] == "lo"
    )  # loopback without doubles
    shown = subprocess.run(["capinfos", path], capture_output=True, text=True, check=True).stdout
    assert shown.count("Number of stat entries = 1") == 4


def test_payloads_stay_private(recorded_around_clients: tuple[Path, str]) -> None:
    """By default only headers are kept: neither requests nor pages are in the session."""
    data = (recorded_around_clients[0] / "session" / "packets.pcapng").read_bytes()
    assert b"GET /" not in data
    assert b"hello " not in data
    assert b"datagram" not in data


def test_nothing_is_touched(town: Town, tmp_path: Path) -> None:
    """Rules, promiscuity and sysctls are the same before, during and after a session; counters only
    grow."""
    before = _settings(town)
    counted = town.lab.run("host", "iptables-nft-save", "-c")
    process = subprocess.Popen(
        town.correlator("capture", "-o", str(tmp_path / "s"), "--bridge-ports", "--duration", "2s"),
        cwd=ROOT,
        env=town.engine.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    process.stderr.readline()
    time.sleep(0.5)
    during = _settings(town)
    assert process.wait() == 0
    assert during == before
    assert _settings(town) == before
    numbers = re.compile(r"\[(\d+):\d+\]")
    after = town.lab.run("host", "iptables-nft-save", "-c")
    pairs = zip(numbers.findall(counted), numbers.findall(after), strict=True)
    assert all(int(new) >= int(old) for old, new in pairs)


def test_started_under_load(town: Town, tmp_path: Path) -> None:
    """A thousand connections a second for ten seconds, running before it begins and after it ends:
    nothing is dropped, every counter is explained, no row is in doubt."""
    pid = town.engine.run("busy", "-p", "8181:8181")
    server = subprocess.Popen(
        [
            "nsenter",
            f"--net=/proc/{pid}/ns/net",
            sys.executable,
            "-m",
            "tests.lab.traffic",
            "serve",
            "tcp:8181",
        ],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert server.stdout is not None
        server.stdout.readline()
        load = _traffic(
            town, "load", HOST, "8181", "--source", A, "--rate", "1000", "--seconds", "13"
        )
        time.sleep(1)
        town.capture("-o", str(tmp_path / "s"), "--duration", "10s")
        assert int(load.communicate()[0]) > 10_000
    finally:
        server.kill()
        town.engine.docker("rm", "-f", "busy")
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    assert sum(one["dropped"] for one in manifest["interfaces"]) == 0
    analysis = correlator.load(tmp_path / "s")
    assert len(analysis.connections) > 8_000
    assert _residuals(analysis) == 0
    assert not (analysis.connections["status"] == "ambiguous").any()


def test_legacy_takes_the_same_ways(
    recorded_around_clients: tuple[Path, str], tmp_path: Path
) -> None:
    """iptables-legacy (which has no trace): the ledger balances, and each kind of client hits the
    rules that it hits with iptables-nft."""
    with docker_lab("legacy") as town:
        town.capture("-o", str(tmp_path / "s"), "--", *town.clients)
    assert json.loads((tmp_path / "s" / "manifest.json").read_text())["backends"] == ["legacy"]
    analysis = correlator.load(tmp_path / "s")
    assert _residuals(analysis) == 0
    assert set(analysis.connections["status"]) == {"exact"}
    assert _ways(analysis.hits) == _ways(
        correlator.load(recorded_around_clients[0] / "session").hits
    )


def _ways(hits: pd.DataFrame) -> set[tuple[str, ...]]:
    """Who hit which rule, without what differs from run to run (ports, numbers of packets, the
    bridge's name)."""
    rows = hits[hits["rule_number"] > 0]
    columns = ("protocol", "src", "dst", "dport", "direction", "table", "chain", "rule")
    told = zip(*(rows[column] for column in columns), strict=True)
    return {
        tuple(re.sub(r"br-[0-9a-f]{12}", "br-app", str(value)) for value in row)
        for row in told
        if row[0] != "icmp"
    }


def test_a_container_restarted_in_mid_run(town: Town, tmp_path: Path) -> None:
    """Docker deletes and inserts rules, its interfaces go and come: generations are recorded, the
    ledger balances."""
    town.engine.run("again", "-p", "8282:80")
    send = f"{sys.executable} -m tests.lab.traffic tcp {HOST} 8282 --http --count 3"
    try:
        town.capture(
            "-o",
            str(tmp_path / "s"),
            "--",
            "sh",
            "-c",
            f"{send} && docker restart -t 0 again && sleep 0.3 && {send}",
        )
    finally:
        town.engine.docker("rm", "-f", "again")
    analysis = correlator.load(tmp_path / "s")
    assert analysis.generations > 1
    assert _residuals(analysis) == 0
    served = analysis.connections[analysis.connections["dport"] == 8282]
    assert list(served["outcome"]) == ["DNAT"] * 6
    assert (analysis.connections["status"] == "exact").all()


def test_bridges_that_come_and_go(town: Town, tmp_path: Path) -> None:
    """A network made in mid-run is listened on from then; one that goes is noted; the report says
    both."""
    command = (
        "docker network create late && docker run -d --name late --network late web:1 "
        "/bin/busybox httpd -f -p 80 -h /www && "
        f"sleep 0.5 && {sys.executable} -m tests.lab.traffic tcp 172.19.0.2 80 --http --count 3 && "
        "docker rm -f late && docker network rm late && sleep 0.3"
    )
    done = town.capture("-o", str(tmp_path / "s"), "--", "sh", "-c", command)
    analysis = correlator.load(tmp_path / "s")
    late = [
        name for name in analysis.interfaces if name.startswith("br-") and analysis.interfaces[name]
    ]
    assert late
    assert f"warning   {late[0]} came while recording" in done.stdout
    assert f"warning   {late[0]} went away while recording" in done.stdout
    served = analysis.connections[analysis.connections["dst"].astype(str) == "172.19.0.2"]
    assert len(served) == 3
    assert "late (172.19.0.2)" in done.stdout


def test_killed_at_any_moment(town: Town, tmp_path: Path) -> None:
    """After SIGKILL what was written replays: connections are attributed, and the report says that
    it was cut off."""
    process = subprocess.Popen(
        town.correlator("capture", "-o", str(tmp_path / "s")),
        cwd=ROOT,
        env=town.engine.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    process.stderr.readline()
    _traffic(town, "tcp", HOST, "80", "--source", A, "--count", "20", *PAGE).wait()
    time.sleep(0.3)
    process.kill()
    process.wait()
    analysis = correlator.load(tmp_path / "s")
    assert (analysis.connections["outcome"] == "DNAT").sum() == 20
    assert any("not ended properly" in warning for warning in analysis.warnings)
    assert _residuals(analysis) == 0


def test_a_full_disk(town: Town, tmp_path: Path) -> None:
    """Where the disk is full, one line says so, the command still runs to its end, and what was
    written replays."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160k", "small", str(disk)], check=True)
    try:
        marker = tmp_path / "ended"
        command = (
            f"{sys.executable} -m tests.lab.traffic tcp {HOST} 80 --http --count 150 --gap "
            f"0; touch {marker}"
        )
        done = town.capture("-o", str(disk / "s"), "--", "sh", "-c", command, check=False)
        assert done.returncode == 125  # the recording failed, not the command
        assert "No space left on device: recording stopped" in done.stderr
        assert "Traceback" not in done.stderr
        assert marker.exists()
        analysis = correlator.load(disk / "s")
        assert len(analysis.connections) > 5
        assert any("not ended properly" in warning for warning in analysis.warnings)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_nothing_of_the_last_moment_is_lost(town: Town, tmp_path: Path) -> None:
    """A burst just before the command ends is in the session to the last packet."""
    send = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
        f"[s.sendto(b'x' * 20, ('{A}', 9)) for _ in range(5000)]"
    )
    town.capture("-o", str(tmp_path / "s"), "-i", "eth0", "--", sys.executable, "-c", send)
    packets = correlator.load(tmp_path / "s").packets
    assert (
        (packets["dport"] == 9) & (packets["protocol"].astype(str).isin(["udp", "17"]))
    ).sum() == 5000


@pytest.mark.parametrize(
    ("words", "status"),
    [(("sh", "-c", "exit 7"), 7), (("sh", "-c", "kill -TERM $$"), 143), (("true",), 0)],
)
def test_exit_status_is_the_commands(
    town: Town, tmp_path: Path, words: tuple[str, ...], status: int
) -> None:
    """The command's exit status becomes capture's, a signal's as in a shell; the session notes
    it."""
    command = f"{sys.executable} -m tests.lab.traffic tcp {HOST} 80 --http; {' '.join(words)}"
    done = town.capture(
        "-o",
        str(tmp_path / "s"),
        "--",
        "sh",
        "-c",
        command.replace("sh -c ", "") if words[0] == "sh" else command,
        check=False,
    )
    assert done.returncode == status
    assert json.loads((tmp_path / "s" / "manifest.json").read_text())["exit_status"] == status


def test_ctrl_c_ends_it_and_reports(town: Town, tmp_path: Path) -> None:
    """Without a command, SIGINT and SIGTERM end the recording, and the report comes."""
    for number in (signal.SIGINT, signal.SIGTERM):
        session = tmp_path / number.name
        process = subprocess.Popen(
            town.correlator("capture", "-o", str(session)),
            cwd=ROOT,
            env=town.engine.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        process.stderr.readline()
        _traffic(town, "tcp", HOST, "80", "--source", A, *PAGE).wait()
        process.send_signal(number)
        printed, complained = process.communicate(timeout=60)
        assert process.returncode == 0, complained
        assert "1 exact" in printed
        assert json.loads((session / "manifest.json").read_text())["stopped_by"] == number.name


def test_one_tap_is_enough_for_nat(town: Town, tmp_path: Path) -> None:
    """Seen on one interface only, connections still get both sides of their NAT, from conntrack's
    events."""
    send = f"{sys.executable} -m tests.lab.traffic tcp {HOST} 80 --http --count 2"
    town.capture("-o", str(tmp_path / "inner"), "-i", "docker0", "--", "sh", "-c", send)
    inner = correlator.load(tmp_path / "inner").connections
    assert [f"{row.dst}:{row.dport}" for row in inner.itertuples()] == [f"{HOST}:80"] * 2
    outside = [
        "nsenter",
        f"--net=/proc/{town.web}/ns/net",
        sys.executable,
        "-m",
        "tests.lab.traffic",
        "tcp",
        A,
        "8080",
        "--count",
        "2",
    ]
    town.capture("-o", str(tmp_path / "outer"), "-i", "eth0", "--", *outside)
    outer = correlator.load(tmp_path / "outer").connections
    assert [f"{row.src} as {row.reply_dst}" for row in outer.itertuples()] == [
        f"172.17.0.2 as {HOST}"
    ] * 2
    assert list(outer["outcome"]) == ["MASQUERADE"] * 2
