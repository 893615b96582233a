"""Chains at hooks: what runs before what, whatever table or language it comes from."""

from __future__ import annotations

from correlator.firewall.conditions.headers import Field, Within
from correlator.firewall.effects.fields import NoTrack
from correlator.firewall.effects.nat import Nat, NatKind, NatRange
from correlator.firewall.effects.verdicts import Reject, Verdict
from correlator.firewall.hooks import TABLES_AT, Base, ChainType, Hook
from correlator.firewall.model import Chain, Effect, Rule, Ruleset
from correlator.firewall.view import Host, Route, View
from correlator.firewall.walk.path import End, Passage, Path
from correlator.firewall.walk.program import compile_ruleset
from correlator.firewall.walk.walker import Walker

HOST = Host(frozenset({0x0A000001}), routes=(Route(0xAC110000, 16, "docker0"), Route(0, 0, "eth0")))
CLIENT, PUBLISHED, SERVER = 0x0A000009, 0x0A000001, 0xAC110002


def chain(table: str, base: Base, *effects: Effect) -> Chain:
    """A base chain of some table with one rule, for TCP."""
    tcp = Within((Field.PROTOCOL,), ((6, 6),))
    rule = Rule(table, "c", 1, f"tcp {table}", (tcp,), effects, "")
    return Chain(table, "c", "ACCEPT", (rule,), base)


def walk(*chains: Chain, dst: int = SERVER) -> tuple[list[str], Path]:
    """The rules that a TCP packet from outside hits, and its one path."""
    view = View(6, CLIENT, dst, 40000, 80, in_interface="eth0", tcp_flags=2, length=60)
    ruleset = Ruleset(chains)
    (path,) = Walker(compile_ruleset(ruleset), HOST).walk(Passage(view, enters=True))
    return [ruleset.entries[hit].text for hit in path.hits if ruleset.entries[hit].number], path


def test_iptables_tables_stand_in_the_order_of_the_kernels_priorities() -> None:
    """As include/uapi/linux/netfilter_ipv4.h has them: NF_IP_PRI_RAW -300, MANGLE -150, NAT_DST
    -100, FILTER 0, SECURITY 50, NAT_SRC 100; which table has which hook, from the kernel's own
    iptable_*.c."""
    assert TABLES_AT == {
        "PREROUTING": ("raw", "mangle", "nat"),
        "INPUT": ("mangle", "filter", "security", "nat"),
        "FORWARD": ("mangle", "filter", "security"),
        "OUTPUT": ("raw", "mangle", "nat", "filter", "security"),
        "POSTROUTING": ("mangle", "nat"),
    }


def test_base_chains_run_in_order_of_priority_and_accept_ends_one_only() -> None:
    """A verdict of accept is not final for later chains of the hook; drop is (nft(8), VERDICT
    STATEMENT)."""
    late = chain("inet b", Base(Hook.FORWARD, 10), Verdict.DROP)
    early = chain("inet a", Base(Hook.FORWARD, -10), Verdict.ACCEPT)
    later = chain("inet c", Base(Hook.FORWARD, 20), Verdict.ACCEPT)
    hits, path = walk(later, late, early)
    assert hits == ["tcp inet a", "tcp inet b"]
    assert (path.end, path.last) == (End.DROPPED, Hook.FORWARD)


def test_chains_of_nat_run_where_the_kernels_nat_stands() -> None:
    """The priority of a chain of type nat orders it among its like only (nf_nat_register_fn): a
    filter at -95 comes behind it, and sees the translated destination; the first translation is the
    only one (nf_nat_inet_fn)."""
    to = (NatRange((SERVER, SERVER), (8080, 8080)),)
    nat = Base(Hook.PREROUTING, -90, ChainType.NAT)
    first = chain("ip first", nat, Nat(NatKind.DNAT, to))
    second = chain("ip second", Base(Hook.PREROUTING, -80, ChainType.NAT), Verdict.DROP)
    asks = Within((Field.DESTINATION_PORT,), ((8080, 8080),))
    seen = Rule("ip f", "c", 1, "dport 8080", (asks,), (), "")
    counts = Chain("ip f", "c", "ACCEPT", (seen,), Base(Hook.PREROUTING, -95))
    hits, path = walk(counts, second, first, dst=PUBLISHED)
    assert hits == ["tcp ip first", "dport 8080"]
    assert path.destination == (SERVER, 8080)


def test_what_stands_before_conntrack_sees_no_connection() -> None:
    """NOTRACK ahead of conntrack keeps a packet out of it, and so out of nat."""
    raw = chain("ip early", Base(Hook.PREROUTING, -250), NoTrack())
    nat = chain("ip n", Base(Hook.PREROUTING, -100, ChainType.NAT), Verdict.DROP)
    assert walk(raw, nat)[0] == ["tcp ip early"]
    assert walk(raw, nat)[1].untracked


def test_a_policy_that_was_not_told_leaves_both_ways() -> None:
    """A base chain whose policy is unknown neither accepts nor drops for certain."""
    silent = Chain("ip f", "c", None, (), Base(Hook.FORWARD, 0))
    view = View(6, CLIENT, SERVER, 40000, 80, in_interface="eth0")
    paths = Walker(compile_ruleset(Ruleset((silent,))), HOST).walk(Passage(view, enters=True))
    assert {path.end for path in paths} == {End.SENT, End.DROPPED}
    assert all(path.forked for path in paths)


def test_reject_ends_and_answers() -> None:
    """A rejected packet goes no further."""
    refuses = chain("ip f", Base(Hook.FORWARD, 0), Reject("tcp-reset"))
    assert walk(refuses)[1].end is End.REJECTED


def test_conntrack_has_seen_what_reaches_input_forward_and_postrouting() -> None:
    """Whatever a chain's priority there: conntrack stands at PREROUTING and OUTPUT
    (ipv4_conntrack_ops, net/netfilter/nf_conntrack_proto.c)."""
    before = {hook for hook in Hook if Base(hook, -300).before_conntrack}
    assert before == {Hook.PREROUTING, Hook.OUTPUT}
    assert not any(Base(hook, -199).before_conntrack for hook in Hook)
