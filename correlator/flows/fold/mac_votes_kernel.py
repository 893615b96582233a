"""What frames tell of their interfaces' own MAC addresses: the inner loop beside the fold, where
facts tell none.

It counts the votes of :func:`correlator.flows.frames.direction.ttl_votes`: of two sights that
follow each other of one packet, the second with its TTL one less, the first came in and the second
left."""

from __future__ import annotations

import numpy as np

from correlator.decode.compiled import kernel, part
from correlator.decode.records import BROKEN, IN, KEYLESS, OUT, bare
from correlator.flows.keys import WINDOW_NS

LAST = np.dtype(
    [
        ("time", "i8"),
        ("key", "u8"),
        ("chain", "i8"),
        ("interface", "u1"),
        ("side", "u1"),
        ("ttl", "u1"),
        ("left", "u1"),
    ]
)
"""A frame that may be seen again. ``side``: OUT it bears the interface's own address as its source,
IN as its destination, 0 neither; ``left``: it was the second sight of a packet. Frames whose key
says too little stand here under that."""

STEPS = 256
HEAD, TAIL, FRAGMENTS = range(3)
"""Places in the counters that the loop keeps between calls."""
FRAMES, AGREE, OPPOSE, STRANGER, UNKNOWN = range(5)
"""What is counted of each interface: its frames; votes for its own address and against it; votes of
frames that do not bear it; frames that may or may not vote."""


@part
def _count(tally, interface, side, vote):
    if side == 0:
        tally[interface, STRANGER] += 1
    else:
        tally[interface, AGREE if side == vote else OPPOSE] += 1


@kernel
def vote(records, start, ring, buckets, counts, tally):
    """Count the votes of ``records[start:]``; returns how many were done: all, unless the ring is
    full."""
    mask = np.uint64(len(buckets) - 1)
    for i in range(start, len(records)):
        r = records[i]
        while (
            counts[HEAD] < counts[TAIL]
            and r.time - ring[counts[HEAD] & (len(ring) - 1)].time >= WINDOW_NS
        ):
            counts[HEAD] += 1
        if counts[TAIL] - counts[HEAD] >= len(ring):
            return i
        tally[r.interface, FRAMES] += 1
        side = OUT if r.wire == OUT else IN if r.wire == IN and not r.odd else 0
        key = bare(r.key, np.int64(r.ttl) + (1 if r.wire == OUT else 0))
        number = buckets[key & mask]
        left = 0
        if r.odd & KEYLESS:
            counts[FRAGMENTS] += 1 if r.odd & BROKEN else 0
            steps = 0
            while number >= counts[HEAD]:
                steps += 1
                if steps > STEPS:  # whatever they may be: nobody waits for it
                    counts[FRAGMENTS] += 1
                    number = np.int64(-1)
                    break
                before = ring[number & (len(ring) - 1)]
                if before.key == key and before.ttl == np.int64(r.ttl) + 1:
                    tally[before.interface, UNKNOWN] += 1
                    tally[r.interface, UNKNOWN] += 1
                number = before.chain
        while number >= counts[HEAD] and ring[number & (len(ring) - 1)].key != key:
            number = ring[number & (len(ring) - 1)].chain
        if number >= counts[HEAD] and ring[number & (len(ring) - 1)].ttl == np.int64(r.ttl) + 1:
            before = ring[number & (len(ring) - 1)]
            if not before.left:
                _count(tally, before.interface, before.side, IN)
            _count(tally, r.interface, side, OUT)
            left = 1
        last = ring[counts[TAIL] & (len(ring) - 1)]
        last.time, last.key, last.interface, last.side, last.ttl, last.left = (
            r.time,
            key,
            r.interface,
            side,
            r.ttl,
            left,
        )
        last.chain = buckets[key & mask]
        buckets[key & mask] = counts[TAIL]
        counts[TAIL] += 1
    return len(records)


@kernel
def reach(records, asked, table):
    """Note the destinations of frames that came in to the own addresses of interfaces that are
    ``asked`` (256,) of: interface << 32 | address, in a ``table`` of slots (-1: empty). Returns
    False where there are too many."""
    mask, free = len(table) - 1, len(table) // 2
    for place in range(len(table)):
        free -= 1 if table[place] >= 0 else 0
    for i in range(len(records)):
        r = records[i]
        if r.odd or r.wire != IN or not asked[r.interface]:
            continue
        name = np.int64(r.interface) << 32 | np.int64(r.dst)
        slot = np.int64((np.uint64(name) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)) & mask
        while table[slot] >= 0 and table[slot] != name:
            slot = (slot + 1) & mask
        if table[slot] < 0:
            if free <= 0:
                return False
            free -= 1
            table[slot] = name
    return True
