"""The fold's inner loop: records in order of time -> crossings, pairs, connections, classes of
packet.

It says the same as :mod:`correlator.flows.crossings`, :mod:`correlator.flows.pairs` and
:mod:`correlator.flows.conntrack` say of ordinary connections (a test holds them against each
other): those of which every packet was seen coming in and leaving, from the one that opened them. A
pair of endpoints of which anything else was seen is *tainted*: its frames are left to those
modules, which can weigh what they may have meant."""

from __future__ import annotations

import numpy as np

from correlator import endpoints
from correlator.decode.compiled import kernel, part, rare
from correlator.decode.records import ICMP, IN, RECORD, TCP, UDP
from correlator.flows import conntrack
from correlator.flows.conntrack import ACK, FIN, MEMORY_NS, RST, SYN, SYNACK
from correlator.flows.crossings import WINDOW_NS

WAITING = np.dtype(
    [
        *[(name, RECORD[name]) for name in RECORD.names or ()],
        ("chain", "i8"),
        ("out_time", "i8"),
        ("out_src", "u4"),
        ("out_dst", "u4"),
        ("out_sport", "u2"),
        ("out_dport", "u2"),
        ("out_interface", "u1"),
        ("matched", "u1"),
    ]
)
"""A frame that came in and waits for its other sight; ``chain``: the one before it in its
bucket."""
PAIR = np.dtype(
    [
        ("name", "u8"),
        ("low", "i8"),
        ("last_time", "i8"),
        ("begun", "i8"),
        ("connection", "i4"),
        ("protocol", "u1"),
        ("tainted", "u1"),
        ("question", "u1"),
        ("state", "u1"),
        ("exists", "u1"),
        ("original_forward", "u1"),
        ("seen_reply", "u1"),
        ("closing", "u1"),
        ("last_kind", "i1"),
        ("last_forward", "u1"),
    ]
)
"""Two endpoints, and what conntrack knows of them. ``question``: conntrack may have known it before
the capture."""
CONNECTION = np.dtype(
    [
        ("client", "i8"),
        ("dialled", "i8"),
        ("server", "i8"),
        ("seen", "i8"),
        ("first", "i8"),
        ("last", "i8"),
        ("packets", "i8", 2),
        ("bytes", "i8", 2),
        ("pair", "i4"),
        ("refusals", "i4"),
        ("frame", "u4"),
        ("kind", "u2"),
        ("in_code", "u1"),
        ("out_code", "u1"),
        ("reply_in", "u1"),
        ("reply_out", "u1"),
        ("protocol", "u1"),
    ]
)
"""One connection; ``packets`` and ``bytes`` by direction, ``kind`` the class of its first packet,
codes of interfaces (255: not seen yet)."""
KIND = np.dtype(
    [
        ("key", "u8"),
        ("length", "i4"),
        ("option_kinds", "u4"),
        ("flags", "u2"),
        ("protocol", "u1"),
        ("direction", "u1"),
        ("state", "u1"),
        ("nat", "u1"),
        ("seen_reply", "u1"),
        ("in_code", "u1"),
        ("out_code", "u1"),
        ("ttl", "u1"),
        ("tos", "u1"),
        ("icmp_type", "u1"),
    ]
)
"""A class of packet: what rules can ask of it beside its connection's endpoints, with one packet's
values."""

NOWHERE, UNSEEN = -1, 255
DONE, GROW_NAMES, GROW_PAIRS, GROW_RING, TOO_MANY_KINDS = range(5)
HEAD, TAIL, PAIRS, CONNECTIONS, KINDS, NAMES, BEGIN, WRITTEN = range(8)
"""Places in the counters that the loop keeps between calls."""
READS_TOS, READS_FLAGS, READS_OPTIONS, READS_ICMP = 1, 2, 4, 8

_TABLE = np.array(conntrack._TCP, dtype=np.int64)
_TIMEOUTS = (
    np.array([conntrack._TCP_TIMEOUT.get(state, 432_000) for state in range(12)], dtype=np.int64)
    * 1_000_000_000
)
_NO, _SS, _SR, _ES, _FW, _TW, _IV, _IG = (
    conntrack._NO,
    conntrack._SS,
    conntrack._SR,
    conntrack._ES,
    conntrack._FW,
    conntrack._TW,
    conntrack._IV,
    conntrack._IG,
)
_UDP_TIMEOUT, _UDP_STREAM, _ICMP_TIMEOUT = (
    s * 1_000_000_000
    for s in (conntrack._UDP_TIMEOUT, conntrack._UDP_STREAM_TIMEOUT, conntrack._ICMP_TIMEOUT)
)
_UDP_MEMORY, _ICMP_MEMORY = MEMORY_NS[17], MEMORY_NS[1]
_A, _B, _C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(31)
pack = part(endpoints.pack)
S_NEW, S_ESTABLISHED = conntrack.S_NEW, conntrack.S_ESTABLISHED


@part
def name_of(protocol, a, b):
    """The same name for an unordered pair of endpoints as
    :func:`correlator.flows.pairs.node`; never 0."""
    total = np.uint64(protocol) * _A
    total ^= total >> _C
    total = (total ^ np.uint64(min(a, b))) * _B
    total ^= total >> _C
    total = (total ^ np.uint64(max(a, b))) * _B
    total ^= total >> _C
    return total | np.uint64(1)


@part
def find(keys, values, name):
    """The slot of a name: where it is, or where it would go."""
    mask = np.uint64(len(keys) - 1)
    slot = (name >> np.uint64(20)) & mask
    while keys[slot] != 0 and keys[slot] != name:
        slot = (slot + np.uint64(1)) & mask
    return slot


@rare
def _call(keys, values, counts, pairs, name, pair):
    """Let a name mean a pair; two pairs of one name are tainted."""
    slot = find(keys, values, name)
    if keys[slot] == 0:
        keys[slot], values[slot] = name, pair
        counts[NAMES] += 1
    elif values[slot] != pair:
        pairs[pair].tainted = pairs[values[slot]].tainted = 1


@part
def _pair_of(keys, values, counts, pairs, protocol, one, other):
    """The pair of two endpoints, made where there is none."""
    name = name_of(protocol, one, other)
    slot = find(keys, values, name)
    if keys[slot]:
        return np.int64(values[slot])
    pair = counts[PAIRS]
    counts[PAIRS] += 1
    counts[NAMES] += 1
    keys[slot], values[slot] = name, pair
    p = pairs[pair]
    p.name, p.low, p.protocol, p.connection, p.last_kind = name, min(one, other), protocol, -1, -1
    return pair


@rare
def _taint(keys, values, counts, pairs, protocol, src, sport, dst, dport):
    """A frame that is out of the ordinary: its pair is left to those who can weigh it."""
    pair = _pair_of(
        keys,
        values,
        counts,
        pairs,
        protocol,
        pack(np.int64(src), np.int64(sport)),
        pack(np.int64(dst), np.int64(dport)),
    )
    pairs[pair].tainted = 1


@rare
def _odd(keys, values, counts, pairs, r):
    _taint(keys, values, counts, pairs, r.protocol, r.src, r.sport, r.dst, r.dport)
    if r.inner_protocol:
        pair = _pair_of(
            keys,
            values,
            counts,
            pairs,
            r.inner_protocol,
            pack(np.int64(r.inner_src), np.int64(r.inner_sport)),
            pack(np.int64(r.inner_dst), np.int64(r.inner_dport)),
        )
        pairs[pair].tainted = 1


@part
def _wait(ring, buckets, counts, r):
    """A frame came in: it waits for its other sight."""
    number = counts[TAIL]
    counts[TAIL] += 1
    w = ring[number & (len(ring) - 1)]
    w.time, w.key, w.src, w.dst, w.frame, w.length = r.time, r.key, r.src, r.dst, r.frame, r.length
    w.option_kinds, w.sport, w.dport, w.flags, w.sequence = (
        r.option_kinds,
        r.sport,
        r.dport,
        r.flags,
        r.sequence,
    )
    w.interface, w.protocol, w.ttl, w.tos, w.icmp_type = (
        r.interface,
        r.protocol,
        r.ttl,
        r.tos,
        r.icmp_type,
    )
    w.matched = 0
    bucket = r.key & np.uint64(len(buckets) - 1)
    w.chain = buckets[bucket]
    buckets[bucket] = number


@part
def _match(ring, buckets, counts, r):
    """A frame left: the number of the oldest one waiting that it is the other sight of, -1 none, -2
    not to be told."""
    number = buckets[r.key & np.uint64(len(buckets) - 1)]
    best, loose = np.int64(-1), False
    while number >= counts[HEAD]:
        w = ring[number & (len(ring) - 1)]
        mirrored = w.src == r.dst and w.dst == r.src
        if w.key == r.key and not w.matched and r.time - w.time <= WINDOW_NS and not mirrored:
            if w.src == r.src or w.dst == r.dst:
                best = number
            else:
                loose = True
        number = w.chain
    return -2 if best < 0 and loose else best


@part
def _kind_of(
    table, kinds, counts, cuts_length, cuts_ttl, reads, w, direction, state, nat, seen_reply
):
    """The class of a packet, made where there is none; -1 where there are too many."""
    key = (
        np.uint64(w.protocol)
        | np.uint64(direction) << np.uint64(8)
        | np.uint64(state) << np.uint64(10)
    )
    key |= np.uint64(nat) << np.uint64(13) | np.uint64(seen_reply) << np.uint64(14)
    key |= np.uint64(w.interface) << np.uint64(16) | np.uint64(w.out_interface) << np.uint64(24)
    key |= np.uint64(np.searchsorted(cuts_length, np.int64(w.length), side="right")) << np.uint64(
        32
    )
    key |= np.uint64(np.searchsorted(cuts_ttl, np.int64(w.ttl), side="right")) << np.uint64(48)
    key = (key + np.uint64(1)) * _A
    if reads:
        key ^= key >> _C
        if reads & READS_TOS:
            key = (key ^ np.uint64(w.tos)) * _B
        if reads & READS_FLAGS:
            key = (key ^ np.uint64(w.flags) << np.uint64(8)) * _B
        if reads & READS_OPTIONS:
            key = (key ^ np.uint64(w.option_kinds) << np.uint64(20)) * _B
        if reads & READS_ICMP:
            key = (key ^ np.uint64(w.icmp_type) << np.uint64(3)) * _B
    key |= np.uint64(1)
    mask = np.uint64(len(table) - 1)
    slot = (key >> np.uint64(40)) & mask
    while table[slot] >= 0:
        if kinds[table[slot]].key == key:
            return np.int64(table[slot])
        slot = (slot + np.uint64(1)) & mask
    number = counts[KINDS]
    if number >= len(kinds):
        return np.int64(-1)
    counts[KINDS] += 1
    table[slot] = number
    k = kinds[number]
    k.key, k.length, k.option_kinds, k.flags, k.protocol = (
        key,
        w.length,
        w.option_kinds,
        w.flags,
        w.protocol,
    )
    k.direction, k.state, k.nat, k.seen_reply = direction, state, nat, seen_reply
    k.in_code, k.out_code = w.interface, w.out_interface
    k.ttl, k.tos, k.icmp_type = w.ttl, w.tos, w.icmp_type
    return number


@part
def _segment(flags):
    """As :func:`correlator.flows.conntrack.tcp_kind`."""
    if flags & 4:
        return RST
    if flags & 2:
        return SYNACK if flags & 16 else SYN
    if flags & 1:
        return FIN
    return ACK if flags & 16 else 5


@part
def _timeout(p):
    if p.protocol == TCP:
        return _TIMEOUTS[p.state]
    if p.protocol == UDP:
        return (
            _UDP_STREAM if p.seen_reply and p.last_time - p.begun > 2_000_000_000 else _UDP_TIMEOUT
        )
    return np.int64(_ICMP_TIMEOUT)


@rare
def _open(
    keys, values, counts, pairs, connections, pair, w, client, seen, server, dialled, forward, state
):
    """A connection begins: its number."""
    p = pairs[pair]
    number = counts[CONNECTIONS]
    counts[CONNECTIONS] += 1
    p.connection, p.exists, p.original_forward, p.seen_reply, p.closing = number, 1, forward, 0, 0
    p.begun = p.last_time = w.time
    p.state = state
    c = connections[number]
    c.client, c.seen, c.server, c.dialled, c.pair, c.protocol = (
        client,
        seen,
        server,
        dialled,
        pair,
        w.protocol,
    )
    c.first, c.frame, c.in_code, c.out_code, c.reply_in, c.reply_out = (
        w.time,
        w.frame,
        w.interface,
        w.out_interface,
        UNSEEN,
        UNSEEN,
    )
    _call(keys, values, counts, pairs, name_of(w.protocol, seen, server), pair)
    if dialled != NOWHERE:
        _call(keys, values, counts, pairs, name_of(w.protocol, client, dialled), pair)
    return number


@part
def _track(p, segment, w, forward):
    """One packet of a pair as :class:`correlator.flows.conntrack.Tracker` sees it.

    Returns (0 existing, 1 opens a connection, 2 out of the ordinary; direction; state of the
    packet; conntrack's state)."""
    if p.exists and w.time - p.last_time > _timeout(p):
        p.exists = 0
    if not p.exists:
        state = _TABLE[0, segment, _NO] if p.protocol == TCP else _ES
        if state == _IV or (p.protocol == ICMP and w.icmp_type != 8):
            return 2, 0, 0, 0
        return 1, 0, S_NEW, state
    direction = 0 if forward == p.original_forward else 1
    if p.protocol == TCP:
        if p.state == _SS and direction == 0 and segment in (ACK, FIN):
            return 2, 0, 0, 0  # it acknowledges an answer that the capture lost
        before, after = np.int64(p.state), _TABLE[direction, segment, p.state]
        if after == _SS and before >= _TW:
            if p.closing or (p.last_kind == RST and p.last_forward == forward):
                return 1, 0, S_NEW, _TABLE[0, segment, _NO]
            after = _IG
        if after == _IV:
            return 2, 0, 0, 0
        if segment == SYNACK and after == _IG and p.last_kind == SYN and p.last_forward != forward:
            after = _SR
        p.last_kind, p.last_forward = segment, forward
        if after != _IG:
            if after == _FW and before != _FW:
                p.closing = 1
            p.state = after
        if segment == RST and not p.seen_reply:
            p.exists = 0
    if direction == 1:
        p.seen_reply = 1
    p.last_time = w.time
    return 0, direction, S_ESTABLISHED if p.seen_reply else S_NEW, np.int64(p.state)


@part
def _agrees(c, direction, after, in_source, in_target, out_source, out_target, w):
    """Whether a packet shows the endpoints and interfaces that its connection has shown."""
    if direction == 0:
        shown = c.server if after else c.dialled
        if (
            in_source != c.client
            or out_source != c.seen
            or out_target != c.server
            or in_target != shown
        ):
            return False
        return w.interface == c.in_code and w.out_interface == c.out_code
    shown = c.client if after else c.seen
    if (
        in_source != c.server
        or out_target != c.client
        or out_source != c.dialled
        or in_target != shown
    ):
        return False
    if c.reply_in == UNSEEN:
        c.reply_in, c.reply_out = w.interface, w.out_interface
    return w.interface == c.reply_in and w.out_interface == c.reply_out


@part
def _crossing(
    keys,
    values,
    counts,
    pairs,
    connections,
    kinds,
    table,
    behind,
    cuts_length,
    cuts_ttl,
    reads,
    came,
    span,
    owner,
    length,
    kind_of,
    w,
):
    """One packet that was seen coming in and leaving. Returns False where there are too many
    kinds."""
    in_source, in_target = (
        pack(np.int64(w.src), np.int64(w.sport)),
        pack(np.int64(w.dst), np.int64(w.dport)),
    )
    out_source, out_target = (
        pack(np.int64(w.out_src), np.int64(w.out_sport)),
        pack(np.int64(w.out_dst), np.int64(w.out_dport)),
    )
    pair = _pair_of(keys, values, counts, pairs, w.protocol, in_source, out_target)
    p = pairs[pair]
    if w.interface == w.out_interface:
        p.tainted = 1
    if p.tainted:
        return True
    after = behind[w.interface]
    forward = 1 if in_source == p.low else 0
    segment = _segment(w.flags) if w.protocol == TCP else 0
    first = p.connection < 0
    what, direction, state, begun = _track(p, segment, w, forward)
    if what == 2 or (first and w.protocol == TCP and segment != SYN):
        p.tainted = 1
        return True
    if what == 1:
        dialled = np.int64(NOWHERE) if after else in_target
        _open(
            keys,
            values,
            counts,
            pairs,
            connections,
            pair,
            w,
            in_source,
            out_source,
            out_target,
            dialled,
            forward,
            begun,
        )
        p.last_kind, p.last_forward = segment, forward
        age = w.time - counts[BEGIN]
        if first and (
            (w.protocol == UDP and age < _UDP_MEMORY)
            or (w.protocol == ICMP and age < _ICMP_MEMORY and w.sequence > 1)
        ):
            p.question = 1
        if after and out_target != in_target:
            p.tainted = 1
    c = connections[p.connection]
    if direction == 1 and c.dialled == NOWHERE:
        c.dialled = out_source
        _call(keys, values, counts, pairs, name_of(w.protocol, c.client, c.dialled), pair)
    if not _agrees(c, direction, after, in_source, in_target, out_source, out_target, w):
        p.tainted = 1
        return True
    number = _kind_of(
        table,
        kinds,
        counts,
        cuts_length,
        cuts_ttl,
        reads,
        w,
        direction,
        state,
        1 if what == 1 else 0,
        p.seen_reply if what == 0 else 0,
    )
    if number < 0:
        return False
    if what == 1:
        c.kind = number
    c.last = max(c.last, w.time) if what == 0 else w.time
    c.packets[direction] += 1
    c.bytes[direction] += w.length
    if direction == 1 and w.protocol == TCP and w.flags & 4:
        c.refusals += 1
    at = counts[WRITTEN]
    came[at], span[at], owner[at], length[at], kind_of[at] = (
        w.time,
        w.out_time - w.time,
        p.connection,
        w.length,
        number,
    )
    counts[WRITTEN] += 1
    return True


@kernel
def fold(
    records,
    start,
    last,
    counts,
    ring,
    buckets,
    keys,
    values,
    pairs,
    connections,
    kinds,
    table,
    behind,
    cuts_length,
    cuts_ttl,
    reads,
    came,
    span,
    owner,
    length,
    kind_of,
):
    """Fold ``records[start:]`` in; ``last``: no more will come. Returns (number of records done,
    why it stopped)."""
    n = len(records)
    i = start
    while True:
        while counts[HEAD] < counts[TAIL]:
            w = ring[counts[HEAD] & (len(ring) - 1)]
            if (
                not w.matched
                and not (last and i >= n)
                and not (i < n and records[i].time - w.time > WINDOW_NS)
            ):
                break
            if 2 * (counts[NAMES] + 8) > len(keys):
                return i, GROW_NAMES
            if (
                counts[PAIRS] + 8 > len(pairs)
                or counts[CONNECTIONS] + 8 > len(connections)
                or counts[WRITTEN] + 2 > len(came)
            ):
                return i, GROW_PAIRS
            if w.matched:
                good = _crossing(
                    keys,
                    values,
                    counts,
                    pairs,
                    connections,
                    kinds,
                    table,
                    behind,
                    cuts_length,
                    cuts_ttl,
                    reads,
                    came,
                    span,
                    owner,
                    length,
                    kind_of,
                    w,
                )
                if not good:
                    return i, TOO_MANY_KINDS
            else:
                _taint(keys, values, counts, pairs, w.protocol, w.src, w.sport, w.dst, w.dport)
            counts[HEAD] += 1
        if i >= n:
            return i, DONE
        if 2 * (counts[NAMES] + 8) > len(keys):
            return i, GROW_NAMES
        if counts[PAIRS] + 8 > len(pairs):
            return i, GROW_PAIRS
        r = records[i]
        if r.odd:
            _odd(keys, values, counts, pairs, r)
        elif r.wire == IN:
            if counts[TAIL] - counts[HEAD] >= len(ring):
                return i, GROW_RING
            _wait(ring, buckets, counts, r)
        else:
            number = _match(ring, buckets, counts, r)
            if number >= 0:
                w = ring[number & (len(ring) - 1)]
                w.matched, w.out_time, w.out_src, w.out_dst = 1, r.time, r.src, r.dst
                w.out_sport, w.out_dport, w.out_interface = r.sport, r.dport, r.interface
            else:
                if number == -2:
                    _doubt(ring, buckets, counts, keys, values, pairs, r)
                _taint(keys, values, counts, pairs, r.protocol, r.src, r.sport, r.dst, r.dport)
        i += 1


@rare
def _doubt(ring, buckets, counts, keys, values, pairs, r):
    """Both ends rewritten at once: whatever waits and looks like it is out of the ordinary too."""
    number = buckets[r.key & np.uint64(len(buckets) - 1)]
    while number >= counts[HEAD]:
        w = ring[number & (len(ring) - 1)]
        if w.key == r.key and r.time - w.time <= WINDOW_NS:
            _taint(keys, values, counts, pairs, w.protocol, w.src, w.sport, w.dst, w.dport)
            if w.matched:
                _taint(
                    keys,
                    values,
                    counts,
                    pairs,
                    w.protocol,
                    w.out_src,
                    w.out_sport,
                    w.out_dst,
                    w.out_dport,
                )
        number = w.chain


@kernel
def move_names(keys, values, new_keys, new_values):
    """Put the table of names into a larger one, empty as yet, with a power of two of slots."""
    for i in range(len(keys)):
        if keys[i]:
            slot = find(new_keys, new_values, keys[i])
            new_keys[slot], new_values[slot] = keys[i], values[i]


@kernel
def move_ring(ring, new, heads, counts):
    """Move what a ring holds into a larger one ``new``, and chain it from its buckets ``heads`` (-1
    as yet)."""
    for number in range(counts[HEAD], counts[TAIL]):
        slot = number & (len(new) - 1)
        new[slot] = ring[number & (len(ring) - 1)]
        bucket = new[slot].key & np.uint64(len(heads) - 1)
        new[slot].chain = heads[bucket]
        heads[bucket] = number
