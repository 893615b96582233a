"""Rule conditions as three-valued predicates: True, False, or None for unknown.

Each condition compiles once into a function of a :class:`~correlator.firewall.view.View`. What decides it is
noted in :class:`Reads`, so that packets which no rule can tell apart are walked once (see ``project``).
Facts are from iptables-extensions(8) and the kernel's net/netfilter/xt_*.c; a condition that depends on history,
chance, or something that is not on the wire (limit, statistic, recent, owner, ...) is unknown, never False.
"""

from __future__ import annotations

import operator
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from correlator.firewall.model import Match, Option, Rule
from correlator.firewall.sets import ADDRESS, INTERFACE
from correlator.firewall.values import PROTOCOLS, parse_address, parse_mark, parse_ports
from correlator.firewall.view import Host, View

Ternary = bool | None
Predicate = Callable[[View, Host], Ternary]

TCP_FLAGS = {"FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ECE": 64, "CWR": 128, "ALL": 63, "NONE": 0}
ICMP_TYPES: dict[str, tuple[int, int]] = {
    "any": (255, -1), "echo-reply": (0, -1), "pong": (0, -1), "destination-unreachable": (3, -1),
    "network-unreachable": (3, 0), "host-unreachable": (3, 1), "protocol-unreachable": (3, 2),
    "port-unreachable": (3, 3), "fragmentation-needed": (3, 4), "source-route-failed": (3, 5),
    "source-quench": (4, -1), "redirect": (5, -1), "echo-request": (8, -1), "ping": (8, -1),
    "router-advertisement": (9, -1), "router-solicitation": (10, -1), "time-exceeded": (11, -1),
    "ttl-exceeded": (11, -1), "ttl-zero-during-transit": (11, 0), "ttl-zero-during-reassembly": (11, 1),
    "parameter-problem": (12, -1), "timestamp-request": (13, -1), "timestamp-reply": (14, -1),
    "address-mask-request": (17, -1), "address-mask-reply": (18, -1),
}  # fmt: skip
PACKET_TYPES = {"unicast": 0, "broadcast": 1, "multicast": 2}


@dataclass(slots=True)
class Reads:
    """What a ruleset asks of packets: cut points of addresses, ports and lengths, and names of fields read whole.

    ``addresses``, ``ports``, ``lengths`` and ``ttls`` hold the first value of every half-open range in which some
    condition is constant.
    """

    addresses: set[int] = field(default_factory=set)
    ports: set[int] = field(default_factory=set)
    lengths: set[int] = field(default_factory=set)
    ttls: set[int] = field(default_factory=set)
    macs: set[int] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)

    def address_range(self, low: int, high: int) -> None:
        """Addresses low..high (inclusive) are told apart from the others."""
        self.addresses.update((low, high + 1))

    def port_range(self, low: int, high: int) -> None:
        """Ports low..high (inclusive) are told apart from the others."""
        self.ports.update((low, high + 1))


def unknown(_view: View, _host: Host) -> Ternary:
    """The condition that nothing on the wire decides."""
    return None


def _field(attribute: str, test: Callable[[int], bool], negated: bool = False) -> Predicate:
    """A condition on one field of the packet."""
    return lambda view, _host: test(getattr(view, attribute)) != negated


def _between(low: int, high: int) -> Callable[[int], bool]:
    return lambda value: low <= value <= high


def _masked(wanted: int, mask: int) -> Callable[[int], bool]:
    return lambda value: value & mask == wanted


def _direction(reply: bool) -> Predicate:
    return lambda view, _host: None if view.original is None else view.reply == reply


def _interface(option: Option, attribute: str) -> Predicate:
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


def _address(option: Option, attribute: str, reads: Reads) -> Predicate:
    ranges = [parse_address(part) for part in ",".join(option.values).split(",")]
    for low, high in ranges:
        reads.address_range(low, high)

    def test(view: View, _host: Host) -> Ternary:
        value = getattr(view, attribute)
        return any(low <= value <= high for low, high in ranges) != option.negated

    return test


def _protocol(option: Option, reads: Reads) -> Predicate:
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
        mask, compare = (sum({TCP_FLAGS[f] for f in value.split(",")}) for value in option.values[:2])
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


def _transport(match: Match, reads: Reads) -> Predicate:
    """``-m tcp`` and ``-m udp`` (xt_tcpudp.c): a malformed header is dropped by the match, a fragment never matches."""
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


def _multiport(match: Match, reads: Reads) -> Predicate:
    sides = {
        "--sports": ("sport",), "--source-ports": ("sport",), "--dports": ("dport",),
        "--destination-ports": ("dport",), "--ports": ("sport", "dport"),
    }  # fmt: skip
    parts = [_port_option(o, sides[o.name], reads) if o.name in sides else unknown for o in match.options]

    def test(view: View, host: Host) -> Ternary:
        return False if view.fragment else conjunction(parts, view, host)

    return test


def _icmp(match: Match, reads: Reads) -> Predicate:
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


def _addrtype(match: Match, reads: Reads) -> Predicate:
    parts: list[Predicate] = []
    limited = {o.name for o in match.options} & {"--limit-iface-in", "--limit-iface-out"}
    for option in match.options:
        if option.name not in ("--src-type", "--dst-type"):
            continue
        attribute = option.name[2:5]
        types = frozenset(option.value.upper().split(","))

        def test(view: View, host: Host, a: str = attribute, t: frozenset[str] = types, n: bool = option.negated) -> Ternary:
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


def _conntrack(match: Match, reads: Reads) -> Predicate:
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
            parts.append(_field("protocol", partial(operator.eq, number), negated))
        elif name == "--ctdir":
            wanted = option.value.upper() == "REPLY"
            parts.append(_direction(wanted))
        else:
            parts.append(unknown)
    return lambda view, host: conjunction(parts, view, host)


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


def _mark(match: Match, attribute: str) -> Predicate:
    option = match.option("--mark")
    if option is None:
        return unknown
    value, mask = parse_mark(option.value)

    def test(view: View, _host: Host) -> Ternary:
        actual: int | None = getattr(view, attribute)
        return None if actual is None else ((actual & mask) == value) != option.negated

    return test


def _length(match: Match, reads: Reads) -> Predicate:
    option = match.option("--length")
    if option is None:
        return unknown
    low, high = parse_ports(option.value)
    reads.lengths.update((low, high + 1))
    return lambda view, _host: (low <= view.length <= high) != option.negated


def _ttl(match: Match, reads: Reads) -> Predicate:
    parts: list[Predicate] = []
    for option in match.options:
        value = int(option.value)
        reads.ttls.update((value, value + 1))
        if option.name == "--ttl-eq":
            parts.append(_field("ttl", partial(operator.eq, value), option.negated))
        elif option.name == "--ttl-gt":
            parts.append(_field("ttl", partial(operator.lt, value)))
        elif option.name == "--ttl-lt":
            parts.append(_field("ttl", partial(operator.gt, value)))
        else:
            parts.append(unknown)
    return lambda view, host: conjunction(parts, view, host)


def _iprange(match: Match, reads: Reads) -> Predicate:
    parts: list[Predicate] = []
    for option in match.options:
        first, _, last = option.value.partition("-")
        low, high = parse_address(first)[0], parse_address(last or first)[0]
        reads.address_range(low, high)
        attribute = "src" if option.name == "--src-range" else "dst"
        parts.append(_field(attribute, _between(low, high), option.negated))
    return lambda view, host: conjunction(parts, view, host)


def _mac(match: Match, reads: Reads) -> Predicate:
    option = match.option("--mac-source")
    if option is None:
        return unknown
    value = int(option.value.replace(":", ""), 16)
    reads.macs.add(value)

    def test(view: View, _host: Host) -> Ternary:
        return None if view.mac_src is None else (view.mac_src == value) != option.negated

    return test


def _pkttype(match: Match, reads: Reads) -> Predicate:
    option = match.option("--pkt-type")
    if option is None or option.value not in PACKET_TYPES:
        return unknown
    value = PACKET_TYPES[option.value]
    reads.fields.add("packet_type")

    def test(view: View, _host: Host) -> Ternary:
        return None if view.packet_type is None else (view.packet_type == value) != option.negated

    return test


def _tos(match: Match, reads: Reads) -> Predicate:
    parts: list[Predicate] = []
    reads.fields.add("tos")
    classes = {"EF": 46, "BE": 0, **{f"CS{n}": 8 * n for n in range(8)}}
    classes.update({f"AF{i}{j}": 8 * i + 2 * j for i in range(1, 5) for j in range(1, 4)})
    for option in match.options:
        if option.name == "--tos":
            value, mask = parse_mark(option.value)
            parts.append(_field("tos", _masked(value, mask & 0xFF), option.negated))
        elif option.name == "--dscp":
            parts.append(_field("tos", _masked(int(option.value, 0) << 2, 0xFC), option.negated))
        elif option.name == "--dscp-class" and option.value.upper() in classes:
            dscp = classes[option.value.upper()]
            parts.append(_field("tos", _masked(dscp << 2, 0xFC), option.negated))
        else:
            parts.append(unknown)
    return lambda view, host: conjunction(parts, view, host)


def _set(match: Match, reads: Reads) -> Predicate:
    """``-m set --match-set NAME src,dst``: one direction for each dimension of the set (net/netfilter/ipset)."""
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


def compile_match(match: Match, reads: Reads) -> Predicate:
    """The predicate of one condition; what it reads is added to ``reads``."""
    if not match.understood:
        return unknown
    try:
        return _compile(match, reads)
    except (ValueError, OSError, IndexError, KeyError):
        return unknown  # its options say something that this version has never heard of


def _compile(match: Match, reads: Reads) -> Predicate:
    name = match.name
    if name in ("source", "destination"):
        return _address(match.options[0], "src" if name == "source" else "dst", reads)
    if name in ("in-interface", "out-interface"):
        return _interface(match.options[0], name.replace("-", "_"))
    if name == "protocol":
        return _protocol(match.options[0], reads)
    if name == "fragment":
        return lambda view, _host: view.fragment != match.options[0].negated
    if name == "comment":
        return lambda _view, _host: True
    if name in ("mark", "connmark"):
        return _mark(match, name)
    builder = _BUILDERS.get(name)
    return builder(match, reads) if builder is not None else unknown


_BUILDERS: dict[str, Callable[[Match, Reads], Predicate]] = {
    "tcp": _transport, "udp": _transport, "multiport": _multiport, "icmp": _icmp, "addrtype": _addrtype,
    "conntrack": _conntrack, "state": _conntrack, "length": _length, "ttl": _ttl, "iprange": _iprange, "mac": _mac,
    "pkttype": _pkttype, "tos": _tos, "dscp": _tos, "set": _set,
}  # fmt: skip


def conjunction(parts: list[Predicate], view: View, host: Host) -> Ternary:
    """Kleene's and: False if any part is, else unknown if any part is."""
    result: Ternary = True
    for part in parts:
        value = part(view, host)
        if value is False:
            return False
        if value is None:
            result = None
    return result


def compile_rule(rule: Rule, reads: Reads) -> list[Predicate]:
    """The predicates of all conditions of a rule, in order."""
    return [compile_match(match, reads) for match in rule.matches]
