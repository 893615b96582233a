"""The walk of one packet: verdicts, jumps, policies, unknowns; and properties that hold for any
ruleset."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from correlator.addresses import is_no_source
from correlator.firewall import parse_iptables_save
from correlator.firewall.view import Host, Route, View
from correlator.firewall.walk.path import Passage, Path
from correlator.firewall.walk.program import compile_ruleset
from correlator.firewall.walk.state import TooManyPathsError
from correlator.firewall.walk.walker import Walker

HOST = Host(
    frozenset({0x0A000001, 0xAC110001}),
    routes=(Route(0xAC110000, 16, "docker0"), Route(0, 0, "eth0")),
)
CLIENT, SERVER = 0x0A000009, 0xAC110002


def walk(rules: str, dst: int = SERVER, dport: int = 80, **more: object) -> list[Path]:
    """Every path of a NEW packet that came in on eth0."""
    view = View(6, CLIENT, dst, 40000, dport, in_interface="eth0", tcp_flags=2, length=60)
    passage = Passage(view, enters=True, **more)  # type: ignore[arg-type]
    return Walker(
        compile_ruleset(parse_iptables_save(rules)), HOST, frozenset({"eth0", "docker0"})
    ).walk(passage)


def names(rules: str, path: Path) -> list[str]:
    """The rules and policies of a path, by name."""
    entries = parse_iptables_save(rules).entries
    return [entries[hit].name for hit in path.hits]


CHAINS = """*filter
:FORWARD DROP [0:0]
:A - [0:0]
:B - [0:0]
-A FORWARD -j A
-A FORWARD -i eth0 -j ACCEPT
-A A -p udp -j DROP
-A A -g B
-A A -j DROP
-A B -p tcp -m tcp --dport 80 -j RETURN
-A B -j DROP
COMMIT
"""


def test_goto_returns_to_the_caller_of_its_chain() -> None:
    """A RETURN from a chain that was gone to goes back to where its caller was jumped from."""
    (path,) = walk(CHAINS)
    assert names(CHAINS, path) == [
        "filter/FORWARD:1",
        "filter/A:2",
        "filter/B:1",
        "filter/FORWARD:2",
    ]
    assert path.end == "sent"


def test_what_falls_off_the_end_is_the_policys() -> None:
    """A RETURN from a base chain is the policy's, which counts it and decides."""
    rules = (
        "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -i eth0 -j RETURN\n-A FORWARD -j ACCEPT\nCOMMIT\n"
    )
    (path,) = walk(rules)
    assert names(rules, path) == ["filter/FORWARD:1", "filter/FORWARD:policy"]
    assert path.end == "dropped"


def test_an_unknown_condition_forks_and_the_wire_prunes() -> None:
    """Chance is unknown: both ways are possible until the destination is seen."""
    rules = (
        "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -m statistic --mode random --probability "
        "0.5 -p tcp -j DNAT "
        "--to-destination 172.17.0.2:80\n-A PREROUTING -p tcp -j DNAT --to-destination "
        "172.17.0.3:80\nCOMMIT\n"
    )
    assert len(walk(rules, dst=0x0A000001)) == 2
    (path,) = walk(rules, dst=0x0A000001, destination=(0xAC110003, 80))
    assert names(rules, path) == ["nat/PREROUTING:2"]


def test_an_unknown_target_ends_the_path_and_says_so() -> None:
    """What a target nobody knows does with a packet is not guessed."""
    rules = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j XYZZY\n-A FORWARD -j DROP\nCOMMIT\n"
    (path,) = walk(rules)
    assert path.end == "unknown-target"
    assert names(rules, path) == ["filter/FORWARD:1"]


def test_marks_are_carried_from_table_to_table() -> None:
    """A mark that nat sets is what filter asks for; xor, and, or work on it."""
    rules = (
        "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j MARK --set-xmark "
        "0x4000/0x4000\nCOMMIT\n*filter\n:FORWARD DROP [0:0]\n"
        "-A FORWARD -m mark ! --mark 0x4000/0x4000 -j DROP\n-A FORWARD -j ACCEPT\nCOMMIT\n"
    )
    (path,) = walk(rules)
    assert names(rules, path)[-1] == "filter/FORWARD:2"


CONDITION = st.sampled_from(
    [
        "-p tcp",
        "-p udp",
        "! -p tcp",
        "-i eth0",
        "! -i eth0",
        "-o docker0",
        "-s 10.0.0.0/8",
        "-d 172.17.0.2/32",
        "-m conntrack --ctstate NEW",
        "-m conntrack --ctstate ESTABLISHED",
        "-m statistic --mode random --probability 0.5",
        "-m frobnicate --much",
        "-m length --length 60",
        "-p tcp -m tcp --dport 80",
        "-p tcp -m tcp --dport 81",
        "",
    ]
)
TARGET = st.sampled_from(
    ["ACCEPT", "DROP", "RETURN", "U1", "U2", "LOG", "REJECT --reject-with tcp-reset", ""]
)
LINE = st.tuples(st.lists(CONDITION, max_size=2, unique=True), TARGET)


@settings(max_examples=200, deadline=None)
@given(st.lists(LINE, max_size=6), st.lists(LINE, max_size=4), st.lists(LINE, max_size=3))
def test_every_path_is_a_walk(base: list, one: list, two: list) -> None:  # type: ignore[type-arg]
    """For any ruleset: some path is there, paths are distinct, a path ends once, and each of its
    hits can follow the one before it: the next rule or a later one of the same chain, the first of
    a chain that was jumped to, or a caller's."""
    text = "*filter\n:FORWARD ACCEPT [0:0]\n:U1 - [0:0]\n:U2 - [0:0]\n"
    for chain, lines in (
        ("FORWARD", base),
        ("U1", [x for x in one if x[1] != "U1"]),
        ("U2", [x for x in two if x[1][:1] != "U"]),
    ):
        for conditions, target in lines:
            text += f"-A {chain} {' '.join(conditions)}{' -j ' + target if target else ''}\n"
    text += "COMMIT\n"
    ruleset = parse_iptables_save(text)
    try:
        paths = walk(text)
    except TooManyPathsError:
        return
    assert paths
    assert len({path.hits for path in paths}) == len(paths)
    for path in paths:
        entries = [ruleset.entries[hit] for hit in path.hits]
        assert sum(entry.number == 0 for entry in entries) <= 1
        for chain in ("FORWARD", "U1", "U2"):
            numbers = [entry.number for entry in entries if entry.chain == chain and entry.number]
            if chain == "FORWARD":
                assert numbers == sorted(set(numbers))
        if path.end == "sent":
            last = entries[-1]
            assert last.number == 0 or last.target == "ACCEPT"
        else:
            assert path.end in ("dropped", "rejected")
            assert ruleset.entries[path.decider].target in ("DROP", "REJECT")


@pytest.mark.parametrize(
    ("source", "mode", "own", "why"),
    [
        ("10.0.0.9", 1, False, ""),  # its route leads back out of eth0
        ("172.17.0.9", 1, False, "reverse-path"),  # its route leads to docker0
        ("172.17.0.9", 2, False, ""),  # loose: any route will do
        ("172.17.0.9", 0, False, ""),
        ("10.0.0.1", 0, False, "martian"),  # the host's own address
        ("10.0.0.1", 0, True, ""),  # accept_local
    ],
)
def test_sources_are_checked_as_the_settings_say(
    source: str, mode: int, own: bool, why: str
) -> None:
    """rp_filter strict and loose and accept_local, as ip-sysctl.rst tells (all: captures/gone,
    traced by the kernel)."""
    host = replace(
        HOST, reverse_path={"eth0": mode}, own_sources=frozenset({"eth0"}) if own else frozenset()
    )
    assert host.turned_away(int(IPv4Address(source)), "eth0") == why
    assert (
        HOST.turned_away(int(IPv4Address(source)), "eth0") == ""
    )  # where no setting tells, nothing is claimed


@pytest.mark.parametrize(
    ("source", "none"),
    [
        ("224.0.0.5", True),
        ("239.255.255.255", True),
        ("255.255.255.255", True),
        ("240.0.0.1", False),
        ("10.0.0.9", False),
    ],
)
def test_nothing_is_routed_that_a_group_seems_to_have_sent(source: str, none: bool) -> None:
    """Behind PREROUTING the kernel drops it whatever the settings (ip_route_input_slow). Its trace
    of a datagram from 224.0.0.5 to this host's DNAT ended with the policy of nat/PREROUTING, and no
    rule of INPUT saw it; 240.0.0.0/4 is no such source."""
    assert is_no_source(int(IPv4Address(source))) == none


@pytest.mark.parametrize(
    ("destination", "interface", "open_to", "kept"),
    [
        ("127.0.0.1", "eth0", frozenset(), True),
        ("127.9.9.9", "eth0", frozenset({"docker0"}), True),
        ("127.0.0.1", "eth0", frozenset({"eth0"}), False),
        ("127.0.0.1", "lo", frozenset(), False),
        ("10.0.0.1", "eth0", frozenset(), False),
        ("127.0.0.1", "eth0", None, False),  # where no setting tells, nothing is claimed
    ],
)
def test_loopback_is_closed_to_the_outside(
    destination: str, interface: str, open_to: frozenset[str] | None, kept: bool
) -> None:
    """route_localnet as ip-sysctl.rst tells (captures/localnet, traced by the kernel)."""
    host = replace(HOST, localnet=open_to)
    assert host.keeps_out(int(IPv4Address(destination)), interface) == kept
