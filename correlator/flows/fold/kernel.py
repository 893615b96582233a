"""The fold's inner loop: records in order of time -> crossings, pairs, connections, classes of
packet.

    record --came in--> wait ..................+
    record --left-----> match (its other sight) +--> _crossing --> judge, connection, class
       |                     |                            |
       +- odd                +- none                      +- anything unusual
       v                     v                            v
     taint                 taint                        taint

It says the same as :mod:`correlator.flows.crossings`, :mod:`correlator.flows.pairs` and
:mod:`correlator.flows.labels` say of ordinary connections (a test holds them against each other):
those of which every packet was seen coming in and leaving, from the one that opened them. Of a pair
of endpoints of which anything else was seen, frames are left to those modules, which can weigh what
they may have meant.

Crossings are told of in the order in which they came in, once 200 ms are over: only then is it
known that one was not seen leaving."""

from __future__ import annotations

import numpy as np

from correlator.decode.compiled import kernel, part, rare
from correlator.decode.records import ICMP, IN, TCP, UDP
from correlator.flows.conntrack import (
    ANSWER,
    ICMP_TIMEOUT,
    OPENS,
    ORIGINAL,
    QUERY,
    REPLY,
    SYN,
    UDP_STREAM_TIMEOUT,
)
from correlator.flows.fold.conntrack_kernel import TABLE, judge, tcp_kind
from correlator.flows.fold.kinds_kernel import kind_of
from correlator.flows.fold.names_kernel import (
    also_named,
    endpoint,
    name_of,
    pair_of,
    taint,
    taint_odd,
)
from correlator.flows.fold.tables import (
    BEGIN,
    CONNECTIONS,
    HEAD,
    NAMES,
    NOWHERE,
    PAIRS,
    TAIL,
    UNSEEN,
    WRITTEN,
)
from correlator.flows.fold.waiting_kernel import match, taint_alike, wait
from correlator.flows.keys import WINDOW_NS

DONE, GROW_NAMES, GROW_PAIRS, GROW_RING, TOO_MANY_KINDS = range(5)
"""Why the loop stopped: there is no more, or a table is full."""


@rare
def _begin(t, pair, w, client, seen, server, dialled):
    """A connection of a pair begins."""
    number = t.counts[CONNECTIONS]
    t.counts[CONNECTIONS] += 1
    t.pairs[pair].connection = number
    c = t.connections[number]
    c.client, c.seen, c.server, c.dialled = client, seen, server, dialled
    c.pair, c.protocol, c.first, c.frame = pair, w.protocol, w.time, w.frame
    c.in_code, c.out_code, c.reply_in, c.reply_out = w.interface, w.out_interface, UNSEEN, UNSEEN
    also_named(t, name_of(w.protocol, seen, server), pair)
    if dialled != NOWHERE:
        also_named(t, name_of(w.protocol, client, dialled), pair)


@part
def _agrees(c, direction, after, in_source, in_target, out_source, out_target, w):
    """Whether a packet shows the endpoints and interfaces that its connection has shown; ``after``:
    it was seen behind PREROUTING."""
    if direction == ORIGINAL:
        shown = c.server if after else c.dialled
        ends = in_source == c.client and out_source == c.seen
        ends = ends and out_target == c.server and in_target == shown
        return ends and w.interface == c.in_code and w.out_interface == c.out_code
    shown = c.client if after else c.seen
    ends = in_source == c.server and out_target == c.client
    if not (ends and out_source == c.dialled and in_target == shown):
        return False
    if c.reply_in == UNSEEN:
        c.reply_in, c.reply_out = w.interface, w.out_interface
    return w.interface == c.reply_in and w.out_interface == c.reply_out


@part
def _may_be_older(t, asked, w):
    """Whether conntrack may know a pair from before the capture: for so long it remembers one that
    is silent; ping(8) counts from 1."""
    age = w.time - t.counts[BEGIN]
    if w.protocol == ICMP:
        return age < asked.limits[ICMP_TIMEOUT] and w.sequence > 1
    return w.protocol == UDP and age < asked.limits[UDP_STREAM_TIMEOUT]


@part
def _write(t, written, w, connection, kind):
    at = t.counts[WRITTEN]
    t.counts[WRITTEN] += 1
    written.came[at], written.span[at] = w.time, w.out_time - w.time
    written.owner[at], written.length[at], written.kind[at] = connection, w.length, kind


@part
def _kind(w):
    """As conntrack tells packets of a protocol apart."""
    if w.protocol == TCP:
        return tcp_kind(w.flags)
    return ANSWER if w.protocol == ICMP and w.icmp_type == 0 else QUERY


@part
def _crossing(t, asked, written, behind, w):
    """One packet that was seen coming in and leaving. Returns False where there are too many
    kinds."""
    in_source, in_target = endpoint(w.src, w.sport), endpoint(w.dst, w.dport)
    out_source, out_target = endpoint(w.out_src, w.out_sport), endpoint(w.out_dst, w.out_dport)
    pair = pair_of(t, w.protocol, in_source, out_target)
    p = t.pairs[pair]
    if w.interface == w.out_interface:
        p.tainted = 1
    if p.tainted:
        return True
    after = behind[w.interface]
    forward = 1 if in_source == p.low else 0
    kind = _kind(w)
    first = p.connection < 0
    ack = np.int64(w.ack) if w.flags & 16 else np.int64(-1)
    segment = (np.int64(w.seq), np.int64(w.end), ack, np.int64(w.window), np.int64(w.scale))
    role, state = judge(p, TABLE, asked.limits, w.time, forward, kind, 0, 0, segment)
    if role > OPENS or (first and w.protocol == TCP and kind != SYN):
        p.tainted = 1
        return True
    if role == OPENS:
        _begin(t, pair, w, in_source, out_source, out_target, NOWHERE if after else in_target)
        if first and _may_be_older(t, asked, w):
            p.question = 1
        if after and out_target != in_target:
            p.tainted = 1
    c = t.connections[p.connection]
    direction = ORIGINAL if forward == p.original_forward else REPLY
    if direction == REPLY and c.dialled == NOWHERE:
        c.dialled = out_source
        also_named(t, name_of(w.protocol, c.client, c.dialled), pair)
    if not _agrees(c, direction, after, in_source, in_target, out_source, out_target, w):
        p.tainted = 1
        return True
    nat = 1 if role == OPENS else 0
    number = kind_of(t, asked, w, direction, state, nat, p.seen_reply)
    if number < 0:
        return False
    if role == OPENS:
        c.kind, c.last = number, w.time
    c.last = max(c.last, w.time)
    c.packets[direction] += 1
    c.bytes[direction] += w.length
    if direction == REPLY and w.protocol == TCP and w.flags & 4:
        c.refusals += 1
    _write(t, written, w, p.connection, number)
    return True


@kernel
def fold(records, start, last, t, asked, written, behind):
    """Fold ``records[start:]`` in; ``last``: no more will come. Returns (number of records done,
    why it stopped)."""
    n = len(records)
    i = start
    while True:
        while t.counts[HEAD] < t.counts[TAIL]:
            w = t.ring[t.counts[HEAD] & (len(t.ring) - 1)]
            over = (last and i >= n) or (i < n and records[i].time - w.time > WINDOW_NS)
            if not (w.matched or over):
                break
            if 2 * (t.counts[NAMES] + 8) > len(t.keys):
                return i, GROW_NAMES
            room = t.counts[PAIRS] + 8 <= len(t.pairs)
            room = room and t.counts[CONNECTIONS] + 8 <= len(t.connections)
            if not (room and t.counts[WRITTEN] + 2 <= len(written.came)):
                return i, GROW_PAIRS
            if not w.matched:
                taint(t, w.protocol, w.src, w.sport, w.dst, w.dport)
            elif not _crossing(t, asked, written, behind, w):
                return i, TOO_MANY_KINDS
            t.counts[HEAD] += 1
        if i >= n:
            return i, DONE
        if 2 * (t.counts[NAMES] + 8) > len(t.keys):
            return i, GROW_NAMES
        if t.counts[PAIRS] + 8 > len(t.pairs):
            return i, GROW_PAIRS
        r = records[i]
        if r.odd:
            taint_odd(t, r)
        elif r.wire == IN:
            if t.counts[TAIL] - t.counts[HEAD] >= len(t.ring):
                return i, GROW_RING
            wait(t, r)
        else:
            _left(t, r)
        i += 1


@part
def _left(t, r):
    """A frame left: the other sight of one that waits, or out of the ordinary."""
    number = match(t, r)
    if number >= 0:
        w = t.ring[number & (len(t.ring) - 1)]
        w.matched, w.out_time, w.out_src, w.out_dst = 1, r.time, r.src, r.dst
        w.out_sport, w.out_dport, w.out_interface = r.sport, r.dport, r.interface
        return
    if number == -2:
        taint_alike(t, r)
    taint(t, r.protocol, r.src, r.sport, r.dst, r.dport)
