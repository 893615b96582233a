"""What a number means as an address or an endpoint is known in one place."""

from __future__ import annotations

import ast
import ipaddress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlator import addresses, endpoints
from correlator.addresses import END_OF_IPV4, AddressBook

PACKAGE = Path(addresses.__file__).parent
IPV6 = st.integers(0, (1 << 128) - 1)
IPV4 = st.integers(0, END_OF_IPV4 - 1)
ADDRESSES = st.integers(0, (1 << 47) - 1)
PORTS = st.integers(0, endpoints.HIGHEST_PORT)
ENDPOINTS = st.tuples(ADDRESSES, PORTS)

BYTES_OF_FILES = {
    "capturing/nft.py": "sequence numbers of netlink",
    "capturing/sniffer.py": "headers of AF_PACKET's ring",
    "dataset/commented.py": "option headers of pcapng",
    "decode/checksums.py": "the 16-bit sums of RFC 1071",
    "decode/frames.py": "numbers of several bytes in frames",
    "decode/link.py": "the family ahead of a BSD loopback frame",
    "decode/pcap.py": "the link type in a pcap header",
    "decode/records.py": "numbers of several bytes in frames",
    "decode/stream.py": "the link type in a pcap header",
    "flows/community_id.py": "base64",
}
"""Modules that put numbers together from bytes, none of them an address and a port."""
WIDTHS = {16, 24, 28, 44}
MASK = 0xFFFF


def octet_arithmetic(source: str) -> list[int]:
    """Lines that shift a variable by whole octets, or mask it to 16 bits."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.BinOp):
            continue
        width = node.right.value if isinstance(node.right, ast.Constant) else None
        plain = isinstance(node.left, ast.Constant)
        shifts = isinstance(node.op, ast.LShift | ast.RShift) and width in WIDTHS and not plain
        masks = isinstance(node.op, ast.BitAnd) and width == MASK
        if shifts or masks:
            found.append(node.lineno)
    return found


def test_no_other_module_takes_addresses_or_endpoints_apart() -> None:
    """An address that is wider than four octets then changes two modules only."""
    found = {
        str(path.relative_to(PACKAGE)): lines
        for path in PACKAGE.rglob("*.py")
        if (lines := octet_arithmetic(path.read_text()))
    }
    assert found.keys() - BYTES_OF_FILES.keys() == set()


@pytest.mark.parametrize(
    "text", ["a << 16 | b", "end >> 16", "end & 0xFFFF", "source >> 24 == 127"]
)
def test_octet_arithmetic_is_recognised(text: str) -> None:
    """The check above would find what used to be written."""
    assert octet_arithmetic(text) == [1]


@given(ADDRESSES, PORTS)
def test_what_is_packed_comes_apart_again(address: int, port: int) -> None:
    """Of every address up to 47 bits and every port, as a number and as an array."""
    end = endpoints.pack(address, port)
    assert (endpoints.address_of(end), endpoints.port_of(end)) == (address, port)
    packed = endpoints.pack(np.array([address]), np.array([port]))
    assert packed.dtype == np.int64
    assert packed.tolist() == [end]
    assert endpoints.address_of(packed).tolist() == [address]
    assert endpoints.port_of(packed).tolist() == [port]


@given(ENDPOINTS, ENDPOINTS)
def test_endpoints_sort_by_address_before_port(one: tuple[int, int], two: tuple[int, int]) -> None:
    """So that the lower end of a pair is the lower (address, port)."""
    assert (endpoints.pack(*one) < endpoints.pack(*two)) == (one < two)


def test_nowhere_is_no_endpoint() -> None:
    """No address and port are packed into it, and its address is the unknown one."""
    assert endpoints.address_of(int(endpoints.NOWHERE)) == -1
    assert endpoints.pack((1 << 47) - 1, endpoints.HIGHEST_PORT) > endpoints.NOWHERE


@given(IPV4)
def test_an_ipv4_address_is_its_value(address: int) -> None:
    """As Python's own ipaddress reads and classifies it, one by one and in arrays."""
    known = ipaddress.IPv4Address(address)
    assert addresses.text(address) == str(known)
    assert addresses.value(str(known)) == address
    assert addresses.is_loopback(address) == known.is_loopback
    assert addresses.is_multicast(address) == known.is_multicast
    assert addresses.is_loopback(np.array([address])).tolist() == [known.is_loopback]
    assert addresses.is_multicast(np.array([address])).tolist() == [known.is_multicast]


@given(IPV4, IPV4, st.integers(0, 32))
def test_networks_are_those_of_ipaddress(address: int, network: int, length: int) -> None:
    """Whichever of a network's addresses names it."""
    known = ipaddress.IPv4Network((network, length), strict=False)
    low, high = addresses.network_range(network, length)
    assert (low, high) == (int(known.network_address), int(known.broadcast_address))
    assert addresses.in_network(address, network, length) == (
        ipaddress.IPv4Address(address) in known
    )
    assert addresses.in_network(low, network, length)
    assert addresses.in_network(high, network, length)


@given(st.lists(IPV6, max_size=9))
def test_an_ipv6_address_is_a_place_in_the_book(values: list[int]) -> None:
    """Numbers are in the order of the addresses, as Python's own ipaddress reads and classifies
    them, one by one and in arrays; none lies in a network of IPv4's, the default route's among
    them."""
    book = AddressBook.of(values)
    with addresses.using(book):
        numbers = [book.number(value) for value in sorted(set(values))]
        assert numbers == sorted(numbers)
        assert all(number >= END_OF_IPV4 for number in numbers)
        for number in numbers:
            known = ipaddress.IPv6Address(book.value(number))
            assert addresses.text(number) == str(known)
            assert addresses.value(str(known)) == number
            assert addresses.is_loopback(number) == known.is_loopback
            assert addresses.is_multicast(number) == known.is_multicast
            assert addresses.is_link_local(number) == known.is_link_local
            assert addresses.is_multicast(np.array([number])).tolist() == [known.is_multicast]
            assert not addresses.in_network(number, 0, 0)
            group = addresses.solicited_node(number)
            assert group is None or addresses.text(group).startswith("ff02::1:ff")


@given(st.lists(IPV6, min_size=1, max_size=9), st.data())
def test_a_network_is_a_range_of_the_book(values: list[int], data: st.DataObject) -> None:
    """Of the addresses that the book holds those of the network, whichever of them names it."""
    book = AddressBook.of(values)
    value, length = data.draw(st.sampled_from(values)), data.draw(st.integers(0, 128))
    known = ipaddress.IPv6Network((value, length), strict=False)
    with addresses.using(book):
        low, high = addresses.network_range(book.number(value), length)
        inside = [book.value(number) for number in range(low, high + 1)]
        assert inside == [one for one in book.values if ipaddress.IPv6Address(one) in known]
        for one in values:
            assert addresses.in_network(book.number(one), book.number(value), length) == (
                one in inside
            )


def test_what_no_book_holds_is_unknown() -> None:
    """A number from 2**32 on without a place is written as nothing; an address without one has no
    number. What was in force before a book is in force after it."""
    book = AddressBook.of([int(ipaddress.IPv6Address("2001:db8::1"))])
    assert book.text(END_OF_IPV4 + len(book.values)) == book.text(-1) == ""
    assert book.text(addresses.LOCALHOST) == "127.0.0.1"
    with addresses.using(book):
        assert addresses.text(addresses.value("2001:db8::1")) == "2001:db8::1"
        with pytest.raises(ValueError, match="is in no address book"):
            addresses.value("2001:db8::2")
    with pytest.raises(ValueError, match="is in no address book"):
        addresses.value("2001:db8::1")
