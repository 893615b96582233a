"""A cell for each connection and each combination that its packets can be of: what is counted by
connection is counted there.

::

    connection   0          1     2             cell of a packet =
    cells        |0 1 2 3 |4 5 |6 7 8 9 ...       begin[its connection] + place[its combination]

A connection has as many cells as its class of endpoints has combinations, a handful, so that
nothing has to be sorted or looked up: packets, however they are ordered, are added up in one pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.flows.keys import mix

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt

    from correlator.arrays import Bools, Ints

STRETCH = 1 << 16
"""Connections that are worked on at a time."""


@dataclass(frozen=True)
class Cells:
    """``begin`` (c,): the first cell of each connection, of ``total``; ``place`` int32 (rows,): of
    each combination among those of its class of endpoints. So the cell of a packet is
    ``begin[owner] + place[combination]``. ``count`` int32 (groups,) the combinations of each class,
    and ``of`` int32 (groups, most) which they are, by their place."""

    begin: npt.NDArray[np.int32 | np.int64]
    place: npt.NDArray[np.int32]
    count: npt.NDArray[np.int32]
    of: npt.NDArray[np.int32]
    total: int


def cells_of(group: npt.NDArray[np.int32], group_of: Ints, kept: Bools) -> Cells:
    """The cells of all connections; those that are not kept have none.
    ``group`` (c,): the class of endpoints of each; ``group_of`` (rows,): that of each
    combination."""
    groups, rows = int(group.max(initial=0)) + 1, len(group_of)
    count = np.bincount(group_of, minlength=groups).astype(np.int32)
    order = np.argsort(group_of, kind="stable")
    before = np.cumsum(count) - count
    place = np.zeros(rows, dtype=np.int32)
    place[order] = np.arange(rows) - before[group_of[order]]
    of = np.zeros((groups, int(count.max(initial=1))), dtype=np.int32)
    of[group_of, place] = np.arange(rows)
    begin, total = begins(np.where(kept, count[group], np.int32(0)))
    return Cells(begin, place, count, of, total)


def begins(width: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32 | np.int64], int]:
    """(the first of so many cells of each connection (c,), all of them)."""
    total = int(width.sum(dtype=np.int64))
    ends: npt.NDArray[np.int32 | np.int64] = np.cumsum(
        width, dtype=np.int32 if total < 1 << 31 else np.int64
    )
    ends -= width
    return ends, total


def patterns_of(
    cells: Cells,
    group: npt.NDArray[np.int32],
    kept: Bools,
    packets: Iterable[tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]],
) -> tuple[tuple[int, Ints], ...]:
    """(number of connections, the combinations that packets of each of them are of) for each such
    set. ``packets``: (owner, combination) of every block of packets."""
    width = cells.of.shape[1]
    seen = np.zeros(cells.total, dtype=bool)
    for owner, combination in packets:
        seen[cells.begin[owner] + cells.place[combination]] = True
    number: dict[int, int] = {}
    found: list[Ints] = []
    total: list[int] = []
    for start in range(0, len(kept), STRETCH):
        at = start + np.flatnonzero(kept[start : start + STRETCH])
        mine_of, place = group[at], np.arange(width)
        mine = place < cells.count[mine_of][:, None]
        bits = np.zeros((len(at), -(-width // 64) * 64), dtype=bool)
        bits[:, :width][mine] = seen[(cells.begin[at, None] + place)[mine]]
        words = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
        names, example, many = np.unique(
            mix(mine_of, *words.T), return_index=True, return_counts=True
        )
        for name, one, more in zip(names.tolist(), example.tolist(), many.tolist(), strict=True):
            if number.setdefault(name, len(number)) == len(found):
                found.append(cells.of[mine_of[one], np.flatnonzero(bits[one])].astype(np.int64))
                total.append(0)
            total[number[name]] += more
    return tuple(zip(total, found, strict=True))
