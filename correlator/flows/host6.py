"""The host as IPv6 has it: from ``addr.json`` and its like alone, since frames do not tell it.

Differences from IPv4 that rules can tell: no broadcast, no rp_filter; groups that every host has
joined; forwarding is one setting for all interfaces (ip6_forward, net/ipv6/ip6_output.c)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from correlator.addresses import ALL_NODES6, book, is_link_local, solicited_node
from correlator.dataset.conntrack_settings import read_conntrack_settings
from correlator.firewall.view import Host, Route

if TYPE_CHECKING:
    from collections.abc import Mapping

    from correlator.dataset.facts import Facts
    from correlator.firewall.sets import AddressSet

ALL_ROUTERS6 = tuple((0xFF00 | scope) << 112 | 2 for scope in (1, 2, 5))
"""The groups of routers (RFC 4291, 2.7.1), which who forwards joins (dev_forward_change)."""


def build_host6(
    facts: Facts, bridges: frozenset[str], sets: dict[str, AddressSet], routes: tuple[Route, ...]
) -> Host:
    """The host for the walk of IPv6."""
    addresses = {
        name: tuple(a for a, _ in fact.addresses) for name, fact in facts.interfaces.items()
    }
    local = {a for many in addresses.values() for a in many}
    local |= {r.destination for r in facts.routes if r.kind == "local" and r.length == 128}
    forwarding = facts.sysctls.get("net.ipv6.conf.all.forwarding")
    settings = read_conntrack_settings(facts.sysctls)
    control = facts.sysctls.get("net.netfilter.nf_conntrack_icmpv6_timeout", "")
    if control.isascii() and control.isdigit():
        settings = replace(settings, icmp_timeout=int(control))
    return Host(
        frozenset(local),
        frozenset(),
        tuple(
            route
            if route.source or route.local
            else replace(route, source=_source(route, addresses))
            for route in routes
            if not (route.net in local and route.length == 128) and not _of_a_port(route, facts)
        ),
        addresses,
        bridges,
        sets,
        bool(routes),
        forwarding=None
        if forwarding is None
        else dict.fromkeys(facts.interfaces, forwarding != "0"),
        mtus={name: fact.mtu for name, fact in facts.interfaces.items() if fact.mtu},
        conntrack=settings,
        anycast=frozenset(r.destination for r in facts.routes if r.kind == "anycast"),
        groups={name: _groups(facts, name, many) for name, many in addresses.items()},
    )


def _of_a_port(route: Route, facts: Facts) -> bool:
    """Whether a route leads to a bridge's port: what is sent by it is the port's own only."""
    fact = facts.interfaces.get(route.device)
    return fact is not None and bool(fact.master) and facts.is_bridge(fact.master)


def _source(route: Route, addresses: Mapping[str, tuple[int, ...]]) -> int:
    """The source of what the host sends by a route, where its device has one address only that is
    not link-local (RFC 6724, rules 2 and 5); 0 where nothing tells, as of link-local destinations,
    whose device the sender names."""
    wide = [a for a in addresses.get(route.device, ()) if not is_link_local(a)]
    return wide[0] if len(wide) == 1 and not is_link_local(route.net) else 0


def _groups(facts: Facts, interface: str, own: tuple[int, ...]) -> frozenset[int]:
    """The groups that a host has joined on an interface whatever its programs do, of those that
    the address book holds."""
    found = {book().number(group) for group in ALL_NODES6}
    found |= {group for a in own if (group := solicited_node(a)) is not None}
    name = interface.replace(".", "/")
    if facts.sysctls.get(f"net.ipv6.conf.{name}.forwarding", "0") != "0":
        held = set(book().values)
        found |= {book().number(group) for group in ALL_ROUTERS6 if group in held}
    return frozenset(found)
