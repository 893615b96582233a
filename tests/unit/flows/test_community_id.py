"""Community ID against Corelight's own package and the values that its spec prints."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import communityid
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlator.addresses import AddressBook, using
from correlator.flows.community_id import community_ids, icmp_ports

ADDRESSES = st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0x0A000001, 0x0A000002]))
PORTS = st.one_of(st.integers(0, 65535), st.sampled_from([80, 443]))
TUPLES = st.lists(
    st.tuples(st.sampled_from([1, 2, 6, 17, 47, 132]), ADDRESSES, PORTS, ADDRESSES, PORTS),
    min_size=1,
)


def ours(tuples: list[tuple[int, int, int, int, int]]) -> list[str]:
    """What we make of (protocol, source, its port, destination, its port); ICMP's ports are type
    and code."""
    protocol, src, sport, dst, dport = (
        np.array(column, dtype=np.int64) for column in zip(*tuples, strict=True)
    )
    source, target, one_way = icmp_ports(sport, dport)
    icmp = protocol == 1
    return community_ids(
        protocol,
        src,
        np.where(icmp, source, sport),
        dst,
        np.where(icmp, target, dport),
        icmp & one_way,
    ).tolist()  # type: ignore[no-any-return]


def theirs(protocol: int, src: int, sport: int, dst: int, dport: int) -> str:
    """What Corelight's package makes of it."""
    ports = (sport, dport) if protocol in (1, 6, 17, 132) else (None, None)
    flow = communityid.FlowTuple(protocol, str(IPv4Address(src)), str(IPv4Address(dst)), *ports)
    return str(communityid.CommunityID().calc(flow))


@given(TUPLES)
def test_equals_corelights_package(tuples: list[tuple[int, int, int, int, int]]) -> None:
    """Any tuples of any protocol, ICMP with any type and code, get the ID that Corelight's package
    gives."""
    tuples = [
        (p, s, sp % 256, d, dp % 256) if p == 1 else (p, s, sp, d, dp) for p, s, sp, d, dp in tuples
    ]
    assert ours(tuples) == [theirs(*one) for one in tuples]


@given(TUPLES)
def test_equals_corelights_package_in_ipv6(tuples: list[tuple[int, int, int, int, int]]) -> None:
    """The same of IPv6 addresses, and of ICMPv6 with any type and code, answered ones among them;
    numbers of a book are in the order of its addresses."""
    wide = [(p, s << 90 | s, sp, d << 90 | s, dp) for p, s, sp, d, dp in tuples if p != 1]
    wide += [(58, s << 90, sp % 256, d << 90, dp % 256) for p, s, sp, d, dp in tuples if p == 1]
    if not wide:
        return
    book = AddressBook.of(value for one in wide for value in (one[1], one[3]))
    protocol, src, sport, dst, dport = (
        np.array(column, dtype=np.int64)
        for column in zip(
            *((p, book.number(s), sp, book.number(d), dp) for p, s, sp, d, dp in wide), strict=True
        )
    )
    icmp = protocol == 58
    source, target, one_way = icmp_ports(sport, dport, icmp)
    with using(book):
        found = community_ids(
            protocol,
            src,
            np.where(icmp, source, sport),
            dst,
            np.where(icmp, target, dport),
            icmp & one_way,
        ).tolist()
    told = []
    for p, s, sp, d, dp in wide:
        ports = (sp, dp) if p in (6, 17, 58, 132) else (None, None)
        ends = (str(IPv6Address(s)), str(IPv6Address(d)))
        told.append(str(communityid.CommunityID().calc(communityid.FlowTuple(p, *ends, *ports))))
    assert found == told


@pytest.mark.parametrize(
    ("flow", "name"),
    [
        ((6, "128.232.110.120", 34855, "66.35.250.204", 80), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        ((6, "66.35.250.204", 80, "128.232.110.120", 34855), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
    ],
)
def test_the_specs_example(flow: tuple[int, str, int, str, int], name: str) -> None:
    """The ID that the spec prints, whichever way round the tuple stands."""
    protocol, src, sport, dst, dport = flow
    assert ours([(protocol, int(IPv4Address(src)), sport, int(IPv4Address(dst)), dport)]) == [name]
