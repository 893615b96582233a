"""Connections numbered from 1 in order of their first packet, those decided while reading among the
others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.reconcile.possible.scene import Scene
    from correlator.reconcile.tables.attribution import Attribution
    from correlator.reconcile.verdict import Verdict


@dataclass(frozen=True)
class Numbering:
    """``attributed`` int64 (a + 1,): the number of each of the attribution's connections (which
    count from 1); ``ordinary`` int64 (c,): of each of the fold's connections, 0 for those that are
    not kept; ``of_rows`` int64 (m,): of each explored row's connection, 0 where it has none.
    ``total`` connections."""

    attributed: Ints
    ordinary: Ints
    of_rows: Ints
    total: int

    @cached_property
    def owners(self) -> Ints:
        """The fold's connections that are kept, in the order of their numbers."""
        at = np.flatnonzero(self.ordinary)
        numbers = self.ordinary[at]
        return at if (numbers[1:] > numbers[:-1]).all() else at[np.argsort(numbers, kind="stable")]

    def owners_between(self, begin: int, end: int) -> Ints:
        """Those with numbers from ``begin`` up to ``end``."""
        first, last = np.searchsorted(self.ordinary[self.owners], [begin, end])
        return self.owners[first:last]


def place(names: tuple[str, ...], interface: Ints, frame: Ints, time: Ints) -> Ints:
    """Order of packets (n,) by time; of one time, by their interface's name and their frame's
    number."""
    rank = np.argsort(np.argsort(np.array(names, dtype=object), kind="stable"), kind="stable")
    result: Ints = np.lexsort((frame, rank[interface], time))
    return result


def sight_of(scene: Scene, crossing: Ints) -> tuple[Ints, Ints]:
    """(interface, frame) of the first sight of crossings; both int64 (n,)."""
    packets, crossings = scene.packets, scene.crossings
    shown = np.where(crossings.entered, crossings.came_in, crossings.left)[crossing]
    return packets["interface"].to_numpy()[shown].astype(np.int64), packets["frame"].to_numpy()[
        shown
    ].astype(np.int64)


def number(verdict: Verdict, attribution: Attribution) -> Numbering:
    """Number all connections by their first packet's place."""
    scene, count = verdict.decided.scene, int(attribution.connection.max(initial=0))
    attributed, ordinary = np.arange(count + 1), np.zeros(0, dtype=np.int64)
    if verdict.ordinary is not None:
        _, first = np.unique(attribution.connection, return_index=True)
        interface, frame = sight_of(scene, attribution.crossing[first])
        kept = verdict.ordinary.kept
        c = verdict.ordinary.folded.connections[kept]
        names = (*scene.names, *verdict.ordinary.names)
        time, frame = (
            np.r_[attribution.time[first], c["first"]],
            np.r_[frame, c["frame"].astype(np.int64)],
        )
        table = np.array([names.index(name) for name in names], dtype=np.int64)
        interface = table[np.r_[interface, c["in_code"].astype(np.int64) + len(scene.names)]]
        order = place(names, interface, frame, time)
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(1, len(order) + 1)
        attributed, ordinary = np.r_[0, rank[:count]], np.zeros(len(kept), dtype=np.int64)
        ordinary[kept] = rank[count:]
        count = len(order)
    of_rows = np.zeros(len(verdict.decided.explored.rows), dtype=np.int64)
    of_rows[attribution.row] = attributed[attribution.connection]
    return Numbering(attributed, ordinary, of_rows, count)
