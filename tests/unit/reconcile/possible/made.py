"""Explorations made by hand: a few rows, their ways and alternatives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from correlator.firewall.walk.path import End, Path
from correlator.flows.conntrack import S_NEW
from correlator.reconcile.possible.alternatives import Alternatives
from correlator.reconcile.possible.explore import Explored, Hints
from correlator.reconcile.possible.rows import LEAVES_NO, LEAVES_YES, Rows
from correlator.reconcile.possible.walks import Walked, Way

NONE = np.zeros(0, dtype=np.int64)


def way(*hits: int, end: End = End.SENT, out: str = "docker0", absent: Sequence[int] = ()) -> Way:
    """A way through these entries of the register."""
    path = Path(hits, end, -1, (), (1, 1), (2, 2), out_interface=out)
    return Way(hits, frozenset(absent), path)


def explored_of(
    kinds: Sequence[Sequence[Way]],
    rows: Sequence[tuple[int, int, int]],
    pairs: Sequence[int],
    *,
    left: bool = True,
    dialled: Sequence[int] | None = None,
    states: Sequence[int] | None = None,
    too_many: frozenset[int] = frozenset(),
    program: int = 0,
) -> Explored:
    """``rows`` are (crossing, alternative, kind), ``pairs`` the pair of each alternative;
    ``left``: every packet was seen leaving; ``dialled``: by alternative;
    ``states`` of conntrack by row."""
    crossing, alternative, kind = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    same = np.full(len(rows), 7, dtype=np.int64)
    by_alternative = np.array(dialled or [7] * len(pairs), dtype=np.int64)
    columns = {
        "leaves": np.full(len(rows), LEAVES_YES if left else LEAVES_NO, dtype=np.int64),
        "client": same,
        "dialled": by_alternative[alternative],
        "reply": np.zeros(len(rows), dtype=np.int64),
        "state": np.array(states or [S_NEW] * len(rows), dtype=np.int64),
    }
    count = len(pairs)
    alternatives = Alternatives(
        np.array(pairs, dtype=np.int64),
        np.zeros(count, dtype=np.int64),
        by_alternative,
        np.full(count, -1, dtype=np.int64),
    )
    no = np.zeros(0, dtype=bool)
    return Explored(
        (),
        alternatives,
        Rows(crossing, alternative, np.full(len(rows), program), columns),
        Walked(kind, NONE, tuple(tuple(ways) for ways in kinds), too_many),
        Hints(no, no, NONE, NONE),
        no,
        no,
    )
