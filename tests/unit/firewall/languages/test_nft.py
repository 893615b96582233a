"""Native nft: what its two notations say, and what its rules mean.

``nft/ruleset.nft`` and ``nft/ruleset.json`` are what nft 1.0.6 printed of one ruleset."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from correlator.errors import InputError
from correlator.firewall.conditions.ternary import Reads, Ternary, conjunction
from correlator.firewall.effects.fields import CopyMark, WriteBits
from correlator.firewall.effects.nat import Nat, NatKind, NatRange
from correlator.firewall.languages import nft_json, nft_text
from correlator.firewall.languages.nft_rules import ruleset_of
from correlator.firewall.languages.nft_sets import sets_of
from correlator.firewall.languages.nft_statements import read_rule
from correlator.firewall.languages.nft_tokens import Cursor, tokens_of
from correlator.firewall.languages.nft_words import rule_words
from correlator.firewall.model import Rule, Ruleset
from correlator.firewall.values import parse_address
from correlator.firewall.view import Host, Route, View

HERE = Path(__file__).parent / "nft"
SETS = """
	set blocked { type ipv4_addr; flags interval
		elements = { 198.51.100.0/24, 203.0.113.7 } }
	map doors { type inet_service : verdict; elements = { 22 : drop, 80 : continue } }
"""


def ruleset(text: str) -> Ruleset:
    """Of what nft printed."""
    objects = nft_text.read_objects(text, "text")
    return ruleset_of(objects, sets_of([objects]))[0]


def rule(line: str, family: str = "inet") -> Rule:
    """One rule, in a table with a set and a map."""
    chain = "type filter hook input priority filter; policy accept;"
    text = f"table {family} t {{{SETS}\tchain c {{\n\t\t{chain}\n\t\t{line}\n\t}}\n}}\n"
    return next(ruleset(text).rules)


def asks(line: str, **packet: Any) -> Ternary:
    """Whether a TCP packet to port 80 is what a line asks for."""
    usual = {"protocol": 6, "sport": 40000, "dport": 80, "in_interface": "eth0", "length": 60}
    source, _ = parse_address(packet.pop("src", "192.0.2.9"))
    destination, _ = parse_address("10.0.0.1")
    view = View(src=source, dst=destination, **{**usual, **packet})
    host = Host(frozenset({destination}), routes=(Route(0, 0, "eth0"),))
    parts = [one.compile(Reads()) for one in rule(line).conditions]
    return conjunction(parts, view, host)


def test_both_notations_of_a_ruleset_are_one_model() -> None:
    """nft -a list ruleset and nft -j list ruleset of one kernel give equal rulesets, and counters
    at the same entries."""
    found = []
    for reader, name in ((nft_text, "ruleset.nft"), (nft_json, "ruleset.json")):
        objects = reader.read_objects((HERE / name).read_text(), name)
        made, places = ruleset_of(objects, sets_of([objects]))
        found.append((made, [place >= 0 for place in places]))
    assert found[0] == found[1]
    assert len(found[0][0].entries) == 51
    assert all(one.handle > 0 for one in found[0][0].rules)


@pytest.mark.parametrize(
    ("line", "packet", "expected"),
    [
        ("tcp dport 80", {}, True),
        ("tcp dport 80", {"protocol": 17}, False),
        ("tcp dport 80", {"fragment": True}, False),
        ("tcp dport != 80", {"fragment": True}, False),
        ("tcp dport { 22, 79-81 }", {}, True),
        ("tcp dport != { 22, 79-81 }", {}, False),
        ("th dport 80", {"protocol": 17}, True),
        ("th dport 80", {"protocol": 1}, None),
        ("meta l4proto . th dport { tcp . 80, udp . 53 }", {}, True),
        ("meta l4proto . th dport { tcp . 80, udp . 53 }", {"protocol": 1}, False),
        ("ip saddr @blocked", {"src": "198.51.100.77"}, True),
        ("ip saddr @blocked", {}, False),
        ("ip saddr != @blocked", {}, True),
        ("ip saddr @elsewhere", {}, None),
        ("ip6 saddr 2001:db8::1", {}, False),
        ("meta nfproto ipv4", {}, True),
        ("meta nfproto ipv6", {}, False),
        ('iifname "eth*"', {}, True),
        ('iifname { "br0", "eth0" }', {}, True),
        ('iifname { "br0", "eth0" }', {"in_interface": None}, None),
        ('iifname . tcp dport { "eth0" . 80, "br0" . 22 }', {"in_interface": None}, None),
        ('iifname . tcp dport { "eth0" . 81, "br0" . 22 }', {"in_interface": None}, False),
        ("ct state established,related", {"state": "RELATED"}, True),
        ("ct state { established, related }", {"state": "NEW"}, False),
        ("ct state != invalid", {"state": "NEW"}, True),
        ("ct mark 0x10", {"connmark": 16}, True),
        ("ct mark != 0x10", {"state": "INVALID"}, False),
        ("meta mark & 0xff == 0x07", {"mark": 0x107}, True),
        ("tcp flags syn / fin,syn,rst,ack", {"tcp_flags": 2}, True),
        ("tcp flags & (fin | syn | rst | ack) == syn", {"tcp_flags": 18}, False),
        ("tcp flags syn,rst", {"tcp_flags": 4}, True),
        ("ip frag-off & 0x1fff != 0x0", {"fragment": True}, True),
        ("ip frag-off & 8191 != 0", {}, False),
        ("ip dscp cs1", {"tos": 0x20}, True),
        ("ip ttl < 5", {"ttl": 4}, True),
        ("meta length > 1000", {}, False),
        ("fib daddr type local", {}, True),
        ("fib daddr . iif type != { unicast, broadcast }", {}, False),
        ("fib saddr . iif oif missing", {}, False),
        ("fib saddr . mark . iif oif exists", {}, True),
        ("fib saddr . iif oif missing", {"in_interface": "docker0"}, True),
        ("fib saddr . iif oif missing", {"src": "10.0.0.1"}, True),
        ("fib saddr . iif oif != missing", {"in_interface": "lo"}, True),
        ("fib saddr . iif oif 3", {}, None),
        ("meta skuid 1000", {}, None),
        ("limit rate 5/second", {}, None),
        ("ct count over 20", {}, None),
        ("numgen random mod 2 vmap { 0 : drop }", {}, None),
        ("add @seen { ip saddr . tcp dport timeout 1m }", {}, None),
        ("add @seen { ip saddr . udp dport }", {}, False),
        ("tcp dport vmap @doors", {"dport": 81}, False),
        ("tcp dport vmap @doors", {}, True),
        ("dnat ip to tcp dport map { 22 : 10.0.0.2 }", {}, False),
        ("frobnicate 7 accept", {}, None),
    ],
)
def test_what_a_line_asks(line: str, packet: dict[str, Any], expected: Ternary) -> None:
    """Conditions are true, false or unknown as the kernel's expressions are met, broken off, or
    depend on what is not on the wire."""
    assert asks(line, **packet) is expected


@pytest.mark.parametrize(
    ("line", "counted"),
    [
        ("tcp dport 80 counter accept", True),
        ("counter tcp dport 80 accept", False),
        ("udp dport 53 counter limit rate 1/second accept", False),
        ("udp dport 53 limit rate 1/second counter accept", True),
        ("tcp dport 22 counter reject with tcp reset", True),
        ("tcp dport vmap @doors counter", False),
        ("meta mark set 0x1 counter", True),
        ("accept", False),
    ],
)
def test_a_counter_counts_where_it_stands(line: str, counted: bool) -> None:
    """It is the rule's own where nothing is asked behind it: `counter limit ... accept` gave 4 and
    the trace 2; `vmap @m counter` counted what the map continues."""
    numbered = line.replace("counter", "counter packets 0 bytes 0")
    assert rule(numbered).counted is counted


def test_a_named_counter_of_several_rules_is_no_rules() -> None:
    """One that two rules count with tells of neither; one of a single rule is that rule's."""
    text = """table inet t {
	counter a { packets 3 bytes 9 }
	counter b { packets 4 bytes 9 }
	chain c {
		tcp dport 1 counter name "a"
		tcp dport 2 counter name "a"
		tcp dport 3 counter name "b"
	}
}
"""
    assert [one.counted for one in ruleset(text).rules] == [False, False, True]


@pytest.mark.parametrize(
    ("line", "effect"),
    [
        ("meta mark set meta mark | 0x2000", WriteBits("mark", 0xFFFFDFFF, 0x2000)),  # type: ignore[arg-type]
        ("ct mark set meta mark", CopyMark(restore=False)),
        ("meta mark set ct mark & 0xff", CopyMark(restore=True, taken=0xFF)),
        ("ip dscp set ef", WriteBits("tos", 3, 46 << 2)),  # type: ignore[arg-type]
        (
            "dnat ip to 10.0.0.2:80",
            Nat(NatKind.DNAT, (NatRange((0x0A000002, 0x0A000002), (80, 80)),)),
        ),
        ("dnat ip6 to [2001:db8::2]:80", Nat(NatKind.DNAT, (), foreign=True)),
        ("masquerade to :1024-2047", Nat(NatKind.MASQUERADE, (NatRange(None, (1024, 2047)),))),
        ("redirect to :22", Nat(NatKind.REDIRECT, (NatRange(None, (22, 22)),))),
    ],
)
def test_what_a_line_does(line: str, effect: object) -> None:
    """Marks are what is kept and flipped; addresses and ports what may be written."""
    assert rule(line).effects == (effect,)


def test_tables_bear_their_family() -> None:
    """A rule is named family table/chain:number where its family is not ip."""
    assert rule("accept").name == "inet t/c:1"
    assert rule("accept", "ip").name == "t/c:1"


def test_priorities_have_names() -> None:
    """`filter - 10` is -10, and the names are others in family bridge."""
    (chain,) = ruleset(
        "table inet t {\n\tchain c {\n\t\ttype filter hook forward priority filter - 10; "
        "policy drop;\n\t}\n}\n"
    ).chains
    assert chain.base is not None
    assert (chain.base.priority, chain.policy, chain.counted) == (-10, "DROP", False)


@pytest.mark.parametrize(
    "text", ["table inet t {\n\tchain c {\n", "table inet t }", 'table inet t { chain c { "a\n } }']
)
def test_what_is_cut_is_refused(text: str) -> None:
    """Braces and strings have their ends."""
    with pytest.raises(InputError, match="text"):
        nft_text.read_objects(text, "text")


_NUMBERS = st.integers(0, 65535)
_PORTS = st.one_of(
    _NUMBERS,
    st.tuples(st.integers(0, 30000), st.integers(30001, 65535)).map(lambda p: {"range": [*p]}),
)
_NETS = st.tuples(st.integers(0, 255), st.integers(1, 31)).map(
    lambda p: {"prefix": {"addr": f"10.{p[0]}.0.0", "len": p[1]}}
)


def _match(left: dict[str, Any], right: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    value = st.one_of(right, st.lists(right, min_size=1, max_size=3).map(lambda one: {"set": one}))
    return st.tuples(st.sampled_from(["==", "!="]), value).map(
        lambda p: {"match": {"op": p[0], "left": left, "right": p[1]}}
    )


_STATEMENTS = st.one_of(
    _match({"payload": {"protocol": "tcp", "field": "dport"}}, _PORTS),
    _match({"payload": {"protocol": "ip", "field": "saddr"}}, _NETS),
    _match({"meta": {"key": "iifname"}}, st.sampled_from(["eth0", "br-1*", "docker0"])),
    _match({"meta": {"key": "mark"}}, _NUMBERS),
    st.sampled_from(
        [
            {"counter": None},
            {"mangle": {"key": {"ct": {"key": "mark"}}, "value": 80}},
            {"limit": {"rate": 3, "burst": 5, "per": "second"}},
            {"log": {"prefix": "a { b"}},
            {"vmap": {"key": {"ct": {"key": "state"}}, "data": {"set": [["new", {"drop": None}]]}}},
        ]
    ),
)
_VERDICTS = st.sampled_from(
    [
        {"accept": None},
        {"drop": None},
        {"jump": {"target": "other"}},
        {"reject": {"type": "tcp reset"}},
        {"dnat": {"family": "ip", "addr": "10.0.0.2", "port": 80}},
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(_STATEMENTS, max_size=5), _VERDICTS)
def test_words_of_a_rule_are_read_as_that_rule(
    statements: list[dict[str, Any]], verdict: dict[str, Any]
) -> None:
    """What is written of a rule's expressions is nft's notation: it reads as the same ones, so that
    both notations give one text."""
    expressions = [*statements, verdict]
    again, comment = read_rule(Cursor(tokens_of(rule_words(expressions))))
    assert not comment
    assert rule_words(again) == rule_words(expressions)
    objects = [
        {"chain": {"family": "inet", "table": "t", "name": "c"}},
        {"rule": {"family": "inet", "table": "t", "chain": "c", "expr": expressions}},
    ]
    other = [objects[0], {"rule": {**objects[1]["rule"], "expr": again}}]
    assert ruleset_of(objects, {}) == ruleset_of(other, {})


@settings(max_examples=200, deadline=None)
@given(st.text('table inetchain{}\n;"#.:,@ 0123456789/-', max_size=120))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but a refusal comes of what nft did not print."""
    with suppress(InputError):
        objects = nft_text.read_objects(f"table inet t {{ {text} }}", "text")
        ruleset_of(objects, sets_of([objects]))


def test_a_table_that_only_traces_is_no_firewall() -> None:
    """Who runs `nft monitor trace` adds such a table; one that does anything else besides, or
    drops, is one."""
    traced = (
        "table inet t {\n\tchain c {\n"
        "\t\ttype filter hook prerouting priority -350; policy accept;\n"
        "\t\tmeta nftrace set 1\n\t}\n\tchain d {\n\t}\n}\n"
    )
    assert ruleset(traced).chains == ()
    assert ruleset(traced.replace("set 1", "set 1\n\t\tcounter")).chains
    assert ruleset(traced.replace("policy accept", "policy drop")).chains


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("numgen inc mod 2 vmap { 0 : jump a, 1 : jump b }", 0),
        ("numgen random mod 4 offset 1 vmap { 1-2 : jump a, 3-4 : jump b }", 0),
        ("numgen inc mod 3 vmap { 0 : jump a, 1 : jump b }", 1),
        ("jhash ip saddr mod 2 vmap { 0 : jump a, 1 : jump b }", 0),
    ],
)
def test_a_map_of_all_that_a_generator_gives_always_holds_it(line: str, asked: int) -> None:
    """Which element it gives is unknown; that it gives one is certain where the map has them all,
    and asked where it lacks one."""
    assert len(rule(line).conditions) == asked
    assert [one.chain for one in rule(line).jumps] == ["a", "b"]
