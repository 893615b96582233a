"""Rule conditions as predicates: each compiles once into a function of a
:class:`~correlator.firewall.view.View`."""

from __future__ import annotations

from collections.abc import Callable

from correlator.firewall.conditions.conntrack import conntrack
from correlator.firewall.conditions.headers import (
    address,
    address_range,
    address_type,
    interface,
    ip_set,
    length,
    mac,
    mark,
    packet_type,
    time_to_live,
    type_of_service,
)
from correlator.firewall.conditions.ternary import Predicate, Reads, unknown
from correlator.firewall.conditions.transport import icmp, multiport, protocol, transport
from correlator.firewall.model import Match, Rule


def compile_rule(rule: Rule, reads: Reads) -> list[Predicate]:
    """The predicates of all conditions of a rule, in order."""
    return [compile_match(match, reads) for match in rule.matches]


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
        return address(match.options[0], "src" if name == "source" else "dst", reads)
    if name in ("in-interface", "out-interface"):
        return interface(match.options[0], name.replace("-", "_"))
    if name == "protocol":
        return protocol(match.options[0], reads)
    if name == "fragment":
        return lambda view, _host: view.fragment != match.options[0].negated
    if name == "comment":
        return lambda _view, _host: True
    if name in ("mark", "connmark"):
        return mark(match, name)
    builder = _BUILDERS.get(name)
    return builder(match, reads) if builder is not None else unknown


_BUILDERS: dict[str, Callable[[Match, Reads], Predicate]] = {
    "tcp": transport,
    "udp": transport,
    "multiport": multiport,
    "icmp": icmp,
    "addrtype": address_type,
    "conntrack": conntrack,
    "state": conntrack,
    "length": length,
    "ttl": time_to_live,
    "iprange": address_range,
    "mac": mac,
    "pkttype": packet_type,
    "tos": type_of_service,
    "dscp": type_of_service,
    "set": ip_set,
}
