"""Members of ipsets, as `ipset save` prints them (ipset(8)), and whether a packet's values are
among them.

Several dumps of one time span make one set: what is in all of them is in, what is in none is out,
what is in some may have been."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from correlator.firewall.values import PROTOCOLS, parse_address, parse_ports

Ternary = bool | None
Part = tuple[int, int, int] | str
"""One dimension of a member: (low, high, protocol) with protocol -1 for addresses, or an
interface's name."""
ADDRESS, PORT, INTERFACE = "address", "port", "interface"
DIMENSIONS = {"ip": ADDRESS, "net": ADDRESS, "port": PORT, "iface": INTERFACE}


@dataclass(frozen=True, slots=True)
class Member:
    """One element; ``exception`` for nomatch, which takes a smaller net out of a larger one."""

    parts: tuple[Part, ...]
    exception: bool = False

    @property
    def size(self) -> int:
        """How many addresses it spans."""
        spans = [part[1] - part[0] + 1 for part in self.parts if not isinstance(part, str)]
        result = 1
        for span in spans:
            result *= span
        return result

    def holds(self, values: Sequence[int | str | None], protocol: int) -> Ternary:
        """Whether values (one a dimension; None unknown) fall within."""
        result: Ternary = True
        for part, value in zip(self.parts, values, strict=True):
            if value is None:
                result = None
            elif isinstance(part, str):
                if part != value:
                    return False
            elif (
                isinstance(value, str)
                or not part[0] <= value <= part[1]
                or part[2] not in (-1, protocol)
            ):
                return False
        return result


@dataclass(frozen=True)
class AddressSet:
    """``dimensions`` of address, port, interface; ``always`` are members throughout, ``sometimes``
    of part of the time."""

    dimensions: tuple[str, ...]
    always: tuple[Member, ...] = ()
    sometimes: tuple[Member, ...] = ()

    def contains(self, values: Sequence[int | str | None], protocol: int) -> Ternary:
        """Whether the values, one a dimension, are in the set; None where that is unknown."""
        if self.dimensions == (ADDRESS,) and isinstance(values[0], int) and not self._exceptions:
            return _within(self._spans[0], values[0]) or (
                None if _within(self._spans[1], values[0]) else False
            )
        best: tuple[int, Ternary] | None = None
        for members, answer in ((self.always, True), (self.sometimes, None)):
            for member in members:
                held = member.holds(values, protocol)
                if held is False:
                    continue
                told: Ternary = None if held is None or answer is None else not member.exception
                if (
                    best is None
                    or member.size < best[0]
                    or (member.size == best[0] and told is None)
                ):
                    best = (member.size, told)
        return False if best is None else best[1]

    @cached_property
    def _exceptions(self) -> bool:
        return any(member.exception for member in (*self.always, *self.sometimes))

    @cached_property
    def _spans(self) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Spans of addresses, merged and in order: of members throughout, and of all."""
        return _merge(self.always), _merge((*self.always, *self.sometimes))

    @cached_property
    def cuts(self) -> dict[str, frozenset[int]]:
        """Where membership may change: the first address and port of every span, and the first
        behind it."""
        found: dict[str, set[int]] = {ADDRESS: set(), PORT: set()}
        for member in (*self.always, *self.sometimes):
            for kind, part in zip(self.dimensions, member.parts, strict=True):
                if not isinstance(part, str):
                    found[kind].update((part[0], part[1] + 1))
        return {kind: frozenset(values) for kind, values in found.items()}


def _merge(members: Iterable[Member]) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    for low, high, _ in sorted(
        member.parts[0] for member in members if not isinstance(member.parts[0], str)
    ):
        if spans and low <= spans[-1][1] + 1:
            spans[-1] = (spans[-1][0], max(high, spans[-1][1]))
        else:
            spans.append((low, high))
    return spans


def _within(spans: list[tuple[int, int]], value: int) -> bool:
    at = bisect_right(spans, (value, 1 << 33)) - 1
    return at >= 0 and spans[at][0] <= value <= spans[at][1]


def parse_sets(dumps: Iterable[str], family: int = 4) -> dict[str, AddressSet]:
    """name -> set, of what all dumps together say: sets of one family (4, 6). Those of kinds that
    are not understood are left out."""
    shapes: dict[str, tuple[str, ...]] = {}
    members: list[dict[str, set[Member]]] = []
    unknown: set[str] = set()
    for text in dumps:
        found: dict[str, set[Member]] = {}
        for line in text.splitlines():
            words = line.split()
            if words[:1] == ["create"] and len(words) > 2:
                names = words[2].partition(":")[2].split(",")
                found.setdefault(words[1], set())
                if all(name in DIMENSIONS for name in names) and ("inet6" in words) == (
                    family == 6
                ):
                    shapes[words[1]] = tuple(DIMENSIONS[name] for name in names)
                else:
                    unknown.add(words[1])
            elif (
                words[:1] == ["add"]
                and len(words) > 2
                and words[1] in shapes
                and words[1] not in unknown
            ):
                try:
                    found[words[1]].add(_member(words[2], shapes[words[1]], "nomatch" in words[3:]))
                except (ValueError, OSError, KeyError):
                    unknown.add(words[1])
        members.append(found)
    result = {}
    for name, shape in shapes.items():
        if name in unknown:
            continue
        versions = [found.get(name, set()) for found in members]
        always = set.intersection(*versions)
        result[name] = AddressSet(shape, tuple(always), tuple(set.union(*versions) - always))
    return result


def _member(text: str, shape: tuple[str, ...], exception: bool) -> Member:
    words = text.split(",")
    if len(words) != len(shape):
        raise ValueError(f"{text}: expected {len(shape)} parts")
    return Member(
        tuple(_part(word, kind) for word, kind in zip(words, shape, strict=True)), exception
    )


def _part(word: str, kind: str) -> Part:
    if kind == INTERFACE:
        if ":" in word:
            raise ValueError("physdev")  # ports of bridges, which the walk does not know
        return word
    if kind == PORT:
        protocol, found, ports = word.partition(":")
        if not found:
            return (*parse_ports(word), -1)
        return (*parse_ports(ports), PROTOCOLS[protocol])
    low, dash, high = word.partition("-")
    if dash:
        return parse_address(low)[0], parse_address(high)[1], -1
    return (*parse_address(word), -1)
