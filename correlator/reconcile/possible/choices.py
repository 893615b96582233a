"""Choices that rules and wire left open, as units that the counters can settle.

A *unit* is what one decision settles: a pair of endpoints with several alternatives, or one
crossing with several ways. Its *options* are lists of row-and-way. What has one option only is
settled."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from correlator.firewall.walk.path import End
from correlator.flows.conntrack import S_INVALID, S_UNTRACKED
from correlator.reconcile.possible.rows import LEAVES_NO

if TYPE_CHECKING:
    from correlator.arrays import Bools, Ints
    from correlator.reconcile.possible.explore import Explored
    from correlator.reconcile.possible.walks import Way


MAX_OPTIONS = 64
Option = tuple[tuple[int, int], ...]
"""(row, number of the way among its kind's) of every row that this option is about."""


@dataclass(frozen=True, slots=True)
class Unit:
    """``options`` in order of likelihood. ``capped``: there were more than could be listed."""

    options: tuple[Option, ...]
    capped: bool = False


@dataclass(frozen=True)
class Choices:
    """``settled``: rows that have one way under the one alternative left; ``units``: the rest.

    ``contradicted``: rows that rules and wire exclude (no way); ``crowded``: rows with too many
    ways to list."""

    settled: Ints
    units: tuple[Unit, ...]
    contradicted: Ints
    crowded: Ints


def find_choices(explored: Explored, watched: frozenset[str], counted: bool) -> Choices:
    """Split rows into settled ones and units. What should have been seen leaving a ``watched``
    interface and was not speaks against an alternative, as long as the pair has a better one. Where
    nothing was ``counted``, no counter will ever choose between the alternatives of a pair: the
    likeliest is taken (and nothing is called exact)."""
    rows, walked, alternatives = explored.rows, explored.walked, explored.alternatives
    forks = walked.forks[walked.kind]
    count = len(alternatives.pair)
    bad = np.bincount(rows.alternative, forks == 0, count)
    unseen = (rows.columns["leaves"] == LEAVES_NO) & _must_leave(explored, watched)[walked.kind]
    penalty = bad * 1e6 + np.bincount(rows.alternative, unseen, count)
    best = np.full(int(alternatives.pair.max()) + 1 if count else 0, np.inf)
    np.minimum.at(best, alternatives.pair, penalty)
    alive = penalty <= best[alternatives.pair]
    if not counted:
        alive = _first_alive(alive, alternatives.pair)
    several = np.bincount(alternatives.pair[alive], minlength=len(best)) > 1
    keep = alive[rows.alternative]
    lone = keep & ~several[alternatives.pair[rows.alternative]]
    crowded = np.isin(walked.kind, np.array(sorted(walked.too_many), dtype=np.int64))
    units = [
        Unit(tuple(((row, w),) for w in range(int(forks[row]))))
        for row in np.flatnonzero(lone & (forks > 1)).tolist()
    ]
    units += _pair_units(explored, alive, several, forks)
    return Choices(
        np.flatnonzero(lone & (forks == 1)),
        tuple(units),
        np.flatnonzero(lone & (forks == 0) & ~crowded),
        np.flatnonzero(lone & crowded),
    )


def _first_alive(alive: Bools, pair: Ints) -> Bools:
    rows = np.flatnonzero(alive)
    _, first = np.unique(pair[rows], return_index=True)
    result = np.zeros_like(alive)
    result[rows[first]] = True
    return result


def _must_leave(explored: Explored, watched: frozenset[str]) -> Bools:
    """Kinds whose every way ends in leaving by a watched interface."""
    return np.array(
        [
            bool(ways)
            and all(way.path.end is End.SENT and way.path.out_interface in watched for way in ways)
            for ways in explored.walked.ways
        ],
        dtype=bool,
    )


def _pair_units(explored: Explored, alive: Bools, several: Bools, forks: Ints) -> list[Unit]:
    rows, alternatives = explored.rows, explored.alternatives
    wanted = np.flatnonzero(alive & several[alternatives.pair])
    order = np.argsort(rows.alternative, kind="stable")
    starts = np.searchsorted(rows.alternative[order], np.arange(len(alternatives.pair) + 1))
    options: dict[int, list[Option]] = {}
    capped: set[int] = set()
    for alternative in wanted.tolist():
        pair = int(alternatives.pair[alternative])
        mine = order[starts[alternative] : starts[alternative + 1]].tolist()
        ways = [range(max(1, int(forks[row]))) for row in mine]
        many = 1
        for choice in ways:
            many *= len(choice)
        if many > MAX_OPTIONS:
            capped.add(pair)
            ways = [range(1) for _ in mine]
        for picked in product(*ways):
            options.setdefault(pair, []).append(tuple(zip(mine, picked, strict=True)))
    return [Unit(_distinct(found, explored), pair in capped) for pair, found in options.items()]


def _distinct(options: list[Option], explored: Explored) -> tuple[Option, ...]:
    """Options that differ in hits, tuple, direction, or whether conntrack followed the packet; what
    cannot be told apart by anything reported is one option."""
    seen: dict[tuple[object, ...], Option] = {}
    rows, walked = explored.rows, explored.walked
    for option in options:
        key: list[object] = []
        for row, way in option:
            found = way_of(explored, row, way)
            v = rows.columns
            key.append(
                (
                    int(rows.crossing[row]),
                    found.hits if found else (),
                    int(v["client"][row]),
                    int(v["dialled"][row]),
                    int(v["reply"][row]),
                    int(v["state"][row]) in (S_INVALID, S_UNTRACKED),
                    walked.kind[row] if found is None else 0,
                )
            )
        seen.setdefault(tuple(sorted(key, key=repr)), option)
    return tuple(seen.values())


def way_of(explored: Explored, row: int, way: int) -> Way | None:
    """The way with that number of a row's kind; None where it has none."""
    ways = explored.walked.ways[int(explored.walked.kind[row])]
    return ways[way] if way < len(ways) else None
