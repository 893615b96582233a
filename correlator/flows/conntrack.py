"""What conntrack would have called each packet, from the packets of one pair of endpoints in order.

A plain state machine after net/netfilter/nf_conntrack_proto_tcp.c (``tcp_conntracks``),
nf_conntrack_proto_udp.c and nf_conntrack_proto_icmp.c, with the kernel's default timeouts. It says
for each packet: which connection, which direction, NEW/ESTABLISHED/RELATED/INVALID, and whether the
nat table sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SYN, SYNACK, FIN, ACK, RST, NONE = range(6)
QUERY, ANSWER, OTHER = range(3)
RELATED_KIND = 9

ORIGINAL, REPLY, UNTRACKED = 0, 1, 2
S_NEW, S_ESTABLISHED, S_RELATED, S_INVALID, S_UNTRACKED = range(5)
STATE_NAMES = ("NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED")

_NO, _SS, _SR, _ES, _FW, _CW, _LA, _TW, _CL, _S2, _IV, _IG = range(12)
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

_SECOND = 1_000_000_000
_TCP_TIMEOUT = {
    _SS: 120,
    _SR: 60,
    _ES: 432_000,
    _FW: 120,
    _CW: 60,
    _LA: 30,
    _TW: 120,
    _CL: 10,
    _S2: 120,
}
_UDP_TIMEOUT, _UDP_STREAM_TIMEOUT, _ICMP_TIMEOUT, _GENERIC_TIMEOUT = 30, 120, 30, 600
MEMORY_NS = {1: _ICMP_TIMEOUT * _SECOND, 17: _UDP_STREAM_TIMEOUT * _SECOND}
"""How long conntrack remembers a silent ICMP query or UDP stream (nf_conntrack_icmp_timeout,
..._udp_timeout_stream)."""
OTHER_MEMORY_NS = _GENERIC_TIMEOUT * _SECOND
"""The same of protocols that it does not know (nf_conntrack_generic_timeout)."""


class Label(NamedTuple):
    """What conntrack made of one packet; ``connection`` counts from 0 within the pair of
    endpoints."""

    connection: int
    direction: int
    state: int
    destination_nat: bool = False
    source_nat: bool = False
    seen_reply: bool = False
    older: bool = False


def tcp_kind(flags: int) -> int:
    """The kind of segment that a TCP flags byte makes (``get_conntrack_index``)."""
    if flags & 4:
        return RST
    if flags & 2:
        return SYNACK if flags & 16 else SYN
    if flags & 1:
        return FIN
    return ACK if flags & 16 else NONE


class Tracker:
    """Follows one pair of endpoints.

    ``older``: the first packet belongs to a connection that began before the capture;
    ``forward_first`` then says whether its original direction is the forward one."""

    def __init__(self, protocol: int, older: bool, forward_first: bool) -> None:
        self.protocol = protocol
        self.older = older
        self.forward_first = forward_first
        self.number = 0
        self.exists = False
        self.confirmed_once = False
        self.pending: bool | None = None
        self.state = _NO
        self.original_forward = True
        self.seen_reply = False
        self.from_before = False
        self.closing = False
        self.last_kind = -1
        self.last_forward = True
        self.last_time = 0
        self.begun = 0
        self.two_way = False

    def run(
        self,
        times: Sequence[int],
        forward: Sequence[bool],
        kinds: Sequence[int],
        unconfirmed: Sequence[bool],
        untracked: Sequence[bool],
        sent_by_host: Sequence[bool],
    ) -> list[Label]:
        """One label a packet, in order.

        ``unconfirmed``: had it been NEW, it never reached the end of its way (dropped or rejected),
        so that conntrack forgot it. ``sent_by_host``: nobody sent it to the host (a reset there
        answers what was rejected)."""
        labels: list[Label] = []
        self.two_way = (
            len({f for f, kind in zip(forward, kinds, strict=True) if kind != RELATED_KIND}) > 1
        )
        for i, time in enumerate(times):
            first = i == 0
            if untracked[i]:
                labels.append(Label(self.number, UNTRACKED, S_UNTRACKED))
            elif kinds[i] == RELATED_KIND:
                labels.append(self._related(forward[i], first))
            else:
                labels.append(
                    self._one(time, forward[i], kinds[i], unconfirmed[i], sent_by_host[i], first)
                )
        return labels

    def _label(self, forward: bool, state: int, nat: bool = False) -> Label:
        direction = ORIGINAL if forward == self.original_forward else REPLY
        return Label(self.number, direction, state, nat, nat, self.seen_reply, self.from_before)

    def _invalid(self) -> Label:
        return Label(self.number, UNTRACKED, S_INVALID)

    def _related(self, forward: bool, first: bool) -> Label:
        if first and not self.exists:
            self.original_forward = not forward
        return self._label(forward, S_RELATED)

    def _one(
        self, time: int, forward: bool, kind: int, unconfirmed: bool, by_host: bool, first: bool
    ) -> Label:
        if self.exists and time - self.last_time > self._timeout(time) * _SECOND:
            self.exists = False
        if not self.exists:
            if by_host and kind == RST and self.pending is not None and forward != self.pending:
                return Label(
                    self.number, REPLY, S_RELATED, False, True, self.seen_reply, False
                )  # REJECT --reject-with tcp-reset: nf_reject_ipv4.c attaches it to what it answers
            if first and self.older:
                self._open(time, self.forward_first, older=True)
                self.state = {SYNACK: _SS}.get(kind, _ES) if self.protocol == 6 else _ES
                return self._existing(time, forward, kind)
            return self._new(time, forward, kind, unconfirmed)
        return self._existing(time, forward, kind)

    def _new(self, time: int, forward: bool, kind: int, unconfirmed: bool) -> Label:
        state = _ES
        if self.protocol == 6:
            state = _TCP[ORIGINAL][kind][_NO]
        elif self.protocol == 1 and kind != QUERY:
            state = _IV
        if state == _IV:
            return self._invalid()
        self._open(time, forward)
        self.state = state
        label = self._label(forward, S_NEW, nat=True)
        self.last_kind, self.last_forward = kind, forward
        if unconfirmed:
            self.exists = False
            self.confirmed_once = False
            self.pending = forward
        return label

    def _open(self, time: int, forward: bool, older: bool = False) -> None:
        if self.confirmed_once or (self.pending is not None and self.pending != forward):
            self.number += 1
        self.exists = self.confirmed_once = True
        self.pending = None
        self.original_forward = forward
        self.seen_reply = older
        self.from_before = older
        self.closing = False
        self.begun = self.last_time = time

    def _existing(self, time: int, forward: bool, kind: int) -> Label:
        direction = ORIGINAL if forward == self.original_forward else REPLY
        if self.protocol == 6:
            if self.state == _SS and direction == ORIGINAL and kind in (ACK, FIN) and self.two_way:
                self.state, self.seen_reply = (
                    _ES,
                    True,
                )  # it acknowledges an answer that the capture lost
            before, after = self.state, _TCP[direction][kind][self.state]
            if after == _SS and before >= _TW:
                if self.closing or (self.last_kind == RST and self.last_forward == forward):
                    self.exists = (
                        False  # a SYN in TIME_WAIT: the old entry is deleted, the packet is NEW
                    )
                    return self._new(time, forward, kind, False)
                after = _IG
            if after == _IV:
                return self._invalid()
            if (
                kind == SYNACK
                and after == _IG
                and self.last_kind == SYN
                and self.last_forward != forward
            ):
                after = _SR  # it answers a SYN that was ignored: taken up anew
            self.last_kind, self.last_forward = kind, forward
            if after != _IG:
                self.closing = self.closing or (after == _FW and before != _FW)
                self.state = after
            if kind == RST and not self.seen_reply:
                self.exists = False
        elif self.protocol == 1 and kind == OTHER:
            return self._invalid()
        if direction == REPLY:
            self.seen_reply = True
        self.last_time = time
        return self._label(forward, S_ESTABLISHED if self.seen_reply else S_NEW)

    def _timeout(self, time: int) -> int:
        if self.protocol == 6:
            return _TCP_TIMEOUT.get(self.state, 432_000)
        if self.protocol == 17:
            stream = self.seen_reply and (
                self.from_before or self.last_time - self.begun > 2 * _SECOND
            )
            return _UDP_STREAM_TIMEOUT if stream else _UDP_TIMEOUT
        return _ICMP_TIMEOUT if self.protocol == 1 else _GENERIC_TIMEOUT
