"""How tables name rules: by their number in a generation, as ``iptables -L --line-numbers`` has
it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.reconcile.intake.generations import Stages


@dataclass(frozen=True)
class RuleNumbers:
    """``numbers`` int64 (generations, entries): of every entry in every generation, 0 for a policy,
    -1 where it is not there; ``elsewhere`` (entries,): the highest that it has anywhere.
    ``generation`` int64 (stages,): that by which the packets of each stage are numbered."""

    stages: Stages
    numbers: Ints
    elsewhere: Ints
    generation: Ints

    @staticmethod
    def of(stages: Stages) -> RuleNumbers:
        """Those of all rules, in all stages that there are by now."""
        entries = stages.register
        numbers = np.full((len(entries.of), len(entries)), -1, dtype=np.int64)
        for generation, (ruleset, of) in enumerate(zip(stages.rulesets, entries.of, strict=True)):
            numbers[generation, of] = [entry.number for entry in ruleset.entries]
        generation_of = np.array([stage.first for stage in stages.stages], dtype=np.int64)
        return RuleNumbers(stages, numbers, numbers.max(axis=0), generation_of)

    def in_generation(self, generation: Ints, entry: Ints) -> Ints:
        """The number of each entry in its generation, (n,); elsewhere's where it is not there."""
        number = self.numbers[generation, entry]
        return np.where(number < 0, self.elsewhere[entry], number)

    def in_stage(self, stage: int, place: int) -> int:
        """The number of a stage's own entry; 0 for a policy."""
        entry = self.stages.stages[stage].numbers[place]
        return int(self.in_generation(self.generation[stage : stage + 1], np.array([entry]))[0])

    def name(self, stage: int, place: int) -> str:
        """``table/chain:number`` of a stage's own entry, ``table/chain:policy`` of a policy."""
        found = self.stages.register.entries[self.stages.stages[stage].numbers[place]]
        return f"{found.table}/{found.chain}:{self.in_stage(stage, place) or 'policy'}"
