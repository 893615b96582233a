"""The hits of a picture, read some connections at a time: what they amount to line by line, and one
by one where they are few."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.report.plot.density import packets_between

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from correlator.report.plot.model import Bools, Floats, Ints

    Pick = Callable[[pd.DataFrame], tuple[Ints, Bools]]

MARKS = 48
"""Up to so many hits (of a connection and direction) of a row are drawn one by one."""
CELLS = 1 << 26
"""Lines times connections that are told apart in a table, and not by sorting."""


@dataclass(frozen=True)
class HitColumns:
    """Hits as arrays (h,): ``line`` of the book, ``begin`` and ``end`` in s, ``packets``,
    ``connection``, ``ambiguous``, and ``loose``: confirmed by no counter."""

    line: Ints
    begin: Floats
    end: Floats
    packets: Ints
    connection: Ints
    ambiguous: Bools
    loose: Bools

    def take(self, at: npt.NDArray[np.int64] | Bools) -> HitColumns:
        """Those at ``at``."""
        return HitColumns(
            self.line[at],
            self.begin[at],
            self.end[at],
            self.packets[at],
            self.connection[at],
            self.ambiguous[at],
            self.loose[at],
        )


@dataclass(frozen=True)
class Told:
    """What hits amount to. By line of the book, (L,): the ``number`` of hits, of ``connections``,
    and whether packets that no counter places were split at the window's border (``about``);
    ``bins``: packets per bin (b,) of such hits, by line, where there are any. ``few``: the hits of
    lines with up to :data:`MARKS`. ``touched`` (c + 1,): connections that have any."""

    number: Ints
    connections: Ints
    about: Bools
    bins: dict[int, Floats]
    few: HitColumns
    touched: Bools


def read_hits(
    hits: pd.DataFrame, lines: Ints, keep: Bools, start: int, counted: bool
) -> HitColumns:
    """The rows of ``hits`` to ``keep`` (h,), whose lines of the book are ``lines`` (h,)."""
    status = hits["status"].astype("category")

    def is_(word: str) -> Bools:
        known = list(status.cat.categories)
        result: Bools = status.cat.codes.to_numpy() == (known.index(word) if word in known else -2)
        return result[keep]

    return HitColumns(
        lines[keep],
        (hits["first_seen"].to_numpy()[keep] - start) / 1e9,
        (hits["last_seen"].to_numpy()[keep] - start) / 1e9,
        hits["packets"].to_numpy()[keep],
        hits["connection"].to_numpy()[keep],
        is_("ambiguous"),
        is_("unverified") if counted else np.zeros(int(keep.sum()), dtype=bool),
    )


def tell(
    parts: Iterable[pd.DataFrame],
    pick: Pick,
    size: tuple[int, int],
    start: int,
    compared: bool,
    edges: Floats,
    window: tuple[float, float],
) -> Told:
    """Read the hits table in ``parts``, each with all hits of its connections. ``pick`` gives the
    line of each row and whether it counts; ``size``: (lines, connections). ``compared``: the ledger
    stands for all but loose hits."""
    lines, count = size
    number, connections, about = (
        np.zeros(lines, dtype=np.int64),
        np.zeros(lines, dtype=np.int64),
        np.zeros(lines, dtype=bool),
    )
    bins: dict[int, Floats] = {}
    touched, few = np.zeros(count + 1, dtype=bool), []
    for part in parts:
        hits = read_hits(part, *pick(part), start, compared)
        touched[hits.connection] = True
        number += np.bincount(hits.line, minlength=lines)
        connections += _distinct(hits, lines)
        few.append(hits.take(number[hits.line] <= MARKS))
        guessed = hits.take(hits.loose) if compared else hits
        split = (guessed.begin < window[0]) | (guessed.end > window[1])
        about[guessed.line[split & (guessed.packets > 2)]] = True
        for line in np.unique(guessed.line).tolist():
            mine = guessed.line == line
            found = packets_between(
                guessed.begin[mine], guessed.end[mine], guessed.packets[mine], edges
            )
            bins[line] = bins[line] + found if line in bins else found
    shown = HitColumns(
        *(
            np.concatenate([getattr(one, name) for one in few])
            for name in HitColumns.__dataclass_fields__
        )
    )
    return Told(number, connections, about, bins, shown.take(number[shown.line] <= MARKS), touched)


def _distinct(hits: HitColumns, lines: int) -> Ints:
    """How many connections hit each line, (L,)."""
    if not len(hits.line):
        return np.zeros(lines, dtype=np.int64)
    first = int(hits.connection.min())
    width = int(hits.connection.max()) - first + 1
    if lines * width > CELLS:
        return np.bincount(
            np.unique(hits.line * width + hits.connection - first) // width, minlength=lines
        )
    seen = np.zeros((lines, width), dtype=bool)
    seen[hits.line, hits.connection - first] = True
    result: Ints = seen.sum(axis=1)
    return result
