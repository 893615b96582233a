"""The counters' word on what rules and wire left open.

A counter's movement between two readings bounds the hits of settled packets plus those of the
options taken. All these equations of all open units together are solved exactly; what still has
more than one solution stays open and is reported as ambiguous."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from correlator.reconcile.possible.choices import Choices, Option, Unit, way_of
from correlator.reconcile.settle.equations import Amount, Equations
from correlator.reconcile.settle.solver import Group, Outcome, solve

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from correlator.reconcile.clocks import Clock
    from correlator.reconcile.intake.counters import Counters
    from correlator.reconcile.possible.explore import Explored
    from correlator.reconcile.tally import Tallies

    Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Settlement:
    """``taken``: (row, way) that the counters settled; ``standing``: the options left of every unit
    still open, the first of them part of one solution that balances the counters; ``broken``: sums
    that no choice meets."""

    taken: tuple[tuple[int, int], ...]
    standing: tuple[Unit, ...]
    broken: int


def settle(
    explored: Explored,
    choices: Choices,
    base: Tallies | None,
    counters: Counters | None,
    clock: Clock,
    low: Ints,
    high: Ints,
    length: Ints,
) -> Settlement:
    """Settle ``choices.units``; ``base`` are the settled rows' hits, ``low``/``high``/``length``
    (m,) the rows'."""
    units = choices.units
    if counters is None or counters.samples < 2 or base is None:
        return Settlement((), units, 0)
    amounts = [
        [_amounts(explored, option, low, high, length) for option in unit.options] for unit in units
    ]
    segments = Equations(base, counters, clock, amounts)
    options = [[segments.sums(amount) for amount in unit] for unit in amounts]
    owners = [_owner(explored, unit) for unit in units]
    merged: dict[tuple[object, ...], list[tuple[int, tuple[int, ...]]]] = defaultdict(list)
    for number, sums in enumerate(options):
        keys = [tuple(sorted(s.items())) for s in sums]
        order = tuple(sorted(range(len(keys)), key=lambda j: (keys[j], j)))
        merged[tuple(keys[j] for j in order)].append((number, order))
    signatures = list(merged)
    groups = [Group(len(merged[s]), tuple(dict(o) for o in s)) for s in signatures]  # type: ignore[call-overload]
    outcome = solve(groups, segments.bounds())
    taken: list[tuple[int, int]] = []
    standing: list[Unit] = []
    for g, signature in enumerate(signatures):
        _deal(units, owners, merged[signature], outcome, g, taken, standing)
    return Settlement(tuple(taken), tuple(standing), len(outcome.broken))


def _deal(
    units: tuple[Unit, ...],
    owners: Sequence[object],
    members: list[tuple[int, tuple[int, ...]]],
    outcome: Outcome,
    g: int,
    taken: list[tuple[int, int]],
    standing: list[Unit],
) -> None:
    """Give the members of a group their options, where the solutions leave no choice that shows."""
    counts, complete, split = outcome.counts[g], outcome.complete[g], outcome.example[g]
    fair = [j for j, number in enumerate(split) for _ in range(number)]
    possible = sorted({j for solution in counts for j, number in enumerate(solution) if number})
    alike = (
        len({owners[number] for number, _ in members}) == 1 and owners[members[0][0]] is not None
    )
    certain = complete and len(counts) == 1 and (len(possible) == 1 or alike)
    for position, (number, order) in enumerate(members):
        unit = units[number]
        if certain and not unit.capped:
            taken.extend(unit.options[order[fair[position]]])
            continue
        first = fair[position] if position < len(fair) else possible[0]
        rest = (
            [j for j in possible if j != first]
            if complete
            else [j for j in range(len(order)) if j != first]
        )
        standing.append(Unit(tuple(unit.options[order[j]] for j in (first, *rest)), unit.capped))


def _owner(explored: Explored, unit: Unit) -> tuple[int, ...] | None:
    """What makes single crossings interchangeable: same connection, same direction; None for whole
    pairs."""
    if any(len(option) != 1 for option in unit.options):
        return None
    row = unit.options[0][0][0]
    v = explored.rows.columns
    alternative = int(explored.rows.alternative[row])
    labels = explored.hypotheses[int(explored.alternatives.hypothesis[alternative])].labels
    crossing = int(explored.rows.crossing[row])
    return (
        alternative,
        int(labels.connection[crossing]),
        int(v["reply"][row]),
        int(labels.direction[crossing]),
    )


def _amounts(explored: Explored, option: Option, low: Ints, high: Ints, length: Ints) -> Amount:
    result: Amount = defaultdict(list)
    for row, way in option:
        found = way_of(explored, row, way)
        for entry in found.hits if found is not None else ():
            result[entry].append((int(low[row]), int(high[row]), int(length[row])))
    return dict(result)
