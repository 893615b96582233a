"""Addresses are numbers without a width, and this is the one place that knows what a number means.

Up to 2**32 a number is an IPv4 address's value, most significant octet first (RFC 791); from there
on it is a place in an :class:`AddressBook`, which holds a recording's IPv6 addresses in order::

    0 ............... 2**32 ...................... 2**47
    | IPv4's value     | 2**32 + place in the book  |

So every table holds addresses of both families in one column of integers, an endpoint is still one
int64 (:mod:`correlator.endpoints`), rules compare numbers, and a network is a range of them. -1 is
an unknown address. A book is made of all addresses that packets, rules and facts name, before any
of them becomes a number, and is in force while they are worked with (:func:`using`). The tests take
one number or an array of them."""

from __future__ import annotations

import socket
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from correlator.arrays import Bools, Ints

END_OF_IPV4 = 1 << 32
"""The first number that is none of IPv4's, and the first place of an address book."""
END_OF_ALL = 1 << 47
"""The first number that is no address's."""
LIMITED_BROADCAST = END_OF_IPV4 - 1
"""255.255.255.255 (RFC 919)."""
LOOPBACK = 127 << 24, 128 << 24
"""127.0.0.0/8 (RFC 1122, 3.2.1.3), the end not included."""
LOCALHOST = LOOPBACK[0] + 1
"""127.0.0.1."""
MULTICAST = 224 << 24, 240 << 24
"""224.0.0.0/4 (RFC 5771), the end not included."""
ALL_HOSTS = MULTICAST[0] + 1
"""The group that every host has joined (RFC 1112, ip_mc_up)."""

LOCALHOST6 = 1
"""::1 (RFC 4291, 2.5.3), as a value of 128 bits."""
MULTICAST6 = 0xFF << 120
"""ff00::, from which on there are groups only (RFC 4291, 2.7)."""
LINK_LOCAL6 = 0xFE80 << 112
"""fe80::/10 (RFC 4291, 2.5.6)."""
ALL_NODES6 = (0xFF01 << 112) + 1, (0xFF02 << 112) + 1
"""The groups that every host has joined (RFC 4291, 2.7.1)."""
WIDTH6 = 128
KNOWN6 = (0, LOCALHOST6, MULTICAST6, LINK_LOCAL6, *ALL_NODES6, (1 << WIDTH6) - 1)
"""What every book holds."""


@dataclass(frozen=True)
class AddressBook:
    """IPv6 addresses as values of 128 bits, each once, in order."""

    values: tuple[int, ...]

    @classmethod
    def of(cls, values: Iterable[int]) -> AddressBook:
        """The book of these addresses, in any order."""
        return cls(tuple(sorted({*values, *KNOWN6})))

    def number(self, value: int) -> int:
        """The number of an IPv6 address; ValueError where it is not in the book."""
        place = bisect_left(self.values, value)
        if place == len(self.values) or self.values[place] != value:
            raise ValueError(f"{IPv6Address(value)} is in no address book")
        return END_OF_IPV4 + place

    def value(self, number: int) -> int:
        """The IPv6 address that a number stands for; LookupError where it stands for none."""
        place = number - END_OF_IPV4
        if not 0 <= place < len(self.values):
            raise LookupError(f"{number} is no place in the address book")
        return self.values[place]

    def span(self, low: int, high: int) -> tuple[int, int]:
        """The first and the last number of the addresses from ``low`` to ``high``; the last lies
        before the first where there is none."""
        first, behind = bisect_left(self.values, low), bisect_right(self.values, high)
        return END_OF_IPV4 + first, END_OF_IPV4 + behind - 1

    def text(self, address: int) -> str:
        """How an address is written (RFC 5952 for IPv6); empty for an unknown one."""
        if 0 <= address < END_OF_IPV4:
            return socket.inet_ntoa(int(address).to_bytes(4, "big"))
        place = int(address) - END_OF_IPV4
        return str(IPv6Address(self.values[place])) if 0 <= place < len(self.values) else ""


_NO_BOOK = AddressBook.of(())
_BOOK: ContextVar[AddressBook | None] = ContextVar("book", default=None)


def book() -> AddressBook:
    """The address book in force."""
    return _BOOK.get() or _NO_BOOK


@contextmanager
def using(one: AddressBook) -> Iterator[None]:
    """Let numbers from 2**32 on be places in this book."""
    before = _BOOK.set(one)
    try:
        yield
    finally:
        _BOOK.reset(before)


@overload
def is_ipv6(address: int) -> bool: ...
@overload
def is_ipv6(address: Ints) -> Bools: ...
def is_ipv6(address: int | Ints) -> bool | Bools:
    """Whether a number is an IPv6 address's."""
    return address >= END_OF_IPV4


def text(address: int) -> str:
    """An address as it is written; empty for one that is unknown."""
    return book().text(address)


def value(written: str) -> int:
    """The number of an address as it is written; ValueError where it is none, or in no book."""
    if ":" in written:
        return book().number(int(IPv6Address(written.partition("%")[0])))
    return int(IPv4Address(written))


@overload
def is_loopback(address: int) -> bool: ...
@overload
def is_loopback(address: Ints) -> Bools: ...
def is_loopback(address: int | Ints) -> bool | Bools:
    """Whether it is one of 127.0.0.0/8, or ::1."""
    return ((address >= LOOPBACK[0]) & (address < LOOPBACK[1])) | (address == localhost6())


def localhost6() -> int:
    """The number of ::1."""
    return book().number(LOCALHOST6)


def groups6() -> tuple[int, int]:
    """The first and the last number of IPv6's groups."""
    return book().span(MULTICAST6, (1 << WIDTH6) - 1)


@overload
def is_multicast(address: int) -> bool: ...
@overload
def is_multicast(address: Ints) -> Bools: ...
def is_multicast(address: int | Ints) -> bool | Bools:
    """Whether it is a multicast group."""
    low, high = groups6()
    return ((address >= MULTICAST[0]) & (address < MULTICAST[1])) | (
        (address >= low) & (address <= high)
    )


def is_link_local(address: int) -> bool:
    """Whether it is one of fe80::/10, which no router forwards (ip6_forward,
    net/ipv6/ip6_output.c)."""
    low, high = link_local6()
    return low <= address <= high


def link_local6() -> tuple[int, int]:
    """The first and the last number of fe80::/10."""
    return book().span(LINK_LOCAL6, LINK_LOCAL6 + (1 << 118) - 1)


def solicited_node(address: int) -> int | None:
    """The group in which who has an IPv6 address is asked for it (RFC 4291, 2.7.1); None where the
    book does not hold it."""
    group = (0xFF02 << 112) + (1 << 32) + (0xFF << 24) + (book().value(address) & 0xFFFFFF)
    try:
        return book().number(group)
    except ValueError:
        return None


def is_no_source(address: int) -> bool:
    """Whether no single host sends from it: a group's, or everybody's (a martian source,
    ip_route_input_slow and ip_mc_validate_source, net/ipv4/route.c; a group's, ip6_rcv_core,
    net/ipv6/ip6_input.c)."""
    return is_multicast(address) or address == LIMITED_BROADCAST


def network_range(network: int, length: int) -> tuple[int, int]:
    """First and last address of the network that ``network``/``length`` lies in; of an IPv6 one,
    those that the book holds."""
    if network >= END_OF_IPV4:
        size = 1 << (WIDTH6 - length)
        low = book().value(network) // size * size
        return book().span(low, low + size - 1)
    size = 1 << (32 - length)
    low = network - network % size
    return low, low + size - 1


@overload
def in_network(address: int, network: int, length: int) -> bool: ...
@overload
def in_network(address: Ints, network: int, length: int) -> Bools: ...
def in_network(address: int | Ints, network: int, length: int) -> bool | Bools:
    """Whether an address lies in the network ``network``/``length``."""
    low, high = network_range(network, length)
    return (address >= low) & (address <= high)
