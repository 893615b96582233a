"""A slot for each connection and each combination that its packets can be of: what is counted by
connection is counted there.

A connection has as many slots as its class of endpoints has combinations, a handful, so that
nothing has to be sorted or looked up: packets, however they are ordered, are added up in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.flows.crossings import mix

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.possible.decided import Ordinary

    Ints = npt.NDArray[np.int64]

STRETCH = 1 << 16
"""Connections that are worked on at a time."""


@dataclass(frozen=True)
class Slots:
    """``begin`` (c,): the first slot of each connection, of ``total``; ``place`` int32 (rows,): of
    each combination among those of its class of endpoints. So the slot of a packet is
    ``begin[owner] + place[combination]``. ``count`` int32 (groups,) the combinations of each class,
    and ``of`` int32 (groups, most) which they are, by their place."""

    begin: npt.NDArray[np.int32 | np.int64]
    place: npt.NDArray[np.int32]
    count: npt.NDArray[np.int32]
    of: npt.NDArray[np.int32]
    total: int


def slots_of(ordinary: Ordinary) -> Slots:
    """The slots of all connections; those that are not kept have none."""
    groups, rows = int(ordinary.group.max(initial=0)) + 1, len(ordinary.way)
    count = np.bincount(ordinary.group_of, minlength=groups).astype(np.int32)
    order = np.argsort(ordinary.group_of, kind="stable")
    before = np.cumsum(count) - count
    place = np.zeros(rows, dtype=np.int32)
    place[order] = np.arange(rows) - before[ordinary.group_of[order]]
    of = np.zeros((groups, int(count.max(initial=1))), dtype=np.int32)
    of[ordinary.group_of, place] = np.arange(rows)
    begin, total = begins(np.where(ordinary.kept, count[ordinary.group], np.int32(0)))
    return Slots(begin, place, count, of, total)


def begins(width: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32 | np.int64], int]:
    """(the first of so many slots of each connection (c,), all of them)."""
    total = int(width.sum(dtype=np.int64))
    ends: npt.NDArray[np.int32 | np.int64] = np.cumsum(
        width, dtype=np.int32 if total < 1 << 31 else np.int64
    )
    ends -= width
    return ends, total


def patterns_of(ordinary: Ordinary) -> tuple[tuple[int, Ints], ...]:
    """(number of connections, the combinations that packets of each of them are of) for each such
    set."""
    slots, width = ordinary.slots, ordinary.slots.of.shape[1]
    seen = np.zeros(slots.total, dtype=bool)
    for block in ordinary.blocks():
        seen[slots.begin[block.owner] + slots.place[block.combination]] = True
    number: dict[int, int] = {}
    found: list[Ints] = []
    total: list[int] = []
    for start in range(0, len(ordinary.kept), STRETCH):
        at = start + np.flatnonzero(ordinary.kept[start : start + STRETCH])
        group, place = ordinary.group[at], np.arange(width)
        mine = place < slots.count[group][:, None]
        bits = np.zeros((len(at), -(-width // 64) * 64), dtype=bool)
        bits[:, :width][mine] = seen[(slots.begin[at, None] + place)[mine]]
        words = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
        names, example, many = np.unique(
            mix(group, *words.T), return_index=True, return_counts=True
        )
        for name, one, more in zip(names.tolist(), example.tolist(), many.tolist(), strict=True):
            if number.setdefault(name, len(number)) == len(found):
                found.append(slots.of[group[one], np.flatnonzero(bits[one])].astype(np.int64))
                total.append(0)
            total[number[name]] += more
    return tuple(zip(total, found, strict=True))
