"""A slot for each connection and each combination that its packets can be of: what is counted by connection is counted there.

A connection has as many slots as its class of endpoints has combinations, a handful, so that nothing has to be sorted or
looked up: packets, however they are ordered, are added up in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.flows.crossings import mix

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.ordinary import Ordinary

    Ints = npt.NDArray[np.int64]

STRETCH = 1 << 16
"""Connections that are worked on at a time."""


@dataclass(frozen=True)
class Slots:
    """``base`` (c,), ``total``: the slot of a packet is ``base[owner] + combination``. ``first`` int64 (groups,) the first
    combination of each class of endpoints, and ``count`` how many it has."""

    base: npt.NDArray[np.int32 | np.int64]
    first: Ints
    count: Ints
    total: int


def slots_of(ordinary: Ordinary) -> Slots:
    """The slots of all connections; those that are not kept have none."""
    occurs = ordinary.combination >= 0
    count = occurs.sum(axis=1)
    first = np.where(count > 0, np.cumsum(count) - count, 0)
    wide = np.where(ordinary.kept, count.astype(np.int32)[ordinary.group], np.int32(0))
    total = int(wide.sum(dtype=np.int64))
    begin: npt.NDArray[np.int32 | np.int64] = np.cumsum(wide, dtype=np.int32 if total < 1 << 31 else np.int64)
    before: npt.NDArray[np.int32] = wide + first.astype(np.int32)[ordinary.group]
    return Slots(begin - before, first.astype(np.int64), count.astype(np.int64), total)


def patterns_of(ordinary: Ordinary) -> tuple[tuple[int, Ints], ...]:
    """(number of connections, the combinations that packets of each of them are of) for each such set."""
    slots = ordinary.slots
    seen = np.zeros(slots.total, dtype=bool)
    for block in ordinary.blocks():
        seen[slots.base[block.owner] + block.combination] = True
    width = int(slots.count.max(initial=1))
    number: dict[int, int] = {}
    found: list[Ints] = []
    total: list[int] = []
    for start in range(0, len(ordinary.kept), STRETCH):
        at = start + np.flatnonzero(ordinary.kept[start : start + STRETCH])
        group, place = ordinary.group[at], np.arange(width)
        mine = place < slots.count[group][:, None]
        bits = np.zeros((len(at), -(-width // 64) * 64), dtype=bool)
        bits[:, :width][mine] = seen[(slots.base[at, None] + slots.first[group][:, None] + place)[mine]]
        words = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
        names, example, many = np.unique(mix(group, *words.T), return_index=True, return_counts=True)
        for name, one, more in zip(names.tolist(), example.tolist(), many.tolist(), strict=True):
            if number.setdefault(name, len(number)) == len(found):
                found.append(np.flatnonzero(bits[one]) + slots.first[group[one]])
                total.append(0)
            total[number[name]] += more
    return tuple(zip(total, found, strict=True))
