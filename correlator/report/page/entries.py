"""Rules and policies in the order in which packets meet them, hook by hook; numbered once for the
whole page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from correlator.firewall.hooks import TABLES_AT
from correlator.firewall.languages.iptables_short import short_target

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[str, str, int, str]
"""(table, chain, number, text): an entry as one generation names it."""
Identity = tuple[str, str, str, int]
"""(table, chain, text, occurrence): what stays the same when rules around it come and go."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule, or a policy (number 0, text ``policy``). ``lane`` is shared by the entries of several
    generations that are one rule whose number shifted; ``jumps`` tells that the target is a
    chain."""

    table: str
    chain: str
    number: int
    text: str
    target: str
    lane: int
    jumps: bool

    @property
    def name(self) -> str:
        """``table/chain:number``, or ``table/chain:policy``."""
        return f"{self.table}/{self.chain}:{self.number or 'policy'}"

    @property
    def key(self) -> Key:
        """What it is found by."""
        return (self.table, self.chain, self.number, self.text)

    @property
    def stops(self) -> bool:
        """Whether what hits it goes no further."""
        return self.target in ("DROP", "REJECT")

    @property
    def short(self) -> str:
        """What it does, in few words: ``DNAT 172.17.0.2:80``, ``to DOCKER``, ``ACCEPT``."""
        if not self.target:
            return "counts only"
        if self.jumps:
            return f"to {self.target}"
        return short_target(self.text) if self.number else self.target


@dataclass(frozen=True)
class Catalogue:
    """All entries of all generations. ``lanes`` holds the entry that stands for each lane, ``last``
    the last generation that had it; ``met`` the (lane, depth) of each (hook, table), in the order
    of traversal."""

    entries: tuple[Entry, ...]
    lanes: tuple[int, ...]
    last: tuple[int, ...]
    met: dict[tuple[str, str], tuple[tuple[int, int], ...]]

    def find(self) -> dict[Key, int]:
        """Key -> number of the entry."""
        return {entry.key: i for i, entry in enumerate(self.entries)}


def catalogue(rules: pd.DataFrame) -> Catalogue:
    """Number the entries of the rules table."""
    known: dict[Key, tuple[Identity, str, int]] = {}
    chains: dict[tuple[str, str], dict[Identity, str]] = {}
    last: dict[Identity, int] = {}
    occurrence = rules.groupby(["generation", "table", "chain", "rule"], observed=True).cumcount()
    for row, seen in zip(rules.itertuples(), occurrence.tolist(), strict=True):
        table, chain, text, target = str(row.table), str(row.chain), str(row.rule), str(row.target)
        identity = (table, chain, text, seen)
        key = (table, chain, int(row.rule_number), text)
        known.pop(key, None)  # the newest come last, and stand for their lanes
        known[key] = (identity, target, int(row.generation))
        last[identity] = int(row.generation)
    for (table, chain, _, _), (identity, target, _) in sorted(
        known.items(), key=lambda item: -item[1][2]
    ):
        chains.setdefault((table, chain), {})[identity] = (
            target  # as the newest rules have them, what is gone behind
        )
    for lines in (
        chains.values()
    ):  # a policy counts behind the chain's rules, whatever generation brought them
        for identity in [identity for identity in lines if identity[2] == "policy"]:
            lines[identity] = lines.pop(identity)
    met = {
        (hook.value, table): tuple(_visit(chains, table, hook, 0, set()))
        for hook, tables in TABLES_AT.items()
        for table in tables
        if (table, hook) in chains
    }
    order = dict.fromkeys(identity for lines in met.values() for identity, _ in lines)
    order.update(dict.fromkeys(identity for lines in chains.values() for identity in lines))
    lane = {identity: i for i, identity in enumerate(order)}
    entries = tuple(
        Entry(*key, target, lane[identity], (key[0], target) in chains)
        for key, (identity, target, _) in known.items()
    )
    stands = [0] * len(lane)
    for i, entry in enumerate(entries):
        stands[entry.lane] = i
    numbered = {
        place: tuple((lane[identity], depth) for identity, depth in lines)
        for place, lines in met.items()
    }
    return Catalogue(entries, tuple(stands), tuple(last[identity] for identity in lane), numbered)


def _visit(
    chains: dict[tuple[str, str], dict[Identity, str]],
    table: str,
    chain: str,
    depth: int,
    seen: set[str],
) -> list[tuple[Identity, int]]:
    """The lines of a chain, each jump followed by the lines of the chain it leads to (once)."""
    seen.add(chain)
    found = []
    for identity, target in chains[(table, chain)].items():
        found.append((identity, depth))
        if target not in seen and (table, target) in chains:
            found += _visit(chains, table, target, depth + 1, seen)
    return found
