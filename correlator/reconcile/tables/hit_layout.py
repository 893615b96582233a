"""The inner loop that lays sums by connection and combination out by connection, direction and
rule.

It is plain Python, and compiled where there is much to lay out
(:mod:`correlator.reconcile.tables.hit_layout_kernel`): loading the compiler takes longer than
laying out a few."""

from __future__ import annotations

from typing import Any

import numpy as np

POSITION, DIRECTION, ENTRY, PACKETS, BYTES, FIRST, LAST, GENERATION = range(8)


def lay_out(
    begin: Any,
    group: Any,
    count: Any,
    of: Any,
    sums: Any,
    offsets: Any,
    hits: Any,
    reply: Any,
    generation: Any,
    entries: Any,
    rows: Any,
) -> Any:
    """Fill ``rows`` int64 (8, ...) with every hit (see above), by position, direction, first and
    entry; returns how many.

    Connections (m,) have their slots from ``begin`` on: ``sums`` int64 (4, slots), packets, bytes,
    first and last; those of a ``group`` are ``count`` and stand for combinations ``of``. What a
    combination hits: ``hits[offsets[it] : offsets[it + 1]]``."""
    found = np.full(2 * entries, -1, dtype=np.int64)
    written = 0
    for at in range(len(begin)):
        start = written
        for place in range(count[group[at]]):
            slot = begin[at] + place
            if sums[0, slot] == 0:
                continue
            combination = of[group[at], place]
            direction = reply[combination]
            for number in range(offsets[combination], offsets[combination + 1]):
                key = 2 * hits[number] + direction
                row = found[key]
                if row < 0:
                    row = written
                    found[key] = row
                    written += 1
                    rows[POSITION, row], rows[DIRECTION, row], rows[ENTRY, row] = (
                        at,
                        direction,
                        hits[number],
                    )
                    rows[PACKETS, row], rows[BYTES, row] = sums[0, slot], sums[1, slot]
                    rows[FIRST, row], rows[LAST, row] = sums[2, slot], sums[3, slot]
                    rows[GENERATION, row] = generation[combination]
                else:
                    rows[PACKETS, row] += sums[0, slot]
                    rows[BYTES, row] += sums[1, slot]
                    rows[FIRST, row] = min(rows[FIRST, row], sums[2, slot])
                    rows[LAST, row] = max(rows[LAST, row], sums[3, slot])
                    rows[GENERATION, row] = min(rows[GENERATION, row], generation[combination])
        for row in range(start, written):
            found[2 * rows[ENTRY, row] + rows[DIRECTION, row]] = -1
        # Shell's sort: they are few, and mostly in order
        gap = 1
        while 3 * gap < written - start:
            gap = 3 * gap + 1
        while gap > 0:
            for row in range(start + gap, written):
                here = row
                while here - gap >= start:
                    there = here - gap
                    before = rows[DIRECTION, here] - rows[DIRECTION, there]
                    if before == 0:
                        before = rows[FIRST, here] - rows[FIRST, there]
                    if before == 0:
                        before = rows[ENTRY, here] - rows[ENTRY, there]
                    if before >= 0:
                        break
                    for name in range(8):
                        kept = rows[name, here]
                        rows[name, here] = rows[name, there]
                        rows[name, there] = kept
                    here = there
            gap //= 3
    return written
