"""Conditions on numbers in a packet's headers: addresses, ports, lengths, marks, bits.

A field that is None or negative in the view was never seen, or was written with something unknown:
what asks for it is unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from correlator.firewall.conditions.ternary import Predicate, Reads, Ternary
from correlator.firewall.view import Host, View

Range = tuple[int, int]
"""(lowest, highest), both included."""


class Field(StrEnum):
    """A number that the view of a packet holds, by its attribute there."""

    PROTOCOL = "protocol"
    SOURCE = "src"
    DESTINATION = "dst"
    SOURCE_PORT = "sport"
    DESTINATION_PORT = "dport"
    LENGTH = "length"
    TTL = "ttl"
    TOS = "tos"
    TCP_FLAGS = "tcp_flags"
    MARK = "mark"
    CONNMARK = "connmark"
    MAC_SOURCE = "mac_src"
    PACKET_TYPE = "packet_type"
    ICMP_TYPE = "icmp_type"
    ICMP_CODE = "icmp_code"
    NEXT_HEADER = "next_header"


_WHOLE = frozenset(
    (
        Field.PROTOCOL,
        Field.TOS,
        Field.TCP_FLAGS,
        Field.PACKET_TYPE,
        Field.ICMP_TYPE,
        Field.ICMP_CODE,
    )
)
_CUTS: dict[Field, Callable[[Reads], set[int]]] = {
    Field.SOURCE: lambda reads: reads.addresses,
    Field.DESTINATION: lambda reads: reads.addresses,
    Field.SOURCE_PORT: lambda reads: reads.ports,
    Field.DESTINATION_PORT: lambda reads: reads.ports,
    Field.LENGTH: lambda reads: reads.lengths,
    Field.TTL: lambda reads: reads.ttls,
}


def note_ranges(reads: Reads, name: Field, ranges: tuple[Range, ...]) -> None:
    """Packets that the ranges tell apart are kinds of their own."""
    if name is Field.NEXT_HEADER:
        reads.fields.update(("protocol", "extensions"))
    elif name in _WHOLE:
        reads.fields.add(name.value)
    elif name is Field.MAC_SOURCE:
        reads.macs.update(low for low, _ in ranges)
    elif name in _CUTS:
        for low, high in ranges:
            _CUTS[name](reads).update((low, high + 1))


@dataclass(frozen=True, slots=True)
class Within:
    """A field lies in one of the ranges; of several ``fields`` any will do."""

    fields: tuple[Field, ...]
    ranges: tuple[Range, ...]
    negated: bool = False

    def compile(self, reads: Reads) -> Predicate:
        """Compared as numbers."""
        for name in self.fields:
            note_ranges(reads, name, self.ranges)
        if len(self.fields) == 1 and len(self.ranges) == 1:
            return _within(self.fields[0], self.ranges[0], self.negated)
        parts = [_within(name, span, False) for name in self.fields for span in self.ranges]
        negated = self.negated

        def test(view: View, host: Host) -> Ternary:
            answers = [part(view, host) for part in parts]
            if True in answers:
                return not negated
            return None if None in answers else negated

        return test


def _within(name: Field, span: Range, negated: bool) -> Predicate:
    attribute, (low, high) = name.value, span

    def test(view: View, _host: Host) -> Ternary:
        value: int | None = getattr(view, attribute)
        if value is None or value < 0:
            return None
        return (low <= value <= high) != negated

    return test


@dataclass(frozen=True, slots=True)
class Masked:
    """The bits of a field under a mask are those wanted."""

    field: Field
    value: int
    mask: int
    negated: bool = False

    def compile(self, reads: Reads) -> Predicate:
        """Compared bit by bit."""
        note_ranges(reads, self.field, ())
        attribute, wanted, mask, negated = self.field.value, self.value, self.mask, self.negated

        def test(view: View, _host: Host) -> Ternary:
            value: int | None = getattr(view, attribute)
            return None if value is None else ((value & mask) == wanted) != negated

        return test


@dataclass(frozen=True, slots=True)
class TcpOption:
    """A TCP option of that kind is there."""

    kind: int
    negated: bool = False

    def compile(self, reads: Reads) -> Predicate:
        """Unknown where the frame was cut before its options, and for kinds that are not kept."""
        reads.fields.add("tcp_option_kinds")

        def test(view: View, _host: Host) -> Ternary:
            if view.tcp_option_kinds is None or self.kind > 31:
                return None
            return bool(view.tcp_option_kinds >> self.kind & 1) != self.negated

        return test


@dataclass(frozen=True, slots=True)
class IcmpType:
    """An ICMP type and code; -1 stands for any."""

    type: int
    code: int = -1
    negated: bool = False

    def compile(self, reads: Reads) -> Predicate:
        """Fragments must be ruled out beside it."""
        reads.fields.update(("icmp_type", "icmp_code"))

        def test(view: View, _host: Host) -> Ternary:
            hit = self.type in (-1, view.icmp_type) and self.code in (-1, view.icmp_code)
            return hit != self.negated

        return test


@dataclass(frozen=True, slots=True)
class Fragment:
    """It is a later fragment of a datagram."""

    negated: bool = False

    def compile(self, reads: Reads) -> Predicate:
        """Every kind of packet tells this."""
        return lambda view, _host: view.fragment != self.negated


@dataclass(frozen=True, slots=True)
class Extension:
    """An IPv6 extension header is there, by its bit in the view's ``extensions``."""

    bit: int

    def compile(self, reads: Reads) -> Predicate:
        """What puts fragments together takes their header away (nf_conntrack_reasm.c); where
        nothing does, it is there."""
        reads.fields.add("extensions")
        return lambda view, _host: bool(view.extensions >> self.bit & 1)


@dataclass(frozen=True, slots=True)
class WholeHeader:
    """Its transport header is there and sound: a match that asks for ports drops what is malformed
    (xt_tcpudp.c), and no fragment has any."""

    def compile(self, reads: Reads) -> Predicate:
        """Malformed packets are a kind of their own."""
        reads.fields.add("malformed")
        return lambda view, _host: not (view.fragment or view.malformed)


@dataclass(frozen=True, slots=True)
class ReadableHeader:
    """Its transport header can be read (nft_payload.c): a later fragment has none. What becomes of
    a malformed one depends on how much of it is there."""

    def compile(self, reads: Reads) -> Predicate:
        """Malformed packets are a kind of their own."""
        reads.fields.add("malformed")

        def test(view: View, _host: Host) -> Ternary:
            return False if view.fragment else None if view.malformed else True

        return test
