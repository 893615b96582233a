"""Conditions on protocols, ports, TCP flags and ICMP types (iptables-extensions(8),
net/netfilter/xt_tcpudp.c)."""

from __future__ import annotations

import socket

from correlator.firewall.conditions.ternary import Predicate, Reads, Ternary, conjunction, unknown
from correlator.firewall.model import Match, Option
from correlator.firewall.values import PROTOCOLS, parse_ports
from correlator.firewall.view import Host, View

TCP_FLAGS = {
    "FIN": 1,
    "SYN": 2,
    "RST": 4,
    "PSH": 8,
    "ACK": 16,
    "URG": 32,
    "ECE": 64,
    "CWR": 128,
    "ALL": 63,
    "NONE": 0,
}
ICMP_TYPES: dict[str, tuple[int, int]] = {
    "any": (255, -1),
    "echo-reply": (0, -1),
    "pong": (0, -1),
    "destination-unreachable": (3, -1),
    "network-unreachable": (3, 0),
    "host-unreachable": (3, 1),
    "protocol-unreachable": (3, 2),
    "port-unreachable": (3, 3),
    "fragmentation-needed": (3, 4),
    "source-route-failed": (3, 5),
    "source-quench": (4, -1),
    "redirect": (5, -1),
    "echo-request": (8, -1),
    "ping": (8, -1),
    "router-advertisement": (9, -1),
    "router-solicitation": (10, -1),
    "time-exceeded": (11, -1),
    "ttl-exceeded": (11, -1),
    "ttl-zero-during-transit": (11, 0),
    "ttl-zero-during-reassembly": (11, 1),
    "parameter-problem": (12, -1),
    "timestamp-request": (13, -1),
    "timestamp-reply": (14, -1),
    "address-mask-request": (17, -1),
    "address-mask-reply": (18, -1),
}


def protocol(option: Option, reads: Reads) -> Predicate:
    """``-p``."""
    word = option.value.lower()
    number = int(word) if word.isdigit() else 0 if word == "all" else PROTOCOLS.get(word, -1)
    reads.fields.add("protocol")
    if number == -1:
        number = socket.getprotobyname(word)

    def test(view: View, _host: Host) -> Ternary:
        return True if number == 0 else (view.protocol == number) != option.negated

    return test


def _port_option(option: Option, attributes: tuple[str, ...], reads: Reads) -> Predicate:
    ranges = [parse_ports(part) for part in ",".join(option.values).split(",")]
    for low, high in ranges:
        reads.port_range(low, high)

    def test(view: View, _host: Host) -> Ternary:
        hit = any(low <= getattr(view, name) <= high for name in attributes for low, high in ranges)
        return hit != option.negated

    return test


def _flags_option(option: Option, reads: Reads) -> Predicate:
    if option.name == "--syn":
        mask, compare = 0x17, 0x02
    else:
        mask, compare = (
            sum({TCP_FLAGS[f] for f in value.split(",")}) for value in option.values[:2]
        )
    reads.fields.add("tcp_flags")
    return lambda view, _host: ((view.tcp_flags & mask) == compare) != option.negated


def _option_kind(option: Option, reads: Reads) -> Predicate:
    kind = int(option.value)
    reads.fields.add("tcp_option_kinds")

    def test(view: View, _host: Host) -> Ternary:
        if view.tcp_option_kinds is None or kind > 31:
            return None
        return bool(view.tcp_option_kinds >> kind & 1) != option.negated

    return test


def transport(match: Match, reads: Reads) -> Predicate:
    """``-m tcp`` and ``-m udp`` (xt_tcpudp.c): a malformed header is dropped by the match, a
    fragment never matches."""
    parts: list[Predicate] = []
    for option in match.options:
        if option.name in ("--sport", "--source-port"):
            parts.append(_port_option(option, ("sport",), reads))
        elif option.name in ("--dport", "--destination-port"):
            parts.append(_port_option(option, ("dport",), reads))
        elif option.name in ("--tcp-flags", "--syn"):
            parts.append(_flags_option(option, reads))
        elif option.name == "--tcp-option":
            parts.append(_option_kind(option, reads))
        else:
            parts.append(unknown)

    def test(view: View, host: Host) -> Ternary:
        if view.fragment or view.malformed:
            return False
        return conjunction(parts, view, host)

    reads.fields.add("malformed")
    return test


def multiport(match: Match, reads: Reads) -> Predicate:
    """``-m multiport`` (xt_multiport.c)."""
    sides = {
        "--sports": ("sport",),
        "--source-ports": ("sport",),
        "--dports": ("dport",),
        "--destination-ports": ("dport",),
        "--ports": ("sport", "dport"),
    }
    parts = [
        _port_option(o, sides[o.name], reads) if o.name in sides else unknown for o in match.options
    ]

    def test(view: View, host: Host) -> Ternary:
        return False if view.fragment else conjunction(parts, view, host)

    return test


def icmp(match: Match, reads: Reads) -> Predicate:
    """``-m icmp``."""
    option = match.option("--icmp-type")
    if option is None:
        return lambda _view, _host: True
    word = option.value
    if word in ICMP_TYPES:
        kind, code = ICMP_TYPES[word]
    elif word.replace("/", "", 1).isdigit():
        first, _, second = word.partition("/")
        kind, code = int(first), int(second) if second else -1
    else:
        return unknown
    reads.fields.update(("icmp_type", "icmp_code"))

    def test(view: View, _host: Host) -> Ternary:
        if view.fragment:
            return False
        hit = kind == 255 or (view.icmp_type == kind and code in (-1, view.icmp_code))
        return hit != option.negated

    return test
