"""iptables-save text <-> :class:`~correlator.firewall.model.Ruleset`.

The grammar is that of iptables-save(8) and iptables-restore(8)::

    # comment
    *TABLE
    :CHAIN POLICY [packets:bytes]
    [packets:bytes] -A CHAIN [! ]OPTION value... -j TARGET [OPTION value...]
    COMMIT

Options of extensions nobody has heard of keep their text: the rule stays whole, and its condition
is unknown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from correlator.errors import InputError
from correlator.firewall.conditions.ternary import Condition
from correlator.firewall.effects.verdicts import Jump
from correlator.firewall.languages.counted import Counted, Language, broken
from correlator.firewall.languages.iptables_conditions import conditions_of
from correlator.firewall.languages.iptables_effects import effects_of, is_extension
from correlator.firewall.languages.iptables_words import rule_words
from correlator.firewall.model import Chain, Rule, Ruleset

if TYPE_CHECKING:
    from correlator.arrays import Ints

LONGEST_LINE = 10239
"""Characters of a line that iptables-restore reads (iptables-restore.c): no rule is longer."""
_COUNTERS = re.compile(r"^\[(\d+):(\d+)\]\s*")
_CHAIN = re.compile(r"^:(\S+)\s+(\S+)(?:\s+\[(\d+):(\d+)\])?\s*$")
_APPEND = re.compile(r"^(?:-A|--append)\s+(\S+)\s*(.*)$", re.DOTALL)


def parse_rule(table: str, chain: str, number: int, text: str) -> Rule:
    """One rule from the text behind ``-A CHAIN ``."""
    words = rule_words(text)
    conditions: list[Condition] = []
    for match in words.matches:
        conditions += conditions_of(match)
    effects = effects_of(words.target)
    return Rule(table, chain, number, text, tuple(conditions), effects, words.target.name)


def parse_iptables_save(text: str, source: str = "rules") -> Ruleset:
    """The ruleset of an iptables-save text, with or without counters.

    Raises :class:`~correlator.errors.InputError` naming the line that is neither comment, table,
    chain nor rule."""
    policies: dict[tuple[str, str], str | None] = {}
    declared: set[tuple[str, str]] = set()
    rules: dict[tuple[str, str], list[Rule]] = {}
    table = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if len(line) > LONGEST_LINE:
            raise InputError(f"{source}: line {number} is too long for a rule: {line[:60]!r}...")
        if not line or line.startswith("#"):
            continue
        if line.startswith("*"):
            table = line[1:].strip()
        elif line == "COMMIT":
            table = ""
        elif not table:
            raise InputError(
                f"{source}: line {number} stands outside of a table: expected iptables-save output"
            )
        elif line.startswith(":"):
            chain = _CHAIN.match(line)
            if chain is None:
                raise InputError(f"{source}: line {number} is not a chain: {line[:60]!r}")
            if (table, chain[1]) in declared:
                raise InputError(
                    f"{source}: line {number} declares {table}/{chain[1]} a second time: of "
                    f"iptables-nft-save and iptables-legacy-save one is read at a time"
                )
            declared.add((table, chain[1]))
            policies[table, chain[1]] = None if chain[2] == "-" else chain[2]
            rules.setdefault((table, chain[1]), [])
        else:
            found = _APPEND.match(_COUNTERS.sub("", line))
            if found is None:
                raise InputError(
                    f"{source}: line {number} is not a rule of iptables-save: {line[:60]!r}"
                )
            key = (table, found[1])
            policies.setdefault(key, None)
            known = rules.setdefault(key, [])
            known.append(parse_rule(table, found[1], len(known) + 1, found[2]))
    if not policies:
        raise InputError(f"{source}: holds no table: expected iptables-save output")
    return Ruleset(
        tuple(
            Chain.of_iptables(t, c, policy, _with_chains(rules[t, c], policies))
            for (t, c), policy in policies.items()
        )
    )


def _with_chains(rules: list[Rule], chains: Mapping[tuple[str, str], object]) -> tuple[Rule, ...]:
    """The same rules, in which a chain that bears the name of a target is what it leads to."""
    return tuple(
        replace(rule, effects=(Jump(rule.target, rule_words(rule.text).target.goto),))
        if (rule.table, rule.target) in chains and is_extension(rule.target)
        else rule
        for rule in rules
    )


def write_iptables_save(ruleset: Ruleset) -> str:
    """iptables-save text of a ruleset, without counters."""
    lines: list[str] = []
    for table in ruleset.tables:
        chains = [chain for chain in ruleset.chains if chain.table == table and chain.listed]
        lines.append(f"*{table}")
        lines += [f":{chain.name} {chain.policy or '-'} [0:0]" for chain in chains]
        lines += [
            f"-A {rule.chain} {rule.text}".rstrip() for chain in chains for rule in chain.rules
        ]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"


def positions(text: str, ruleset: Ruleset) -> Ints:
    """For each entry of a ruleset its counting line in the iptables-save text that it was read
    from, int64 (entries,).

    Counting lines are the policies of base chains, and the rules; numbered from 0 as they stand
    there."""
    position: dict[tuple[str, str, int], int] = {}
    table = ""
    counts: dict[tuple[str, str], int] = {}
    for raw in text.splitlines():
        line = _COUNTERS.sub(
            "", raw.strip()
        )  # counters that stand there yet were damaged, or behind a space
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            if policy != "-":
                position[table, name, 0] = len(position)
        elif rule := _APPEND.match(line):
            counts[table, rule[1]] = counts.get((table, rule[1]), 0) + 1
            position[table, rule[1], counts[table, rule[1]]] = len(position)
    return np.array(
        [position[entry.table, entry.chain, entry.number] for entry in ruleset.entries],
        dtype=np.int64,
    )


def dumped_phantoms(text: str, ruleset: Ruleset) -> frozenset[tuple[str, str]]:
    """Base chains of an iptables-save dump that may not exist in the kernel: no rule, and a policy
    that counted nothing.

    iptables-save of nft 1.8.9 prints such chains. A file that no iptables-save wrote (no comment of
    its, all counters zero) is one to load, and its chains exist once it is loaded."""
    counters = {
        (found[1], found[2])
        for found in re.finditer(r"^(?::\S+ \S+ )?\[(\d+):(\d+)\]", text, re.MULTILINE)
    }
    if "# Generated by" not in text and counters <= {("0", "0")}:
        return frozenset()
    policies: dict[tuple[str, str], str] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            words = line[1:].split()
            policies[table, words[0]] = words[2] if len(words) > 2 else "[0:0]"
    return frozenset(
        (chain.table, chain.name)
        for chain in ruleset.chains
        if chain.policy is not None
        and not chain.rules
        and policies.get((chain.table, chain.name)) == "[0:0]"
    )


class SaveReader:
    """Snapshots of iptables-save -c; parses each template (all but the numbers) once.

    ``order``: for each entry of the last one read, which of its counting lines it is.
    """

    _TIMES = re.compile(r"^#.*\n?", re.MULTILINE)

    def __init__(self, source: str) -> None:
        self.source = source
        self.known: dict[str, tuple[Ruleset, Ints]] = {}
        self.order: Ints = np.zeros(0, dtype=np.int64)
        self.warnings: list[str] = []

    def read(self, text: str, line: int) -> Counted:
        body = self._TIMES.sub("", text)
        # counters stand at the start of a rule and at the end of a chain: a comment may hold the
        # like elsewhere
        numbers: list[str] = []
        pieces = []
        for one in body.splitlines():
            if one.startswith("["):
                head, _, rest = one[1:].partition("] ")
                packets, _, size = head.partition(":")
                numbers += (packets, size)
                pieces.append(rest)
            elif one.startswith(":") and one.endswith("]"):
                rest, _, head = one[:-1].rpartition(" [")
                packets, _, size = head.partition(":")
                if not rest.endswith(" -"):
                    numbers += (packets, size)
                pieces.append(rest)
            else:
                pieces.append(one)
        template = "\n".join(pieces)
        found = self.known.get(template)
        if found is None:
            found = self.known[template] = self._learn(template, line)
        ruleset, order = found
        self.order = order
        try:
            values = np.array(numbers, dtype=np.int64).reshape(-1, 2)
        except (ValueError, OverflowError):
            raise InputError(broken(self.source, line)) from None
        if (values < 0).any():
            raise InputError(broken(self.source, line))
        if len(values) != len(order):
            raise InputError(
                f"{self.source}: the snapshot at line {line} has rules without counters: "
                f"use iptables-save -c"
            )
        values = values[order]
        return Counted(ruleset, values[:, (0, 0, 1, 1)])

    def _learn(self, template: str, line: int) -> tuple[Ruleset, Ints]:
        """(ruleset with its tables in the usual order, for each entry the position of its numbers
        in the text)."""
        ruleset = parse_iptables_save(template, f"{self.source}, snapshot at line {line}")
        ruleset = ruleset.in_usual_order()
        return ruleset, positions(template, ruleset)


def ends_short(text: str) -> bool:
    """Whether a snapshot does not end as iptables-save ends its output."""
    if not text.rstrip().endswith("COMMIT") and "# Completed" not in text[-200:]:
        return True
    return not text.endswith(("\n", "COMMIT"))


LANGUAGE = Language(
    "save", "iptables-save -c", re.compile(r"^\*", re.MULTILINE), SaveReader, ends_short, True
)
