"""Which pair of endpoints a tuple belongs to: a hash table of names, ``keys`` uint64 and ``values``
int32 with a power of two of slots, of which at most half are used (key 0: an empty one)."""

from __future__ import annotations

import numpy as np

from correlator import endpoints
from correlator.decode.compiled import kernel, part, rare
from correlator.flows.fold.tables import NAMES, PAIRS

_A, _B, _C = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(31)


_pack = part(endpoints.pack)


@part
def endpoint(address, port):
    """As :func:`correlator.endpoints.pack`, of a record's fields."""
    return _pack(np.int64(address), np.int64(port))


@part
def name_of(protocol, a, b):
    """The same name for an unordered pair of endpoints as
    :func:`correlator.flows.keys.pair_name`; never 0."""
    total = np.uint64(protocol) * _A
    total ^= total >> _C
    total = (total ^ np.uint64(min(a, b))) * _B
    total ^= total >> _C
    total = (total ^ np.uint64(max(a, b))) * _B
    total ^= total >> _C
    return total | np.uint64(1)


@part
def find(keys, name):
    """The slot of a name: where it is, or where it would go."""
    mask = np.uint64(len(keys) - 1)
    slot = (name >> np.uint64(20)) & mask
    while keys[slot] != 0 and keys[slot] != name:
        slot = (slot + np.uint64(1)) & mask
    return slot


@rare
def also_named(t, name, pair):
    """Let a name mean a pair; two pairs of one name are tainted."""
    slot = find(t.keys, name)
    if t.keys[slot] == 0:
        t.keys[slot], t.values[slot] = name, pair
        t.counts[NAMES] += 1
    elif t.values[slot] != pair:
        t.pairs[pair].tainted = t.pairs[t.values[slot]].tainted = 1


@part
def pair_of(t, protocol, one, other):
    """The pair of two endpoints, made where there is none."""
    name = name_of(protocol, one, other)
    slot = find(t.keys, name)
    if t.keys[slot]:
        return np.int64(t.values[slot])
    pair = t.counts[PAIRS]
    t.counts[PAIRS] += 1
    t.counts[NAMES] += 1
    t.keys[slot], t.values[slot] = name, pair
    p = t.pairs[pair]
    p.name, p.low, p.protocol, p.connection, p.last_kind = name, min(one, other), protocol, -1, -1
    return pair


@rare
def taint(t, protocol, src, sport, dst, dport):
    """Mark the pair of a frame that is out of the ordinary."""
    pair = pair_of(t, protocol, endpoint(src, sport), endpoint(dst, dport))
    t.pairs[pair].tainted = 1


@rare
def taint_odd(t, r):
    """Mark the pair of a record that says itself that it is out of the ordinary, and of the packet
    that it quotes."""
    taint(t, r.protocol, r.src, r.sport, r.dst, r.dport)
    if r.inner_protocol:
        taint(t, r.inner_protocol, r.inner_src, r.inner_sport, r.inner_dst, r.inner_dport)


@kernel
def move_names(keys, values, new_keys, new_values):
    """Put the table of names into a larger one, empty as yet, with a power of two of slots."""
    for i in range(len(keys)):
        if keys[i]:
            slot = find(new_keys, keys[i])
            new_keys[slot], new_values[slot] = keys[i], values[i]
