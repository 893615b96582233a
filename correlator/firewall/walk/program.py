"""A ruleset compiled for walking: predicates beside their targets, and what it reads of packets."""

from __future__ import annotations

from dataclasses import dataclass

from correlator.firewall.conditions.compile import compile_rule
from correlator.firewall.conditions.ternary import Predicate, Reads
from correlator.firewall.effects.nat import note_reads
from correlator.firewall.model import Ruleset, Target

HOOK_TABLES: dict[str, tuple[str, ...]] = {
    "PREROUTING": ("raw", "mangle", "nat"),
    "INPUT": ("mangle", "filter", "security", "nat"),
    "FORWARD": ("mangle", "filter", "security"),
    "OUTPUT": ("raw", "mangle", "nat", "filter", "security"),
    "POSTROUTING": ("mangle", "nat"),
}
"""Tables in the order of their priorities at each hook (include/uapi/linux/netfilter_ipv4.h)."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One rule, ready to run."""

    entry: int
    predicates: tuple[Predicate, ...]
    target: Target


@dataclass(frozen=True, slots=True)
class CompiledChain:
    """One chain; ``policy_entry`` is -1 where nothing counts its policy (a user's chain, or a
    phantom)."""

    name: str
    policy: str | None
    policy_entry: int
    rules: tuple[Instruction, ...]


@dataclass(frozen=True)
class Program:
    """A compiled ruleset. ``maybe`` holds entries of rules that may or may not have been there (see
    ``merge``)."""

    ruleset: Ruleset
    chains: dict[tuple[str, str], CompiledChain]
    reads: Reads
    maybe: frozenset[int] = frozenset()

    def base_chain(self, table: str, hook: str) -> CompiledChain | None:
        """The base chain of a table at a hook, or None where there is none."""
        return self.chains.get((table, hook))


def compile_ruleset(
    ruleset: Ruleset,
    phantoms: frozenset[tuple[str, str]] = frozenset(),
    maybe: frozenset[int] = frozenset(),
) -> Program:
    """Compile a ruleset; base chains in ``phantoms`` (table, chain) do not exist in the kernel and
    count nothing."""
    reads = Reads()
    chains: dict[tuple[str, str], CompiledChain] = {}
    for chain in ruleset.chains:
        key = (chain.table, chain.name)
        if key in phantoms:
            continue
        entry = ruleset.first_entry[key]
        rules: list[Instruction] = []
        for rule in chain.rules:
            rules.append(Instruction(entry, tuple(compile_rule(rule, reads)), rule.target))
            note_reads(rule.target, reads)
            if rule.target.name in ("CONNMARK", "CT"):
                reads.fields.add("connmark")
            entry += 1
        chains[key] = CompiledChain(
            chain.name, chain.policy, entry if chain.policy is not None else -1, tuple(rules)
        )
    return Program(ruleset, chains, reads, maybe)
