"""What conntrack makes of each packet of a pair of endpoints, as one function over plain numbers.

It follows net/netfilter/nf_conntrack_proto_tcp.c (``tcp_conntracks``), nf_conntrack_proto_udp.c and
nf_conntrack_proto_icmp.c. :class:`correlator.flows.labels.Tracker` runs it as it stands here, and
:mod:`correlator.flows.fold.conntrack_kernel` compiles the very same functions; so they use numbers
only, are typed loosely, and what they look up is handed to them.

    packet --> judge --> (role, state)
                 |
                 +- the pair has an entry --> follow_tcp, or any packet --> FOLLOWS | INVALID
                 |                                |
                 |                                +- a SYN on one that is closed
                 |                                v
                 +- it has none -------------> open_entry --> OPENS | RETRIES | INVALID
                 +- it has none, and the host resets what it rejected --> RESETS
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from correlator.dataset.conntrack_settings import ConntrackSettings

SYN, SYNACK, FIN, ACK, RST, NONE = range(6)
"""Kinds of TCP segments (``enum tcp_bit_set``)."""
QUERY, ANSWER, OTHER = range(3)
"""Kinds of ICMP messages."""
RELATED_KIND = 9
"""An ICMP error, whatever it quotes."""

ORIGINAL, REPLY, UNTRACKED = 0, 1, 2
S_NEW, S_ESTABLISHED, S_RELATED, S_INVALID, S_UNTRACKED = range(5)
STATE_NAMES = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")

FOLLOWS, OPENS, RETRIES, INVALID, RESETS = range(5)
"""Roles of packets: it belongs to the entry that is there; it makes a new one; it makes one anew
that an earlier packet was to make and never did, for it was dropped; it belongs to none; it is the
host's own reset of what a rule rejected (nf_reject_ipv4.c attaches it to that)."""

ICMP, TCP, UDP = 1, 6, 17

_NO, _SS, _SR, _ES, _FW, _CW, _LA, _TW, _CL, _S2, _IV, _IG = range(12)
"""States of TCP connections, as ``tcp_conntracks`` abbreviates them."""
_TCP = (
    (
        (_SS, _SS, _IG, _IG, _IG, _IG, _IG, _SS, _SS, _S2),
        (_IV, _IV, _SR, _IV, _IV, _IV, _IV, _IV, _IV, _SR),
        (_IV, _IV, _FW, _FW, _LA, _LA, _LA, _TW, _CL, _IV),
        (_ES, _IV, _ES, _ES, _CW, _CW, _TW, _TW, _CL, _IV),
        (_IV, _CL, _CL, _CL, _CL, _CL, _CL, _CL, _CL, _CL),
        (_IV,) * 10,
    ),
    (
        (_IV, _S2, _IV, _IV, _IV, _IV, _IV, _SS, _IV, _S2),
        (_IV, _SR, _IG, _IG, _IG, _IG, _IG, _IG, _IG, _SR),
        (_IV, _IV, _FW, _FW, _LA, _LA, _LA, _TW, _CL, _IV),
        (_IV, _IG, _SR, _ES, _CW, _CW, _TW, _TW, _CL, _IG),
        (_IV, _CL, _CL, _CL, _CL, _CL, _CL, _CL, _CL, _CL),
        (_IV,) * 10,
    ),
)
"""[direction][kind of segment][state before] -> state after (nf_conntrack_proto_tcp.c)."""
TRANSITIONS = tuple(after for direction in _TCP for kind in direction for after in kind)
"""The same in one row: [(direction * 6 + kind of segment) * 10 + state before]."""

SECOND = 1_000_000_000
UDP_TIMEOUT, UDP_STREAM_TIMEOUT, ICMP_TIMEOUT, GENERIC_TIMEOUT = range(12, 16)
"""Places of timeouts behind those of TCP's states."""
_STREAM_NS = 2 * SECOND
"""A UDP flow that goes on for longer than this is a stream (nf_conntrack_proto_udp.c)."""


def timeouts_of(settings: ConntrackSettings) -> tuple[int, ...]:
    """Timeouts (ns) as :func:`judge` looks them up: by state of TCP, then those of protocols."""
    s = settings
    tcp = {
        _SS: s.tcp_timeout_syn_sent,
        _SR: s.tcp_timeout_syn_recv,
        _ES: s.tcp_timeout_established,
        _FW: s.tcp_timeout_fin_wait,
        _CW: s.tcp_timeout_close_wait,
        _LA: s.tcp_timeout_last_ack,
        _TW: s.tcp_timeout_time_wait,
        _CL: s.tcp_timeout_close,
        _S2: s.tcp_timeout_syn_sent,
    }
    seconds = [tcp.get(state, 0) for state in range(UDP_TIMEOUT)]
    seconds += [s.udp_timeout, s.udp_timeout_stream, s.icmp_timeout, s.generic_timeout]
    return tuple(value * SECOND for value in seconds)


def memory_ns(settings: ConntrackSettings, protocol: int) -> int:
    """How long conntrack remembers a silent connection of a protocol at most, other than TCP."""
    seconds = {ICMP: settings.icmp_timeout, UDP: settings.udp_timeout_stream}
    return seconds.get(protocol, settings.generic_timeout) * SECOND


class Entry:
    """What conntrack knows of a pair of endpoints; numbers, as the fold's table of pairs holds them
    (:data:`correlator.flows.fold.tables.PAIR`).

    ``exists``: there is an entry in conntrack's table, until ``expires`` (epoch ns), ``begun``
    then, for ``state`` of TCP, whose ``original_forward`` direction is the pair's forward one.
    ``closing``: one side closed it first (IP_CT_TCP_FLAG_CLOSE_INIT). ``last_kind`` (-1: none) and
    ``last_forward``: the last segment that was let through. ``forgotten``: 1 + the direction of a
    packet that was to make an entry and was dropped; 0 none."""

    __slots__ = (
        "begun",
        "closing",
        "exists",
        "expires",
        "forgotten",
        "last_forward",
        "last_kind",
        "original_forward",
        "protocol",
        "seen_reply",
        "state",
    )

    def __init__(self, protocol: int) -> None:
        self.protocol = protocol
        self.exists = self.expires = self.begun = self.state = self.original_forward = 0
        self.seen_reply = self.closing = self.last_forward = self.forgotten = 0
        self.last_kind = -1


def tcp_kind(flags: Any) -> Any:
    """The kind of segment that a TCP flags byte makes (``get_conntrack_index``)."""
    if flags & 4:
        return RST
    if flags & 2:
        return SYNACK if flags & 16 else SYN
    if flags & 1:
        return FIN
    return ACK if flags & 16 else NONE


def judge(
    entry: Any,
    transitions: Any,
    timeouts: Any,
    time: Any,
    forward: Any,
    kind: Any,
    by_host: Any,
    answered: Any,
) -> Any:
    """(role, state S_*) of the next packet of a pair; ``entry`` is brought up to date.

    ``time`` epoch ns; ``forward``: 1 where it goes the pair's forward way, else 0; ``kind`` of
    segment or ICMP message. ``by_host``: nobody sent it to the host. ``answered``: packets of the
    other direction were captured, too."""
    if entry.exists and time > entry.expires:
        entry.exists = 0
    if not entry.exists:
        if by_host and kind == RST and entry.forgotten == 2 - forward:
            return RESETS, S_RELATED
        return open_entry(entry, transitions, timeouts, time, forward, kind)
    direction = ORIGINAL if forward == entry.original_forward else REPLY
    if entry.protocol == TCP:
        if answered and entry.state == _SS and direction == ORIGINAL and kind in (ACK, FIN):
            # it acknowledges an answer that the capture lost
            entry.state, entry.seen_reply = _ES, 1
        before = entry.state
        after = transitions[(direction * 6 + kind) * 10 + before]
        if (
            after == _SS
            and before >= _TW
            and (entry.closing or (entry.last_kind == RST and entry.last_forward == forward))
        ):
            # a SYN in TIME_WAIT: the old entry is deleted, the packet is NEW
            entry.exists = entry.forgotten = 0
            return open_entry(entry, transitions, timeouts, time, forward, kind)
        if not follow_tcp(entry, before, after, forward, kind):
            return INVALID, S_INVALID
    elif entry.protocol == ICMP and kind == OTHER:
        return INVALID, S_INVALID
    entry.expires = time + timeout_of(entry, timeouts, time)
    if direction == REPLY:
        entry.seen_reply = 1
    return FOLLOWS, S_ESTABLISHED if entry.seen_reply else S_NEW


def open_entry(
    entry: Any, transitions: Any, timeouts: Any, time: Any, forward: Any, kind: Any
) -> Any:
    """(role, state S_*) of a packet of a pair without an entry (``nf_conntrack_in`` by way of
    ``tcp_new`` and its like)."""
    state = _ES
    if entry.protocol == TCP:
        state = transitions[kind * 10 + _NO]
    elif entry.protocol == ICMP and kind != QUERY:
        state = _IV
    if state == _IV:
        return INVALID, S_INVALID
    role = RETRIES if entry.forgotten == 1 + forward else OPENS
    entry.exists, entry.forgotten = 1, 0
    entry.state, entry.original_forward, entry.begun = state, forward, time
    entry.seen_reply = entry.closing = 0
    entry.last_kind, entry.last_forward = kind, forward
    entry.expires = time + timeout_of(entry, timeouts, time)
    return role, S_NEW


def follow_tcp(entry: Any, before: Any, after: Any, forward: Any, kind: Any) -> Any:
    """Whether a segment that leads from one state to another is its entry's (``tcp_packet``)."""
    if after == _IV:
        return False
    if after == _SS and before >= _TW:
        after = _IG
    if after == _IG and kind == SYNACK and entry.last_kind == SYN and entry.last_forward != forward:
        after = _SR  # it answers a SYN that was ignored: taken up anew
    entry.last_kind, entry.last_forward = kind, forward
    if after != _IG:
        if after == _FW and before != _FW:
            entry.closing = 1
        entry.state = after
    if kind == RST and not entry.seen_reply:
        entry.exists = 0
    return True


def timeout_of(entry: Any, timeouts: Any, time: Any) -> Any:
    """How long an entry is remembered after a packet, if nothing comes; ns."""
    if entry.protocol == TCP:
        return timeouts[entry.state]
    if entry.protocol == UDP:
        if entry.seen_reply and time - entry.begun > _STREAM_NS:
            return timeouts[UDP_STREAM_TIMEOUT]
        return timeouts[UDP_TIMEOUT]
    return timeouts[ICMP_TIMEOUT] if entry.protocol == ICMP else timeouts[GENERIC_TIMEOUT]


def take_up(
    entry: Entry, timeouts: tuple[int, ...], time: int, original_forward: bool, kind: int
) -> None:
    """Let there be an entry from before the capture, whose first packet here is of this kind."""
    entry.exists, entry.original_forward, entry.seen_reply = 1, int(original_forward), 1
    entry.state = _SS if entry.protocol == TCP and kind == SYNACK else _ES
    entry.begun = time - _STREAM_NS - 1
    entry.expires = time + timeout_of(entry, timeouts, time)


def forget(entry: Entry, forward: bool) -> None:
    """The packet that opened the entry was dropped: it is never confirmed."""
    entry.exists, entry.forgotten = 0, 1 + int(forward)
