"""What a reconciliation finds out, in the parts that tables are written from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from correlator.reconcile.settle.confirm import place_own
from correlator.reconcile.settle.hits import hits_of, joined

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.reconcile.clocks import Clock
    from correlator.reconcile.intake.counters import Counters
    from correlator.reconcile.intake.generations import Stages
    from correlator.reconcile.intake.inputs import Inputs
    from correlator.reconcile.intake.packets import Intake
    from correlator.reconcile.possible.choices import Unit
    from correlator.reconcile.possible.decided import Ordinary
    from correlator.reconcile.possible.explore import Explored
    from correlator.reconcile.possible.scene import Scene
    from correlator.reconcile.settle.books import Books
    from correlator.reconcile.settle.hits import Hits
    from correlator.reconcile.settle.judge import Facts
    from correlator.reconcile.tally import Tallies


@dataclass(frozen=True)
class Decided:
    """What became of every row of ``explored.rows``: the packets of a ``scene``, which were looked
    at one by one.

    ``row`` and ``way`` int64 (k,): rows that are decided, and the number of their way. ``open``:
    units that nothing settled, likeliest option first. ``nowhere`` int64: rows without a way, or
    with too many to list. ``broken``: sums of the counters that no choice meets. ``hits`` are those
    of decided rows and of the open units' first options, ordered by entry and time."""

    scene: Scene
    explored: Explored
    row: Ints
    way: Ints
    open: tuple[Unit, ...]
    nowhere: Ints
    broken: int
    hits: Hits


@dataclass(frozen=True)
class Verdict:
    """All of it: the ``stages`` of rules that packets met, what became of packets that were looked
    at one by one (``decided``) and of ``ordinary`` connections, which were folded while they were
    read (None where nothing was); ``hits`` of both, and the ``books`` that hold them against the
    ``counters`` (None without two samples)."""

    inputs: Inputs
    intake: Intake
    stages: Stages
    decided: Decided
    ordinary: Ordinary | None
    hits: Tallies
    counters: Counters | None
    books: Books | None
    clock: Clock
    warnings: tuple[str, ...]
    inferred: tuple[str, ...]

    @cached_property
    def others(self) -> Hits:
        """The hits of all packets but those of ordinary connections; row -1 of another family's."""
        own, beside = self.decided.hits, self.hits.beside
        return own if beside is None else joined(own, hits_of(beside))

    @cached_property
    def placed(self) -> tuple[Ints, Facts]:
        """What :func:`correlator.reconcile.settle.confirm.place_own` tells of the hits of packets
        that were looked at one by one."""
        return place_own(self.decided.hits, self.hits, self.books)
