"""iptables' matches (iptables-extensions(8)) -> conditions, one row a match.

What no row knows, an option that a row does not know, or a value that cannot be read, is unknown:
never left out, never false."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

from correlator.firewall.conditions import conntrack, headers, surroundings
from correlator.firewall.conditions.headers import Field, Masked, Within
from correlator.firewall.conditions.ternary import Condition, Unknown
from correlator.firewall.languages.iptables_words import Match, Option
from correlator.firewall.values import (
    PROTOCOLS,
    parse_address,
    parse_mark,
    parse_number,
    parse_ports,
    service_class,
)

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
SYN_MASK = 0x17
"""SYN, RST, ACK, FIN: of which ``--syn`` wants SYN alone."""
ICMP_TYPES: dict[str, tuple[int, int]] = {
    "any": (-1, -1),
    "255": (-1, -1),
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
ICMP6_TYPES: dict[str, tuple[int, int]] = {
    "destination-unreachable": (1, -1),
    "no-route": (1, 0),
    "communication-prohibited": (1, 1),
    "beyond-scope": (1, 2),
    "address-unreachable": (1, 3),
    "port-unreachable": (1, 4),
    "failed-policy": (1, 5),
    "reject-route": (1, 6),
    "packet-too-big": (2, -1),
    "time-exceeded": (3, -1),
    "ttl-exceeded": (3, -1),
    "ttl-zero-during-transit": (3, 0),
    "ttl-zero-during-reassembly": (3, 1),
    "parameter-problem": (4, -1),
    "bad-header": (4, 0),
    "unknown-header-type": (4, 1),
    "unknown-option": (4, 2),
    "echo-request": (128, -1),
    "ping": (128, -1),
    "echo-reply": (129, -1),
    "pong": (129, -1),
    "mld-listener-query": (130, -1),
    "mld-listener-report": (131, -1),
    "mld-listener-done": (132, -1),
    "mld-listener-reduction": (132, -1),
    "router-solicitation": (133, -1),
    "router-advertisement": (134, -1),
    "neighbor-solicitation": (135, -1),
    "neighbour-solicitation": (135, -1),
    "neighbor-advertisement": (136, -1),
    "neighbour-advertisement": (136, -1),
    "redirect": (137, -1),
}
"""ip6tables' names (libxt_icmp.h)."""
EXTENSION_HEADERS = {"hbh": 0, "rt": 1, "frag": 2, "dst": 4}
"""match -> bit of the header in the packet table (:data:`correlator.decode.network6.EXTENSIONS`).
"""
PACKET_TYPES = {"unicast": 0, "broadcast": 1, "multicast": 2}
SIDES = {
    "--sport": (Field.SOURCE_PORT,),
    "--source-port": (Field.SOURCE_PORT,),
    "--dport": (Field.DESTINATION_PORT,),
    "--destination-port": (Field.DESTINATION_PORT,),
    "--sports": (Field.SOURCE_PORT,),
    "--source-ports": (Field.SOURCE_PORT,),
    "--dports": (Field.DESTINATION_PORT,),
    "--destination-ports": (Field.DESTINATION_PORT,),
    "--ports": (Field.SOURCE_PORT, Field.DESTINATION_PORT),
}
TUPLE_PARTS = {
    "src": conntrack.TuplePart.SOURCE,
    "srcport": conntrack.TuplePart.SOURCE_PORT,
    "dst": conntrack.TuplePart.DESTINATION,
    "dstport": conntrack.TuplePart.DESTINATION_PORT,
}


def conditions_of(match: Match) -> tuple[Condition, ...]:
    """All that a match asks; each has to hold. Rules by the thousand ask a few things again and
    again: each spelling is read once."""
    found = _known.get(match.text)
    if found is None:
        found = _read(match)
        if match.text.count(":") > 1:
            return found  # an IPv6 address means what the address book in force says
        if len(_known) >= KNOWN:
            _known.clear()
        _known[match.text] = found
    return found


KNOWN = 1 << 16
"""Spellings that are remembered."""
_known: dict[str, tuple[Condition, ...]] = {}


def _read(match: Match) -> tuple[Condition, ...]:
    row = _MATCHES.get(match.name)
    if row is None or not match.understood:
        return (Unknown(match.text),)
    try:
        return tuple(row(match))
    except (ValueError, OSError, IndexError, KeyError):
        return (Unknown(match.text),)  # it says something that this version has never heard of


def _number(option: Option) -> int:
    """A protocol's number; 0 for any."""
    word = option.value.lower()
    if word.isdigit():
        return parse_number(word, 255)
    if word == "all":
        return 0
    return PROTOCOLS[word] if word in PROTOCOLS else socket.getprotobyname(word)


def _protocol(match: Match) -> Iterator[Condition]:
    (option,) = match.options
    number = _number(option)
    if number:
        yield Within((Field.PROTOCOL,), ((number, number),), option.negated)


def _address(match: Match) -> Iterator[Condition]:
    (option,) = match.options
    side = Field.SOURCE if match.name == "source" else Field.DESTINATION
    ranges = tuple(parse_address(part) for part in ",".join(option.values).split(","))
    yield Within((side,), ranges, option.negated)


def _device(match: Match) -> Iterator[Condition]:
    (option,) = match.options
    prefix = option.value.endswith("+")
    name = option.value[:-1] if prefix else option.value
    yield surroundings.Device(match.name == "out-interface", name, prefix, option.negated)


def _fragment(match: Match) -> Iterator[Condition]:
    yield headers.Fragment(match.options[0].negated)


def _comment(_match: Match) -> Iterator[Condition]:
    return iter(())


def _ports(option: Option) -> Within:
    ranges = tuple(parse_ports(part) for part in ",".join(option.values).split(","))
    return Within(SIDES[option.name], ranges, option.negated)


def _transport(match: Match) -> Iterator[Condition]:
    yield headers.WholeHeader()
    for option in match.options:
        if option.name in SIDES:
            yield _ports(option)
        elif option.name == "--syn":
            yield Masked(Field.TCP_FLAGS, TCP_FLAGS["SYN"], SYN_MASK, option.negated)
        elif option.name == "--tcp-flags":
            mask, wanted = (
                sum({TCP_FLAGS[flag] for flag in value.split(",")}) for value in option.values[:2]
            )
            yield Masked(Field.TCP_FLAGS, wanted, mask, option.negated)
        elif option.name == "--tcp-option":
            yield headers.TcpOption(parse_number(option.value, 255), option.negated)
        else:
            yield Unknown(match.text)


def _multiport(match: Match) -> Iterator[Condition]:
    yield headers.Fragment(negated=True)
    for option in match.options:
        yield _ports(option) if option.name in SIDES else Unknown(match.text)


def _icmp(match: Match) -> Iterator[Condition]:
    if not match.options:
        return
    yield headers.Fragment(negated=True)
    six = match.name != "icmp"
    for option in match.options:
        word, types = option.value, ICMP6_TYPES if six else ICMP_TYPES
        if option.name != ("--icmpv6-type" if six else "--icmp-type"):
            yield Unknown(match.text)
        elif word in types:
            yield headers.IcmpType(*types[word], option.negated)
        else:
            first, _, second = word.partition("/")
            yield headers.IcmpType(
                parse_number(first, 255),
                parse_number(second, 255) if second else -1,
                option.negated,
            )


def _address_type(match: Match) -> Iterator[Condition]:
    names = {option.name for option in match.options}
    limit = "in" if "--limit-iface-in" in names else "out" if "--limit-iface-out" in names else ""
    for option in match.options:
        if option.name in ("--src-type", "--dst-type"):
            side = Field.SOURCE if option.name == "--src-type" else Field.DESTINATION
            types = frozenset(option.value.upper().split(","))
            yield surroundings.AddressType(side, types, option.negated, limit)
        elif option.name not in ("--limit-iface-in", "--limit-iface-out"):
            yield Unknown(match.text)


def _conntrack(match: Match) -> Iterator[Condition]:
    for option in match.options:
        name, negated, value = option.name, option.negated, option.value
        if name in ("--ctstate", "--state"):
            yield conntrack.State(frozenset(value.upper().split(",")), negated)
        elif name == "--ctstatus":
            yield conntrack.Status(frozenset(value.upper().split(",")), negated)
        elif name == "--ctproto":
            number = _number(option)
            yield Within((Field.PROTOCOL,), ((number, number),), negated)
        elif name == "--ctdir":
            yield conntrack.Direction(value.upper() == "REPLY")
        elif name[:8] in ("--ctorig", "--ctrepl"):
            part = TUPLE_PARTS[name[8:]]
            span = parse_ports(value) if name.endswith("port") else parse_address(value)
            yield conntrack.InTuple(name.startswith("--ctrepl"), part, span, negated)
        else:
            yield Unknown(match.text)


def _mark(match: Match) -> Iterator[Condition]:
    for option in match.options:
        if option.name == "--mark":
            wanted = (*parse_mark(option.value), option.negated)
            named = match.name == "mark"
            yield Masked(Field.MARK, *wanted) if named else conntrack.Mark(*wanted)
        else:
            yield Unknown(match.text)


def _helper(match: Match) -> Iterator[Condition]:
    for option in match.options:
        yield conntrack.Helper(option.negated)


def _length(match: Match) -> Iterator[Condition]:
    (option,) = match.options
    yield Within((Field.LENGTH,), (parse_ports(option.value),), option.negated)


def _ttl(match: Match) -> Iterator[Condition]:
    for option in match.options:
        value = parse_number(option.value, 255)
        spans = {
            "--ttl-eq": (value, value),
            "--ttl-gt": (value + 1, 255),
            "--ttl-lt": (0, value - 1),
        }
        name = option.name.replace("--hl-", "--ttl-")
        yield Within((Field.TTL,), (spans[name],), option.negated)


def _extension(match: Match) -> Iterator[Condition]:
    """Whether an extension header is there; what is asked of its contents is unknown."""
    yield headers.Extension(EXTENSION_HEADERS[match.name])
    if match.options:
        yield Unknown(match.text)


def _address_range(match: Match) -> Iterator[Condition]:
    sides = {"--src-range": Field.SOURCE, "--dst-range": Field.DESTINATION}
    for option in match.options:
        first, _, last = option.value.partition("-")
        span = (parse_address(first)[0], parse_address(last or first)[0])
        yield Within((sides[option.name],), (span,), option.negated)


def _mac(match: Match) -> Iterator[Condition]:
    option = match.option("--mac-source")
    value = parse_number(option.value.replace(":", ""), (1 << 48) - 1, 16) if option else -1
    if option is None or len(match.options) > 1:
        yield Unknown(match.text)
    else:
        yield Within((Field.MAC_SOURCE,), ((value, value),), option.negated)


def _packet_type(match: Match) -> Iterator[Condition]:
    (option,) = match.options
    value = PACKET_TYPES[option.value]
    yield Within((Field.PACKET_TYPE,), ((value, value),), option.negated)


def _service(match: Match) -> Iterator[Condition]:
    for option in match.options:
        if option.name == "--tos":
            value, mask = parse_mark(option.value)
            yield Masked(Field.TOS, value, mask & 0xFF, option.negated)
        elif option.name in ("--dscp", "--dscp-class"):
            named = option.name == "--dscp-class"
            dscp = service_class(option.value) if named else parse_number(option.value, 63, 0)
            yield Masked(Field.TOS, dscp << 2, 0xFC, option.negated)
        else:
            yield Unknown(match.text)


def _set(match: Match) -> Iterator[Condition]:
    (option,) = match.options
    if option.name != "--match-set" or len(option.values) < 2:
        yield Unknown(match.text)
    else:
        name, sides = option.values[0], tuple(option.values[1].split(","))
        yield surroundings.InSet(name, sides, option.negated)


_MATCHES: dict[str, Callable[[Match], Iterator[Condition]]] = {
    "source": _address,
    "destination": _address,
    "in-interface": _device,
    "out-interface": _device,
    "protocol": _protocol,
    "fragment": _fragment,
    "comment": _comment,
    "tcp": _transport,
    "udp": _transport,
    "multiport": _multiport,
    "icmp": _icmp,
    "icmp6": _icmp,
    "icmpv6": _icmp,
    "ipv6-icmp": _icmp,
    "addrtype": _address_type,
    "conntrack": _conntrack,
    "state": _conntrack,
    "mark": _mark,
    "connmark": _mark,
    "helper": _helper,
    "length": _length,
    "ttl": _ttl,
    "hl": _ttl,
    "hbh": _extension,
    "rt": _extension,
    "frag": _extension,
    "dst": _extension,
    "iprange": _address_range,
    "mac": _mac,
    "pkttype": _packet_type,
    "tos": _service,
    "dscp": _service,
    "set": _set,
}
