"""A ruleset compiled for walking: predicates beside effects, base chains by hook, and what it reads
of packets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from correlator.firewall.conditions.ternary import Predicate, Reads
from correlator.firewall.effects.dispatch import Dispatch
from correlator.firewall.effects.fields import touches_connmark
from correlator.firewall.effects.nat import Nat
from correlator.firewall.effects.verdicts import Jump, OutOfSight
from correlator.firewall.hooks import NAT_AT, Hook
from correlator.firewall.model import Chain, Effect, Rule, Ruleset

MAX_PATHS = 96
"""Ways of one packet that are told apart."""
PATIENCE = 1 << 14
"""Rules that any walk may read."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One rule, ready to run."""

    entry: int
    predicates: tuple[Predicate, ...]
    effects: tuple[Effect, ...]


@dataclass(frozen=True, slots=True)
class CompiledChain:
    """One chain; ``policy_entry`` is -1 where nothing counts its policy (a user's chain, or a
    phantom). ``nat``: its table has chains of type nat. ``device``: only packets that come in
    there meet it (empty: all)."""

    table: str
    name: str
    policy: str | None
    policy_entry: int
    rules: tuple[Instruction, ...]
    nat: bool = False
    listed: bool = True
    device: str = ""


@dataclass(frozen=True, slots=True)
class Station:
    """What packets meet at one point of a hook: a base chain, or (``nat``) all that are of type
    nat, which may be none: what the wire shows of addresses is checked there all the same.
    ``tied``: a chain of another table has the same priority, and which comes first is told by the
    order only in which tables are listed."""

    chains: tuple[CompiledChain, ...]
    nat: bool = False
    before_conntrack: bool = False
    tied: bool = False


@dataclass(frozen=True)
class Program:
    """A compiled ruleset. ``chains`` by (table, chain), ``stations`` of each hook in order.
    ``maybe`` holds entries of rules that may or may not have been there (see ``merge``)."""

    ruleset: Ruleset
    chains: dict[tuple[str, str], CompiledChain]
    stations: dict[Hook, tuple[Station, ...]]
    reads: Reads
    maybe: frozenset[int] = frozenset()

    @cached_property
    def nat_unlisted(self) -> bool:
        """Whether translations may be written that no listed rule tells."""
        return any(chain.nat and not chain.listed for chain in self.chains.values())

    @cached_property
    def patience(self) -> int:
        """Rules that one walk may read: each once on as many ways as are told apart, and some. What
        needs more are chains that fan out: 24 that each jump twice are 16 million calls."""
        return MAX_PATHS * sum(len(chain.rules) for chain in self.chains.values()) + PATIENCE


def compile_ruleset(
    ruleset: Ruleset,
    phantoms: frozenset[tuple[str, str]] = frozenset(),
    maybe: frozenset[int] = frozenset(),
) -> Program:
    """Compile a ruleset; base chains in ``phantoms`` (table, chain) do not exist in the kernel and
    count nothing."""
    reads = Reads(family=ruleset.family)
    there = [chain for chain in ruleset.chains if (chain.table, chain.name) not in phantoms]
    names = frozenset((chain.table, chain.name) for chain in there)
    chains: dict[tuple[str, str], CompiledChain] = {}
    for chain in there:
        entry = ruleset.first_entry[chain.table, chain.name]
        rules = tuple(_compile(rule, entry + i, names, reads) for i, rule in enumerate(chain.rules))
        policy_entry = entry + len(rules) if chain.policy is not None else -1
        chains[chain.table, chain.name] = CompiledChain(
            chain.table,
            chain.name,
            chain.policy,
            policy_entry,
            rules,
            chain.table in ruleset.nat_tables,
            chain.listed,
            chain.device,
        )
    stations = {hook: _stations(hook, ruleset.at(hook), chains) for hook in Hook}
    return Program(ruleset, chains, stations, reads, maybe)


def _compile(
    rule: Rule, entry: int, chains: frozenset[tuple[str, str]], reads: Reads
) -> Instruction:
    effects = []
    for effect in rule.effects:
        if isinstance(effect, Nat):
            effect.note(reads)
        if touches_connmark(effect):
            reads.fields.add("connmark")
        leads = effect.choices if isinstance(effect, Dispatch) else (effect,)
        lost = any(isinstance(one, Jump) and (rule.table, one.chain) not in chains for one in leads)
        effects.append(OutOfSight(rule.target) if lost else effect)
    predicates = tuple(condition.compile(reads) for condition in rule.conditions)
    return Instruction(entry, predicates, tuple(effects))


def _stations(
    hook: Hook, standing: list[Chain], chains: dict[tuple[str, str], CompiledChain]
) -> tuple[Station, ...]:
    """The base chains of a hook as packets meet them, those of type nat at one station."""
    nat: list[CompiledChain] = []
    found: list[tuple[int, Station]] = []
    for chain in standing:
        compiled = chains.get((chain.table, chain.name))
        if compiled is None or chain.base is None:
            continue
        if chain.base.is_nat:
            nat.append(compiled)
        else:
            early, priority = chain.base.before_conntrack, chain.base.priority
            tied = any(
                other.base is not None
                and not other.base.is_nat
                and (other.base.priority, other.table != chain.table) == (priority, True)
                for other in standing
            )
            found.append((priority, Station((compiled,), before_conntrack=early, tied=tied)))
    if hook in NAT_AT:
        found.append((NAT_AT[hook], Station(tuple(nat), nat=True)))
    return tuple(station for _, station in sorted(found, key=lambda pair: pair[0]))
