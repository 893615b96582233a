"""Findings, each from a recorded case: what is said, and that nothing is said where it does not
apply.

What has to be said follows from how each case is made (tests/lab/asked.py, tests/lab/cases.py), and
the kernel's own trace of it is held against what is claimed."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

import correlator
from correlator.reconcile.analysis import Analysis
from correlator.report.findings import CHECKS, Finding, about, find
from correlator.report.findings.backends import both_backends
from correlator.report.findings.blocked import dropped, dropped_later, rejected
from correlator.report.findings.gone import expired, lost
from correlator.report.findings.hairpin import hairpin
from correlator.report.findings.hidden import client_hidden
from correlator.report.findings.older import older_than_recording, older_than_rule
from correlator.report.findings.past_input import past_input
from correlator.report.findings.proxied import through_proxy
from correlator.report.findings.too_big import too_big
from correlator.report.findings.unsent import unsent
from correlator.report.findings.unserved import refused, unanswered
from correlator.report.findings.untranslated import past_conntrack, untranslated
from correlator.report.findings_text import findings_block
from tests.conftest import CAPTURES
from tests.lab.asked import OTHER_HOST
from tests.lab.net import HOST, OUTSIDE

A, B = OUTSIDE
RULE = re.compile(r"\b(?:raw|mangle|nat|filter)/[\w-]+:(?:\d+|policy)")


@lru_cache
def load(name: str) -> Analysis:
    """A recording, replayed once."""
    return correlator.load(CAPTURES / name)


def texts(findings: list[Finding]) -> list[str]:
    """What is said, in an order of its own (times decide which of two clients comes first)."""
    return sorted(finding.text for finding in findings)


def dialled(analysis: Analysis, finding: Finding) -> set[tuple[str, str, int]]:
    """(client, address, port) of a finding's connections."""
    rows = analysis.connections[analysis.connections["connection"].isin(finding.connections)]
    return {(str(row.src), str(row.dst), int(row.dport)) for row in rows.itertuples()}


SPEAKS = {
    dropped: {"published", "user", "shut", "modern", "ufw"},
    rejected: {"user"},
    unsent: set(),
    lost: {"gone", "localnet", "noforward", "findings/unrecorded-table"},
    too_big: {"mtu"},
    refused: {"published", "replaced", "shut", "modern", "proxy"},
    untranslated: {"findings/untranslated"},
    past_conntrack: {"findings/past-conntrack"},
    unanswered: {"modern", "findings/unrecorded-table"},
    dropped_later: {"modern"},
    expired: {"ttl"},
    older_than_rule: {"stale"},
    past_input: {"ufw"},
    through_proxy: {"proxy", "modern"},
    client_hidden: {"balance", "proxy", "inside", "localhost", "modern"},
    hairpin: {"inside"},
    older_than_recording: {"older"},
    both_backends: set(),
}
"""The recordings in which each has something to say, by how they were made (rules in both backends:
in the live tests)."""


def test_every_check_is_run_and_tried() -> None:
    """No check is left out of the list, nor of the table above."""
    assert set(SPEAKS) == set(CHECKS)


@pytest.mark.parametrize("check", CHECKS)
def test_nothing_is_said_where_it_does_not_apply(check: object) -> None:
    """Each check speaks in the recordings that hold its case, and in no other."""
    names = [path.parent.name for path in CAPTURES.glob("*/truth")]
    names += [f"findings/{path.name}" for path in CAPTURES.glob("findings/*")]
    assert {name for name in names if check(load(name))} == SPEAKS[check]  # type: ignore[operator,index]


def test_what_routing_drops_is_no_rules_doing() -> None:
    """ip_forward is 0, a DNAT leads to 127.0.0.1 while route_localnet is 0, a packet of 7,292 bytes
    was to leave by an interface of 1,300: the kernel's trace shows each end ahead of FORWARD or
    INPUT, and the setting is named."""
    assert texts(lost(load("noforward"))) == [
        f"1 connection from 172.17.0.2 to {A}:8080 came in by docker0 and never left, and no rule "
        "dropped it: this host does not forward what comes in by docker0 (net.ipv4.ip_forward, or "
        "conf.docker0.forwarding, is 0): the kernel drops it after PREROUTING.",
        f"1 connection from {A} to {HOST}:80 came in by eth0 and never left, and no rule dropped "
        "it: this host does not forward what comes in by eth0 (net.ipv4.ip_forward, or "
        "conf.eth0.forwarding, is 0): the kernel drops it after PREROUTING.",
    ]
    assert texts(lost(load("localnet"))) == [
        f"1 connection from {A} to {HOST}:80 came in by eth0 and never left, and no rule dropped "
        "it: 127.0.0.1 is a loopback address, which nothing from outside may reach while "
        "route_localnet is 0 on eth0: the kernel drops it after PREROUTING."
    ]
    (finding,) = too_big(load("mtu"))
    assert finding.text.startswith(
        f"1 packet of 1 connection from {A} to {HOST}:80 came in and never left: with up to 7292 "
        "bytes they exceed the MTU of eth0, which is 1300, and this host said so by ICMP errors. "
        "No rule of FORWARD saw them."
    )


def test_dropped_by_a_rule() -> None:
    """A rule of the administrator, with its text and the clients; a rule of UFW."""
    assert texts(dropped(load("user"))) == [
        f"2 connections from {B} to {HOST}:80 were dropped by filter/DOCKER-USER:1 (-s {B}/32 -i "
        f"eth0 -p tcp -m multiport --dports "
        '80,443 -m comment --comment "office is blocked" -j DROP), in the chain that Docker '
        "leaves to the administrator."
    ]
    assert (
        f"1 connection from {B} to {HOST}:22 was dropped by filter/ufw-user-input:1 (-s {B}/32 -j "
        f"DROP)." in texts(dropped(load("ufw")))
    )


def test_dropped_by_a_policy_names_the_rule_that_was_missing() -> None:
    """FORWARD's policy: the port is not published, or its DNAT has no ACCEPT; the rule that would
    have let it pass is spelled out. INPUT's: the port is not published, and what would let it in to
    the host."""
    said = texts(dropped(load("shut")))
    assert (
        f"1 connection from {A} to 172.18.0.2:9000 was dropped by filter/FORWARD:policy (policy "
        f"DROP): no rule before "
        "it accepts it. "
        "The port is not published (no DNAT rule leads to 172.18.0.2:9000); missing is "
        "`-I DOCKER -d 172.18.0.2/32 ! -i br-app -o br-app -p tcp -m tcp --dport 9000 -j ACCEPT`."
    ) in said
    assert (
        f"1 connection from {B} to {HOST}:8443 was dropped by filter/FORWARD:policy (policy "
        f"DROP), after nat/DOCKER:4 led it to "
        "172.18.0.2:443: no rule before it accepts it. Missing is "
        "`-I DOCKER -d 172.18.0.2/32 ! -i br-app -o br-app -p tcp -m tcp --dport 443 -j ACCEPT`."
    ) in said
    assert (
        f"1 connection from {A} to {HOST}:8000 was dropped by filter/INPUT:policy (policy DROP): "
        f"no rule before it "
        "accepts it. No DNAT "
        "rule names tcp port 8000: not published; to the host itself `-A INPUT -p tcp --dport "
        "8000 -j ACCEPT` would have let it in."
    ) in texts(dropped(load("ufw")))


def test_dropped_by_dockers_own_default() -> None:
    """Docker 28 and newer end a bridge's rules with a DROP of their own: the port is not published,
    or the client is on another network."""
    said = texts(dropped(load("modern")))
    assert (
        f"1 connection from {A} to 172.17.0.2:9000 was dropped by filter/DOCKER:6 (! -i docker0 "
        f"-o docker0 -j DROP). "
        "The port is not "
        "published (no DNAT rule leads to 172.17.0.2:9000); missing is "
        "`-I DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 9000 -j ACCEPT`."
    ) in said
    assert (
        "1 connection from 172.18.0.2 to 172.17.0.2:9000 was dropped by filter/DOCKER:6 (! -i "
        "docker0 -o docker0 -j DROP): Docker "
        "isolates the networks br-app and docker0 from each other (a container can be on both)."
    ) in said


def test_dropped_by_isolation() -> None:
    """Docker keeps two networks apart, and an internal one from everything."""
    assert (
        "1 connection from 172.17.0.2 to 172.18.0.2:80 was dropped by "
        "filter/DOCKER-ISOLATION-STAGE-2:1 (-o br-app -j "
        "DROP): Docker "
        "isolates the networks docker0 and br-app from each other (a container can be on both)."
    ) in texts(dropped(load("shut")))
    inside = [
        text for text in texts(dropped(load("modern"))) if "the network br-in is internal" in text
    ]
    assert [text.split(" (")[0] for text in inside] == [
        "1 connection from 172.17.0.2 to 172.19.0.2:80 was dropped by filter/DOCKER-INTERNAL:1",
        f"1 connection from 172.19.0.2 to {A}:8080 was dropped by filter/DOCKER-INTERNAL:2",
    ]


@pytest.mark.parametrize(("name", "asked"), [("shut", ""), ("modern", "-p tcp -m tcp --dport 80 ")])
def test_dropped_in_raw(name: str, asked: str) -> None:
    """raw dropped it before Docker's nat and filter rules saw it."""
    assert (
        f"1 connection from {A} to 172.17.0.2:80 was dropped by raw/PREROUTING:1 (-d "
        f"172.17.0.2/32 ! -i docker0 "
        f"{asked}-j DROP): raw "
        "comes first, so neither nat nor filter, where Docker lets published ports in, saw it. "
        "Docker 28 and newer "
        "write such rules: "
        "from outside, a container answers on published ports only."
    ) in texts(dropped(load(name)))


def test_rejected_tells_what_the_client_gets() -> None:
    """A TCP reset, or an ICMP error of that type."""
    said = texts(rejected(load("user")))
    assert [text.rpartition(": ")[2] for text in said] == [
        "the client gets an ICMP error (port-unreachable).",
        "the client gets a TCP reset.",
    ]
    assert said[1].startswith(
        f"3 connections from {A} to {HOST}:8181 were rejected by filter/DOCKER-USER:2 (-i eth0 -p "
        f"tcp "
    )


def test_refused_by_this_host() -> None:
    """No rule stopped it and nothing listened: not published, on another address, on loopback only,
    kept from DNAT, or in between two rulesets."""
    nothing = "reached this host and was refused by a reset, as where nothing listens."
    said = texts(refused(load("published")))
    assert (
        f"1 connection from {A} to {HOST}:8081 {nothing} No DNAT rule names tcp port 8081: not "
        f"published." in said
    )
    assert (
        f"1 connection from 172.17.0.2 to {HOST}:80 {nothing} nat/DOCKER:1 (-i docker0 -j RETURN) "
        f"keeps it from the DNAT rules "
        "behind it."
    ) in said
    assert (
        f"1 connection from {B} to {HOST}:9999/udp reached this host and was refused by an ICMP "
        f"error of this host "
        f"({HOST}), as where "
        "nothing listens. No DNAT rule names udp port 9999: not published."
    ) in said
    elsewhere = (
        f"1 connection from {A} to {HOST}:5432 {nothing} nat/DOCKER:3 publishes tcp port "
        f"5432 on {OTHER_HOST} only."
    )
    assert texts(refused(load("shut"))) == [elsewhere]
    loopback = (
        f"1 connection from {A} to {HOST}:8080 {nothing} nat/DOCKER:2 publishes tcp port "
        f"8080 on 127.0.0.1 only."
    )
    assert texts(refused(load("proxy"))) == [loopback]
    (between,) = refused(load("replaced"))
    assert between.text.endswith(
        "publish tcp port 80 came or went while this was recorded, and then none of them was there."
    )


def test_refused_by_a_container_or_not_answered() -> None:
    """Every rule let them pass: what listens, or answers, is not this host's business; and a rule
    that drops answers."""
    modern = load("modern")
    assert texts(refused(modern)) == [
        f"1 connection from {A} to {HOST}:81 got through every rule to 172.17.0.2:81 and was "
        f"refused by a reset, as where nothing "
        "listens."
    ]
    assert texts(unanswered(modern)) == [
        f"1 connection from {A} to {HOST}:82 passed every rule and left by docker0 to "
        f"172.17.0.2:82, and no answer was "
        "seen: look at "
        "the server, or at its way back."
    ]
    (later,) = dropped_later(modern)
    assert dialled(modern, later) == {(A, HOST, 83)}
    assert re.fullmatch(
        rf"\d answering packets of 1 connection from {A} to {HOST}:83 were dropped by "
        rf"filter/DOCKER-USER:1 \(-s 172.17.0.2/32 "
        r"-p tcp -m tcp --sport 83 -j DROP\), though no rule stopped the first one\.",
        later.text,
    )


def test_gone_with_no_rule_to_blame() -> None:
    """rp_filter and a missing route are told for certain, by the host's settings and routes; a
    neighbour that is not there is possible, and that the host said so by ICMP."""
    gone = load("gone")
    by = {next(iter(dialled(gone, finding)))[:2]: finding.text for finding in lost(gone)}
    came = "came in by eth0 and never left, and no rule dropped"
    assert by["10.99.0.1", HOST] == (
        f"1 connection from 10.99.0.1 to {HOST}:80 {came} it: rp_filter is 1 on eth0 and the "
        f"route back to 10.99.0.1 "
        "leads to docker0, "
        "so the kernel drops it after PREROUTING."
    )
    assert by[A, "10.50.0.1"] == (
        f"2 connections from {A} to 10.50.0.1:80 and 10.50.0.1 (icmp) {came} them: no route leads "
        f"to 10.50.0.1. This host told the "
        f"client so by an ICMP error (from {HOST})."
    )
    assert by[B, HOST].startswith(
        f"1 connection from {B} to {HOST}:81 {came.replace('no rule', 'no recorded rule')} it: "
        "by the counters the packets met every rule up to POST"
    )
    assert "possibly nobody answered ARP for the address" in by[B, HOST]


def test_a_containers_own_address_that_nothing_translates() -> None:
    """Without any MASQUERADE the kernel's trace has no nat rule at all, and the frames on eth0 bear
    the container's address: the missing rule is named, and the server is not blamed."""
    analysis = load("findings/untranslated")
    assert texts(untranslated(analysis)) == [
        f"2 connections from 172.17.0.2 to {A}:8080 and {A} (icmp) passed every rule and left by "
        "eth0 with their own source address 172.17.0.2, which no rule of nat/POSTROUTING "
        "translated, and no answer was seen: whoever is to answer needs a route back to 172.17.0.2 "
        "by this host, or this host a MASQUERADE rule for 172.17.0.2; where there is one, look at "
        "the server."
    ]
    assert unanswered(analysis) == []


def test_kept_from_conntrack_and_so_from_nat() -> None:
    """Where raw/PREROUTING:1 says --notrack, the kernel's trace has no row of nat for that
    connection: the rule is named."""
    analysis = load("findings/past-conntrack")
    (finding,) = past_conntrack(analysis)
    assert finding.text == (
        f"2 packets of 1 connection from 172.17.0.2 to {A}:15672 left by eth0 untranslated: "
        "raw/PREROUTING:1 (-p tcp -m tcp --dport 10000:19999 -j CT --notrack) keeps it from "
        "conntrack, so no rule of nat saw a packet."
    )
    with (CAPTURES / "findings/past-conntrack/truth/hits.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["dport"] == "15672"]
    assert {(row["table"], row["packets"]) for row in rows} == {("raw", "2"), ("filter", "2")}


def test_a_table_that_nobody_recorded() -> None:
    """`inet firewalld` rejected one connection and `inet mine` dropped another, and only iptables
    was recorded: the code of the ICMP error is said, no checksum is blamed, and of the other only
    what is possible."""
    analysis = load("findings/unrecorded-table")
    (finding,) = lost(analysis)
    assert finding.text == (
        f"1 connection from {A} to {HOST}:80 came in by eth0 and never left, and no recorded rule "
        "dropped it: this host answered that it is administratively prohibited (ICMP type 3, code "
        "13), as a rule that rejects does, or a route of type prohibit: look at firewall tables "
        "that were not recorded (nft list ruleset)."
    )
    (waiting,) = unanswered(analysis)
    assert "passed every recorded rule and reached this host" in waiting.text
    assert "or at firewall tables that were not recorded (nft list ruleset): tried again" in (
        waiting.text
    )
    assert waiting.text.endswith("it may have been dropped by a table that was not recorded.")


def test_gone_without_facts_is_only_possible(tmp_path: Path) -> None:
    """Where neither settings nor routes were saved, nothing is claimed of them."""
    for path in (CAPTURES / "gone").iterdir():
        if path.suffix in (".pcap", ".log"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    said = " ".join(texts(lost(correlator.load(tmp_path))))
    assert "rp_filter is" not in said
    assert "no route leads" not in said


def test_time_to_live() -> None:
    """It ran out here, by no rule."""
    (said,) = texts(expired(load("ttl")))
    assert said.startswith(
        f"2 connections from {A} and 172.17.0.2 to 172.17.0.2 (icmp) and {B} (icmp) were dropped "
        f"because the time to "
        "live ran out at "
        "this host, after PREROUTING and before FORWARD: no rule did it."
    )


def test_older_than_a_rule() -> None:
    """Flows that began before their rule: it is there and would match, and conntrack keeps the old
    answer."""
    said = texts(older_than_rule(load("stale")))
    old = "is older than a change of the rules"
    assert said == [
        f"1 connection from {A} to {HOST}:5353/udp {old}: nat/DOCKER:3 (! -i docker0 -p udp -m "
        f"udp --dport 5353 -j DNAT "
        "--to-destination 172.17.0.3:53) would send a new one to 172.17.0.3:53/udp, but conntrack "
        "keeps the answer of the first "
        "packet: it goes on to 172.17.0.2:53/udp and hits no nat rule.",
        f"1 connection from {A} to {HOST}:5354/udp {old}: nat/DOCKER:1 (! -i docker0 -p udp -m "
        f"udp --dport 5354 -j DNAT "
        "--to-destination 172.17.0.2:53) would send a new one to 172.17.0.2:53/udp, but conntrack "
        "keeps the answer of the first "
        f"packet: it goes on to {HOST}:5354/udp and hits no nat rule.",
    ]
    (older,) = older_than_recording(load("older"))
    assert dialled(load("older"), older) == {
        (A, HOST, 80),
        ("172.17.0.2", A, 8080),
        (A, HOST, 5353),
    }


def test_past_input() -> None:
    """UFW would have stopped them, and DNAT sent them past it: by its rule for the port, and by the
    one for the client."""
    ufw, by = load("ufw"), {}
    for finding in past_input(ufw):
        by[next(iter(dialled(ufw, finding)))[0]] = finding
    past = (
        "nat/DOCKER:2 sent them through FORWARD to 172.17.0.2:80, and no rule of INPUT saw a "
        "packet. Without DNAT"
    )
    assert by[A].text == (
        f"UFW did not stop 2 connections from {A} to {HOST}:80: {past} filter/ufw-user-input:3 "
        f"(-p tcp -m tcp --dport 80 -j DROP) "
        "would have stopped them; rules for published ports belong in DOCKER-USER."
    )
    assert f"Without DNAT filter/ufw-user-input:1 (-s {B}/32 -j DROP) would have" in by[B].text
    assert len(by) == 2


def test_docker_proxy_and_why_not_dnat() -> None:
    """Loopback is left out of OUTPUT's rule; a RETURN for the bridge; a DNAT rule that leaves the
    bridge out."""
    proxy, modern = load("proxy"), load("modern")
    said = texts(through_proxy(proxy))
    assert said[0] == (
        f"2 connections from 172.17.0.3 and 172.17.0.2 to {HOST}:80 went through docker-proxy and "
        f"not DNAT: "
        "nat/DOCKER:1 (-i docker0 -j "
        "RETURN) keeps them from the DNAT rules behind it. docker-proxy opened 2 connections of "
        "its own to 172.17.0.2:80."
    )
    assert said[1] == (
        "3 connections from this host (127.0.0.1) to 127.0.0.1:80 and 127.0.0.1:8080 went through "
        "docker-proxy and not DNAT: "
        "nat/OUTPUT:1 (! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER) leaves out what "
        "is dialled on "
        "loopback. docker-proxy "
        "opened 3 connections of its own to 172.17.0.2:80."
    )
    (out,) = through_proxy(modern)
    assert (
        "nat/DOCKER:5 (! -i br-app -p tcp -m tcp --dport 84 -j DNAT --to-destination "
        "172.18.0.2:80) leaves out what comes in by" in out.text
    )


def test_who_hid_the_client() -> None:
    """MASQUERADE by its rule, or docker-proxy; how many connections, and instead of whom."""
    (balance,) = texts(client_hidden(load("balance")))
    assert " see 172.17.0.1 (docker0's own address) instead of " in balance
    assert balance.endswith(
        "in 36 connections: MASQUERADE did that, by nat/POST:3 (-j MASQUERADE)."
    )
    assert texts(client_hidden(load("proxy"))) == [
        "172.17.0.2:80 sees 172.17.0.1 (docker0's own address) instead of this host (127.0.0.1), "
        "172.17.0.3 and 172.17.0.2 in 5 "
        "connections: docker-proxy did that, which opens its own connection to 172.17.0.2."
    ]


def test_where_loopback_was_not_captured_docker_proxy_is_only_possible(tmp_path: Path) -> None:
    """Without lo.pcap, what docker-proxy opened for loopback looks like a program's own connection:
    both are said."""
    for path in (CAPTURES / "proxy").iterdir():
        if path.is_file() and path.name != "lo.pcap":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    said = texts(client_hidden(correlator.load(tmp_path)))
    assert (
        "172.17.0.2:80 saw 172.17.0.1 in 3 connections of this host: a program here dialled the "
        "container itself, or "
        "docker-proxy did "
        "for a client on loopback, which was not captured."
    ) in said


def test_hairpin() -> None:
    """A container that reaches itself needs its address hidden; another one, without, gets its
    answer from elsewhere."""
    itself, other = sorted(hairpin(load("inside")), key=lambda finding: finding.text, reverse=True)
    turned = f"to {HOST}:80 turned round at docker0 (hairpin): nat/DOCKER:1 sent"
    assert itself.text == (
        f"2 connections from 172.17.0.2 {turned} them to 172.17.0.2:80, the very one that "
        f"dialled, and nat/POSTROUTING:3 hid the "
        "client, so that the answers come back through this host."
    )
    assert other.text.startswith(
        f"1 connection from 172.17.0.3 {turned} it to 172.17.0.2:80, a container of the same "
        f"network. No answer"
    )


def test_names_of_containers_are_used() -> None:
    """Where it is known which container has an address, its name stands before it."""
    named = replace(load("shut"), containers={"172.18.0.2": "db"})
    assert any("to db (172.18.0.2):9000 was dropped" in text for text in texts(dropped(named)))


def test_what_no_counter_confirms_is_said(tmp_path: Path) -> None:
    """With a ruleset alone, each sentence says that it is the rules' word only."""
    for path in (CAPTURES / "published").iterdir():
        if path.suffix in (".pcap", ".json", ".txt"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    text = (
        (CAPTURES / "published" / "counters.log").read_text().split("# sample")[1].split("\n", 1)[1]
    )
    (tmp_path / "rules.v4").write_text(re.sub(r"^\[\d+:\d+\] ", "", text, flags=re.MULTILINE))
    found = find(correlator.load(tmp_path))
    assert found
    assert all(
        finding.text.endswith("No counter confirms it: this is what the rules say.")
        for finding in found
    )


def test_findings_never_contradict_the_tables(recorded: Path) -> None:
    """Connections and rules that back a finding exist; every rule that a sentence names is among
    them; those dropped and rejected are exactly those that the table says were; nothing but what
    says so itself speaks of an ambiguous row."""
    analysis = load(recorded.name)
    table, rules = analysis.connections, analysis.rules
    known = {f"{r.table}/{r.chain}:{r.rule_number or 'policy'}" for r in rules.itertuples()}
    found = find(analysis)
    for finding in found:
        rows = table[table["connection"].isin(finding.connections)]
        assert len(rows) == len(finding.connections) == len(set(finding.connections))
        assert (rows["status"] == "exact").all()
        assert set(RULE.findall(finding.text)) <= set(finding.rules) <= known
        assert not re.search(r"[{}]", finding.text)
        if finding.kind not in ("docker-proxy", "client-hidden", "dropped-later", "past-input"):
            assert int(finding.text.split()[0]) == len(finding.connections)
    for kind in ("dropped", "rejected"):
        told = [
            number for finding in found if finding.kind == kind for number in finding.connections
        ]
        assert sorted(told) == table[table["outcome"] == kind]["connection"].tolist()


def test_findings_never_contradict_the_kernel(recorded: Path) -> None:
    """By the kernel's trace: what was dropped or rejected hit the rule that is blamed, what went
    past INPUT hit nothing there, what is older than a rule did not hit it, and what is said to be
    translated by a rule hit that."""
    analysis = load(recorded.name)
    truth: dict[tuple[str, ...], set[tuple[str, str, str]]] = {}
    with (recorded / "truth" / "hits.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            ends = (row["protocol"], row["src"], row["sport"], row["dst"], row["dport"])
            truth.setdefault(ends, set()).add(
                (row["table"], row["chain"], row["rule"].replace('"', ""))
            )
    texts_of: dict[str, set[tuple[str, str, str]]] = {}
    for rule in analysis.rules.itertuples():
        key = f"{rule.table}/{rule.chain}:{rule.rule_number or 'policy'}"
        texts_of.setdefault(key, set()).add(
            (str(rule.table), str(rule.chain), str(rule.rule).replace('"', ""))
        )
    looked_at = 0
    for finding in find(analysis):
        rows = analysis.connections[analysis.connections["connection"].isin(finding.connections)]
        for row in rows.itertuples():
            ports = ("0", "0") if row.protocol == "icmp" else (str(row.sport), str(row.dport))
            hits = truth[str(row.protocol), str(row.src), ports[0], str(row.dst), ports[1]]
            looked_at += 1
            if finding.kind in ("dropped", "rejected", "dropped-later"):
                assert hits & texts_of[finding.rules[0]]
            elif finding.kind == "past-input":
                assert not any(chain.startswith(("INPUT", "ufw")) for _, chain, _ in hits)
            elif finding.kind == "older-than-rule":
                assert not hits & set().union(*(texts_of[name] for name in finding.rules))
            elif finding.kind in ("hairpin", "client-hidden"):
                assert all(hits & texts_of[name] for name in finding.rules)
            elif finding.kind == "lost":
                assert not any(text.endswith(("-j DROP", "-j REJECT")) for _, _, text in hits)
    assert looked_at or recorded.name in {"collision", "fragments", "reuse", "zeroed"}


def test_about_picks_what_concerns() -> None:
    """By connection or by rule; nothing for one that no finding names."""
    found = find(load("ufw"))
    number = next(finding for finding in found if finding.kind == "past-input").connections[0]
    assert {finding.kind for finding in about(found, [number])} == {"past-input"}
    assert {finding.kind for finding in about(found, rule="filter/ufw-user-input:1")} == {
        "dropped",
        "past-input",
    }
    assert about(found, [10_000], "filter/none:1") == ()


def test_the_block_of_text_is_bounded() -> None:
    """One paragraph each, no line too long, the numbers of connections as ranges; what is left out
    is counted."""
    findings = [
        Finding("x", f"finding {i} " + "word " * 40, (*range(1, 9), 12, 14, 15)) for i in range(15)
    ]
    lines = findings_block(findings)
    assert lines[0] == "Findings"
    assert max(map(len, lines)) <= 118
    assert lines[-1] == "  ... and 3 more findings: --all shows them"
    assert any(line.endswith("(#1-#8, #12, #14, #15)") for line in lines)
    assert sum(line.startswith("  * ") for line in findings_block(findings, everything=True)) == 15
    assert findings_block([]) == []


def test_what_is_ambiguous_is_hedged(tmp_path: Path) -> None:
    """Where the counter of the rule never moved, that it dropped them is not certain: the sentence
    says so, and why."""
    for path in (CAPTURES / "published").iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    log = tmp_path / "counters.log"
    still = re.sub(
        r"^\[\d+:\d+\] (-A DOCKER-USER .* -j DROP)$",
        r"[0:0] \1",
        log.read_text(),
        flags=re.MULTILINE,
    )
    log.write_text(still)
    (said,) = texts(dropped(correlator.load(tmp_path)))
    assert said == (
        f"1 connection from {B} to {HOST}:80 was dropped, most likely by filter/DOCKER-USER:1, "
        f"which is not certain: "
        "its rules counted "
        "fewer hits than it seems to have made."
    )
