"""Conditions on several things of a packet together: is their combination one of those listed?

A *key* reads one thing of a packet; a *row* names one combination, a *part* of it for every key: a
range of numbers, or a name (``docker*``: all that begin so). As nftables' sets and maps have them
(net/netfilter/nft_lookup.c): what has nothing to be read, like the port of a fragment, ends the
rule, whether it asked for a member or for none."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import Enum

from correlator.firewall.conditions.conntrack import WITHOUT
from correlator.firewall.conditions.headers import Field, Range, note_ranges
from correlator.firewall.conditions.surroundings import PORTED
from correlator.firewall.conditions.ternary import Predicate, Reads, Ternary
from correlator.firewall.view import Host, View

Part = Range | str
Row = tuple[Part, ...]


class Absent(Enum):
    """Nothing is there to be read."""

    ABSENT = "absent"


ABSENT = Absent.ABSENT
Value = int | str | Absent | None
"""What a key reads; None: there is something, and nobody knows what."""
_PORTS = (Field.SOURCE_PORT, Field.DESTINATION_PORT)


@dataclass(frozen=True, slots=True)
class NumberKey:
    """A number of the packet, shifted right by ``shift`` bits. ``of_icmp6``: its names are those of
    IPv6's types and codes."""

    field: Field
    shift: int = 0
    of_icmp6: bool = False

    def note(self, reads: Reads, parts: tuple[Part, ...]) -> None:
        """Packets that the ranges tell apart are kinds of their own."""
        note_ranges(reads, self.field, tuple(one for one in parts if not isinstance(one, str)))
        reads.fields.add("malformed")

    def read(self, view: View, _host: Host) -> Value:
        """Ports are read of whole headers, a connection's mark of what belongs to one."""
        if self.field is Field.CONNMARK and view.state in WITHOUT:
            return ABSENT
        if self.field in _PORTS:
            if view.fragment:
                return ABSENT
            if view.malformed or view.protocol not in PORTED:
                return None
        value: int | None = getattr(view, self.field.value)
        return None if value is None or value < 0 else value >> self.shift


@dataclass(frozen=True, slots=True)
class DeviceKey:
    """The name of the interface that it came in (or goes out) by; empty where the hook has none."""

    outgoing: bool

    def note(self, reads: Reads, parts: tuple[Part, ...]) -> None:
        """Every kind of packet tells its interfaces."""

    def read(self, view: View, _host: Host) -> Value:
        """None where nothing tells."""
        return view.out_interface if self.outgoing else view.in_interface


@dataclass(frozen=True, slots=True)
class StateKey:
    """The state of its connection."""

    def note(self, reads: Reads, parts: tuple[Part, ...]) -> None:
        """Every kind of packet tells its state."""

    def read(self, view: View, _host: Host) -> Value:
        """Also of what belongs to none: INVALID or UNTRACKED (nft_ct.c)."""
        return view.state


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """What is not on the wire: ``text`` is what was written."""

    text: str

    def note(self, reads: Reads, parts: tuple[Part, ...]) -> None:
        """Nothing of the packet decides it."""

    def read(self, _view: View, _host: Host) -> Value:
        """Never known."""
        return None


Key = NumberKey | DeviceKey | StateKey | UnknownKey


def note_keys(reads: Reads, keys: tuple[Key, ...], rows: tuple[Row, ...]) -> None:
    """What decides which row is met."""
    for at, key in enumerate(keys):
        key.note(reads, tuple(row[at] for row in rows))


def is_met(values: list[Value], row: Row) -> Ternary:
    """Whether values, one a key, are of a row's combination."""
    result: Ternary = True
    for value, part in zip(values, row, strict=True):
        if value is None:
            result = None
        elif isinstance(part, str):
            prefix = part.endswith("*")
            if not isinstance(value, str):
                return False
            if not (value.startswith(part[:-1]) if prefix else value == part):
                return False
        elif not isinstance(value, int) or not part[0] <= value <= part[1]:
            return False
    return result


def met(
    keys: tuple[Key, ...], rows: tuple[Row, ...], view: View, host: Host
) -> list[tuple[int, bool]]:
    """(place of a row that is met or may be, whether it surely is): one that surely is, alone."""
    values = [key.read(view, host) for key in keys]
    if ABSENT in values:
        return []
    found: list[tuple[int, bool]] = []
    for at, row in enumerate(rows):
        answer = is_met(values, row)
        if answer:
            return [(at, True)]
        if answer is None:
            found.append((at, False))
    return found


@dataclass(frozen=True, slots=True)
class Listed:
    """What ``keys`` read is one of ``rows``. ``perhaps``: rows that were there part of the time;
    ``open_ended``: others may have been added meanwhile."""

    keys: tuple[Key, ...]
    rows: tuple[Row, ...]
    negated: bool = False
    perhaps: tuple[Row, ...] = ()
    open_ended: bool = False

    def compile(self, reads: Reads) -> Predicate:
        """What cannot be read ends the rule, negated or not."""
        note_keys(reads, self.keys, (*self.rows, *self.perhaps))
        spans = _spans(self.keys, self.rows)
        return self._by_number(spans) if spans is not None else self._by_row()

    def _by_row(self) -> Predicate:
        def test(view: View, host: Host) -> Ternary:
            values = [key.read(view, host) for key in self.keys]
            if ABSENT in values:
                return False
            answers = {is_met(values, row) for row in self.rows}
            if True in answers:
                return not self.negated
            return self._otherwise(values, None in answers)

        return test

    def _by_number(self, spans: list[Range]) -> Predicate:
        (key,) = self.keys
        begins = [low for low, _ in spans]

        def test(view: View, host: Host) -> Ternary:
            value = key.read(view, host)
            if value is ABSENT:
                return False
            if isinstance(value, int):
                at = bisect_right(begins, value) - 1
                if at >= 0 and value <= spans[at][1]:
                    return not self.negated
            return self._otherwise([value], value is None)

        return test

    def _otherwise(self, values: list[Value], perhaps: bool) -> Ternary:
        """What is answered where no row surely is met."""
        if perhaps and (self.rows or self.perhaps):
            return None
        if self.open_ended or any(is_met(values, row) is not False for row in self.perhaps):
            return None
        return self.negated


def _spans(keys: tuple[Key, ...], rows: tuple[Row, ...]) -> list[Range] | None:
    """The ranges of one number, in order and apart; None where more is asked for."""
    if len(keys) != 1 or not isinstance(keys[0], NumberKey):
        return None
    ranges = sorted(part for (part,) in rows if not isinstance(part, str))
    if len(ranges) != len(rows):
        return None
    merged: list[Range] = []
    for low, high in ranges:
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    return merged


@dataclass(frozen=True, slots=True)
class OfFamily:
    """It is an IPv4 packet (``ip``), or an IPv6 packet (``ip6``)."""

    family: str
    negated: bool = False

    def compile(self, reads: Reads) -> Predicate:
        """All packets that walk a ruleset are of one family."""
        answer = (self.family == reads.family) != self.negated
        return lambda _view, _host: answer
