"""The ruleset with what was counted beside each line, generation by generation, chain by chain."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from correlator.report.page.entries import Catalogue

if TYPE_CHECKING:
    import pandas as pd

RULES_SHOWN = 8_000
"""Lines of rules on one page, over all generations; the newest generations come first."""


@dataclass(frozen=True, slots=True)
class RuleLine:
    """A rule (or policy, number 0) with its counts; ``counted`` is -1 where nothing was counted."""

    lane: int
    number: int
    text: str
    target: str
    counted: int
    explained: int
    residual: int
    connections: int

    @property
    def hit(self) -> bool:
        """Whether anything hit it, counted or explained."""
        return self.counted > 0 or self.explained > 0 or self.residual != 0


@dataclass(frozen=True, slots=True)
class ChainLines:
    """A chain's rules, its policy last."""

    table: str
    chain: str
    lines: tuple[RuleLine, ...]

    @property
    def hits(self) -> int:
        """Packets that its rules and policy explain."""
        return sum(line.explained for line in self.lines)

    @property
    def moved(self) -> bool:
        """Whether any of its lines was hit."""
        return any(line.hit for line in self.lines)


@dataclass(frozen=True, slots=True)
class GenerationLines:
    """One generation of the ruleset; ``since`` is when the ledger first tells of it (epoch ns; 0
    unknown)."""

    number: int
    since: int
    chains: tuple[ChainLines, ...]

    @property
    def size(self) -> int:
        """Its lines."""
        return sum(len(chain.lines) for chain in self.chains)


def rulesets(
    rules: pd.DataFrame, ledger: pd.DataFrame, known: Catalogue
) -> tuple[tuple[GenerationLines, ...], int]:
    """The generations, newest first, and how many older ones are left out."""
    since = ledger.groupby("generation")["begin"].min().to_dict()
    find = known.find()
    rows = [
        (
            int(r.generation),
            str(r.table),
            str(r.chain),
            RuleLine(
                known.entries[
                    find[(str(r.table), str(r.chain), int(r.rule_number), str(r.rule))]
                ].lane,
                int(r.rule_number),
                str(r.rule),
                str(r.target),
                int(r.counted_packets),
                int(r.explained_packets),
                int(r.residual_packets),
                int(r.connections),
            ),
        )
        for r in rules.itertuples()
    ]
    found = []
    for number, lines in groupby(rows, key=lambda row: row[0]):
        chains = tuple(
            ChainLines(table, chain, tuple(row[3] for row in mine))
            for (table, chain), mine in groupby(lines, key=lambda row: (row[1], row[2]))
        )
        found.append(GenerationLines(number, int(since.get(number, 0)), chains))
    found.reverse()
    room = RULES_SHOWN
    shown: list[GenerationLines] = []
    for generation in found:
        if shown and generation.size > room:
            break
        shown.append(generation)
        room -= generation.size
    return tuple(shown), len(found) - len(shown)
