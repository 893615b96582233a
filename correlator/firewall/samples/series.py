"""Matrices of samples x entries of which only the columns that move are held.

Of a thousand rules a few move: an hour of samples then costs those few columns, not a thousand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Ints


@dataclass(frozen=True, eq=False)
class Series:
    """A matrix int64 (S, E). ``column`` int64 (E,): where an entry's column stands in ``moving``
    int64 (S, M), or -1 where it is ``base`` (E,) in every sample. Indexing gives what the whole
    matrix would."""

    base: Ints
    column: Ints
    moving: Ints

    @property
    def shape(self) -> tuple[int, int]:
        """(S, E)."""
        return len(self.moving), len(self.column)

    def __len__(self) -> int:
        return len(self.moving)

    def of(self, entry: int) -> Ints:
        """One entry's column (S,); not to be written to."""
        column = int(self.column[entry])
        return (
            self.moving[:, column] if column >= 0 else np.broadcast_to(self.base[entry], len(self))
        )

    def take(self, entries: Ints) -> Ints:
        """Columns of some entries, int64 (S, k), column after column in memory."""
        result = np.empty((len(entries), len(self)), dtype=np.int64).T
        held = self.column[entries] >= 0
        result[:, held] = self.moving[:, self.column[entries[held]]]
        result[:, ~held] = self.base[entries[~held]]
        return result

    def rows(self, samples: slice) -> Ints:
        """Whole rows, int64 (k, E)."""
        return Series(self.base, self.column, self.moving[samples]).dense()

    def dense(self) -> Ints:
        """The whole matrix."""
        return self.take(np.arange(len(self.column)))

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        return self.dense().astype(dtype or np.int64, copy=False)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple) and len(key) == 2 and isinstance(key[1], int | np.integer):
            return self.of(int(key[1]))[key[0]]
        return self.dense()[key]


Layers = tuple[Series, ...]
"""Several matrices of one shape (packets, bytes, ...) that hold the same columns."""


def compact(matrices: Sequence[Ints | Series]) -> Layers:
    """Layers of whole matrices (S, E), which may be Series already; a matrix given twice stays one
    object."""
    distinct = {id(m): m for m in matrices}
    if all(isinstance(m, Series) for m in matrices):
        first = matrices[0]
        if all(
            isinstance(m, Series) and isinstance(first, Series) and m.column is first.column
            for m in matrices
        ):
            return tuple(m for m in matrices if isinstance(m, Series))
    whole = {key: np.asarray(m) for key, m in distinct.items()}
    samples, entries = next(iter(whole.values())).shape
    moves = np.zeros(entries, dtype=bool)
    for matrix in whole.values():
        moves |= (matrix[1:] != matrix[:1]).any(axis=0)
    column = places(moves)
    made = {}
    for key, matrix in whole.items():
        base = matrix[0].copy() if samples else np.zeros(entries, dtype=np.int64)
        made[key] = Series(base, column, np.ascontiguousarray(matrix[:, moves].T).T)
    return tuple(made[id(m)] for m in matrices)


def places(moves: npt.ArrayLike) -> Ints:
    """Consecutive places for the entries that move, -1 for others; int64 (E,)."""
    moves = np.asarray(moves)
    return np.where(moves, np.cumsum(moves) - 1, -1)


def concat(parts: Sequence[Layers]) -> Layers:
    """Layers one after the other, all of the same entries; layers that are one object in every part
    stay one."""
    if len(parts) == 1:
        return parts[0]
    bases = [np.stack([part[i].base for part in parts]) for i in range(len(parts[0]))]
    moves = np.zeros(bases[0].shape[1], dtype=bool)
    for i, base in enumerate(bases):
        moves |= (base != base[0]).any(axis=0)
        for part in parts:
            moves[part[i].column >= 0] = True
    entries, column = np.flatnonzero(moves), places(moves)
    made: dict[tuple[int, ...], Series] = {}
    for i, base in enumerate(bases):
        key = tuple(id(part[i]) for part in parts)
        if key not in made:
            made[key] = Series(
                base[0].copy(), column, _stacked([part[i] for part in parts], entries)
            )
    return tuple(made[tuple(id(part[i]) for part in parts)] for i in range(len(parts[0])))


def _stacked(parts: list[Series], entries: Ints) -> Ints:
    result = np.empty((len(entries), sum(map(len, parts))), dtype=np.int64).T
    row = 0
    for part in parts:
        block = result[row : row + len(part)]
        block[:] = part.base[entries]
        column = part.column[entries]
        held = np.flatnonzero(column >= 0)
        if len(held):
            block[:, held] = part.moving[:, column[held]]
        row += len(part)
    return result
