"""What NAT can do to a packet: the addresses and ports it may write.

Sources: iptables-extensions(8) for what it is given; net/netfilter/nf_nat_core.c (a port in use is
rewritten, so a source port may change under any source NAT), nf_nat_masquerade.c (the source is the
address of the interface it leaves by), nf_nat_redirect.c (127.0.0.1 for packets of the host itself,
else the first address of the incoming interface)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from correlator.addresses import (
    END_OF_ALL,
    END_OF_IPV4,
    LOCALHOST,
    is_ipv6,
    is_loopback,
    localhost6,
)
from correlator.firewall.conditions.headers import Range
from correlator.firewall.conditions.keyed import Key, Row, met, note_keys
from correlator.firewall.conditions.ternary import Reads
from correlator.firewall.hooks import Hook
from correlator.firewall.view import Host, View

ANYWHERE, ANYWHERE6 = (0, END_OF_IPV4 - 1), (END_OF_IPV4, END_OF_ALL - 1)


class NatKind(Enum):
    """How a NAT finds what it writes: named (DNAT, SNAT), the interface's own address (MASQUERADE,
    REDIRECT), or the same place in another net (NETMAP, on either side)."""

    DNAT = "dnat"
    SNAT = "snat"
    MASQUERADE = "masquerade"
    REDIRECT = "redirect"
    NETMAP = "netmap"


@dataclass(frozen=True, slots=True)
class NatRange:
    """Addresses and ports that a NAT names; None: it names none."""

    addresses: Range | None = None
    ports: Range | None = None

    def includes(self, address: int, port: int) -> bool:
        """Whether it may lead to that endpoint."""
        return _in(self.addresses, address) and _in(self.ports, port)


def _in(span: Range | None, value: int) -> bool:
    return span is None or span[0] <= value <= span[1]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The ranges (inclusive) of addresses and ports that a NAT may write; without, it stays."""

    addresses: tuple[Range, ...]
    ports: Range | None = None
    any_port: bool = False

    def allows(self, address: int, port: int, port_before: int) -> bool:
        """Whether the packet may look like this afterwards."""
        if not any(low <= address <= high for low, high in self.addresses):
            return False
        if self.ports is not None:
            return self.ports[0] <= port <= self.ports[1] or self.any_port
        return self.any_port or port == port_before

    @property
    def single(self) -> tuple[int, int | None] | None:
        """The (address, port or None for unchanged) that it must become, or None where there is a
        choice."""
        if len(self.addresses) != 1 or self.addresses[0][0] != self.addresses[0][1]:
            return None
        if self.ports is not None and self.ports[0] != self.ports[1]:
            return None
        return self.addresses[0][0], self.ports[0] if self.ports else None


@dataclass(frozen=True, slots=True)
class Nat:
    """A translation that a rule asks for. ``foreign``: of another family's packets than walk it, so
    that it does nothing. ``rows``: where a map tells the range by what ``keys`` read, the row of
    each range."""

    kind: NatKind
    ranges: tuple[NatRange, ...] = ()
    foreign: bool = False
    keys: tuple[Key, ...] = ()
    rows: tuple[Row, ...] = ()

    @property
    def of_destination(self) -> bool:
        """Whether it rewrites destinations (NETMAP does, ahead of routing)."""
        return self.kind in (NatKind.DNAT, NatKind.REDIRECT, NatKind.NETMAP)

    def note(self, reads: Reads) -> None:
        """What it writes is told apart like what a condition asks."""
        note_keys(reads, self.keys, self.rows)
        for one in self.ranges:
            if one.addresses is not None:
                reads.address_range(*one.addresses)
            if one.ports is not None:
                reads.port_range(*one.ports)

    def rewrite(self, view: View, host: Host) -> Rewrite | None:
        """What it writes: into the source at POSTROUTING and INPUT, else into the destination; None
        where it does nothing at that hook."""
        if self.keys:
            return self._chosen(view, host).rewrite(view, host)
        if view.hook in (Hook.POSTROUTING, Hook.INPUT):
            return self._source(view, host)
        return self._destination(view, host)

    def _chosen(self, view: View, host: Host) -> Nat:
        """The same with the ranges only that the packet may get, ports as far apart as theirs."""
        chosen = [self.ranges[at] for at, _ in met(self.keys, self.rows, view, host)]
        ports = [one.ports for one in chosen if one.ports is not None]
        if ports:
            span = min(low for low, _ in ports), max(high for _, high in ports)
            chosen = [NatRange(one.addresses, span) for one in chosen]
        return Nat(self.kind, tuple(chosen))

    def _destination(self, view: View, host: Host) -> Rewrite | None:
        if self.kind is NatKind.DNAT:
            return Rewrite(self._addresses or ((view.dst, view.dst),), self._ports)
        if self.kind is NatKind.REDIRECT:
            if view.hook is Hook.OUTPUT:
                own = localhost6() if is_ipv6(view.dst) else LOCALHOST
                return Rewrite(((own, own),), self._ports)
            return Rewrite(_own(host, view.in_interface, view.dst), self._ports)
        return self._mapped(view.dst) if self.kind is NatKind.NETMAP else None

    def _source(self, view: View, host: Host) -> Rewrite | None:
        if self.kind is NatKind.SNAT:
            addresses = self._addresses or ((view.src, view.src),)
            return Rewrite(addresses, self._ports, any_port=True)
        if self.kind is NatKind.MASQUERADE:
            own = _own(host, view.out_interface, view.src)
            return Rewrite(own, self._ports, any_port=True)
        return self._mapped(view.src) if self.kind is NatKind.NETMAP else None

    @property
    def _addresses(self) -> tuple[Range, ...]:
        return tuple(one.addresses for one in self.ranges if one.addresses is not None)

    @property
    def _ports(self) -> Range | None:
        return next((one.ports for one in self.ranges if one.ports is not None), None)

    def _mapped(self, address: int) -> Rewrite | None:
        if not self.ranges or self.ranges[0].addresses is None:
            return None
        low, high = self.ranges[0].addresses
        if is_ipv6(low):
            return Rewrite(((low, high),))
        mapped = low | (address & (high - low))
        return Rewrite(((mapped, mapped),))


def _own(host: Host, device: str | None, before: int) -> tuple[Range, ...]:
    """Addresses that the host may use on a device in the place of the one ``before``; any of its
    family where nothing tells. On loopback they are
    other devices': 127.0.0.1 has no scope beyond the host (inet_select_addr, net/ipv4/devinet.c).
    """
    usable = [a for a in host.addresses.get(device or "", ()) if not is_loopback(a)]
    if usable:
        return tuple((a, a) for a in usable)
    if host.certain and host.local:
        return tuple((a, a) for a in sorted(host.local))
    return (ANYWHERE6 if is_ipv6(before) else ANYWHERE,)
