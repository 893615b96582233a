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

from correlator.flows.tcp_window import (
    IGNORED,
    MAXACK,
    OUTSIDE,
    PASSES,
    UNACKNOWLEDGED,
    begin_window,
    place,
    same,
)
from correlator.flows.tcp_window import after as behind

if TYPE_CHECKING:
    from correlator.dataset.conntrack_settings import ConntrackSettings

SYN, SYNACK, FIN, ACK, RST, NONE = range(6)
"""Kinds of TCP segments (``enum tcp_bit_set``); NONE: flags that no segment has."""
QUERY, ANSWER, OTHER = range(3)
"""Kinds of ICMP messages."""
ASIDE = 8
"""What conntrack leaves untracked: neighbour discovery, MLD (nf_conntrack_icmpv6_error); everything
where nothing asks for conntrack."""
RELATED_KIND = 9
"""An ICMP error, whatever it quotes."""

ORIGINAL, REPLY, UNTRACKED = 0, 1, 2
S_NEW, S_ESTABLISHED, S_RELATED, S_INVALID, S_UNTRACKED = range(5)
STATE_NAMES = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")

FOLLOWS, OPENS, RETRIES, INVALID, RESETS = range(5)
"""Roles of packets: it belongs to the entry that is there; it makes a new one; it makes one anew
that an earlier packet was to make and never did, for it was dropped; it belongs to none; it is the
host's own reset of what a rule rejected (nf_reject_ipv4.c attaches it to that)."""

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58

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
UDP_TIMEOUT, UDP_STREAM_TIMEOUT, ICMP_TIMEOUT, GENERIC_TIMEOUT, UNACK, RETRANS = range(12, 18)
"""Places of timeouts behind those of TCP's states."""
LOOSE, LIBERAL, ANY_RST, CHECKSUM = range(18, 22)
"""Places of switches behind them: connections are taken up in their middle; windows are not
checked; nor are resets; checksums are."""
_STREAM_NS = 2 * SECOND
"""A UDP flow that goes on for longer than this is a stream (nf_conntrack_proto_udp.c)."""


def limits_of(settings: ConntrackSettings) -> tuple[int, ...]:
    """Settings as :func:`judge` looks them up: timeouts (ns) by state of TCP, others, switches."""
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
    seconds += [s.tcp_timeout_unacknowledged, s.tcp_timeout_max_retrans]
    switches = (s.tcp_loose, s.tcp_be_liberal, s.tcp_ignore_invalid_rst, s.checksum)
    return (*(value * SECOND for value in seconds), *switches)


def memory_ns(settings: ConntrackSettings, protocol: int) -> int:
    """How long conntrack remembers a silent connection of a protocol at most, other than TCP."""
    seconds = {
        ICMP: settings.icmp_timeout,
        ICMP6: settings.icmp_timeout,
        UDP: settings.udp_timeout_stream,
    }
    return seconds.get(protocol, settings.generic_timeout) * SECOND


class Entry:
    """What conntrack knows of a pair of endpoints; numbers, as the fold's table of pairs holds them
    (:data:`correlator.flows.fold.tables.PAIR`).

    ``exists``: there is an entry in conntrack's table, until ``expires`` (epoch ns), ``begun``
    then, for ``state`` of TCP, whose ``original_forward`` direction is the pair's forward one.
    ``closing``: one side closed it first (IP_CT_TCP_FLAG_CLOSE_INIT). ``last_kind`` (-1: none) and
    ``last_forward``: the last segment that was let through, ``last_end`` where it ended.
    ``forgotten``: 1 + the direction of a packet that was to make an entry and was dropped;
    ``astray``: of the last one that was INVALID; 0 none. ``liberal``: its windows are not known.
    ``end``, ``maxend``, ``maxwin``, ``maxack``, ``scale`` and ``flags`` by direction: its windows
    (:mod:`correlator.flows.tcp_window`)."""

    __slots__ = (
        "astray",
        "begun",
        "closing",
        "end",
        "exists",
        "expires",
        "flags",
        "forgotten",
        "last_end",
        "last_forward",
        "last_kind",
        "liberal",
        "maxack",
        "maxend",
        "maxwin",
        "original_forward",
        "protocol",
        "scale",
        "seen_reply",
        "state",
    )

    def __init__(self, protocol: int) -> None:
        self.protocol = protocol
        self.exists = self.expires = self.begun = self.state = self.original_forward = 0
        self.seen_reply = self.closing = self.last_forward = self.forgotten = 0
        self.astray = self.liberal = self.last_end = 0
        self.last_kind = -1
        self.end, self.maxend, self.maxwin, self.maxack = [0, 0], [0, 0], [0, 0], [0, 0]
        self.scale, self.flags = [0, 0], [0, 0]


def tcp_kind(flags: Any) -> Any:
    """The kind of segment that a TCP flags byte makes (``get_conntrack_index``), among those that
    make sense (``tcp_valid_flags``)."""
    told = flags & 0b110111  # ECE, CWR and PSH say nothing
    if told in (2, 34):
        return SYN
    if told == 18:
        return SYNACK
    if told in (4, 20):
        return RST
    if told in (17, 49):
        return FIN
    return ACK if told in (16, 48) else NONE


def judge(
    entry: Any,
    transitions: Any,
    limits: Any,
    time: Any,
    forward: Any,
    kind: Any,
    by_host: Any,
    answered: Any,
    segment: Any,
) -> Any:
    """(role, state S_*) of the next packet of a pair; ``entry`` is brought up to date.

    ``time`` epoch ns; ``forward``: 1 where it goes the pair's forward way, else 0; ``kind`` of
    segment or ICMP message. ``by_host``: nobody sent it to the host (1), though others of its
    direction were (2). ``answered``: packets of the other direction were captured, too.
    ``segment``: TCP's sequence number, where it ends, acknowledgement (-1 none), window, and shift
    (-1 none)."""
    if entry.exists and time > entry.expires:
        entry.exists = 0
    if by_host and kind == RST and entry.protocol == TCP:
        if not entry.exists and entry.forgotten == 2 - forward:
            return RESETS, S_RELATED
        if by_host == 2 and entry.astray == 2 - forward:
            return INVALID, S_INVALID  # it answers what came to the host as INVALID, un-NATed
    if not entry.exists:
        return open_entry(entry, transitions, limits, time, forward, kind, segment)
    direction = ORIGINAL if forward == entry.original_forward else REPLY
    if entry.protocol == TCP:
        if answered and entry.state == _SS and direction == ORIGINAL and kind in (ACK, FIN):
            # it acknowledges an answer that the capture lost, and with it its window
            entry.state, entry.seen_reply, entry.liberal = _ES, 1, 1
        before = entry.state
        after = transitions[(direction * 6 + kind) * 10 + before]
        if (
            after == _SS
            and before >= _TW
            and (entry.closing or (entry.last_kind == RST and entry.last_forward == forward))
        ):
            # a SYN in TIME_WAIT: the old entry is deleted, the packet is NEW
            entry.exists = entry.forgotten = 0
            return open_entry(entry, transitions, limits, time, forward, kind, segment)
        what = follow_tcp(entry, limits, before, after, forward, direction, kind, segment)
        if what == OUTSIDE:
            entry.astray = 1 + forward
            return INVALID, S_INVALID
        if what == PASSES:
            entry.astray = 0
            if not kept(entry, before, kind):
                entry.expires = time + timeout_of(entry, limits, time, kind, segment)
    elif (entry.protocol == ICMP or entry.protocol == ICMP6) and kind == OTHER:
        return INVALID, S_INVALID
    else:
        entry.expires = time + timeout_of(entry, limits, time, kind, segment)
    if direction == REPLY:
        entry.seen_reply = 1
    return FOLLOWS, S_ESTABLISHED if entry.seen_reply else S_NEW


def open_entry(
    entry: Any, transitions: Any, limits: Any, time: Any, forward: Any, kind: Any, segment: Any
) -> Any:
    """(role, state S_*) of a packet of a pair without an entry (``nf_conntrack_in`` by way of
    ``tcp_new`` and its like)."""
    state = _ES
    if entry.protocol == TCP:
        state = transitions[kind * 10 + _NO]
        if state != _SS and not limits[LOOSE]:
            state = _IV
    elif (entry.protocol == ICMP or entry.protocol == ICMP6) and kind != QUERY:
        state = _IV
    if state == _IV:
        entry.astray = 1 + forward
        return INVALID, S_INVALID
    role = RETRIES if entry.forgotten == 1 + forward else OPENS
    entry.exists, entry.forgotten, entry.astray = 1, 0, 0
    entry.state, entry.original_forward, entry.begun = state, forward, time
    entry.seen_reply = entry.closing = 0
    entry.last_kind, entry.last_forward, entry.last_end = kind, forward, segment[1]
    entry.liberal = (
        0 if state == _SS else 1
    )  # of what is taken up in its middle, no window is known
    entry.maxwin[1] = entry.flags[1] = entry.scale[1] = 0
    begin_window(entry, 0, segment[1], segment[3], segment[4])
    entry.expires = time + timeout_of(entry, limits, time, kind, segment)
    return role, S_NEW


def follow_tcp(
    entry: Any,
    limits: Any,
    before: Any,
    after: Any,
    forward: Any,
    direction: Any,
    kind: Any,
    segment: Any,
) -> Any:
    """What a segment, that leads from one state to another, is to its entry: PASSES, IGNORED, or
    OUTSIDE, which makes it INVALID (``nf_conntrack_tcp_packet``)."""
    if after == _IV:
        return OUTSIDE
    if after == _SS and before >= _TW:
        after = _IG
    if after == _IG:
        resumed = (
            kind == SYNACK
            and entry.last_kind == SYN
            and entry.last_forward != forward
            and same(entry.last_end, segment[2])
        )
        if not resumed:
            entry.last_kind, entry.last_forward, entry.last_end = kind, forward, segment[1]
            return IGNORED
        after, entry.liberal = _SR, 1  # it answers a SYN that was ignored: taken up anew
    if not (entry.liberal or limits[LIBERAL]):
        if kind == RST and after == _CL:
            after = reset_state(entry, limits, before, forward, direction, segment[0])
            if after == _IV:
                return OUTSIDE
        if not (kind == RST and before >= _FW and before <= _CL):
            opening = before in (_SS, _SR)
            syn = kind in (SYN, SYNACK)
            seq, end, ack, window, scale = segment
            what = place(entry, direction, syn, opening, kind == RST, seq, end, ack, window, scale)
            if what != PASSES:
                return what
    entry.last_kind, entry.last_forward, entry.last_end = kind, forward, segment[1]
    if after == _FW and before != _FW:
        entry.closing = 1
    entry.state = after
    if kind == RST and not entry.seen_reply:
        entry.exists = 0
    return PASSES


def reset_state(
    entry: Any, limits: Any, before: Any, forward: Any, direction: Any, seq: Any
) -> Any:
    """The state that a reset leads to: CLOSE where it stands just behind what the other side has
    acknowledged; of one further on, that may be answered by a challenge (RFC 5961), none."""
    other = 1 - direction
    if before >= _FW or not entry.flags[other] & MAXACK or entry.last_kind == SYN:
        return _CL
    if seq == 0 and before != _ES:
        return _CL
    if not limits[ANY_RST] and behind(entry.maxack[other], seq):
        return _IV
    in_train = (
        entry.last_kind == ACK and entry.last_forward == forward and same(entry.last_end, seq)
    )
    exact = same(entry.maxack[other], seq)
    return _CL if before != _ES or exact or in_train else before


def kept(entry: Any, before: Any, kind: Any) -> Any:
    """Whether a segment leaves the timeout as it is: a SYN sent again, that nobody answered."""
    return kind == SYN and before == _SS and not entry.seen_reply


def timeout_of(entry: Any, limits: Any, time: Any, kind: Any, segment: Any) -> Any:
    """How long an entry is remembered after a packet, if nothing comes; ns."""
    if entry.protocol == TCP:
        timeout = limits[entry.state]
        if kind == RST:
            return limits[_CL]
        waits = not entry.liberal and (entry.flags[0] | entry.flags[1]) & UNACKNOWLEDGED != 0
        if waits or (entry.state == _ES and not entry.seen_reply):
            timeout = min(timeout, limits[UNACK])
        if segment[3] == 0 and kind == ACK:
            timeout = min(timeout, limits[RETRANS])
        return timeout
    if entry.protocol == UDP:
        if entry.seen_reply and time - entry.begun > _STREAM_NS:
            return limits[UDP_STREAM_TIMEOUT]
        return limits[UDP_TIMEOUT]
    if entry.protocol == ICMP or entry.protocol == ICMP6:
        return limits[ICMP_TIMEOUT]
    return limits[GENERIC_TIMEOUT]


def take_up(
    entry: Entry,
    limits: tuple[int, ...],
    time: int,
    original_forward: bool,
    kind: int,
    segment: tuple[int, ...],
) -> None:
    """Let there be an entry from before the capture, whose first packet here is of this kind."""
    entry.exists, entry.original_forward, entry.seen_reply = 1, int(original_forward), 1
    entry.state = _SS if entry.protocol == TCP and kind == SYNACK else _ES
    entry.begun, entry.liberal = time - _STREAM_NS - 1, 1
    entry.expires = time + timeout_of(entry, limits, time, kind, segment)


def forget(entry: Entry, forward: bool) -> None:
    """The packet that opened the entry was dropped: it is never confirmed."""
    entry.exists, entry.forgotten = 0, 1 + int(forward)
