"""A ruleset that no language owns: chains at hooks, rules that ask conditions and have effects.

Frozen and free of counters: the same :class:`Ruleset` serves every sample of one generation.
Counters are arrays beside it, in the order of :attr:`Ruleset.entries`. The words in which a rule
was written stay with it for people (``text``, ``target``); nothing is decided by them.

A rule is named ``table/chain:number`` as ``iptables -L --line-numbers`` numbers it. A table of
another family than its packets bears that in its name (``inet filter``)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from correlator.firewall.conditions.ternary import Condition
from correlator.firewall.effects.dispatch import Dispatch
from correlator.firewall.effects.fields import Write
from correlator.firewall.effects.nat import Nat
from correlator.firewall.effects.verdicts import ChangeSet, Jump, OutOfSight, Reject, Verdict
from correlator.firewall.hooks import TABLES, Base, Hook, iptables_base

Effect = Verdict | Reject | Jump | OutOfSight | Nat | Write | ChangeSet | Dispatch
"""What a rule does. A rule without any only counts, or writes a log line: the walk goes on."""


MET = {"ip": ("ip", "inet", "netdev"), "ip6": ("ip6", "inet", "netdev")}
"""Families of the chains that packets of IPv4 (``ip``) and of IPv6 (``ip6``) meet."""
SHARED = ("inet", "netdev")
"""Families of the chains that packets of both meet."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a chain: when all ``conditions`` hold, the ``effects`` happen in order.

    ``text`` is how it was written, without counters; ``target`` the word for what it does.
    ``handle`` names a rule of nftables in its table (0: none was told). ``counted``: a counter
    stands behind all of its conditions, so that it counts the rule's hits."""

    table: str
    chain: str
    number: int
    text: str
    conditions: tuple[Condition, ...]
    effects: tuple[Effect, ...]
    target: str
    family: str = "ip"
    handle: int = 0
    counted: bool = True

    @property
    def name(self) -> str:
        """``table/chain:number``."""
        return f"{self.table}/{self.chain}:{self.number}"

    @property
    def nat(self) -> Nat | None:
        """The translation that it asks for, of the packets that walk it."""
        return next((one for one in self.effects if isinstance(one, Nat) and not one.foreign), None)

    @property
    def jumps(self) -> tuple[Jump, ...]:
        """Where it leads to, or may."""
        found: list[Jump] = []
        for effect in self.effects:
            choices = effect.choices if isinstance(effect, Dispatch) else (effect,)
            found += [one for one in choices if isinstance(one, Jump)]
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of a table; ``base`` says at which hook a base chain stands (None for a user's), and
    ``policy`` what becomes of packets that fall off its end: ACCEPT or DROP, None for a user's
    chain or where it was not told. ``listed`` is False where it may be there and nobody listed it:
    what it does to a packet is unknown. ``counted``: the kernel has a counter for its policy.
    ``device``: it stands at that interface only (empty: at all)."""

    table: str
    name: str
    policy: str | None
    rules: tuple[Rule, ...] = ()
    base: Base | None = None
    family: str = "ip"
    listed: bool = True
    counted: bool = True
    device: str = ""

    @classmethod
    def of_iptables(
        cls, table: str, name: str, policy: str | None, rules: tuple[Rule, ...] = ()
    ) -> Chain:
        """A chain of iptables: table and name tell where it stands."""
        return cls(table, name, policy, rules, iptables_base(table, name))


@dataclass(frozen=True, slots=True)
class Entry:
    """What packets hit: a rule (number from 1), or the policy of a base chain (number 0, text
    ``policy``). ``counted``: it has a counter of packets that are walked.

    ``occurrence`` tells apart rules of one chain with the same text (0 for the first), so that
    (table, chain, text, occurrence) is the entry's identity across generations, in which numbers
    shift."""

    table: str
    chain: str
    number: int
    text: str
    target: str
    occurrence: int = 0
    family: str = "ip"
    handle: int = 0
    counted: bool = True

    @property
    def bare_table(self) -> str:
        """The table without its family."""
        return self.table.removeprefix(f"{self.family} ")

    @property
    def name(self) -> str:
        """``table/chain:number``, or ``table/chain:policy``."""
        return f"{self.table}/{self.chain}:{self.number or 'policy'}"

    @property
    def identity(self) -> tuple[str, str, str, int]:
        """What stays the same when rules around it come and go."""
        return (self.table, self.chain, self.text, self.occurrence)


def _entry_of(rule: Rule, occurrence: int, met: tuple[str, ...]) -> Entry:
    return Entry(
        rule.table,
        rule.chain,
        rule.number,
        rule.text,
        rule.target,
        occurrence,
        rule.family,
        rule.handle,
        rule.counted and rule.family in met,
    )


@dataclass(frozen=True)
class Ruleset:
    """All tables of one generation, in the order in which they were read. ``family``: whose packets
    walk them, IPv4's (``ip``) or IPv6's (``ip6``)."""

    chains: tuple[Chain, ...]
    family: str = "ip"

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Every rule and policy: chain after chain, a base chain's policy behind its rules."""
        entries: list[Entry] = []
        for chain in self.chains:
            seen: dict[str, int] = {}
            for rule in chain.rules:
                occurrence = seen.get(rule.text, 0)
                seen[rule.text] = occurrence + 1
                entries.append(_entry_of(rule, occurrence, MET[self.family]))
            if chain.policy is not None:
                counted = chain.counted and chain.family in MET[self.family]
                entries.append(
                    Entry(
                        chain.table,
                        chain.name,
                        0,
                        "policy",
                        chain.policy,
                        family=chain.family,
                        counted=counted,
                    )
                )
        return tuple(entries)

    @property
    def rules(self) -> Iterator[Rule]:
        """Every rule, chain after chain."""
        return (rule for chain in self.chains for rule in chain.rules)

    @cached_property
    def by_name(self) -> dict[tuple[str, str], Chain]:
        """(table, chain) -> chain."""
        return {(chain.table, chain.name): chain for chain in self.chains}

    @cached_property
    def first_entry(self) -> dict[tuple[str, str], int]:
        """(table, chain) -> index in :attr:`entries` of its first rule (or policy, where it has no
        rules)."""
        index, first = 0, {}
        for chain in self.chains:
            first[(chain.table, chain.name)] = index
            index += len(chain.rules) + (chain.policy is not None)
        return first

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that were listed, in the order read, each once."""
        return tuple(dict.fromkeys(chain.table for chain in self.chains if chain.listed))

    @property
    def unlisted(self) -> tuple[str, ...]:
        """Names of the tables of which nothing was listed."""
        known = self.tables
        return tuple(dict.fromkeys(c.table for c in self.chains if c.table not in known))

    @cached_property
    def nat_tables(self) -> frozenset[str]:
        """The tables that have a base chain of type nat."""
        return frozenset(c.table for c in self.chains if c.base is not None and c.base.is_nat)

    def at(self, hook: Hook) -> list[Chain]:
        """The base chains of a hook, in the order in which packets meet them: of those with one
        priority the last one made comes first (nf_hook_entries_grow, net/netfilter/core.c)."""
        met = MET[self.family]
        standing = [
            (chain.base.order, chain)
            for chain in reversed(self.chains)
            if chain.base is not None and chain.base.hook is hook and chain.family in met
        ]
        return [chain for _, chain in sorted(standing, key=lambda pair: pair[0])]

    def as_of(self, family: str) -> Ruleset:
        """The same as that family's own: ip6tables spells rules as iptables does."""
        chains = (
            replace(c, family=family, rules=tuple(replace(r, family=family) for r in c.rules))
            for c in self.chains
        )
        return Ruleset(tuple(chains), family)

    def in_usual_order(self) -> Ruleset:
        """The same with iptables' tables in the order in which iptables lists them."""
        rank = {name: i for i, name in enumerate(TABLES)}
        chains = sorted(self.chains, key=lambda c: rank.get(c.table, len(rank)))
        return replace(self, chains=tuple(chains))
