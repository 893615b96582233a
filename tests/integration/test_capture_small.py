"""Sessions in the plain lab (no Docker Engine): bridge ports, both backends, ways of reading
counters, what goes wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import correlator
from tests.lab.cases import client, hairpin_rules, published_rules, serve
from tests.lab.net import HOST, OUTSIDE, ROOT, Lab
from tests.lab.trace import TRACE_TABLE
from tests.lab.truth import read_truth, rule_names, write_truth
from tests.truth import assert_right

pytestmark = pytest.mark.live
A, B = OUTSIDE
CORRELATOR = (sys.executable, "-m", "correlator")
WEB = ("tcp", 80, "172.17.0.2", 80)


def _capture(
    lab: Lab, *words: str, before: tuple[str, ...] = (), **environment: str
) -> subprocess.CompletedProcess[str]:
    command = ["ip", "netns", "exec", lab.space("host"), *before, *CORRELATOR, "capture", *words]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    )


def _background(
    lab: Lab, *words: str, before: tuple[str, ...] = (), **environment: str
) -> subprocess.Popen[str]:
    """Start a capture; returns once it records."""
    command = ["ip", "netns", "exec", lab.space("host"), *before, *CORRELATOR, "capture", *words]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **environment},
    )
    assert process.stderr is not None
    process.stderr.readline()
    return process


def _one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """It failed with one line that holds these parts."""
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith("correlator: ")
    for part in parts:
        assert part in done.stderr


def test_bridge_ports_show_what_stays_inside(tmp_path: Path) -> None:
    """Containers of one bridge, to each other and to themselves through the host's address, over
    the bridge's ports: all rows as the kernel traced them; nothing is counted twice although the
    bridge shows some frames too."""
    with Lab({"docker0": 3}) as lab:
        lab.rules(hairpin_rules())
        lab.run("host", "ip", "link", "set", "vc1", "type", "bridge_slave", "hairpin", "on")
        serve(lab, "c1", "tcp:80", "udp:53")
        serve(lab, "out", "tcp:8080", "udp:53")
        lab.run("host", "nft", "-f", "-", stdin=TRACE_TABLE)
        names = rule_names(lab)
        trace = lab.start(
            "host", sys.executable, "-m", "tests.lab.trace", str(tmp_path / "trace.bin")
        )
        time.sleep(0.7)
        process = _background(
            lab,
            "-o",
            str(tmp_path / "s"),
            "-i",
            "eth0",
            "-i",
            "docker0",
            "-i",
            "lo",
            "--bridge-ports",
        )
        assert client(lab, "out", "tcp", HOST, 80, source=A, count=2) == 2
        assert client(lab, "c2", "tcp", HOST, 80, count=2) == 2
        assert client(lab, "c1", "tcp", HOST, 80, count=2) == 2
        assert client(lab, "c2", "tcp", "172.17.0.2", 80, count=2) == 2
        assert client(lab, "c2", "udp", "172.17.0.2", 53, count=2) == 2
        assert client(lab, "c3", "tcp", "172.17.0.2", 81, count=2) == 0
        assert client(lab, "host", "tcp", HOST, 80, count=2) == 2
        assert client(lab, "c2", "tcp", A, 8080, count=2) == 2
        assert client(lab, "c3", "udp", A, 53, count=2) == 2
        lab.run("c3", "ping", "-c", "2", "-i", "0.2", "172.17.0.3")
        process.terminate()
        _, complained = process.communicate(timeout=60)
        assert process.returncode == 0, complained
        time.sleep(0.3)
        lab.stop(trace)
    write_truth(read_truth(tmp_path / "trace.bin", names), tmp_path / "hits.csv")
    analysis = correlator.load(tmp_path / "s")
    assert_right(analysis.hits, tmp_path / "hits.csv")
    assert not (analysis.ledger["residual_packets"] != 0).any()
    assert set(analysis.connections["status"]) == {"exact"}


def test_bridged_frames_pass_rules_by_where_the_kernel_says_so(tmp_path: Path) -> None:
    """With bridge-nf-call-iptables=0 rules do not see what stays inside a bridge, and no hit is
    claimed."""
    with Lab({"docker0": 2}, {"net.bridge.bridge-nf-call-iptables": "0"}) as lab:
        lab.rules(published_rules(WEB))
        serve(lab, "c1", "tcp:80")
        process = _background(lab, "-o", str(tmp_path / "s"), "-i", "docker0", "--bridge-ports")
        assert client(lab, "c2", "tcp", "172.17.0.2", 80, count=2) == 2
        process.terminate()
        assert process.wait(60) == 0
    analysis = correlator.load(tmp_path / "s")
    assert "tcp" not in set(analysis.connections["protocol"].astype(str))
    assert not (analysis.ledger["residual_packets"] != 0).any()


def test_ipset_members_are_facts(tmp_path: Path) -> None:
    """Sets that rules name are saved with their members: a set match is true or false, not
    unknown."""
    with Lab() as lab:
        lab.run("host", "ipset", "create", "bad", "hash:net")
        lab.run("host", "ipset", "add", "bad", "172.31.40.0/24")
        lab.run("host", "ipset", "create", "doors", "hash:ip,port")
        lab.run("host", "ipset", "add", "doors", f"{A},tcp:80")
        user = (
            "-A DOCKER-USER -m set --match-set bad src -j DROP\n"
            "-A DOCKER-USER -i eth0 -m set --match-set doors src,dst -m comment --comment good\n"
        )
        lab.rules(published_rules(WEB, ("tcp", 81, "172.17.0.2", 81), user=user))
        serve(lab, "c1", "tcp:80", "tcp:81")
        process = _background(lab, "-o", str(tmp_path / "s"), "-i", "eth0", "-i", "docker0")
        assert client(lab, "out", "tcp", HOST, 80, source=A, count=2) == 2
        assert client(lab, "out", "tcp", HOST, 81, source=A, count=2) == 2
        client(lab, "out", "tcp", HOST, 80, source=B)
        process.terminate()
        assert process.wait(60) == 0
    session = tmp_path / "s"
    rules_only = correlator.load(
        pcaps=[(None, session / "packets.pcapng")],
        rules=session / "rulesets" / "nft-1.rules",
        facts=session / "facts" / "1",
    )
    for analysis in (correlator.load(tmp_path / "s"), rules_only):
        assert not (analysis.connections["status"] == "ambiguous").any()
        hit = analysis.hits[analysis.hits["rule"].str.contains("comment good")]
        assert int(hit["packets"].sum()) > 0
        assert set(hit["dport"]) == {80}
        tcp = analysis.connections[analysis.connections["protocol"].astype(str) == "tcp"]
        assert list(tcp["outcome"]) == ["DNAT"] * 4 + ["dropped"] * (len(tcp) - 4)
        assert len(tcp) > 4


READ_ALL = """
import re, subprocess, sys, time
from correlator.capturing.legacy import LegacySource
from correlator.capturing.nft import NftSource
from correlator.capturing.rules_text import counting_lines
from correlator.capturing.iptables_save import SaveSource
backend, save = sys.argv[1:]
source = {"nft": NftSource, "legacy": LegacySource}[backend](save, time.time_ns)
while True:  # nothing may have been counted meanwhile
    direct, forked = source.read(), SaveSource(save, backend, time.time_ns).read()
    if (source.read().values == direct.values).all():
        break
place = {line: i for i, line in enumerate(counting_lines(forked.learned.text))}
for line, value in zip(counting_lines(direct.learned.text), direct.values.tolist(), strict=True):
    assert forked.values[place[line]].tolist() == value, line
print(len(direct.values), int(direct.values[:, 0].sum()))
"""


@pytest.mark.parametrize("backend", ["nft", "legacy"])
def test_direct_reading_equals_iptables_save(backend: str) -> None:
    """What is read from the kernel is what iptables-save -c prints: every counter of every table,
    rules in order."""
    with Lab() as lab:
        rules = published_rules(*(("tcp", port, "172.17.0.2", 80) for port in range(1000, 1040)))
        raw = (
            "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A PREROUTING -i eth0 -m ttl "
            "--ttl-gt 1\nCOMMIT\n"
        )
        mangle = (
            "*mangle\n:FORWARD ACCEPT [0:0]\n-A FORWARD -p tcp -j TTL --ttl-set 60\n-A "
            "FORWARD -m ttl --ttl-eq 60\nCOMMIT\n"
        )
        security = "*security\n:FORWARD ACCEPT [0:0]\n-A FORWARD -p tcp\nCOMMIT\n"
        lab.run("host", f"iptables-{backend}-restore", stdin=rules + raw + mangle + security)
        serve(lab, "c1", "tcp:80")
        assert client(lab, "out", "tcp", HOST, 1007, source=A, count=3) == 3
        assert client(lab, "out", "tcp", HOST, 1033, source=A, count=2) == 2
        time.sleep(0.3)
        shown = lab.run("host", sys.executable, "-c", READ_ALL, backend, f"iptables-{backend}-save")
        lines, packets = map(int, shown.split())
    assert lines > 90
    assert packets > 100


def test_rules_of_both_backends_are_told(tmp_path: Path) -> None:
    """A host with rules in nft and legacy: both are recorded, and the report warns of the one that
    is not attributed."""
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        lab.run("host", "iptables-legacy", "-A", "INPUT", "-s", "203.0.113.9", "-j", "DROP")
        serve(lab, "c1", "tcp:80")
        process = _background(lab, "-o", str(tmp_path / "s"), "-i", "eth0", "-i", "docker0")
        assert client(lab, "out", "tcp", HOST, 80, source=A, count=2) == 2
        process.terminate()
        printed, _ = process.communicate(timeout=60)
    assert "warning   rules in both iptables-nft and iptables-legacy" in printed
    assert {path.name for path in (tmp_path / "s" / "rulesets").iterdir()} == {
        "nft-1.rules",
        "legacy-1.rules",
    }
    assert json.loads((tmp_path / "s" / "manifest.json").read_text())["backends"] == [
        "nft",
        "legacy",
    ]


def test_an_empty_legacy_table_is_no_reason_to_warn(tmp_path: Path) -> None:
    """Tables without rules and with ACCEPT policies (iptables-legacy -L makes them) are not said to
    hold rules."""
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        lab.run("host", "iptables-legacy", "-L")
        done = _capture(lab, "-o", str(tmp_path / "s"), "-i", "eth0", "--duration", "300ms")
    assert done.returncode == 0
    assert "rules in both" not in done.stdout


def test_without_docker(tmp_path: Path) -> None:
    """Docker's bridge without Docker: the session works, and says that containers are not named."""
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        done = _capture(
            lab,
            "-o",
            str(tmp_path / "s"),
            "--duration",
            "500ms",
            DOCKER_HOST=f"unix://{tmp_path}/none",
        )
    assert done.returncode == 0, done.stderr
    assert "recording docker0, lo into" in done.stderr
    assert "Docker's API does not answer" in done.stdout


def test_without_tables(tmp_path: Path) -> None:
    """No table of rules in the kernel: one clear line, nothing left behind."""
    with Lab() as lab:
        done = _capture(lab, "-o", str(tmp_path / "s"), "-i", "eth0", "--duration", "1s")
    _one_line(done, "no tables of rules here")
    assert not (tmp_path / "s").exists()


def test_what_cannot_begin_says_why(tmp_path: Path) -> None:
    """Missing capabilities, interfaces, commands, bad options: one line each, with what to do;
    nothing is left behind."""
    session = tmp_path / "s"
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        _one_line(
            _capture(lab, "-o", str(session), before=nobody),
            "CAP_NET_ADMIN and CAP_NET_RAW",
            f"run it with sudo: `sudo {sys.executable} -m correlator capture -o {session}`",
        )
        no_raw = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw")
        _one_line(_capture(lab, "-o", str(session), before=no_raw), "capture needs CAP_NET_RAW:")
        _one_line(
            _capture(lab, "-i", "eth7", "-o", str(session)),
            "-i eth7: no such interface",
            "docker0, eth0, lo",
        )
        _one_line(
            _capture(lab, "-i", "eth0", "--filter", "tcp prot 80", "-o", str(session)),
            "--filter 'tcp prot 80'",
            "syntax",
        )
        _one_line(_capture(lab, "-i", "eth0", "-o", "/proc/none/s"), "/proc/none/s: cannot be made")
        missing = _capture(lab, "-i", "eth0", "-o", str(session), "--", "nosuchcommand")
        _one_line(missing, "nosuchcommand: no such command")
        assert missing.returncode == 127
        for words in (
            ("--interval", "0"),
            ("--interval", "x"),
            ("--duration", "-1s"),
            ("--snaplen", "7"),
            ("--payload", "--snaplen", "99"),
        ):
            _one_line(_capture(lab, "-i", "eth0", "-o", str(session), *words), words[0])
        assert not session.exists()


AS_SETCAP = """
import ctypes, os, struct, sys
libc, bits = ctypes.CDLL(None), 1 << 12 | 1 << 13 | 1 << 2  # net_admin, net_raw; dac_read_search: to read these sources
libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
os.setgroups([]), os.setgid(65534), os.setuid(65534)
assert libc.capset(struct.pack("=Ii", 0x20080522, 0), struct.pack("=6I", bits, bits, 0, 0, 0, 0)) == 0
from correlator.cli import main
sys.argv[0] = "correlator"
main()
"""  # noqa: E501 - a text as it is read


def test_granted_capabilities_are_enough(open_path: Path) -> None:
    """A user whose interpreter was granted the two capabilities (as the message says) records:
    iptables-save has them too, the command has not."""
    show = ("sh", "-c", "grep -E 'Cap(Eff|Prm|Inh|Amb)' /proc/self/status; id -u")
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        command = [
            "ip",
            "netns",
            "exec",
            lab.space("host"),
            sys.executable,
            "-c",
            AS_SETCAP,
            "capture",
            "-i",
            "eth0",
        ]
        done = subprocess.run(
            [*command, "-o", str(open_path / "s"), "--", *show],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()[:5]
    assert [int(line.split()[1], 16) for line in shown[:4]] == [0] * 4
    assert shown[4] == "65534"
    assert json.loads((open_path / "s" / "manifest.json").read_text())["reading"] == "kernel"


def test_a_session_is_not_overwritten(tmp_path: Path) -> None:
    """A folder that is there is refused; --force replaces sessions only, and only once the new one
    has begun."""
    session, other = tmp_path / "s", tmp_path / "photos"
    other.mkdir()
    (other / "cat.png").write_bytes(b"cat")
    words = ("-i", "eth0", "--duration", "200ms", "-o")
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        assert _capture(lab, *words, str(session)).returncode == 0
        begun = json.loads((session / "manifest.json").read_text())["begin"]
        _one_line(_capture(lab, *words, str(session)), "is there already", "--force")
        assert _capture(lab, *words, str(session), "--force").returncode == 0
        assert json.loads((session / "manifest.json").read_text())["begin"] > begun
        _one_line(_capture(lab, *words, str(other), "--force"), "--force replaces sessions only")
        (tmp_path / "link").symlink_to(session)
        _one_line(_capture(lab, *words, str(tmp_path / "link"), "--force"), "is a symbolic link")
        kept = (session / "manifest.json").read_bytes()
        _one_line(
            _capture(lab, *words, str(session), "--force", "--filter", "tcp prot 80"), "syntax"
        )
        assert (session / "manifest.json").read_bytes() == kept
        assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "photos", "s"]
    assert (other / "cat.png").read_bytes() == b"cat"


def test_files_belong_to_who_ran_sudo(open_path: Path) -> None:
    """Under sudo every file is the invoking user's, and so are folders made on the way."""
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        done = _capture(
            lab,
            "-i",
            "eth0",
            "--duration",
            "300ms",
            "-o",
            str(open_path / "new" / "s"),
            SUDO_UID="65534",
            SUDO_GID="65533",
        )
    assert done.returncode == 0, done.stderr
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in open_path.rglob("*")}
    assert owners == {(65534, 65533)}


@pytest.mark.parametrize(
    ("words", "longest"),
    [((), 100), (("--snaplen", "80"), 80), (("--payload",), 1500)],
    ids=["headers", "snaplen", "payload"],
)
def test_how_much_of_a_frame_is_kept(words: tuple[str, ...], longest: int, tmp_path: Path) -> None:
    """Headers only, the first N bytes, or all; the attribution is the same."""
    with Lab() as lab:
        lab.rules(published_rules(("udp", 53, "172.17.0.2", 53)))
        serve(lab, "c1", "udp:53")
        process = _background(lab, "-o", str(tmp_path / "s"), "-i", "eth0", "-i", "docker0", *words)
        assert client(lab, "out", "udp", HOST, 53, source=A, count=5, size=700) == 5
        process.terminate()
        assert process.wait(60) == 0
    data = (tmp_path / "s" / "packets.pcapng").read_bytes()
    assert (b"datagram 3 xxxxx" in data) == bool(words)
    assert (b"x" * 600 in data) == (words == ("--payload",))
    frames = subprocess.run(
        [
            "tshark",
            "-r",
            str(tmp_path / "s" / "packets.pcapng"),
            "-T",
            "fields",
            "-e",
            "frame.cap_len",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert max(map(int, frames)) <= longest
    analysis = correlator.load(tmp_path / "s")
    assert set(analysis.connections["status"]) == {"exact"}
    assert list(analysis.connections["outcome"]).count("DNAT") == 1
    assert not (analysis.ledger["residual_packets"] != 0).any()


def test_without_conntracks_events(tmp_path: Path) -> None:
    """--no-conntrack: nothing of conntrack is in the session, and connections that two interfaces
    show are exact without."""
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        serve(lab, "c1", "tcp:80")
        process = _background(
            lab, "-o", str(tmp_path / "s"), "-i", "eth0", "-i", "docker0", "--no-conntrack"
        )
        assert client(lab, "out", "tcp", HOST, 80, source=A, count=2) == 2
        process.terminate()
        printed, _ = process.communicate(timeout=60)
    assert not (tmp_path / "s" / "events.pcapng").exists()
    assert json.loads((tmp_path / "s" / "manifest.json").read_text())["events_lost"] is None
    assert "conntrack's events" not in printed
    tcp = correlator.load(tmp_path / "s").connections.query("protocol == 'tcp'")
    assert list(zip(tcp["outcome"], tcp["status"], strict=True)) == [("DNAT", "exact")] * 2


def test_filter_keeps_what_matches(tmp_path: Path) -> None:
    """A filter is compiled by scapy and applied in the kernel; the session says that it was."""
    with Lab() as lab:
        lab.rules(published_rules(WEB, ("udp", 53, "172.17.0.2", 53)))
        serve(lab, "c1", "tcp:80", "udp:53")
        process = _background(
            lab, "-o", str(tmp_path / "s"), "-i", "eth0", "-i", "docker0", "--filter", "tcp port 80"
        )
        assert client(lab, "out", "tcp", HOST, 80, source=A, count=2) == 2
        assert client(lab, "out", "udp", HOST, 53, source=A, count=2) == 2
        process.terminate()
        printed, _ = process.communicate(timeout=60)
    analysis = correlator.load(tmp_path / "s")
    assert set(analysis.connections["protocol"].astype(str)) == {"tcp"}
    assert "only packets that match `tcp port 80` were recorded" in printed


SEND_TAGGED = """
import socket, struct
stream = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
stream.bind(("eth0", 0))
udp = struct.pack(">HHHH", 4000, 9, 28, 0) + bytes(20)
ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 48, 1, 0, 64, 17, 0, socket.inet_aton("10.9.0.2"), socket.inet_aton("10.9.0.1"))
for tag in (struct.pack(">HH", 0x8100, 9), struct.pack(">HHHH", 0x88A8, 7, 0x8100, 9), b""):
    stream.send(b"\\xff" * 6 + b"\\2" * 6 + tag + b"\\x08\\0" + ip + udp)
"""  # noqa: E501 - a text as it is read


def test_tagged_frames_keep_their_tag(tmp_path: Path) -> None:
    """The kernel hands a tag over beside the frame: it is put back where it stood, also where a
    second one follows."""
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        process = _background(lab, "-o", str(tmp_path / "s"), "-i", "eth0")
        lab.run("out", sys.executable, "-c", SEND_TAGGED)
        process.terminate()
        assert process.wait(60) == 0
    fields = ("vlan.id", "ieee8021ad.id", "udp.dstport", "frame.len")
    command = [
        "tshark",
        "-r",
        str(tmp_path / "s" / "packets.pcapng"),
        "-T",
        "fields",
        *(w for f in fields for w in ("-e", f)),
    ]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line for line in shown if "\t9\t" in line] == ["9\t\t9\t66", "9\t7\t9\t70", "\t\t9\t62"]


def test_cut_anywhere_it_replays(tmp_path: Path) -> None:
    """Whatever of a recording was written when the machine died: it replays, or says in one line
    that nothing was."""
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        serve(lab, "c1", "tcp:80")
        process = _background(lab, "-o", str(tmp_path / "s"), "-i", "eth0", "-i", "docker0")
        assert client(lab, "out", "tcp", HOST, 80, source=A, count=4) == 4
        process.terminate()
        assert process.wait(60) == 0
    manifest = (tmp_path / "s" / "manifest.json").read_text()
    random = np.random.default_rng(7)
    for name in ("packets.pcapng", "samples.jsonl", "events.pcapng"):
        whole = (tmp_path / "s" / name).read_bytes()
        (tmp_path / "s" / "manifest.json").write_text(
            re.sub(r'"complete": true', '"complete": false', manifest)
        )
        for size in [*random.integers(1, len(whole), 25).tolist(), len(whole) - 1]:
            (tmp_path / "s" / name).write_bytes(whole[:size])
            try:
                analysis = correlator.load(tmp_path / "s")
            except correlator.errors.InputError as error:
                assert len(str(error).splitlines()) == 1  # noqa: PT017
            else:
                assert any("not ended properly" in warning for warning in analysis.warnings)
        (tmp_path / "s" / name).write_bytes(whole)
