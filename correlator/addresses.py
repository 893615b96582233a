"""Addresses are numbers without a width, and this is the one place that knows what a number means.

Up to 2**32 a number is an IPv4 address's value, most significant octet first (RFC 791); from there
on it is a place in an :class:`AddressBook`, whatever the family of the address that stands there::

    0 ............... 2**32 ...................... 2**47
    | IPv4's value     | 2**32 + place in the book  |

So every table holds addresses of all families in one column of integers, an endpoint is still one
int64 (:mod:`correlator.endpoints`), and rules compare numbers. -1 is an unknown address. The tests
take one number or an array of them; of what stands in a book they say no."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from correlator.arrays import Bools, Ints

END_OF_IPV4 = 1 << 32
"""The first number that is none of IPv4's, and the first place of an address book."""
LIMITED_BROADCAST = END_OF_IPV4 - 1
"""255.255.255.255 (RFC 919)."""
LOOPBACK = 127 << 24, 128 << 24
"""127.0.0.0/8 (RFC 1122, 3.2.1.3), the end not included."""
LOCALHOST = LOOPBACK[0] + 1
"""127.0.0.1."""
LOCALHOST = LOOPBACK[0] + 1
MULTICAST = 224 << 24, 240 << 24
"""224.0.0.0/4 (RFC 5771), the end not included."""
ALL_HOSTS = MULTICAST[0] + 1
"""The group that every host has joined (RFC 1112, ip_mc_up)."""


@dataclass(frozen=True)
class AddressBook:
    """The addresses that are no IPv4 ones, as text, in the order of their places."""

    others: tuple[str, ...] = ()

    def text(self, address: int) -> str:
        """How an address is written; empty for an unknown one."""
        if 0 <= address < END_OF_IPV4:
            return socket.inet_ntoa(int(address).to_bytes(4, "big"))
        place = address - END_OF_IPV4
        return self.others[place] if 0 <= place < len(self.others) else ""


def text(address: int) -> str:
    """An IPv4 address in dotted form; empty for one that is unknown or of a book."""
    return AddressBook().text(address)


def value(dotted: str) -> int:
    """The number of an IPv4 address in dotted form; ValueError where it is none."""
    return int(IPv4Address(dotted))


@overload
def is_loopback(address: int) -> bool: ...
@overload
def is_loopback(address: Ints) -> Bools: ...
def is_loopback(address: int | Ints) -> bool | Bools:
    """Whether it is one of 127.0.0.0/8."""
    return (address >= LOOPBACK[0]) & (address < LOOPBACK[1])


@overload
def is_multicast(address: int) -> bool: ...
@overload
def is_multicast(address: Ints) -> Bools: ...
def is_multicast(address: int | Ints) -> bool | Bools:
    """Whether it is a multicast group."""
    return (address >= MULTICAST[0]) & (address < MULTICAST[1])


def is_no_source(address: int) -> bool:
    """Whether no single host sends from it: a group's, or everybody's (a martian source,
    ip_route_input_slow and ip_mc_validate_source, net/ipv4/route.c)."""
    return is_multicast(address) or address == LIMITED_BROADCAST


def network_range(network: int, length: int) -> tuple[int, int]:
    """First and last address of the IPv4 network that ``network``/``length`` lies in."""
    size = 1 << (32 - length)
    low = network - network % size
    return low, low + size - 1


@overload
def in_network(address: int, network: int, length: int) -> bool: ...
@overload
def in_network(address: Ints, network: int, length: int) -> Bools: ...
def in_network(address: int | Ints, network: int, length: int) -> bool | Bools:
    """Whether an address lies in the IPv4 network ``network``/``length``."""
    low, high = network_range(network, length)
    return (address >= low) & (address <= high)
