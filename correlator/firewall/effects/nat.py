"""What NAT targets can do to a packet: the addresses and ports they may write.

Sources: iptables-extensions(8) for the options; net/netfilter/nf_nat_core.c (a port in use is
rewritten, so a source port may change under any source NAT), xt_MASQUERADE.c (the source is the
address of the interface it leaves by), nf_nat_redirect.c (127.0.0.1 for packets of the host itself,
else the first address of the incoming interface)."""

from __future__ import annotations

from dataclasses import dataclass

from correlator.addresses import END_OF_IPV4, LOCALHOST
from correlator.firewall.conditions.ternary import Reads
from correlator.firewall.model import Target
from correlator.firewall.values import parse_address, parse_ports
from correlator.firewall.view import Host, View


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The ranges (inclusive) of addresses and ports that a NAT may write; empty: any address,
    unchanged port."""

    addresses: tuple[tuple[int, int], ...]
    ports: tuple[int, int] | None = None
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


def parse_range(text: str) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """``172.17.0.2-172.17.0.4:80-90`` as (addresses or None, ports or None)."""
    address, _, ports = text.partition(":")
    first, _, last = address.partition("-")
    addresses = (parse_address(first)[0], parse_address(last or first)[0]) if address else None
    return addresses, parse_ports(ports.partition("/")[0]) if ports else None


def target_ranges(target: Target) -> list[tuple[tuple[int, int] | None, tuple[int, int] | None]]:
    """The (addresses, ports) ranges that a NAT target names in its options."""
    ranges: list[tuple[tuple[int, int] | None, tuple[int, int] | None]] = []
    for option in target.options:
        if option.name in ("--to-destination", "--to-source"):
            ranges.extend(parse_range(value) for value in option.values)
        elif option.name == "--to-ports":
            ranges.append((None, parse_ports(option.value)))
        elif option.name == "--to":
            ranges.append((parse_address(option.value), None))
    return ranges


def note_reads(target: Target, reads: Reads) -> None:
    """What a NAT target writes is told apart like what a match asks."""
    for addresses, ports in target_ranges(target):
        if addresses is not None:
            reads.address_range(*addresses)
        if ports is not None:
            reads.port_range(*ports)


def _own(host: Host, device: str | None) -> tuple[tuple[int, int], ...]:
    """Addresses that the host may use on a device; any where nothing tells."""
    if device and host.addresses.get(device):
        return tuple((a, a) for a in host.addresses[device])
    if host.certain and host.local:
        return tuple((a, a) for a in sorted(host.local))
    return ((0, END_OF_IPV4 - 1),)


def destination_rewrite(target: Target, view: View, host: Host) -> Rewrite | None:
    """What a target writes into the destination at PREROUTING or OUTPUT; None if it is no
    destination NAT."""
    ranges = target_ranges(target)
    if target.name == "DNAT":
        addresses = tuple(a for a, _ in ranges if a is not None) or ((view.dst, view.dst),)
        ports = next((p for _, p in ranges if p is not None), None)
        return Rewrite(addresses, ports)
    if target.name == "REDIRECT":
        own = ((LOCALHOST, LOCALHOST),) if view.hook == "OUTPUT" else _own(host, view.in_interface)
        return Rewrite(own, ranges[0][1] if ranges else None)
    if target.name == "NETMAP" and view.hook in ("PREROUTING", "OUTPUT"):
        return _netmap(ranges, view.dst)
    return None


def source_rewrite(target: Target, view: View, host: Host) -> Rewrite | None:
    """What a target writes into the source at POSTROUTING or INPUT; None if it is no source NAT."""
    ranges = target_ranges(target)
    if target.name == "SNAT":
        addresses = tuple(a for a, _ in ranges if a is not None) or ((view.src, view.src),)
        return Rewrite(
            addresses, next((p for _, p in ranges if p is not None), None), any_port=True
        )
    if target.name == "MASQUERADE":
        return Rewrite(
            _own(host, view.out_interface), ranges[0][1] if ranges else None, any_port=True
        )
    if target.name == "NETMAP" and view.hook in ("POSTROUTING", "INPUT"):
        return _netmap(ranges, view.src)
    return None


def _netmap(
    ranges: list[tuple[tuple[int, int] | None, tuple[int, int] | None]], address: int
) -> Rewrite | None:
    if not ranges or ranges[0][0] is None:
        return None
    low, high = ranges[0][0]
    mapped = low | (address & (high - low))
    return Rewrite(((mapped, mapped),))
