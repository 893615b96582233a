"""Rules of raw run ahead of conntrack: what they find of a packet's connection, and when NOTRACK
has an effect."""

from __future__ import annotations

import pytest

from correlator.firewall import parse_iptables_save
from correlator.firewall.view import Host, Route, View
from correlator.firewall.walk.path import Passage, Path
from correlator.firewall.walk.program import compile_ruleset
from correlator.firewall.walk.walker import Walker

OWN = 0x0A000001
HOST = Host(frozenset({OWN}), routes=(Route(OWN, 32, "lo", True), Route(0, 0, "eth0")))


def walk(rule: str, chain: str = "PREROUTING", loops: bool = False, nat: bool = True) -> list[Path]:
    """Every path of a TCP packet through ``raw`` with one rule: from outside, or within the
    host."""
    text = f"*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A {chain} {rule}\nCOMMIT\n"
    source = OWN if loops else 0x0A000009
    arriving = "" if loops else "eth0"
    view = View(6, source, OWN, 40000, 80, in_interface=arriving, tcp_flags=2, length=60)
    passage = Passage(view, not loops, loops=loops, walks_destination_nat=nat)
    return Walker(compile_ruleset(parse_iptables_save(text)), HOST).walk(passage)


@pytest.mark.parametrize("loops", [False, True])
def test_notrack_untracks_what_conntrack_does_not_know_yet(loops: bool) -> None:
    """NOTRACK at the first hook keeps conntrack from the packet."""
    chain = "OUTPUT" if loops else "PREROUTING"
    assert {path.untracked for path in walk("-j NOTRACK", chain, loops)} == {True}


def test_notrack_leaves_alone_what_loops_back() -> None:
    """At PREROUTING a packet of the host's own bears its connection from OUTPUT (xt_CT.c)."""
    assert {path.untracked for path in walk("-j CT --notrack", loops=True)} == {False}


@pytest.mark.parametrize("nat", [True, False])
def test_each_packet_is_without_a_connection_in_raw_output(nat: bool) -> None:
    """Also of a connection that is there already: conntrack's hook comes later."""
    asked = "-m conntrack --ctstate INVALID"
    assert len(walk(asked, "OUTPUT", True, nat)[0].hits) == 3


@pytest.mark.parametrize("no", ["", "! "])
def test_a_connections_mark_is_asked_in_vain_where_there_is_none(no: str) -> None:
    """Negated or not, it does not match (xt_connmark.c)."""
    for rule in (f"-m connmark {no}--mark 0x0/0xf", f"-m connmark {no}--mark 0x1"):
        assert [len(path.hits) for path in walk(rule)] == [1]


def test_a_helper_is_known_to_be_none_where_there_is_no_connection() -> None:
    """Without a connection ``--helper`` does not match and ``! --helper`` does (xt_helper.c)."""
    assert [len(path.hits) for path in walk('-m helper --helper "ftp"')] == [1]
    assert [len(path.hits) for path in walk('-m helper ! --helper "ftp"')] == [2]
