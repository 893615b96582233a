"""What a rule can see of a packet, and of the host around it.

A :class:`View` is one packet at one moment of its way through the hooks. It changes as targets
rewrite it (NAT, marks), so it is mutable and copied where the walk forks. Addresses are numbers
(:mod:`correlator.addresses`)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from correlator.addresses import (
    END_OF_IPV4,
    LIMITED_BROADCAST,
    in_network,
    is_ipv6,
    is_loopback,
    is_multicast,
)
from correlator.dataset.conntrack_settings import DEFAULT_SETTINGS

if TYPE_CHECKING:
    from correlator.dataset.conntrack_settings import ConntrackSettings
    from correlator.firewall.hooks import Hook
    from correlator.firewall.sets import AddressSet

NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED = (
    "NEW",
    "ESTABLISHED",
    "RELATED",
    "INVALID",
    "UNTRACKED",
)

UNKNOWN_ADDRESS, UNKNOWN_PORT = -1, -1
"""Written by a translation that nothing tells; what asks for it is unknown."""


@dataclass(slots=True)
class View:
    """One packet as the rules see it now.

    ``in_interface`` and ``out_interface`` are empty where the hook has none and None where nothing
    tells. ``mark`` and ``connmark`` are None once an unknown value was written. ``reply`` is the
    packet's direction; ``indivisible`` are bytes (L3) that have to leave in one piece (DF), 0 where
    they may be cut; ``extensions``: bits of IPv6 extension headers, as the packet table has them;
    ``original`` and ``replied`` are the connection's two tuples as (src, sport,
    dst, dport), or None."""

    protocol: int
    src: int
    dst: int
    sport: int = -1
    dport: int = -1
    in_interface: str | None = ""
    out_interface: str | None = ""
    state: str = NEW
    reply: bool = False
    seen_reply: bool = False
    original: tuple[int, int, int, int] | None = None
    replied: tuple[int, int, int, int] | None = None
    dnat: bool | None = False
    snat: bool | None = False
    mark: int | None = 0
    connmark: int | None = 0
    length: int = 0
    ttl: int = 64
    tos: int = 0
    tcp_flags: int = 0
    tcp_option_kinds: int | None = None
    icmp_type: int = -1
    icmp_code: int = -1
    mac_src: int | None = None
    packet_type: int | None = None
    fragment: bool = False
    indivisible: int = 0
    malformed: bool = False
    hook: Hook | None = None
    extensions: int = 0

    @property
    def next_header(self) -> int | None:
        """What IPv6's own header says comes next; None where that is an extension header."""
        return None if self.extensions else self.protocol

    def clone(self) -> View:
        """A copy that can be rewritten on its own."""
        return copy.copy(self)


@dataclass(frozen=True)
class Route:
    """Where packets to ``net``/``length`` go; ``local`` for this host's own addresses."""

    net: int
    length: int
    device: str
    local: bool = False
    broadcast: bool = False
    source: int = 0
    metric: int = 0
    blackhole: bool = False


@dataclass(frozen=True)
class Host:
    """The host around the rules: own addresses, routes, bridges, ipsets.

    ``routes`` is sorted by falling prefix length, local ones first. ``addresses`` maps an interface
    to its own addresses in order (MASQUERADE takes the first that fits). ``reverse_path`` maps an
    interface to its rp_filter as it works (1 strict, 2 loose), and ``own_sources`` are those that
    let the host's own addresses in (accept_local); both are None where settings or routes do not
    tell. ``forwarding`` maps an interface to whether what comes in there is forwarded, and
    ``localnet`` are those that let 127.0.0.0/8 in (route_localnet); None where no setting tells.
    ``mtus``: bytes of L3 that an interface sends at once, where that is known.
    ``conntrack``: its settings. Of IPv6: ``anycast`` addresses, which are delivered here too, and
    ``groups``: interface -> multicast groups that the host has surely joined there."""

    local: frozenset[int]
    broadcast: frozenset[int] = frozenset()
    routes: tuple[Route, ...] = ()
    addresses: dict[str, tuple[int, ...]] = field(default_factory=dict)
    bridges: frozenset[str] = frozenset()
    sets: dict[str, AddressSet] = field(default_factory=dict)
    certain: bool = True
    reverse_path: dict[str, int] | None = None
    own_sources: frozenset[str] | None = None
    forwarding: dict[str, bool] | None = None
    localnet: frozenset[str] | None = None
    mtus: dict[str, int] = field(default_factory=dict)
    conntrack: ConntrackSettings = DEFAULT_SETTINGS
    anycast: frozenset[int] = frozenset()
    groups: dict[str, frozenset[int]] = field(default_factory=dict)

    def is_local(self, address: int) -> bool:
        """Whether the kernel's local table has that address (127.0.0.0/8 whole, fib_trie.c)."""
        return is_loopback(address) or address in self.local

    def route(self, address: int) -> Route | None:
        """The route to an address, or None where there is none."""
        if self.is_local(address):
            length = 128 if is_ipv6(address) else 32
            return Route(address, length, "lo", local=True, source=address)
        for route in self.routes:
            if not route.local and in_network(address, route.net, route.length):
                return route
        return None

    def source_for(self, address: int) -> int:
        """The source that the kernel gives to what the host sends to an address, where the program
        names none: the preferred one of the route, an own address' too (fib_result_prefsrc,
        net/ipv4/fib_semantics.c); 0 where nothing tells."""
        for route in self.routes:
            if route.local and in_network(address, route.net, route.length):
                return route.source or address
        found = self.route(address)
        return found.source if found is not None else 0

    def turned_away(self, source: int, interface: str | None) -> str:
        """Why the kernel drops what comes in there from that source: ``martian``, ``reverse-path``,
        or empty: it does not.

        Told after PREROUTING and only of packets to be routed (fib_validate_source,
        net/ipv4/fib_frontend.c)."""
        if (
            not interface
            or self.reverse_path is None
            or self.own_sources is None
            or not self.certain
        ):
            return ""
        if self.is_local(source):
            return "" if interface in self.own_sources else "martian"
        mode, route = self.reverse_path.get(interface, 0), self.route(source)
        if not mode or (
            route is not None and not route.blackhole and (mode == 2 or route.device == interface)
        ):
            return ""
        return "reverse-path"

    def forwards(self, interface: str | None) -> bool:
        """Whether what comes in there may be forwarded (IN_DEV_FORWARD in ip_route_input_slow,
        net/ipv4/route.c); True where nothing tells."""
        return self.forwarding is None or self.forwarding.get(interface or "", True)

    def keeps_out(self, destination: int, interface: str | None) -> bool:
        """Whether the kernel drops what comes in there for a loopback address: a martian
        destination (ip_route_input_slow; route_localnet in ip-sysctl). False where nothing
        tells."""
        return (
            is_loopback(destination)
            and bool(interface)
            and interface != "lo"
            and self.localnet is not None
            and interface not in self.localnet
        )

    def exceeds_mtu(self, length: int, interface: str | None) -> bool:
        """Whether so many bytes (L3) in one piece are more than what leaves by an interface at
        once. They may leave all the same, where they were put together from smaller packets as
        they came in (GRO; ip_exceeds_mtu, net/ipv4/ip_forward.c)."""
        return length > self.mtus.get(interface or "", length)

    def address_type(self, address: int) -> str:
        """What ``-m addrtype`` calls an address (net/netfilter/xt_addrtype.c over
        inet_addr_type)."""
        if address in (0, END_OF_IPV4):
            return "UNSPEC"
        if address == LIMITED_BROADCAST or address in self.broadcast:
            return "BROADCAST"
        if is_multicast(address):
            return "MULTICAST"
        if self.is_local(address):
            return "LOCAL"
        if address in self.anycast:
            return "ANYCAST"
        route = self.route(address)
        if route is not None and route.blackhole:
            return "BLACKHOLE"
        return "UNICAST"
