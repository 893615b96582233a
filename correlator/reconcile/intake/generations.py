"""Generations: which ruleset a packet met, and one numbering of everything that counts.

Inside a generation the ruleset is known. Between the last sample of one and the first of the next
nobody knows when each rule came or went, so such packets are walked through both rulesets merged,
in which the changed rules may or may not have been there; wire and counters tell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

import numpy as np

from correlator.firewall.model import Chain, Entry, Rule, Ruleset
from correlator.firewall.walk.program import Program, compile_ruleset

if TYPE_CHECKING:
    from correlator.arrays import Ints


Identity = tuple[str, str, str, int]


@dataclass(frozen=True)
class Register:
    """All entries of all generations under one numbering, in traversal order as far as the rulesets
    agree.

    ``entries[i]`` is the entry as its last generation numbers it; ``index`` maps its identity to i;
    ``of`` gives for each generation the register's number of every one of its entries."""

    entries: tuple[Entry, ...]
    index: dict[Identity, int]
    of: tuple[Ints, ...]

    def __len__(self) -> int:
        return len(self.entries)


def register(rulesets: tuple[Ruleset, ...]) -> Register:
    """Number the entries of all generations."""
    entries: list[Entry] = []
    index: dict[Identity, int] = {}
    of: list[Ints] = []
    for ruleset in rulesets:
        numbers = []
        for entry in ruleset.entries:
            number = index.setdefault(entry.identity, len(entries))
            if number == len(entries):
                entries.append(entry)
            else:
                entries[number] = entry
            numbers.append(number)
        of.append(np.array(numbers, dtype=np.int64))
    return Register(tuple(entries), index, tuple(of))


@dataclass(frozen=True)
class Stage:
    """A program and the generations it stands for; ``numbers`` maps its entries to the
    register's."""

    program: Program
    numbers: tuple[int, ...]
    first: int
    last: int


class Stages:
    """Programs by (first, last) generation, compiled when asked for."""

    def __init__(
        self, rulesets: tuple[Ruleset, ...], entries: Register, phantoms: frozenset[tuple[str, str]]
    ) -> None:
        self.rulesets = rulesets
        self.register = entries
        self.phantoms = phantoms
        self.stages: list[Stage] = []
        self._known: dict[tuple[int, int], int] = {}

    def number(self, first: int, last: int) -> int:
        """Index in ``stages`` of the stage for packets that met some generation in first..last."""
        key = (first, max(first, last))
        if key not in self._known:
            self._known[key] = len(self.stages)
            self.stages.append(self._compile(*key))
        return self._known[key]

    def plain(self) -> list[int]:
        """The stage of each generation."""
        return [self.number(generation, generation) for generation in range(len(self.rulesets))]

    def changing(self, stage: int) -> frozenset[int]:
        """The register's numbers of rules that were not there throughout a stage."""
        return frozenset(
            self.stages[stage].numbers[entry] for entry in self.stages[stage].program.maybe
        )

    def _compile(self, first: int, last: int) -> Stage:
        if first == last:
            program = compile_ruleset(self.rulesets[first], self.phantoms)
            return Stage(program, tuple(self.register.of[first].tolist()), first, last)
        ruleset, numbers, maybe = merge(
            self.rulesets[first : last + 1], self.register.of[first : last + 1]
        )
        return Stage(compile_ruleset(ruleset, self.phantoms, maybe), numbers, first, last)


def merge(
    rulesets: tuple[Ruleset, ...], of: tuple[Ints, ...]
) -> tuple[Ruleset, tuple[int, ...], frozenset[int]]:
    """(merged ruleset, the register's number of each of its entries, entries that were not there
    throughout)."""
    names = dict.fromkeys((c.table, c.name) for ruleset in rulesets for c in ruleset.chains)
    chains: list[Chain] = []
    numbers: list[int] = []
    maybe: set[int] = set()
    for key in names:
        merged: list[tuple[Rule, int, bool]] = []
        policy, policy_number = None, -1
        like, listed = None, True
        for i, (ruleset, known) in enumerate(zip(rulesets, of, strict=True)):
            chain = ruleset.by_name.get(key)
            rules: list[tuple[Rule, int]] = []
            if chain is not None:
                like, listed = chain, listed and chain.listed
                start = ruleset.first_entry[key]
                rules = [(rule, int(known[start + j])) for j, rule in enumerate(chain.rules)]
                if chain.policy is not None:
                    policy, policy_number = chain.policy, int(known[start + len(rules)])
            merged = [(r, n, False) for r, n in rules] if i == 0 else _interleave(merged, rules)
        for _, number, sometimes in merged:
            if sometimes:
                maybe.add(len(numbers))
            numbers.append(number)
        if policy is not None:
            numbers.append(policy_number)
        rules_of = tuple(rule for rule, _, _ in merged)
        assert like is not None
        chains.append(replace(like, policy=policy, rules=rules_of, listed=listed))
    return replace(rulesets[0], chains=tuple(chains)), tuple(numbers), frozenset(maybe)


def _interleave(
    old: list[tuple[Rule, int, bool]], new: list[tuple[Rule, int]]
) -> list[tuple[Rule, int, bool]]:
    """Both lists in order, common rules once; True marks what is in one of them only."""
    matcher = SequenceMatcher(None, [n for _, n, _ in old], [n for _, n in new], autojunk=False)
    result: list[tuple[Rule, int, bool]] = []
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            result.extend(old[a:b])
            continue
        result.extend((rule, number, True) for rule, number, _ in old[a:b])
        result.extend((rule, number, True) for rule, number in new[c:d])
    return result
