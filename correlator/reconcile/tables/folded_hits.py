"""Packets of ordinary connections added up by connection, direction and rule, some connections at a
time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.reconcile.possible.cells import begins
from correlator.reconcile.tables import hit_layout

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from correlator.arrays import Ints
    from correlator.reconcile.possible.decided import Ordinary


FEW = 4_000
"""Up to so many hits are laid out by plain Python."""
NEVER = 1 << 62


@dataclass(frozen=True)
class HitSums:
    """Hits (h,) of some connections, ordered by connection, direction, first and entry; all int64:
    ``owner`` row of the fold's connections, ``direction``, ``entry``, ``packets``, ``bytes``,
    ``first`` and ``last`` time, ``generation`` of the first of these packets."""

    owner: Ints
    direction: Ints
    entry: Ints
    packets: Ints
    bytes: Ints
    first: Ints
    last: Ints
    generation: Ints

    def __len__(self) -> int:
        return len(self.owner)


def add_up(ordinary: Ordinary, owners: Ints, generation: Ints, entries: int) -> HitSums:
    """The hits of connections ``owners`` (m,), in that order; ``generation`` (rows,) that of each
    combination's packets."""
    cells, group = ordinary.cells, ordinary.group[owners]
    begin, sums = _by_slot(ordinary, owners)
    width = np.array([len(hits) for hits in ordinary.hits], dtype=np.int64)
    offsets = np.r_[0, np.cumsum(width)]
    flat = np.array([entry for hits in ordinary.hits for entry in hits], dtype=np.int64)
    most = np.bincount(ordinary.group_of, width, minlength=len(cells.count)).astype(np.int64)
    rows = np.empty((8, int(most[group].sum())), dtype=np.int64)
    loop: Callable[..., Any] = hit_layout.lay_out
    if rows.shape[1] > FEW:
        from correlator.reconcile.tables import hit_layout_kernel

        loop = hit_layout_kernel.lay_out
    written = loop(
        begin,
        group,
        cells.count,
        cells.of,
        sums,
        offsets,
        flat,
        ordinary.reply,
        generation,
        entries,
        rows,
    )
    rows[0, :written] = owners[rows[0, :written]]
    return HitSums(*rows[:, :written])


def _by_slot(ordinary: Ordinary, owners: Ints) -> tuple[npt.NDArray[np.int32 | np.int64], Ints]:
    """(first slot of each of these connections; packets, bytes, first and last time of every slot,
    int64 (4, slots))."""
    cells = ordinary.cells
    position = np.full(len(ordinary.kept), -1, dtype=np.int32)
    position[owners] = np.arange(len(owners), dtype=np.int32)
    begin, total = begins(cells.count[ordinary.group[owners]])
    sums = np.zeros((4, total), dtype=np.int64)
    sums[2] = NEVER
    for block in ordinary.blocks_of(position >= 0):
        slot = begin[position[block.owner]] + cells.place[block.combination]
        sums[0] += np.bincount(slot, minlength=total)
        np.add.at(sums[1], slot, block.length.astype(np.int64))
        np.minimum.at(sums[2], slot, block.came)
        np.maximum.at(sums[3], slot, block.came)
    return begin, sums
