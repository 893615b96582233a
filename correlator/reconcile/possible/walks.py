"""Every kind of packet walked once: the ways that rules and wire leave it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.firewall.walk.path import Absent, Path
from correlator.firewall.walk.state import TooManyPathsError
from correlator.firewall.walk.walker import Walker
from correlator.reconcile.possible.kinds import classify, passage

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.reconcile.intake.generations import Stage
    from correlator.reconcile.possible.rows import Rows
    from correlator.reconcile.possible.scene import Scene, Setting


NO_WAY = -1
"""In place of a way's number: rules and wire exclude every one, or leave too many."""


@dataclass(frozen=True, slots=True)
class Way:
    """A path with its hits in the register's numbers; ``absent``: rules that would have matched had
    they been there."""

    hits: tuple[int, ...]
    absent: frozenset[int]
    path: Path


@dataclass(frozen=True)
class Walked:
    """``kind`` int64 (m,) per row; ``ways[kind]``: every way, in no order; ``example[kind]``: a row
    of that kind.

    ``too_many`` holds kinds whose unknown conditions were too many to tell apart (no ways),
    ``contradicted`` those whose rules and wire exclude each other (no ways either)."""

    kind: Ints
    example: Ints
    ways: tuple[tuple[Way, ...], ...]
    too_many: frozenset[int]

    @property
    def forks(self) -> Ints:
        """Number of ways of every kind; int64 (kinds,)."""
        return np.array([len(ways) for ways in self.ways], dtype=np.int64)


def walk_rows(rows: Rows, stages: list[Stage], scene: Scene | Setting) -> Walked:
    """Walk one representative of every kind."""
    example, kind = classify(rows, [stage.program.reads for stage in stages], scene.host)
    walkers = [Walker(stage.program, scene.host, scene.watched) for stage in stages]
    ways: list[tuple[Way, ...]] = []
    too_many = set()
    for number, row in enumerate(example.tolist()):
        stage = int(rows.program[row])
        try:
            paths = walkers[stage].walk(passage(rows, row, scene.names))
        except TooManyPathsError:
            too_many.add(number)
            paths = []
        ways.append(_ways(paths, stages[stage]))
    return Walked(kind, example, tuple(ways), frozenset(too_many))


def _ways(paths: list[Path], stage: Stage) -> tuple[Way, ...]:
    """Paths that differ in what they hit, where they end, or what they rewrite; each once, in an
    order of their own."""
    found: dict[tuple[object, ...], Way] = {}
    for path in paths:
        hits = tuple(stage.numbers[entry] for entry in path.hits)
        absent = frozenset(
            stage.numbers[event.entry] for event in path.events if isinstance(event, Absent)
        )
        key = (hits, path.end.value, path.destination, path.source)
        if key in found:
            absent &= found[key].absent
        found[key] = Way(hits, absent, path)
    return tuple(found[key] for key in sorted(found, key=repr))
