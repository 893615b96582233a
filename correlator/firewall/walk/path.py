"""One packet's way as the wire saw it, and the paths that the rules leave it: records only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from correlator.firewall.hooks import Hook
from correlator.firewall.view import View

Endpoint = tuple[int, int]
"""(address, port)."""


class End(StrEnum):
    """How a path ended."""

    SENT = "sent"
    DELIVERED = "delivered"
    DROPPED = "dropped"
    REJECTED = "rejected"
    TTL = "ttl"
    NO_ROUTE = "no-route"
    MARTIAN = "martian"
    REVERSE_PATH = "reverse-path"
    NOT_FORWARDED = "not-forwarded"
    MARTIAN_DESTINATION = "martian-destination"
    TOO_BIG = "too-big"
    LINK_LOCAL = "link-local"
    NOT_FOR_US = "not-for-us"
    UNKNOWN_TARGET = "unknown-target"
    UNLISTED = "unlisted"

    @property
    def by_rule(self) -> bool:
        """A rule or a policy ended it."""
        return self in (End.DROPPED, End.REJECTED)

    @property
    def by_routing(self) -> bool:
        """The kernel ended it where it decides on routes."""
        return self in (
            End.NO_ROUTE,
            End.MARTIAN,
            End.REVERSE_PATH,
            End.NOT_FORWARDED,
            End.MARTIAN_DESTINATION,
            End.TOO_BIG,
            End.LINK_LOCAL,
        )

    @property
    def forgotten(self) -> bool:
        """Conntrack never confirms a connection whose packet ends like this."""
        return self not in (End.SENT, End.DELIVERED, End.UNKNOWN_TARGET)

    @property
    def label(self) -> str:
        """What became of the packet, in words; ``{out}`` stands for the interface it left by."""
        return _LABELS[self]


_LABELS = {
    End.SENT: "sent out of {out}",
    End.DELIVERED: "delivered to this host",
    End.DROPPED: "dropped",
    End.REJECTED: "rejected",
    End.TTL: "dropped: its time to live ran out (before FORWARD)",
    End.NO_ROUTE: "dropped: no route leads there",
    End.MARTIAN: "dropped: its source is this host's own address, or no single host's (martian)",
    End.REVERSE_PATH: "dropped: no route back to its source by the interface it came in by "
    "(rp_filter)",
    End.NOT_FORWARDED: "dropped: this host does not forward what comes in there (ip_forward)",
    End.MARTIAN_DESTINATION: "dropped: no packet from outside may reach a loopback address "
    "(route_localnet)",
    End.TOO_BIG: "dropped: longer than the MTU of the interface it was to leave by (before "
    "FORWARD)",
    End.LINK_LOCAL: "dropped: what bears a link-local source is not forwarded (RFC 4291, 2.5.6)",
    End.NOT_FOR_US: "ignored: not for this host",
    End.UNKNOWN_TARGET: "goes on out of sight: the target is unknown",
    End.UNLISTED: "ends here or goes on: chains that were not listed decide",
}


class Hit(NamedTuple):
    """A rule or (``policy``) a base chain's policy counted the packet; ``depth`` of the jumps that
    led to it. ``entry`` is -1 for a policy that nothing counts."""

    hook: Hook
    entry: int
    depth: int
    policy: bool = False


class Absent(NamedTuple):
    """A rule that might have matched, and did not on this path."""

    entry: int


class Translation(NamedTuple):
    """NAT rewrote the destination (``of_destination``) or the source."""

    hook: Hook
    of_destination: bool
    before: Endpoint
    after: Endpoint


class Routing(NamedTuple):
    """It was routed to ``device`` (empty: nothing tells which), or to this host (None)."""

    hook: Hook
    device: str | None


Event = Hit | Absent | Translation | Routing


@dataclass(frozen=True, slots=True)
class Passage:
    """One packet's way as the wire saw it.

    ``enters``: it came in on an interface (``view.in_interface``); else the host sent it.
    ``loops``: it was sent and received on loopback. ``walks_destination_nat`` and
    ``walks_source_nat``: conntrack lets it see nat (it is NEW and no earlier packet did).
    ``destination``: (address, port) after destination NAT, None unknown; ``source`` the same after
    source NAT. ``leaves``: True it was seen leaving by ``out_interface``, False it was not although
    that would have been seen, None nobody watched. ``joined``: whether the host is a member of the
    multicast group that it is for, None unknown; what is for another group ends behind PREROUTING
    (ip_route_input_rcu). ``aside``: conntrack leaves it untracked; ahead of conntrack it is INVALID
    like any other. ``flooded``: it is one of the copies that a bridge makes of what it got for a
    group, which begins at FORWARD (br_flood; br_nf_forward). ``attached``: the kernel made it about
    a packet whose connection it shares from the start, ahead of raw (nf_ct_attach)."""

    view: View
    enters: bool
    loops: bool = False
    walks_destination_nat: bool = True
    walks_source_nat: bool = True
    destination: Endpoint | None = None
    source: Endpoint | None = None
    leaves: bool | None = None
    out_interface: str | None = None
    bridged: bool = False
    joined: bool | None = None
    aside: bool = False
    flooded: bool = False
    attached: bool = False


@dataclass(frozen=True, slots=True)
class Path:
    """One possible way: the entries hit, in order, and how it ended, in hook ``last``.

    ``decider`` is the entry whose verdict ended it (-1: none). ``destination`` and ``source`` are
    (address, port) after NAT as far as it got, -1 unknown. ``dnat_entry``/``snat_entry``: the rule
    that translated (-1: none). ``unseen``: a chain that nobody listed may have ended it sooner, and
    nothing that counts came behind. ``ahead``: a rule ahead of conntrack ended it, so that it is of
    no connection. ``tied``: a chain ended it that another one of its priority may come before."""

    hits: tuple[int, ...]
    end: End
    decider: int
    events: tuple[Event, ...]
    destination: Endpoint
    source: Endpoint
    dnat_entry: int = -1
    snat_entry: int = -1
    connmark: int | None = 0
    untracked: bool = False
    forked: bool = False
    out_interface: str = ""
    last: Hook = Hook.PREROUTING
    unseen: bool = False
    ahead: bool = False
    tied: bool = False
