"""Values as rules spell them: addresses, ports, marks, protocols."""

from __future__ import annotations

import ipaddress
import socket

from correlator import addresses
from correlator.endpoints import HIGHEST_PORT

ALL_BITS = 0xFFFFFFFF
PROTOCOLS = {
    "ip": 0,
    "icmp": 1,
    "igmp": 2,
    "ipencap": 4,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "ipv6-icmp": 58,
    "icmpv6": 58,
    "ospf": 89,
    "ipip": 94,
    "sctp": 132,
    "udplite": 136,
}


def parse_number(text: str, most: int, base: int = 10) -> int:
    """A number from 0 to ``most``; base 0: as C writes it. ValueError where it is none."""
    value = int(text, base)
    if not 0 <= value <= most:
        raise ValueError(f"{text[:20]} is not within 0 and {most}")
    return value


def parse_address(text: str) -> tuple[int, int]:
    """``172.17.0.0/16`` (or with a dotted mask, or a bare address) as the inclusive range of its
    addresses; of ``fd00::/64`` those in the address book."""
    address, _, mask = text.partition("/")
    if ":" in address:
        return _parse_address6(address, mask)
    value = int.from_bytes(socket.inet_aton(address), "big")
    if not mask:
        return value, value
    bits = (
        int.from_bytes(socket.inet_aton(mask), "big")
        if "." in mask
        else ~((1 << (32 - parse_number(mask, 32))) - 1)
    )
    bits &= 0xFFFFFFFF
    return value & bits, (value & bits) | (~bits & 0xFFFFFFFF)


def _parse_address6(address: str, mask: str) -> tuple[int, int]:
    """ValueError for a mask that is no prefix: what it asks for are no ranges."""
    value = int(ipaddress.IPv6Address(address))
    if not mask:
        return addresses.value(address), addresses.value(address)
    length = _prefix_length(mask) if ":" in mask else parse_number(mask, addresses.WIDTH6)
    size = 1 << (addresses.WIDTH6 - length)
    low = value // size * size
    return addresses.book().span(low, low + size - 1)


def _prefix_length(mask: str) -> int:
    bits = f"{int(ipaddress.IPv6Address(mask)):0128b}"
    if "01" in bits:
        raise ValueError(f"{mask} is no prefix")
    return bits.count("1")


def spell_addresses(low: int, high: int) -> str:
    """A range of addresses in words: one, a net, or the first and the last."""
    first, size = addresses.text(low), high - low + 1
    if addresses.is_ipv6(low) and size > 1:
        return _spell_addresses6(low, high)
    if size == 1:
        return first
    if size & (size - 1) == 0 and low % size == 0:
        return f"{first}/{33 - size.bit_length()}"
    return f"{first}-{addresses.text(high)}"


def _spell_addresses6(low: int, high: int) -> str:
    first, last = addresses.book().value(low), addresses.book().value(high)
    size = last - first + 1
    if size & (size - 1) == 0 and first % size == 0:
        return f"{addresses.text(low)}/{addresses.WIDTH6 + 1 - size.bit_length()}"
    return f"{addresses.text(low)}-{addresses.text(high)}"


def parse_port(text: str, default: int = 0) -> int:
    """A port number or a service's name (services(5))."""
    if not text:
        return default
    return parse_number(text, HIGHEST_PORT) if text.isdigit() else socket.getservbyname(text)


def parse_ports(text: str) -> tuple[int, int]:
    """``80``, ``1000:2000``, ``:1023`` or ``1024-`` as an inclusive range."""
    for separator in (":", "-"):
        low, found, high = text.partition(separator)
        if found:
            return parse_port(low), parse_port(high, HIGHEST_PORT)
    return parse_port(text), parse_port(text)


def parse_mark(text: str) -> tuple[int, int]:
    """``0x4000/0x4000`` as (value, mask)."""
    value, _, mask = text.partition("/")
    return parse_number(value, ALL_BITS, 0), parse_number(mask, ALL_BITS, 0) if mask else ALL_BITS


def service_class(word: str) -> int:
    """The DSCP of a class's name: EF, BE, CS0 to CS7, AF11 to AF43 (RFC 2597, RFC 3246)."""
    return _CLASSES[word.upper()]


_CLASSES = {
    "EF": 46,
    "BE": 0,
    **{f"CS{n}": 8 * n for n in range(8)},
    **{f"AF{i}{j}": 8 * i + 2 * j for i in range(1, 5) for j in range(1, 4)},
}
