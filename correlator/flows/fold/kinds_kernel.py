"""Which class a packet is of: what rules can ask of it, hashed."""

from __future__ import annotations

import numpy as np

from correlator.decode.compiled import part
from correlator.flows.fold.tables import KINDS, READS_FLAGS, READS_ICMP, READS_OPTIONS, READS_TOS

_A, _B, _C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(31)


@part
def _key(asked, w, direction, state, nat, seen_reply):
    """Lengths and TTLs count as far as rules tell them apart, other fields where they are read."""
    key = np.uint64(w.protocol) | np.uint64(direction) << np.uint64(8)
    key |= np.uint64(state) << np.uint64(10)
    key |= np.uint64(nat) << np.uint64(13) | np.uint64(seen_reply) << np.uint64(14)
    key |= np.uint64(w.interface) << np.uint64(16) | np.uint64(w.out_interface) << np.uint64(24)
    length = np.searchsorted(asked.lengths, np.int64(w.length), side="right")
    ttl = np.searchsorted(asked.ttls, np.int64(w.ttl), side="right")
    key |= np.uint64(length) << np.uint64(32) | np.uint64(ttl) << np.uint64(48)
    key = (key + np.uint64(1)) * _A
    if asked.reads:
        key ^= key >> _C
        if asked.reads & READS_TOS:
            key = (key ^ np.uint64(w.tos)) * _B
        if asked.reads & READS_FLAGS:
            key = (key ^ np.uint64(w.flags) << np.uint64(8)) * _B
        if asked.reads & READS_OPTIONS:
            key = (key ^ np.uint64(w.option_kinds) << np.uint64(20)) * _B
        if asked.reads & READS_ICMP:
            key = (key ^ np.uint64(w.icmp_type) << np.uint64(3)) * _B
    return key | np.uint64(1)


@part
def kind_of(t, asked, w, direction, state, nat, seen_reply):
    """The class of a packet, made where there is none; -1 where there are too many."""
    key = _key(asked, w, direction, state, nat, seen_reply)
    mask = np.uint64(len(t.slots) - 1)
    slot = (key >> np.uint64(40)) & mask
    while t.slots[slot] >= 0:
        if t.kinds[t.slots[slot]].key == key:
            return np.int64(t.slots[slot])
        slot = (slot + np.uint64(1)) & mask
    number = t.counts[KINDS]
    if number >= len(t.kinds):
        return np.int64(-1)
    t.counts[KINDS] += 1
    t.slots[slot] = number
    k = t.kinds[number]
    k.key, k.length, k.option_kinds, k.flags = key, w.length, w.option_kinds, w.flags
    k.protocol, k.direction, k.state = w.protocol, direction, state
    k.nat, k.seen_reply = nat, seen_reply
    k.in_code, k.out_code = w.interface, w.out_interface
    k.ttl, k.tos, k.icmp_type = w.ttl, w.tos, w.icmp_type
    return number
