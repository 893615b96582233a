"""Pairs of endpoints -> labels: what conntrack called each packet, and which of the pair's
connections it belongs to.

A pair is one thing to conntrack at any time, and several one after the other: the packets of each
pair go through :func:`correlator.flows.conntrack.judge` in order of time."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from correlator.dataset.conntrack_settings import DEFAULT_SETTINGS
from correlator.endpoints import port_of
from correlator.flows.conntrack import (
    ANSWER,
    ASIDE,
    ICMP,
    ICMP6,
    INVALID,
    OPENS,
    ORIGINAL,
    RELATED_KIND,
    REPLY,
    RESETS,
    RETRIES,
    RST,
    S_INVALID,
    S_RELATED,
    S_UNTRACKED,
    SYN,
    SYNACK,
    TCP,
    TRANSITIONS,
    UNTRACKED,
    Entry,
    forget,
    judge,
    limits_of,
    take_up,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from correlator.arrays import Bools, Bytes, Ints
    from correlator.dataset.conntrack_settings import ConntrackSettings
    from correlator.flows.pairs import Crossings

FRESH, OLDER_FORWARD, OLDER_BACKWARD = 0, 1, 2
"""How a pair opens: by its first packet, or as a connection from before the capture (by its
original direction)."""


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


class Tracker:
    """Follows one pair of endpoints.

    ``older``: the first packet belongs to a connection that began before the capture;
    ``forward_first`` then says whether its original direction is the forward one. ``complete``:
    conntrack knows of no connection but by packets that are here, so that an ICMP error that
    quotes another one is INVALID; else such an error is taken to show that there is one.
    ``answered``: where nothing of the other direction was captured at all, it came nevertheless."""

    def __init__(
        self,
        protocol: int,
        older: bool,
        forward_first: bool,
        limits: tuple[int, ...] | None = None,
        complete: bool = False,
        answered: bool = False,
    ) -> None:
        self.entry = Entry(protocol)
        self.limits = limits_of(DEFAULT_SETTINGS) if limits is None else limits
        self.older, self.forward_first = older, forward_first
        self.complete, self.answered = complete, answered
        self.number, self.opened = 0, False
        self.from_before = False
        self.two_way = False
        self.invalid = {False: False, True: False}

    def run(
        self,
        times: Sequence[int],
        forward: Sequence[bool],
        kinds: Sequence[int],
        unconfirmed: Sequence[bool],
        untracked: Sequence[bool],
        sent_by_host: Sequence[int],
        segments: Sequence[tuple[int, ...]],
        lost: Sequence[bool],
        broken: Sequence[bool],
    ) -> list[Label]:
        """One label a packet, in order.

        ``unconfirmed``: had it been NEW, it never reached the end of its way (dropped or rejected),
        so that conntrack forgot it. ``sent_by_host`` and ``segments``:
        see :func:`correlator.flows.conntrack.judge`. ``lost``: conntrack had lost its entry before
        that packet. ``broken``: it has a wrong checksum, and conntrack looks at that;
        or no sound header (tcp_error, udp_error)."""
        labels: list[Label] = []
        seen = list(zip(forward, kinds, untracked, broken, strict=True))
        ways = {way for way, kind, *apart in seen if kind != RELATED_KIND and not any(apart)}
        one_way = len({way for way, *_ in seen}) == 1
        self.two_way = len(ways) > 1 or (one_way and self.answered)
        for i, time in enumerate(times):
            apart = untracked[i] and not self._attached(forward[i], kinds[i], sent_by_host[i])
            if apart or kinds[i] == ASIDE:
                labels.append(Label(self.number, UNTRACKED, S_UNTRACKED))
                continue
            if broken[i]:
                labels.append(Label(self.number, UNTRACKED, S_INVALID))
                continue
            if kinds[i] == RELATED_KIND:
                labels.append(self._error(time, forward[i], i == 0, sent_by_host[i]))
                continue
            if lost[i]:
                self.entry.exists = 0
            if i == 0 and self.older:
                take_up(self.entry, self.limits, time, self.forward_first, kinds[i], segments[i])
                self.from_before = self.opened = True
            labels.append(
                self._label(
                    time, forward[i], kinds[i], unconfirmed[i], sent_by_host[i], segments[i]
                )
            )
            self.invalid[bool(forward[i])] = labels[-1].state == S_INVALID
        return labels

    def _attached(self, forward: bool, kind: int, by_host: int) -> bool:
        """Whether the host made a packet about one that was dropped, so that it has that one's
        connection (nf_ct_attach): NOTRACK passes it by."""
        made = kind in (RST, RELATED_KIND)
        return made and bool(by_host) and self.entry.forgotten == 2 - forward

    def _error(self, time: int, forward: bool, first: bool, by_host: int) -> Label:
        """Of an ICMP error: it is RELATED to the connection of the packet that it quotes. The
        host's own shares the entry of that packet (nf_ct_attach), even if it was dropped; any other
        looks it up (nf_conntrack_inet_error), as does its own of a packet that was INVALID."""
        attached = self._attached(forward, RELATED_KIND, by_host)
        known = self.entry.exists and time <= self.entry.expires
        quoted = bool(by_host) and self.invalid[not forward]
        if (self.complete or quoted) and not (attached or known):
            return Label(self.number, UNTRACKED, S_INVALID)
        if first and not self.entry.exists:
            self.entry.original_forward = int(not forward)
        return self._said(forward, S_RELATED)

    def _said(self, forward: bool, state: int, nat: bool = False) -> Label:
        entry = self.entry
        direction = ORIGINAL if forward == entry.original_forward else REPLY
        seen_reply = bool(entry.seen_reply)
        return Label(self.number, direction, state, nat, nat, seen_reply, self.from_before)

    def _label(
        self,
        time: int,
        forward: bool,
        kind: int,
        unconfirmed: bool,
        by_host: int,
        segment: tuple[int, ...],
    ) -> Label:
        role, state = judge(
            self.entry,
            TRANSITIONS,
            self.limits,
            time,
            forward,
            kind,
            by_host,
            self.two_way,
            segment,
        )
        if role == INVALID:
            return Label(self.number, UNTRACKED, S_INVALID)
        if role == RESETS:
            seen_reply = bool(self.entry.seen_reply)
            return Label(self.number, REPLY, S_RELATED, False, True, seen_reply, False)
        opens = role in (OPENS, RETRIES)
        if opens:
            self.number += int(self.opened and role == OPENS)
            self.opened, self.from_before = True, False
        label = self._said(forward, state, nat=opens)
        if opens and unconfirmed:
            forget(self.entry, forward)
        return label


@dataclass(frozen=True)
class Labels:
    """What conntrack made of each crossing; arrays of shape (n,), ``connection`` from 0 within its
    pair."""

    connection: Ints
    direction: Ints
    state: Ints
    destination_nat: Bools
    source_nat: Bools
    seen_reply: Bools
    older: Bools


def track(
    crossings: Crossings,
    opening: Bytes,
    unconfirmed: Bools,
    untracked: Bools,
    only: Bools | None = None,
    before: Labels | None = None,
    settings: ConntrackSettings = DEFAULT_SETTINGS,
    lost: Bools | None = None,
    complete: bool = False,
    answered: bool = False,
) -> Labels:
    """Follow every pair (those in ``only`` (pairs,), where given; the others stay as ``before``, or
    0) on a host with these conntrack ``settings``.

    ``opening`` (pairs,): FRESH the first packet opens its connection, OLDER_FORWARD an older
    connection whose original direction is forward, OLDER_BACKWARD an older one the other way round.
    ``unconfirmed``, ``untracked`` and ``lost`` (n,): see :meth:`Tracker.run`; ``complete`` and
    ``answered``: see :class:`Tracker`."""
    n = len(crossings)
    zero, no = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
    result = before if before is not None else Labels(zero, zero, zero, no, no, no, no)
    mine = np.flatnonzero(only[crossings.pair]) if only is not None else np.arange(n)
    order = mine[np.lexsort((crossings.time[mine], crossings.pair[mine]))]
    starts = _begins(crossings.pair[order]).tolist()
    each = [
        column[order].tolist()
        for column in (
            crossings.time,
            crossings.forward.astype(np.int64),
            crossings.kind,
            unconfirmed,
            untracked,
            _by_host(crossings),
        )
    ]
    each.append(list(map(tuple, crossings.segment[order].tolist())))
    each.append((no if lost is None else lost)[order].tolist())
    broken = no if crossings.broken is None or not settings.checksum else crossings.broken
    if crossings.malformed is not None:
        broken = broken | crossings.malformed
    each.append(broken[order].tolist())
    protocols = crossings.protocol[order].tolist()
    how = opening[crossings.pair[order]].tolist()
    limits = limits_of(settings)
    labels: list[Label] = []
    for begin, end in pairwise([*starts, len(order)]):
        tracker = Tracker(
            protocols[begin],
            how[begin] != FRESH,
            how[begin] == OLDER_FORWARD,
            limits,
            complete,
            answered,
        )
        labels += tracker.run(*(column[begin:end] for column in each))
    values = zip(*labels, strict=True) if labels else [()] * len(fields(Labels))
    columns_of = {}
    for field, column in zip(fields(Labels), values, strict=True):
        columns_of[field.name] = getattr(result, field.name).copy()
        columns_of[field.name][order] = column
    return Labels(**columns_of)


def _by_host(crossings: Crossings) -> Ints:
    """0 of what came in; 1 of what did not, 2 where others of its pair and direction came in and
    left."""
    c = crossings
    through = c.entered & c.sent & ~c.loop
    way = c.pair * 2 + c.forward
    forwarded = np.zeros(int(way.max()) + 1 if len(way) else 0, dtype=bool)
    forwarded[way[through]] = True
    return np.where(c.entered, 0, np.where(forwarded[way], 2, 1))


def _begins(pair: Ints) -> Ints:
    """Where each run of equal numbers begins."""
    return np.flatnonzero(np.r_[True, pair[1:] != pair[:-1]]) if len(pair) else pair


def first_of_pairs(crossings: Crossings) -> Ints:
    """The first crossing of every pair; int64 (pairs,)."""
    order = np.lexsort((crossings.time, crossings.pair))
    return order[_begins(crossings.pair[order])]


def last_alone(crossings: Crossings) -> Bools:
    """The first crossing (n,) of each pair's last ones that came in and were not seen leaving,
    where others of their direction were."""
    c, result = crossings, np.zeros(len(crossings), dtype=bool)
    alone, through = c.entered & ~c.sent, c.entered & c.sent & ~c.loop
    order = np.lexsort((c.time, c.forward, c.pair))
    way = (c.pair * 2 + c.forward)[order]
    count = int(way.max()) + 1 if len(way) else 0
    last = np.full(count, -1, dtype=np.int64)
    place = np.arange(len(order))
    np.maximum.at(last, way[through[order]], place[through[order]])
    later = alone[order] & (last[way] >= 0) & (place > last[way])
    _, first = np.unique(way[later], return_index=True)
    result[order[np.flatnonzero(later)[first]]] = True
    return result


def guess_opening(crossings: Crossings, servers: frozenset[int]) -> Bytes:
    """How every pair opens: by a packet that may open a connection, or as a connection from before
    the capture.

    ``servers`` are endpoints that DNAT rules lead to. For an older
    connection the end with such an endpoint, else the lower port, is taken for the server."""
    count = int(crossings.pair.max()) + 1 if len(crossings) else 0
    opening = np.full(count, FRESH, dtype=np.int8)
    for row in first_of_pairs(crossings).tolist():
        if not _may_open(int(crossings.protocol[row]), int(crossings.kind[row])):
            original_forward = bool(crossings.forward[row]) == _to_server(crossings, row, servers)
            opening[crossings.pair[row]] = OLDER_FORWARD if original_forward else OLDER_BACKWARD
    return opening


def _may_open(protocol: int, kind: int) -> bool:
    if kind == RELATED_KIND:
        return True
    if protocol == TCP:
        return kind == SYN
    return protocol not in (ICMP, ICMP6) or kind != ANSWER


def _to_server(crossings: Crossings, row: int, servers: frozenset[int]) -> bool:
    """Whether a packet of an older connection went to its server."""
    c = crossings
    source = c.in_source[row] if c.came_in[row] >= 0 else c.out_source[row]
    target = c.out_destination[row] if c.left[row] >= 0 else c.in_destination[row]
    if c.protocol[row] in (ICMP, ICMP6) or c.kind[row] == SYNACK or int(source) in servers:
        return False
    return int(target) in servers or bool(port_of(target) <= port_of(source))
