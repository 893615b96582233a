"""What is left to choose from, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.settle.confirm import NO_RESIDUAL, residual_in_words
from correlator.reconcile.tables.columns import endpoint

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.reconcile.intake.generations import Register
    from correlator.reconcile.possible.choices import Option
    from correlator.reconcile.possible.explore import Explored
    from correlator.reconcile.settle.books import Books
    from correlator.reconcile.tables.attribution import Attribution
    from correlator.reconcile.verdict import Decided


def candidates_in_words(
    decided: Decided, register: Register, attribution: Attribution
) -> dict[int, str]:
    """connection (the attribution's number) -> what is left to choose from, in words; of those of
    which something is open."""
    place = dict(zip(attribution.row.tolist(), attribution.connection.tolist(), strict=True))
    found: dict[int, str] = {}
    for unit in decided.open:
        text = _why(decided.explored, register, unit.options)
        found.update({place[row]: text for row, _ in unit.options[0] if row in place})
    return found


def _why(explored: Explored, register: Register, options: tuple[Option, ...]) -> str:
    """The candidates of an open unit, in words."""
    v = explored.rows.columns
    dialled = list(dict.fromkeys(int(v["dialled"][row]) for option in options for row, _ in option))
    if len(dialled) > 1:
        return "what it dialled was not seen: " + " or ".join(
            endpoint(value) for value in dialled[:4]
        )
    counts: list[dict[int, int]] = []
    for option in options:
        tally: dict[int, int] = {}
        for row, way in option:
            ways = explored.walked.ways[int(explored.walked.kind[row])]
            for entry in ways[way].hits if way < len(ways) else ():
                tally[entry] = tally.get(entry, 0) + 1
        counts.append(tally)
    differing = [
        e
        for e in dict.fromkeys(e for c in counts for e in c)
        if len({c.get(e, 0) for c in counts}) > 1
    ]
    names = [register.entries[entry].name for entry in differing[:4]]
    if not names:
        return "it may have begun before the capture"
    return (
        f"{len(options)} ways fit, which differ in "
        f"{', '.join(names)}{', ...' if len(differing) > 4 else ''}"
    )


def residuals_in_words(
    numbers: Ints, books: Books | None, register: Register
) -> tuple[Ints, list[str]]:
    """(index into the texts of each of these residuals, -1 where there is none; the texts)."""
    values, index = np.unique(numbers, return_inverse=True)
    if books is None:
        return np.full(len(numbers), -1, dtype=np.int64), []
    texts = [
        residual_in_words(books, number, lambda entry: register.entries[entry].name)
        for number in values[values < NO_RESIDUAL].tolist()
    ]
    return np.where(index == len(texts), -1, index), texts
