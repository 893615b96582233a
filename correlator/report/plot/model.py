"""What a picture shows, as numbers: built by :mod:`correlator.report.plot.data`, drawn by the
others, and tested as it is.

Times are seconds since ``start``; arrays are float64 or int64 as named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Floats = npt.NDArray[np.float64]
    Bools = npt.NDArray[np.bool_]

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Band:
    """Connections that share an outcome, drawn as one strip; where there are few, each is a band of
    its own.

    ``number``, ``begin``, ``end`` and ``ambiguous`` (n,) are the connections'; ``lane`` (n,) where
    each has a span, else None and ``open`` (b,), the connections open in each bin, is drawn.
    ``packets`` in both directions."""

    outcome: str
    label: str
    number: Ints
    begin: Floats
    end: Floats
    ambiguous: Bools
    packets: int
    lane: Ints | None
    lanes: int
    open: Ints

    def __len__(self) -> int:
        return len(self.number)


@dataclass(frozen=True)
class Marks:
    """Hits drawn one by one: a connection and direction each; all (m,). ``outcome`` is the
    connection's."""

    begin: Floats
    end: Floats
    packets: Ints
    outcome: tuple[str, ...]
    ambiguous: Bools


@dataclass(frozen=True)
class Row:
    """One rule (or policy).

    ``explained``, ``over``, ``under`` and ``unconfirmed`` are packets per bin (b,): what packets
    explain of what was counted, what was counted beyond it, what was not counted of it, and hits
    that no counter confirms (before the first sample, after the last one, or of a policy that is
    not counted). ``bytes_off`` (k,) are times of intervals in which only bytes differ, ``resets``
    (r,) times at which the counter was found reset, ``there`` the stretches in which the rule
    existed. ``counted`` is -1 without counters; ``about`` says that a sum was split at the window's
    border."""

    name: str
    hook: str
    table: str
    depth: int
    label: str
    also: tuple[str, ...]
    drops: bool
    there: tuple[tuple[float, float], ...]
    explained: Floats
    over: Floats
    under: Floats
    unconfirmed: Floats
    bytes_off: Floats
    resets: Floats
    marks: Marks | None
    packets: int
    counted: int
    residual: int
    gaps: int
    connections: int
    about: bool = False

    @property
    def peak(self) -> float:
        """The most packets of one bin, counted or explained."""
        return float((self.explained + self.over + self.unconfirmed).max(initial=0.0))


@dataclass(frozen=True)
class Change:
    """The rules changed between ``begin`` and ``end``; ``text`` says how: ``+2 -1``."""

    begin: float
    end: float
    text: str

    @property
    def middle(self) -> float:
        """Where its line stands."""
        return (self.begin + self.end) / 2


@dataclass(frozen=True)
class TimelineData:
    """All of a picture.

    ``start`` is epoch ns; the window is ``begin`` to ``end``; ``edges`` (b+1,) are the bins of
    every row, the counters' own intervals where ``own``; ``compared`` where counted stands against
    explained; ``covered`` is the stretch that counters cover. ``balance`` says whether counters and
    packets agree. ``notes`` and ``warnings`` are the lines below the picture."""

    title: str
    subtitle: str
    balance: str
    start: int
    begin: float
    end: float
    edges: Floats
    own: bool
    compared: bool
    covered: tuple[float, float] | None
    changes: tuple[Change, ...]
    bands: tuple[Band, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def gaps(self) -> bool:
        """Whether anything does not balance."""
        return any(row.gaps for row in self.rows)

    def dense(self, row: Row) -> bool:
        """Whether the row is a density: always beside counters, else where its hits are too many
        for marks."""
        return self.compared or row.marks is None
