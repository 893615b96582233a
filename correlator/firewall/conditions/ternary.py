"""What conditions are made of: three-valued predicates of a packet's view, and what they read of
it.

A condition is True, False, or None for unknown: what depends on history, chance, or something that
is not on the wire (limit, statistic, recent, owner, ...) is unknown, never False. What decides a
condition is noted in :class:`Reads`, so that packets which no rule can tell apart are walked once
(see :mod:`correlator.reconcile.possible.kinds`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from correlator.firewall.view import Host, View

Ternary = bool | None
Predicate = Callable[[View, Host], Ternary]


@dataclass(slots=True)
class Reads:
    """What a ruleset asks of packets: cut points of addresses, ports and lengths, and names of
    fields read whole.

    ``addresses``, ``ports``, ``lengths`` and ``ttls`` hold the first value of every half-open range
    in which some condition is constant. ``family``: whose packets they are (``ip``, ``ip6``)."""

    addresses: set[int] = field(default_factory=set)
    ports: set[int] = field(default_factory=set)
    lengths: set[int] = field(default_factory=set)
    ttls: set[int] = field(default_factory=set)
    macs: set[int] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    family: str = "ip"

    def address_range(self, low: int, high: int) -> None:
        """Addresses low..high (inclusive) are told apart from the others."""
        self.addresses.update((low, high + 1))

    def port_range(self, low: int, high: int) -> None:
        """Ports low..high (inclusive) are told apart from the others."""
        self.ports.update((low, high + 1))


class Condition(Protocol):
    """One thing that a rule asks of a packet, as data; equal conditions ask the same."""

    def compile(self, reads: Reads) -> Predicate:
        """The predicate; what it reads is added to ``reads``."""
        ...


@dataclass(frozen=True, slots=True)
class Unknown:
    """A condition that nothing on the wire decides, or that nobody knows: ``text`` is what was
    written."""

    text: str = ""

    def compile(self, reads: Reads) -> Predicate:
        """Never decided."""
        return unknown


def unknown(_view: View, _host: Host) -> Ternary:
    """The predicate that nothing on the wire decides."""
    return None


def conjunction(parts: Iterable[Predicate], view: View, host: Host) -> Ternary:
    """Kleene's and: False if any part is, else unknown if any part is."""
    result: Ternary = True
    for part in parts:
        value = part(view, host)
        if value is False:
            return False
        if value is None:
            result = None
    return result
