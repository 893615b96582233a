"""A ruleset as iptables names it: tables, chains, rules, policies.

Frozen and free of counters: the same :class:`Ruleset` serves every sample of one generation.
Counters are arrays beside it, in the order of :attr:`Ruleset.entries`.

Terminology is iptables(8)'s. A rule is named ``table/chain:number`` as ``iptables -L
--line-numbers`` numbers it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

BASE_CHAINS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
TABLES = ("raw", "mangle", "nat", "filter", "security")


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a match or target: ``! --dport 80`` is ``Option("--dport", ("80",),
    negated=True)``."""

    name: str
    values: tuple[str, ...] = ()
    negated: bool = False

    @property
    def value(self) -> str:
        """The first value, or the empty string for an option without one."""
        return self.values[0] if self.values else ""


@dataclass(frozen=True, slots=True)
class Match:
    """One condition of a rule.

    ``name`` is the extension behind ``-m`` (``tcp``, ``conntrack``, ...), or for the options that
    iptables itself has: ``source`` (-s), ``destination`` (-d), ``in-interface`` (-i),
    ``out-interface`` (-o), ``protocol`` (-p) and ``fragment`` (-f); those have exactly one option,
    named ``-s``, ``-d``, ``-i``, ``-o``, ``-p`` or ``-f``. ``text`` is the condition as
    iptables-save writes it. ``understood`` is False where the options could not be told apart (an
    extension nobody has heard of): its text is all that is known of it."""

    name: str
    text: str
    options: tuple[Option, ...] = ()
    understood: bool = True

    def option(self, name: str) -> Option | None:
        """The option of that name, or None."""
        return next((o for o in self.options if o.name == name), None)


@dataclass(frozen=True, slots=True)
class Target:
    """What a rule does: a verdict, an extension, or a chain to go to.

    ``name`` is the word behind ``-j`` or ``-g``; empty for a rule that only counts. ``goto`` is
    True for ``-g``."""

    name: str
    options: tuple[Option, ...] = ()
    goto: bool = False

    def option(self, name: str) -> Option | None:
        """The option of that name, or None."""
        return next((o for o in self.options if o.name == name), None)


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a chain; ``text`` is what stands behind ``-A CHAIN `` in iptables-save, without
    counters."""

    table: str
    chain: str
    number: int
    text: str
    matches: tuple[Match, ...]
    target: Target

    @property
    def name(self) -> str:
        """``table/chain:number``."""
        return f"{self.table}/{self.chain}:{self.number}"


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; ``policy`` is None for a user's chain."""

    table: str
    name: str
    policy: str | None
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that counts: a rule (number from 1), or the policy of a base chain (number 0, text
    ``policy``).

    ``occurrence`` tells apart rules of one chain with the same text (0 for the first), so that
    (table, chain, text, occurrence) is the entry's identity across generations, in which numbers
    shift."""

    table: str
    chain: str
    number: int
    text: str
    target: str
    occurrence: int = 0

    @property
    def name(self) -> str:
        """``table/chain:number``, or ``table/chain:policy``."""
        return f"{self.table}/{self.chain}:{self.number or 'policy'}"

    @property
    def identity(self) -> tuple[str, str, str, int]:
        """What stays the same when rules around it come and go."""
        return (self.table, self.chain, self.text, self.occurrence)


@dataclass(frozen=True)
class Ruleset:
    """All tables of one generation, in the order in which they were read."""

    chains: tuple[Chain, ...]

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Every rule and policy: chain after chain, a base chain's policy behind its rules."""
        entries: list[Entry] = []
        for chain in self.chains:
            seen: dict[str, int] = {}
            for rule in chain.rules:
                occurrence = seen.get(rule.text, 0)
                seen[rule.text] = occurrence + 1
                entries.append(
                    Entry(
                        rule.table, rule.chain, rule.number, rule.text, rule.target.name, occurrence
                    )
                )
            if chain.policy is not None:
                entries.append(Entry(chain.table, chain.name, 0, "policy", chain.policy))
        return tuple(entries)

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
        """Names of the tables, in the order read, each once."""
        return tuple(dict.fromkeys(chain.table for chain in self.chains))
