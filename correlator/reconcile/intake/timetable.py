"""Which rules packets met, by the time at which they were counted: one stage for each stretch
between changes.

Between the last reading of one generation and the first one of the next nobody knows when each rule
came or went: what may have been counted there met a stage of its own, in which the changed rules
may or may not have been there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.clocks import to_counters
from correlator.reconcile.times import widen

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from correlator.arrays import Ints
    from correlator.reconcile.clocks import Clock
    from correlator.reconcile.intake.counters import Counters
    from correlator.reconcile.intake.generations import Stages


NEAR_NS = 1_000_000_000
"""Packets as close as this to a change are looked at one by one: more than any crossing and any
rounding of clocks takes."""


@dataclass(frozen=True)
class Timetable:
    """C changes of rules: ``until`` int64 (C,), when the last reading before each began; ``since``
    (C,), when the first one after it ended, both on the counters' clock and in order;
    ``generation`` int64 (C+1,): that before each change, and the last one."""

    stages: Stages
    clock: Clock
    until: Ints
    since: Ints
    generation: Ints

    @staticmethod
    def of(stages: Stages, counters: Counters | None, clock: Clock) -> Timetable:
        """What the readings tell, where ``clock`` relates theirs to the packets'."""
        none = np.zeros(0, dtype=np.int64)
        if counters is None or not counters.samples or len(stages.rulesets) == 1:
            return Timetable(stages, clock, none, none, np.zeros(1, dtype=np.int64))
        at = np.flatnonzero(np.diff(counters.generation)) + 1
        until, since = (
            np.maximum.accumulate(counters.begin[at - 1]),
            np.maximum.accumulate(counters.end[at]),
        )
        return Timetable(
            stages, clock, until, since, np.r_[counters.generation[:1], counters.generation[at]]
        )

    def stage_of(self, low: Ints, high: Ints) -> Ints:
        """The stage of packets (n,) that were counted within [low, high] (epoch ns, packets'
        clock)."""
        first = np.searchsorted(self.since, to_counters(self.clock, low)[0], side="left")
        last = np.maximum(
            np.searchsorted(self.until, to_counters(self.clock, high)[1], side="right"), first
        )
        key, inverse = np.unique(first * (len(self.generation) + 1) + last, return_inverse=True)
        of = [
            [int(self.generation[part]) for part in divmod(one, len(self.generation) + 1)]
            for one in key.tolist()
        ]
        numbers: Ints = np.array([self.stages.number(*one) for one in of], dtype=np.int64)[inverse]
        return numbers

    @property
    def steady(self) -> bool:
        """Whether nothing changes."""
        return not len(self.until)

    def passed(self, time: Ints) -> Ints:
        """How many changes have begun at times of the packets' clock, (n,), but for rounding."""
        return np.searchsorted(
            np.array([self._back(int(one)) for one in self.until], dtype=np.int64), time
        )

    def stretches(
        self, came: Ints, span: npt.NDArray[np.int32]
    ) -> Iterator[tuple[slice | Ints, int]]:
        """Packets that were seen both coming in and leaving ``span`` ns later (n,), in order of
        ``came``, cut up by stage: (which of them, their stage)."""
        done = 0
        for change in range(len(self.until)):
            begin = int(np.searchsorted(came, self._back(int(self.until[change])) - NEAR_NS))
            end = int(np.searchsorted(came, self._back(int(self.since[change])) + NEAR_NS))
            if begin > done:
                yield slice(done, begin), self._whole(change)
                done = begin
            if end > done:
                near = came[done:end]
                stage = self.stage_of(*widen(near, near + span[done:end]))
                for number in np.unique(stage).tolist():
                    yield np.flatnonzero(stage == number) + done, number
                done = end
        if done < len(came):
            yield slice(done, len(came)), self._whole(len(self.until))

    def _whole(self, change: int) -> int:
        """The stage of the generation before a change."""
        generation = int(self.generation[change])
        return self.stages.number(generation, generation)

    def _back(self, time: int) -> int:
        """A time of the counters' clock on the packets', but for rounding."""
        guess = time - self.clock.offset
        shift, _ = to_counters(self.clock, np.array([guess], dtype=np.int64))
        return guess - (int(shift[0]) - time)
