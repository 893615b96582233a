"""Conditions on addresses, interfaces and the rest of a packet's headers (iptables-extensions(8),
net/netfilter/xt_*.c)."""

from __future__ import annotations

import operator
from functools import partial

from correlator.firewall.conditions.ternary import (
    Predicate,
    Reads,
    Ternary,
    between,
    conjunction,
    masked,
    of_field,
    unknown,
)
from correlator.firewall.model import Match, Option
from correlator.firewall.sets import ADDRESS, INTERFACE
from correlator.firewall.values import parse_address, parse_mark, parse_ports
from correlator.firewall.view import Host, View

PACKET_TYPES = {"unicast": 0, "broadcast": 1, "multicast": 2}


def interface(option: Option, attribute: str) -> Predicate:
    """``-i`` and ``-o``; a name that ends in + stands for all that begin like it."""
    name = option.value
    wild = name.endswith("+")
    stem = name[:-1] if wild else name

    def test(view: View, _host: Host) -> Ternary:
        actual: str | None = getattr(view, attribute)
        if actual is None:
            return True if wild and not stem else None
        # ip_tables.c compares with the empty name where the hook has no such device
        hit = actual.startswith(stem) if wild else actual == stem
        return hit != option.negated

    return test


def address(option: Option, attribute: str, reads: Reads) -> Predicate:
    """``-s`` and ``-d``."""
    ranges = [parse_address(part) for part in ",".join(option.values).split(",")]
    for low, high in ranges:
        reads.address_range(low, high)

    def test(view: View, _host: Host) -> Ternary:
        value = getattr(view, attribute)
        return any(low <= value <= high for low, high in ranges) != option.negated

    return test


def address_type(match: Match, reads: Reads) -> Predicate:
    """``-m addrtype`` (xt_addrtype.c), with its limits to an interface."""
    parts: list[Predicate] = []
    limited = {o.name for o in match.options} & {"--limit-iface-in", "--limit-iface-out"}
    for option in match.options:
        if option.name not in ("--src-type", "--dst-type"):
            continue
        attribute = option.name[2:5]
        types = frozenset(option.value.upper().split(","))

        def test(
            view: View,
            host: Host,
            a: str = attribute,
            t: frozenset[str] = types,
            n: bool = option.negated,
        ) -> Ternary:
            kind = host.address_type(getattr(view, a))
            if limited and kind == "LOCAL":
                device = view.in_interface if "--limit-iface-in" in limited else view.out_interface
                if device is None:
                    return None
                if getattr(view, a) not in host.addresses.get(device, ()):
                    kind = "UNICAST"
            return (kind in t) != n

        parts.append(test)
    reads.fields.add("addrtype")
    return lambda view, host: conjunction(parts, view, host)


def mark(match: Match, attribute: str) -> Predicate:
    """``-m mark`` and ``-m connmark``."""
    option = match.option("--mark")
    if option is None:
        return unknown
    value, mask = parse_mark(option.value)

    def test(view: View, _host: Host) -> Ternary:
        actual: int | None = getattr(view, attribute)
        return None if actual is None else ((actual & mask) == value) != option.negated

    return test


def length(match: Match, reads: Reads) -> Predicate:
    """``-m length``: bytes at L3."""
    option = match.option("--length")
    if option is None:
        return unknown
    low, high = parse_ports(option.value)
    reads.lengths.update((low, high + 1))
    return lambda view, _host: (low <= view.length <= high) != option.negated


def time_to_live(match: Match, reads: Reads) -> Predicate:
    """``-m ttl``."""
    parts: list[Predicate] = []
    for option in match.options:
        value = int(option.value)
        reads.ttls.update((value, value + 1))
        if option.name == "--ttl-eq":
            parts.append(of_field("ttl", partial(operator.eq, value), option.negated))
        elif option.name == "--ttl-gt":
            parts.append(of_field("ttl", partial(operator.lt, value)))
        elif option.name == "--ttl-lt":
            parts.append(of_field("ttl", partial(operator.gt, value)))
        else:
            parts.append(unknown)
    return lambda view, host: conjunction(parts, view, host)


def address_range(match: Match, reads: Reads) -> Predicate:
    """``-m iprange``."""
    parts: list[Predicate] = []
    for option in match.options:
        first, _, last = option.value.partition("-")
        low, high = parse_address(first)[0], parse_address(last or first)[0]
        reads.address_range(low, high)
        attribute = "src" if option.name == "--src-range" else "dst"
        parts.append(of_field(attribute, between(low, high), option.negated))
    return lambda view, host: conjunction(parts, view, host)


def mac(match: Match, reads: Reads) -> Predicate:
    """``-m mac``."""
    option = match.option("--mac-source")
    if option is None:
        return unknown
    value = int(option.value.replace(":", ""), 16)
    reads.macs.add(value)

    def test(view: View, _host: Host) -> Ternary:
        return None if view.mac_src is None else (view.mac_src == value) != option.negated

    return test


def packet_type(match: Match, reads: Reads) -> Predicate:
    """``-m pkttype``."""
    option = match.option("--pkt-type")
    if option is None or option.value not in PACKET_TYPES:
        return unknown
    value = PACKET_TYPES[option.value]
    reads.fields.add("packet_type")

    def test(view: View, _host: Host) -> Ternary:
        return None if view.packet_type is None else (view.packet_type == value) != option.negated

    return test


def type_of_service(match: Match, reads: Reads) -> Predicate:
    """``-m tos`` and ``-m dscp``."""
    parts: list[Predicate] = []
    reads.fields.add("tos")
    classes = {"EF": 46, "BE": 0, **{f"CS{n}": 8 * n for n in range(8)}}
    classes.update({f"AF{i}{j}": 8 * i + 2 * j for i in range(1, 5) for j in range(1, 4)})
    for option in match.options:
        if option.name == "--tos":
            value, mask = parse_mark(option.value)
            parts.append(of_field("tos", masked(value, mask & 0xFF), option.negated))
        elif option.name == "--dscp":
            parts.append(of_field("tos", masked(int(option.value, 0) << 2, 0xFC), option.negated))
        elif option.name == "--dscp-class" and option.value.upper() in classes:
            dscp = classes[option.value.upper()]
            parts.append(of_field("tos", masked(dscp << 2, 0xFC), option.negated))
        else:
            parts.append(unknown)
    return lambda view, host: conjunction(parts, view, host)


def ip_set(match: Match, reads: Reads) -> Predicate:
    """``-m set --match-set NAME src,dst``: one direction for each dimension of the set
    (net/netfilter/ipset)."""
    option = match.option("--match-set")
    if option is None or len(option.values) < 2 or len(match.options) > 1:
        return unknown
    name, directions = option.values[0], option.values[1].split(",")
    reads.fields.add(f"set:{name}")

    def test(view: View, host: Host) -> Ternary:
        members = host.sets.get(name)
        if members is None or len(members.dimensions) > len(directions):
            return None
        values: list[int | str | None] = []
        for dimension, direction in zip(members.dimensions, directions, strict=False):
            if dimension == ADDRESS:
                values.append(view.src if direction == "src" else view.dst)
            elif dimension == INTERFACE:
                values.append(view.in_interface if direction == "src" else view.out_interface)
            elif view.fragment or view.protocol not in (6, 17, 132, 136):
                return None
            else:
                values.append(view.sport if direction == "src" else view.dport)
        found = members.contains(values, view.protocol)
        return None if found is None else found != option.negated

    return test
