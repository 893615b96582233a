"""Conditions on what conntrack knows of a packet's connection (iptables-extensions(8),
net/netfilter/xt_conntrack.c)."""

from __future__ import annotations

import operator
from functools import partial

from correlator.firewall.conditions.ternary import (
    Predicate,
    Reads,
    Ternary,
    conjunction,
    of_field,
    unknown,
)
from correlator.firewall.model import Match
from correlator.firewall.values import PROTOCOLS, parse_address, parse_ports
from correlator.firewall.view import Host, View


def conntrack(match: Match, reads: Reads) -> Predicate:
    """``-m conntrack`` and ``-m state`` (xt_conntrack.c)."""
    parts: list[Predicate] = []
    for option in match.options:
        name, negated = option.name, option.negated
        if name in ("--ctstate", "--state"):
            parts.append(_ctstate(frozenset(option.value.upper().split(",")), negated))
        elif name == "--ctstatus":
            reads.fields.add("ctstatus")
            parts.append(_ctstatus(frozenset(option.value.upper().split(",")), negated))
        elif name in ("--ctorigsrc", "--ctorigdst", "--ctreplsrc", "--ctrepldst"):
            low, high = parse_address(option.value)
            reads.address_range(low, high)
            reads.fields.add("tuples")
            parts.append(_tuple_part(name, low, high, negated))
        elif name in ("--ctorigsrcport", "--ctorigdstport", "--ctreplsrcport", "--ctrepldstport"):
            low, high = parse_ports(option.value)
            reads.port_range(low, high)
            reads.fields.add("tuples")
            parts.append(_tuple_part(name, low, high, negated))
        elif name == "--ctproto":
            reads.fields.add("protocol")
            word = option.value.lower()
            number = int(word) if word.isdigit() else PROTOCOLS.get(word, -1)
            parts.append(of_field("protocol", partial(operator.eq, number), negated))
        elif name == "--ctdir":
            wanted = option.value.upper() == "REPLY"
            parts.append(_direction(wanted))
        else:
            parts.append(unknown)
    return lambda view, host: conjunction(parts, view, host)


def _direction(reply: bool) -> Predicate:
    return lambda view, _host: None if view.original is None else view.reply == reply


def _ctstate(states: frozenset[str], negated: bool) -> Predicate:
    def test(view: View, _host: Host) -> Ternary:
        if view.state in states:
            return not negated
        for word, done in (("DNAT", view.dnat), ("SNAT", view.snat)):
            if word in states and view.state not in ("INVALID", "UNTRACKED"):
                if done is None:
                    return None
                if done:
                    return not negated
        return negated

    return test


def _ctstatus(words: frozenset[str], negated: bool) -> Predicate:
    def test(view: View, _host: Host) -> Ternary:
        if view.state in ("INVALID", "UNTRACKED"):
            return False
        known = {"SEEN_REPLY": view.seen_reply, "DNAT": view.dnat, "SNAT": view.snat}
        answers = [known.get(word) for word in words]
        if any(answers):
            return not negated
        return None if None in answers else negated

    return test


def _tuple_part(name: str, low: int, high: int, negated: bool) -> Predicate:
    index = {"src": 0, "srcport": 1, "dst": 2, "dstport": 3}[name[6:]]
    original = name.startswith("--ctorig")

    def test(view: View, _host: Host) -> Ternary:
        if view.state in ("INVALID", "UNTRACKED"):
            return False
        found = view.original if original else view.replied
        return None if found is None else (low <= found[index] <= high) != negated

    return test
