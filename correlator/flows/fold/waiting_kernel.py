"""Frames that came in, in a ring, until they are seen leaving: number ``n`` stands at ``n`` modulo
the ring's size, and hangs in the chain of its key's bucket, youngest first.

    buckets[key] --> 17 --chain--> 12 --chain--> 3 (older than HEAD: the end)
"""

from __future__ import annotations

import numpy as np

from correlator.decode.compiled import kernel, part, rare
from correlator.flows.fold.names_kernel import taint
from correlator.flows.fold.tables import HEAD, TAIL
from correlator.flows.keys import WINDOW_NS


@part
def wait(t, r):
    """A frame came in: it waits for its other sight."""
    number = t.counts[TAIL]
    t.counts[TAIL] += 1
    w = t.ring[number & (len(t.ring) - 1)]
    w.time, w.key, w.src, w.dst, w.frame, w.length = r.time, r.key, r.src, r.dst, r.frame, r.length
    w.option_kinds, w.sport, w.dport = r.option_kinds, r.sport, r.dport
    w.flags, w.sequence, w.interface, w.protocol = r.flags, r.sequence, r.interface, r.protocol
    w.ttl, w.tos, w.icmp_type = r.ttl, r.tos, r.icmp_type
    w.seq, w.end, w.ack, w.window, w.scale = r.seq, r.end, r.ack, r.window, r.scale
    w.matched = 0
    bucket = r.key & np.uint64(len(t.buckets) - 1)
    w.chain = t.buckets[bucket]
    t.buckets[bucket] = number


@part
def match(t, r):
    """A frame left: the number of the oldest one waiting that it is the other sight of, -1 none, -2
    not to be told."""
    number = t.buckets[r.key & np.uint64(len(t.buckets) - 1)]
    best, loose = np.int64(-1), False
    while number >= t.counts[HEAD]:
        w = t.ring[number & (len(t.ring) - 1)]
        mirrored = w.src == r.dst and w.dst == r.src
        if w.key == r.key and not w.matched and r.time - w.time <= WINDOW_NS and not mirrored:
            if w.src == r.src or w.dst == r.dst:
                best = number
            else:
                loose = True
        number = w.chain
    return -2 if best < 0 and loose else best


@rare
def taint_alike(t, r):
    """Both ends rewritten at once: whatever waits and looks like it is out of the ordinary too."""
    number = t.buckets[r.key & np.uint64(len(t.buckets) - 1)]
    while number >= t.counts[HEAD]:
        w = t.ring[number & (len(t.ring) - 1)]
        if w.key == r.key and r.time - w.time <= WINDOW_NS:
            taint(t, w.protocol, w.src, w.sport, w.dst, w.dport)
            if w.matched:
                taint(t, w.protocol, w.out_src, w.out_sport, w.out_dst, w.out_dport)
        number = w.chain


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
