"""Conditions on what surrounds a packet: interfaces, what the host calls its addresses, ipsets."""

from __future__ import annotations

from dataclasses import dataclass

from correlator.addresses import END_OF_IPV4, in_network, is_ipv6, is_link_local, is_multicast
from correlator.firewall.conditions.headers import Field
from correlator.firewall.conditions.ternary import Predicate, Reads, Ternary
from correlator.firewall.sets import ADDRESS, INTERFACE
from correlator.firewall.view import Host, View

PORTED = (6, 17, 132, 136)
"""Protocols with ports: TCP, UDP, SCTP, UDP-Lite."""
ICMP6 = 58


@dataclass(frozen=True, slots=True)
class Device:
    """It came in (or goes out, ``outgoing``) by an interface of that name; ``prefix``: by any whose
    name begins so."""

    outgoing: bool
    name: str
    prefix: bool = False
    negated: bool = False

    def compile(self, reads: Reads) -> Predicate:
        """A hook that has no such interface compares with the empty name (ip_tables.c)."""
        attribute = "out_interface" if self.outgoing else "in_interface"
        name, prefix, negated = self.name, self.prefix, self.negated

        def test(view: View, _host: Host) -> Ternary:
            actual: str | None = getattr(view, attribute)
            if actual is None:
                return None if name or not prefix else not negated
            return (actual.startswith(name) if prefix else actual == name) != negated

        return test


@dataclass(frozen=True, slots=True)
class AddressType:
    """What the routing table calls an address (xt_addrtype.c, nft_fib.c): LOCAL, UNICAST,
    BROADCAST, ...

    ``limit``: LOCAL counts only on the interface that it came ``in`` or goes ``out`` by."""

    field: Field
    types: frozenset[str]
    negated: bool = False
    limit: str = ""

    def compile(self, reads: Reads) -> Predicate:
        """Kinds are told apart by the type of their addresses."""
        reads.fields.add("addrtype")
        attribute = self.field.value

        def test(view: View, host: Host) -> Ternary:
            address: int = getattr(view, attribute)
            if address < 0:
                return None
            kind = host.address_type(address)
            if self.limit and kind == "LOCAL":
                device = view.in_interface if self.limit == "in" else view.out_interface
                if device is None:
                    return None
                if address not in host.addresses.get(device, ()):
                    kind = "UNICAST"
            if is_ipv6(address) and "UNICAST" in self.types:
                if len(self.types) > 1:
                    return None
                # an address's scope is asked, not the routing table (match_type6, xt_addrtype.c)
                return (kind not in ("MULTICAST", "UNSPEC")) != self.negated
            return (kind in self.types) != self.negated

        return test


@dataclass(frozen=True, slots=True)
class ReversePath:
    """Some route leads back to its source by the interface that it came in by (``fib saddr . iif
    oif``, nft_fib_ipv4.c and nft_fib_ipv6.c): none does to an own address."""

    negated: bool = False

    def compile(self, reads: Reads) -> Predicate:
        """Kinds are told apart by the routes to their addresses."""
        reads.fields.add("addrtype")

        def test(view: View, host: Host) -> Ternary:
            found = _leads_back(view, host)
            return None if found is None else found != self.negated

        return test


def _leads_back(view: View, host: Host) -> Ternary:
    """What is on loopback, comes from a neighbour, or asks whether its address is free, is let
    pass."""
    if not view.in_interface or view.src < 0 or not host.certain:
        return None
    if view.in_interface == "lo" or is_link_local(view.src):
        return True
    if view.src in (0, END_OF_IPV4):
        return True if view.protocol == ICMP6 and is_multicast(view.dst) else None
    if host.is_local(view.src):
        return False
    return any(
        route.device == view.in_interface
        and not (route.local or route.blackhole)
        and in_network(view.src, route.net, route.length)
        for route in host.routes
    )


@dataclass(frozen=True, slots=True)
class InSet:
    """Its values are in a named set; ``sides``: ``src`` or ``dst`` for each dimension
    (net/netfilter/ipset)."""

    name: str
    sides: tuple[str, ...]
    negated: bool = False

    def compile(self, reads: Reads) -> Predicate:
        """Unknown where the members were not saved."""
        reads.fields.add(f"set:{self.name}")

        def test(view: View, host: Host) -> Ternary:
            members = host.sets.get(self.name)
            if members is None or len(members.dimensions) > len(self.sides):
                return None
            values: list[int | str | None] = []
            for dimension, side in zip(members.dimensions, self.sides, strict=False):
                if dimension == ADDRESS:
                    values.append(view.src if side == "src" else view.dst)
                elif dimension == INTERFACE:
                    values.append(view.in_interface if side == "src" else view.out_interface)
                elif view.fragment or view.protocol not in PORTED:
                    return None
                else:
                    values.append(view.sport if side == "src" else view.dport)
            if -1 in values:
                return None
            found = members.contains(values, view.protocol)
            return None if found is None else found != self.negated

        return test
