"""Findings of cases made here and now: they hold against the kernel, what they advise works, what
is odd is only possible."""

from __future__ import annotations

import csv
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import correlator
from correlator.report.findings import find
from correlator.report.findings.backends import both_backends
from correlator.report.findings.blocked import dropped, dropped_later
from correlator.report.findings.gone import lost
from correlator.report.findings.hidden import client_hidden
from correlator.report.findings.proxied import through_proxy
from correlator.report.findings.unsent import unsent
from tests.conftest import CAPTURES
from tests.lab.asked import ASKED, ahead, answers_untracked, ask, attached, gone, marked, redirected
from tests.lab.cases import client, published_rules, serve
from tests.lab.docker import docker_lab
from tests.lab.net import HOST, OUTSIDE, ROOT, Lab
from tests.lab.record import Recorder
from tests.truth import assert_right, compare

pytestmark = pytest.mark.live
A, B = OUTSIDE
MISSING = re.compile(r"`(-[IA] (?:DOCKER|INPUT|FORWARD) [^`]*)`")


@pytest.mark.parametrize("name", list(ASKED))
def test_hits_equal_the_kernels_trace(name: str, tmp_path: Path) -> None:
    """Every case that people ask about: all rows as the kernel traced them, none extra, every
    counter explained."""
    ASKED[name](tmp_path)
    analysis = correlator.load(tmp_path)
    assert_right(analysis.hits, tmp_path / "truth" / "hits.csv")
    assert not (analysis.ledger["residual_packets"] != 0).any()
    assert not (analysis.ledger["residual_bytes"] != 0).any()
    assert find(analysis)


@pytest.mark.parametrize("record", [redirected, marked, answers_untracked, attached])
def test_what_no_finding_is_about_is_proven_too(
    record: Callable[[Path], None], tmp_path: Path
) -> None:
    """Cases that random ones once went wrong in: all rows as the kernel traced them, none extra,
    every counter explained, and all of it exact."""
    record(tmp_path)
    analysis = correlator.load(tmp_path)
    assert_right(analysis.hits, tmp_path / "truth" / "hits.csv")
    assert not (analysis.ledger["residual_packets"] != 0).any()
    assert set(analysis.hits["status"]) == {"exact"}


def test_an_answer_that_raw_drops_is_of_no_connection(tmp_path: Path) -> None:
    """The kernel's trace has the SYN-ACKs under their own tuple, and conntrack never saw them:
    those hits are open, with the tuple that the trace has, and every other row is proven."""
    ahead(tmp_path)
    hits = correlator.load(tmp_path).hits
    found = compare(hits, tmp_path / "truth" / "hits.csv")
    assert (found.wrong, found.extra) == ([], [])
    dropped_ones = hits[(hits["table"] == "raw") & (hits["rule_number"] == 1)]
    assert set(dropped_ones["src"]) == {B}
    assert set(dropped_ones["open"]) == {"direction"}
    assert set(hits[~hits.index.isin(dropped_ones.index)]["status"]) == {"exact"}


def test_what_output_drops_no_interface_shows(tmp_path: Path) -> None:
    """A policy of OUTPUT drops what the host sends: no capture has it, its counter alone tells, and
    the number that is said is the kernel's."""
    with Lab() as lab:
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80)))
        lab.run("host", "iptables-nft", "-P", "OUTPUT", "DROP")
        lab.iptables("-A", "OUTPUT", "-m", "conntrack", "--ctstate", "ESTABLISHED", "-j", "ACCEPT")
        serve(lab, "c1", "tcp:80")
        with Recorder(lab, tmp_path, ("eth0", "docker0", "lo")):
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=2) == 2
            assert client(lab, "host", "tcp", "172.17.0.2", 80) == 0
    analysis = correlator.load(tmp_path)
    (finding,) = unsent(analysis)
    with (tmp_path / "truth" / "hits.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["chain"] == "OUTPUT"]
    dropped_ones = sum(
        int(row["packets"]) for row in rows if (row["table"], row["rule"]) == ("filter", "policy")
    )
    assert dropped_ones > 0
    assert finding.text.startswith(
        f"{dropped_ones} packets that this host sent were dropped by filter/OUTPUT:policy"
    )
    assert unsent(correlator.load(CAPTURES / "published")) == []


def test_the_missing_rule_was_all_that_was_missing(tmp_path: Path) -> None:
    """The rule that a finding spells out, put in as it stands there, lets the next connection
    through: to a port of a container that is not published, and to the host's own."""
    rules = published_rules(("tcp", 80, "172.17.0.2", 80)).replace(
        ":INPUT ACCEPT [0:0]\n:FORWARD", ":INPUT DROP [0:0]\n:FORWARD"
    )
    with Lab() as lab:
        lab.run("out", "ip", "route", "add", "172.17.0.0/16", "via", HOST)
        lab.rules(rules)
        serve(lab, "c1", "tcp:80", "tcp:9000")
        serve(lab, "host", "tcp:8000")
        targets = (("172.17.0.2", 9000), (HOST, 8000))
        with Recorder(lab, tmp_path):
            for process in [
                ask(lab, "out", "tcp", target, port, source=A) for target, port in targets
            ]:
                process.wait(20)
        missing = [
            found
            for finding in dropped(correlator.load(tmp_path))
            for found in MISSING.findall(finding.text)
        ]
        assert len(missing) == 2
        for rule in missing:
            lab.iptables("-t", "filter", *shlex.split(rule))
        assert [client(lab, "out", "tcp", target, port, source=A) for target, port in targets] == [
            1,
            1,
        ]


@pytest.mark.parametrize("bad", ["ip", "tcp"])
def test_a_wrong_checksum_is_only_possible(bad: str, tmp_path: Path) -> None:
    """Packets with a wrong checksum: no row that claims to be exact is wrong, and the finding names
    checksums as possible and nothing as certain."""
    gone(tmp_path, bad)
    analysis = correlator.load(tmp_path)
    found = compare(analysis.hits, tmp_path / "truth" / "hits.csv")
    assert (found.wrong, found.extra) == ([], [])
    forged = analysis.connections[analysis.connections["sport"] == 50000]["connection"].tolist()
    for finding in lost(analysis):
        if set(forged) & set(finding.connections):
            assert "possible are a wrong IP checksum" in finding.text


def test_packets_that_conntrack_does_not_know(tmp_path: Path) -> None:
    """Packets of no connection, dropped as INVALID by a rule: said of the packets, not of a
    connection that was let in."""
    rules = published_rules(
        ("tcp", 80, "172.17.0.2", 80),
        user="-A DOCKER-USER -m conntrack --ctstate INVALID -j DROP\n",
    )
    stray = (
        "from scapy.all import IP, TCP, send; import sys\n"
        "send(IP(src=sys.argv[1], dst='172.17.0.2') / TCP(sport=50001, dport=80, flags='FPU'), "
        "count=3, verbose=False)"
    )
    with Lab() as lab:
        lab.run("out", "ip", "route", "add", "172.17.0.0/16", "via", HOST)
        lab.rules(rules)
        with Recorder(lab, tmp_path):
            lab.run("out", sys.executable, "-c", stray, A)
    analysis = correlator.load(tmp_path)
    assert_right(analysis.hits, tmp_path / "truth" / "hits.csv")
    (said,) = [finding.text for finding in dropped_later(analysis)]
    assert said == (
        f"3 packets of 1 connection from {A} to 172.17.0.2:80, which conntrack calls INVALID or "
        f"does not track, were dropped by "
        "filter/DOCKER-USER:1 (-m conntrack --ctstate INVALID -j DROP)."
    )


def test_rules_in_both_backends(tmp_path: Path) -> None:
    """A session of a host with rules in nft and legacy says that packets meet both."""
    with Lab() as lab:
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80)))
        lab.run("host", "iptables-legacy", "-A", "INPUT", "-s", "203.0.113.9", "-j", "DROP")
        serve(lab, "c1", "tcp:80")
        command = [
            "ip",
            "netns",
            "exec",
            lab.space("host"),
            sys.executable,
            "-m",
            "correlator",
            "capture",
            "-o",
            str(tmp_path / "s"),
            "-i",
            "eth0",
            "-i",
            "docker0",
            "--",
            "ip",
            "netns",
            "exec",
            lab.space("out"),
            sys.executable,
            "-m",
            "tests.lab.traffic",
            "tcp",
            HOST,
            "80",
            "--source",
            A,
        ]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    (found,) = both_backends(correlator.load(tmp_path / "s"))
    assert found.text.startswith(
        "Rules in both iptables-nft and iptables-legacy: packets meet both, and only those of nft "
    )
    assert "Findings\n  * Rules in both iptables-nft and iptables-legacy" in done.stdout


def test_around_a_real_engine(tmp_path: Path) -> None:
    """Docker's own rules and proxy: containers by their names, who hid the client, why not DNAT,
    isolation, loopback only."""
    with docker_lab("nft") as town, town.traced(tmp_path / "truth"):
        town.capture("-o", str(tmp_path / "session"), "--", *town.clients)
    analysis = correlator.load(tmp_path / "session")
    said = [finding.text for finding in find(analysis)]
    web, api = analysis.named("172.17.0.2"), analysis.named("172.18.0.2")
    assert (web, api) == ("web (172.17.0.2)", "api (172.18.0.2)")
    assert any(
        f"to {api}:80 was dropped by filter/DOCKER-ISOLATION-STAGE-2:" in text for text in said
    )
    assert any(
        f"from {B} to {HOST}:80 was dropped by filter/DOCKER-USER:1" in text for text in said
    )
    assert any(
        re.search(rf"to {HOST}:8080 reached .* publishes tcp port 8080 on 127\.0\.0\.1 only", text)
        for text in said
    )
    why = [finding.text for finding in through_proxy(analysis)]
    assert (
        sum(
            "(! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER) leaves out what is dialled "
            "on loopback" in t
            for t in why
        )
        == 1
    )
    assert sum("-j RETURN) keeps" in text for text in why) == 2  # one rule a bridge
    hidden = [finding.text for finding in client_hidden(analysis)]
    assert {text.split(" sees ")[0] for text in hidden} == {f"{web}:80", f"{api}:80"}
    assert all("docker-proxy did that" in text for text in hidden)
