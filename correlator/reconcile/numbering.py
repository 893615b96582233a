"""Connections numbered from 1 in order of their first packet, those decided while reading among the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.attribution import Attribution
    from correlator.reconcile.replay import Verdict

    Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Numbering:
    """``attributed`` int64 (a + 1,): the number of each of the attribution's connections (which count from 1);
    ``ordinary`` int64 (c,): of each of the fold's connections, 0 for those that are not kept; ``of_rows`` int64 (m,): of
    each explored row's connection, 0 where it has none. ``total`` connections."""

    attributed: Ints
    ordinary: Ints
    of_rows: Ints
    total: int


def number(verdict: Verdict, attribution: Attribution) -> Numbering:
    """Number all connections. Of one time, by interface and frame."""
    count = int(attribution.connection.max()) if len(attribution) else 0
    packets, crossings = verdict.scene.packets, verdict.scene.crossings
    _, first = np.unique(attribution.connection, return_index=True)
    crossing = attribution.crossing[first]
    shown = np.where(crossings.entered, crossings.came_in, crossings.left)[crossing]
    time = attribution.time[first]
    attributed = np.arange(count + 1)
    ordinary = np.zeros(0, dtype=np.int64)
    if verdict.ordinary is not None:
        folded, kept = verdict.ordinary.folded, verdict.ordinary.kept
        c = folded.connections[kept]
        interface = np.r_[packets["interface"].to_numpy()[shown].astype(np.int64), c["in_code"].astype(np.int64)]
        frame = np.r_[packets["frame"].to_numpy()[shown], c["frame"].astype(np.int64)]
        order = np.lexsort((frame, interface, np.r_[time, c["first"]]))
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(1, len(order) + 1)
        attributed = np.r_[0, rank[:count]]
        ordinary = np.zeros(len(kept), dtype=np.int64)
        ordinary[kept] = rank[count:]
        count = len(order)
    of_rows = np.zeros(len(verdict.explored.rows), dtype=np.int64)
    of_rows[attribution.row] = attributed[attribution.connection]
    return Numbering(attributed, ordinary, of_rows, count)
