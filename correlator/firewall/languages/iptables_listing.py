"""``iptables -L -n -v`` listings -> a ruleset in iptables-save form, and its counters as intervals.

A listing names no table: its base chains tell (nat has PREROUTING and POSTROUTING but no FORWARD,
filter FORWARD but neither). Rounded numbers stand for an interval: iptables prints numbers up to
99,999 exactly, then ``(n + 500) / 1000`` again and again until at most 9,999 is left (libxtables,
xtables_print_num)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from correlator.errors import InputError
from correlator.firewall.hooks import EXPECTED, IPTABLES, USUAL, Hook
from correlator.firewall.languages.counted import Counted, Language, broken
from correlator.firewall.languages.iptables_printed import to_save
from correlator.firewall.languages.iptables_save import LONGEST_LINE, parse_rule
from correlator.firewall.model import Chain, Rule, Ruleset
from correlator.firewall.values import PROTOCOLS

HOOKS = tuple(Hook)
NAMES = {
    number: name
    for name, number in PROTOCOLS.items()
    if name in ("icmp", "tcp", "udp", "udplite", "gre", "esp", "ah", "sctp", "dccp", "igmp")
}

_HEADER = re.compile(
    r"^Chain (\S+) \((?:policy (\S+)(?: ([0-9]{1,20}[KMGT]?) packets, ([0-9]{1,20}[KMGT]?) "
    r"bytes)?|(\d+) references?)\)\s*$"
)
_COLUMNS = re.compile(r"^(num\s+)?pkts\s+bytes\s+target\s+prot")
_RULE = re.compile(
    r"^\s*(?P<packets>[0-9]{1,20}[KMGT]?)\s+(?P<bytes>[0-9]{1,20}[KMGT]?)\s+(?P<rest>\S.*)$"
)
_NUMBER = re.compile(r"^\s*\d+\s+")
_REST = re.compile(
    r"^(?:(?P<target>\S+)\s+)??(?P<protocol>!?\w+)\s+(?P<opt>--|-f|!f)\s+(?P<in>\S+)\s+(?P<out>\S+)\s+(?P<src>\S+)"
    r"\s+(?P<dst>\S+)(?:\s+(?P<tail>.*))?$"
)
_TRANSLATES = re.compile(r"(DNAT|SNAT|MASQUERADE|REDIRECT)\s")
_IPV6 = re.compile(r"(?:^|\s)!?[0-9a-f:]*::[0-9a-f:]*/\d{1,3}(?:\s|$)")
_BIG = {"K": 1, "M": 2, "G": 3, "T": 4}


@dataclass(frozen=True)
class Listing:
    """``counts``: for every entry of the ruleset (least packets, most packets, least bytes, most
    bytes)."""

    ruleset: Ruleset
    counts: tuple[tuple[int, int, int, int], ...]
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Block:
    """One chain as listed."""

    name: str
    policy: str | None
    counts: list[tuple[int, int, int, int]]
    rules: list[str]
    policy_counts: tuple[int, int, int, int] = (0, 0, 0, 0)


def parse_count(text: str) -> tuple[int, int]:
    """The interval (inclusive) that a printed number stands for: ``743K`` is 742,500 to 743,499."""
    power = _BIG.get(text[-1:], 0)
    low = high = int(text[:-1] if power else text)
    for step in range(
        power
    ):  # it was divided again only because more than 9,999 was left, at first more than 99,999
        low, high = (
            max(low * 1000 - 500, 10_000 if step < power - 1 else 100_000),
            high * 1000 + 499,
        )
    return low, high


def parse_listing(text: str, source: str = "listing") -> Listing:
    """The tables of one snapshot. Raises :class:`~correlator.errors.InputError` where a line is not
    of a listing."""
    warnings: list[str] = []
    blocks = _blocks(text, source, warnings)
    if not any(block.policy is not None for block in blocks):
        names = ", ".join(block.name for block in blocks)
        raise InputError(
            f"{source}: lists {names} alone: which packets come there is told by chains that were "
            f"not listed: list whole tables (iptables -L -n -v)"
        )
    tables = _assign(blocks, source, warnings)
    chains: list[Chain] = []
    counts: list[tuple[int, int, int, int]] = []
    for table, blocks in tables:
        for block in blocks:
            rules: list[Rule] = []
            for number, rest in enumerate(block.rules, 1):
                rule, strange = _rule(table, block.name, number, rest)
                if rule is None:
                    raise InputError(f"{source}: not a rule of `iptables -L -n -v`: {rest[:60]!r}")
                rules.append(rule)
                if strange:
                    warnings.append(
                        f"{rule.name}: the listing shows `{strange}`, whose meaning is unknown"
                    )
            chains.append(Chain.of_iptables(table, block.name, block.policy, tuple(rules)))
            counts += block.counts
            if block.policy is not None:
                counts.append(block.policy_counts)
    ruleset, missing = completed(Ruleset(tuple(chains)))
    return Listing(ruleset, tuple(counts), (*warnings, *missing))


def completed(listed: Ruleset) -> tuple[Ruleset, tuple[str, ...]]:
    """(the same with what may be there beside it, what is to be said of that)."""
    unlisted = _unlisted(listed.chains)
    ruleset = Ruleset((*listed.chains, *unlisted))
    return ruleset, tuple(_missing(ruleset, unlisted))


def _missing(ruleset: Ruleset, unlisted: list[Chain]) -> Iterator[str]:
    """What is to be said of what was not listed: of the tables that Docker uses, and of single
    chains."""
    for table in EXPECTED:
        if table in ruleset.unlisted:
            yield (
                f"the table {table} was not listed (iptables -t {table} -L -n -v): what it does to "
                f"packets is not known"
            )
    cut = [f"{c.table}/{c.name}" for c in unlisted if c.table in ruleset.tables]
    if cut:
        yield f"{', '.join(cut)} not listed: what they do to packets is not known"


def _unlisted(chains: tuple[Chain, ...]) -> list[Chain]:
    """What may be there beside what was listed: ``iptables -L`` lists one table, or one chain of
    it."""
    known = {(chain.table, chain.name) for chain in chains}
    wanted = [(table, name) for table in USUAL for name in IPTABLES[table]]
    wanted += [
        (rule.table, jump.chain) for chain in chains for rule in chain.rules for jump in rule.jumps
    ]
    return [
        replace(Chain.of_iptables(table, name, None), listed=False)
        for table, name in dict.fromkeys(wanted)
        if (table, name) not in known
    ]


def _blocks(text: str, source: str, warnings: list[str]) -> list[_Block]:
    """The chains as listed. Lines that cannot be rules (a prompt, a heading, what iptables says of
    a lock) are left out, and ``warnings`` says so."""
    blocks: list[_Block] = []
    numbered = False
    for raw in text.splitlines():
        line = raw.rstrip()
        if not line or line.startswith("#"):
            continue
        if len(line) > LONGEST_LINE:
            raise InputError(f"{source}: a line is too long for a rule: {line[:60]!r}...")
        head = _HEADER.match(line)
        if head:
            blocks.append(_Block(head[1], head[2], [], []))
            if head[2] is not None:
                if head[3] is None:
                    raise InputError(f"{source}: shows no counters: list with `iptables -L -n -v`")
                blocks[-1].policy_counts = (*parse_count(head[3]), *parse_count(head[4]))
            continue
        if not blocks:
            continue  # the line with the time
        if re.match(r"^\s*(num\s+)?(pkts|target)\s", line):
            columns = _COLUMNS.match(line.lstrip())
            if columns is None:
                raise InputError(f"{source}: shows no counters: list with `iptables -L -n -v`")
            numbered = columns[1] is not None
            continue
        found = _RULE.match(_NUMBER.sub("", line, count=1) if numbered else line)
        if found is None and not line.lstrip()[:1].isdigit():
            warnings.append(f"not a line of `iptables -L -n -v`, left out: {line.strip()[:60]!r}")
            continue
        if found is None:
            raise InputError(f"{source}: not a line of `iptables -L -n -v`: {line.strip()[:60]!r}")
        blocks[-1].counts.append((*parse_count(found["packets"]), *parse_count(found["bytes"])))
        blocks[-1].rules.append(found["rest"])
    if not blocks:
        raise InputError(f"{source}: holds no chain: expected `iptables -L -n -v` output")
    return blocks


def _assign(
    blocks: list[_Block], source: str, warnings: list[str]
) -> list[tuple[str, list[_Block]]]:
    """Chains by table: a table ends where a base chain comes behind a user's, or out of order, or a
    name repeats. Tables of ip6tables are left out."""
    groups: list[list[_Block]] = [[]]
    for block in blocks:
        current = groups[-1]
        if current and (_begins(current, block) or any(b.name == block.name for b in current)):
            groups.append([])
        groups[-1].append(block)
    used: set[str] = set()
    result = []
    six = [any(_IPV6.search(rest) for block in group for rest in block.rules) for group in groups]
    if any(six):
        warnings.append("chains of ip6tables are left out: IPv6 is not read yet")
    for group, other in zip(groups, six, strict=True):
        table = None if other else _table(group, used)
        if table is None and any(six):
            continue
        if table is None:
            names = ", ".join(block.name for block in group)
            raise InputError(
                f"{source}: cannot tell which table {names} belongs to: list whole tables (-t nat "
                f"-L)"
            )
        used.add(table)
        result.append((table, group))
    return result


def _begins(current: list[_Block], block: _Block) -> bool:
    if block.policy is None or block.name not in HOOKS:
        return False
    last = current[-1]
    if last.policy is None or last.name not in HOOKS:
        return True
    return HOOKS.index(Hook(last.name)) > HOOKS.index(Hook(block.name))


def _table(group: list[_Block], used: set[str]) -> str | None:
    base = tuple(block.name for block in group if block.policy is not None)
    translates = any(_TRANSLATES.match(rest) for block in group for rest in block.rules)
    return table_with(base, translates, used)


def table_with(base: tuple[str, ...], translates: bool, used: set[str]) -> str | None:
    """The table that has those base chains, in that order; where some were left out, nat if its
    rules translate, else filter, which is what `iptables -L` lists. None: no unused one fits."""
    fitting = [
        name for name, chains in IPTABLES.items() if set(base) <= set(chains) and name not in used
    ]
    exact = [name for name in fitting if tuple(IPTABLES[name]) == base]
    likely = [name for name in (("nat",) if translates else ("filter",)) if name in fitting]
    return next(iter(exact or likely or fitting), None)


@lru_cache(maxsize=65536)
def _rule(table: str, chain: str, number: int, rest: str) -> tuple[Rule | None, str]:
    """(the rule, what of it was not understood)."""
    found = _REST.match(rest)
    if found is None:
        return None, ""
    tail, goto = found["tail"] or "", False
    if "[goto]" in tail:
        tail, goto = tail.replace("[goto]", "", 1).strip(), True
    conditions, target, options, strange = to_save(tail, found["target"] or "")
    parts = [
        _address("-s", found["src"]),
        _address("-d", found["dst"]),
        _device("-i", found["in"]),
        _device("-o", found["out"]),
        _protocol(found["protocol"]),
        {"-f": "-f", "!f": "! -f"}.get(found["opt"], ""),
        conditions,
        strange,
    ]
    if target:
        parts += [f"{'-g' if goto else '-j'} {target}", options]
    return parse_rule(table, chain, number, " ".join(part for part in parts if part)), strange


def _address(option: str, text: str) -> str:
    negated, value = ("! ", text[1:]) if text.startswith("!") else ("", text)
    if value in ("0.0.0.0/0", "anywhere") and not negated:
        return ""
    return (
        f"{negated}{option} {value if '/' in value or not value[-1:].isdigit() else value + '/32'}"
    )


def _device(option: str, text: str) -> str:
    if text in ("*", "any"):
        return ""
    return f"! {option} {text[1:]}" if text.startswith("!") else f"{option} {text}"


def _protocol(text: str) -> str:
    negated, value = ("! ", text[1:]) if text.startswith("!") else ("", text)
    if value in ("0", "all"):
        return ""
    return f"{negated}-p {NAMES.get(int(value), value) if value.isdigit() else value}"


class ListingReader:
    """Snapshots of iptables -L -n -v; equal rulesets are one object."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.known: dict[tuple[Chain, ...], Ruleset] = {}
        self.warnings: list[str] = []

    def read(self, text: str, line: int) -> Counted:
        listed = parse_listing(text, f"{self.source}, snapshot at line {line}")
        for warning in listed.warnings:
            if warning not in self.warnings:
                self.warnings.append(warning)
        ruleset = listed.ruleset.in_usual_order()
        ruleset = self.known.setdefault(ruleset.chains, ruleset)
        counts = {
            (e.table, e.chain, e.number): c
            for e, c in zip(listed.ruleset.entries, listed.counts, strict=True)
        }
        values = [counts[e.table, e.chain, e.number] for e in ruleset.entries]
        try:
            return Counted(ruleset, np.array(values, dtype=np.int64).reshape(-1, 4))
        except OverflowError:
            raise InputError(broken(self.source, line)) from None


LANGUAGE = Language(
    "listing",
    "iptables -L -n -v",
    re.compile(r"^Chain ", re.MULTILINE),
    ListingReader,
    lambda text: not text.endswith("\n"),
    False,
)
