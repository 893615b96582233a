"""Conditions on what conntrack knows of a packet's connection (net/netfilter/xt_conntrack.c)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from correlator.firewall.conditions.headers import Range
from correlator.firewall.conditions.ternary import Predicate, Reads, Ternary
from correlator.firewall.view import INVALID, UNTRACKED, Host, View

WITHOUT = (INVALID, UNTRACKED)
"""States of packets that belong to no connection."""


class TuplePart(IntEnum):
    """A part of one of the connection's tuples, by its place there."""

    SOURCE, SOURCE_PORT, DESTINATION, DESTINATION_PORT = range(4)


@dataclass(frozen=True, slots=True)
class State:
    """Its state is one of those: NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED, and SNAT or DNAT
    where its connection is translated."""

    states: frozenset[str]
    negated: bool = False

    def compile(self, reads: Reads) -> Predicate:
        """Every kind of packet tells its state."""
        states, negated = self.states, self.negated

        def test(view: View, _host: Host) -> Ternary:
            if view.state in states:
                return not negated
            for word, done in (("DNAT", view.dnat), ("SNAT", view.snat)):
                if word in states and view.state not in WITHOUT:
                    if done is None:
                        return None
                    if done:
                        return not negated
            return negated

        return test


@dataclass(frozen=True, slots=True)
class Mark:
    """The bits of its connection's mark under a mask are those wanted."""

    value: int
    mask: int
    negated: bool = False

    def compile(self, reads: Reads) -> Predicate:
        """False for what belongs to no connection, negated or not (xt_connmark.c, nft_ct.c)."""
        wanted, mask, negated = self.value, self.mask, self.negated

        def test(view: View, _host: Host) -> Ternary:
            if view.state in WITHOUT:
                return False
            return None if view.connmark is None else ((view.connmark & mask) == wanted) != negated

        return test


@dataclass(frozen=True, slots=True)
class Helper:
    """Its connection was expected by a helper's, as FTP's data connections are."""

    negated: bool = False

    def compile(self, reads: Reads) -> Predicate:
        """What belongs to no connection was expected by none (xt_helper.c); of others nobody
        knows."""
        negated = self.negated
        return lambda view, _host: negated if view.state in WITHOUT else None


@dataclass(frozen=True, slots=True)
class Status:
    """Its connection is SEEN_REPLY, SNAT or DNAT; any other word is unknown."""

    words: frozenset[str]
    negated: bool = False

    def compile(self, reads: Reads) -> Predicate:
        """What belongs to no connection has no status."""
        reads.fields.add("ctstatus")

        def test(view: View, _host: Host) -> Ternary:
            if view.state in WITHOUT:
                return False
            known = {"SEEN_REPLY": view.seen_reply, "DNAT": view.dnat, "SNAT": view.snat}
            answers = [known.get(word) for word in self.words]
            if any(answers):
                return not self.negated
            return None if None in answers else self.negated

        return test


@dataclass(frozen=True, slots=True)
class InTuple:
    """A part of the connection's original (or ``reply``) tuple lies in a range."""

    reply: bool
    part: TuplePart
    range: Range
    negated: bool = False

    def compile(self, reads: Reads) -> Predicate:
        """What belongs to no connection has no tuples."""
        named = self.part in (TuplePart.SOURCE, TuplePart.DESTINATION)
        (reads.address_range if named else reads.port_range)(*self.range)
        reads.fields.add("tuples")
        low, high = self.range

        def test(view: View, _host: Host) -> Ternary:
            if view.state in WITHOUT:
                return False
            found = view.replied if self.reply else view.original
            return None if found is None else (low <= found[self.part] <= high) != self.negated

        return test


@dataclass(frozen=True, slots=True)
class Direction:
    """It goes in the reply (or the original) direction of its connection."""

    reply: bool

    def compile(self, reads: Reads) -> Predicate:
        """Every kind of packet tells its direction."""
        return lambda view, _host: None if view.original is None else view.reply == self.reply
