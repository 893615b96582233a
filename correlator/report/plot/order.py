"""The rules of all generations in the order in which a packet meets them: hook by hook, table by
table, chains where they are jumped to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from correlator.firewall.hooks import TABLES_AT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

BASES = tuple((hook.value, table) for hook, tables in TABLES_AT.items() for table in tables)
"""Every base chain of iptables in the order in which packets meet them."""


@dataclass(frozen=True)
class Line:
    """A rule or policy that stays the same when others come and go: table, chain, text and
    ``occurrence`` among equals.

    ``numbers`` is its number in each generation that has it.
    """

    table: str
    chain: str
    text: str
    occurrence: int
    target: str
    numbers: dict[int, int] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Its number in the last generation that has it; 0 for a policy."""
        return self.numbers[max(self.numbers)]


@dataclass(frozen=True)
class Place:
    """Where a line stands: under which hook, how many jumps deep, and from which ``also`` hooks its
    chain is reached."""

    line: int
    hook: str
    depth: int
    also: tuple[str, ...]


class Book:
    """Every line of the ``rules`` table, and the line that a row of ``hits`` or ``ledger`` speaks
    of."""

    def __init__(self, rules: pd.DataFrame) -> None:
        """``rules`` as :data:`correlator.dataset.schema.RULES` declares it."""
        self.lines: list[Line] = []
        self._of: dict[tuple[str, str, str, int], int] = {}
        self._numbered: dict[tuple[int, str, str, int, str], int] = {}
        self._chains: dict[tuple[str, str], list[int]] = {}
        again = (
            rules.groupby(["generation", "table", "chain", "rule"], observed=True)
            .cumcount()
            .to_numpy()
        )
        behind: dict[tuple[int, str, str], int] = {}
        for row, occurrence in zip(rules.itertuples(), again.tolist(), strict=True):
            key = (str(row.table), str(row.chain), str(row.rule), occurrence)
            at = self._of.setdefault(key, len(self.lines))
            generation, number = int(row.generation), int(row.rule_number)
            if at == len(self.lines):
                self.lines.append(Line(*key, str(row.target)))
                self._insert(at, behind.get((generation, *key[:2])))
            self.lines[at].numbers[generation] = number
            behind[generation, key[0], key[1]] = at
            self._numbered.setdefault((generation, *key[:2], number, key[2]), at)
            self._numbered.setdefault((-1, *key[:2], number, key[2]), at)

    def _insert(self, at: int, previous: int | None) -> None:
        """A line that a later generation brought stands behind the one that it follows there."""
        line = self.lines[at]
        chain = self._chains.setdefault((line.table, line.chain), [])
        chain.insert(0 if previous is None else chain.index(previous) + 1, at)

    def named(self, table: str, chain: str, number: int) -> tuple[int, ...]:
        """The lines that bear that number in any generation."""
        return tuple(
            i
            for i, line in enumerate(self.lines)
            if (line.table, line.chain) == (table, chain) and number in line.numbers.values()
        )

    def lines_of(self, frame: pd.DataFrame) -> Ints:
        """The line of every row of ``hits`` or ``ledger`` (n,); -1 where it has none."""
        words = [frame[name].astype("category") for name in ("table", "chain", "rule")]
        numbers = [frame["rule_number"].to_numpy().astype(np.int64)]
        if "generation" in frame:
            numbers.append(frame["generation"].to_numpy().astype(np.int64))
        key = np.zeros(len(frame), dtype=np.int64)
        for codes, width in (
            *((word.cat.codes.to_numpy(), len(word.cat.categories)) for word in words),
            *((number, int(number.max(initial=0)) + 1) for number in numbers),
        ):
            key = key * max(width, 1) + codes
        which, _ = pd.factorize(key)
        first = np.full(int(which.max(initial=-1)) + 1, -1, dtype=np.int64)
        first[which[::-1]] = np.arange(len(frame))[::-1]
        found = [self._find(frame.iloc[at]) for at in first.tolist()]
        return np.array(found, dtype=np.int64)[which] if found else np.zeros(0, dtype=np.int64)

    def _find(self, row: pd.Series) -> int:
        key = (str(row["table"]), str(row["chain"]), int(row["rule_number"]), str(row["rule"]))
        for generation in (int(row.get("generation", -1)), -1):
            if (generation, *key) in self._numbered:
                return self._numbered[generation, *key]
        return self._of.get((key[0], key[1], key[3], 0), -1)

    def traverse(self, moved: Collection[int], wanted: Collection[int]) -> list[Place]:
        """The ``wanted`` lines in traversal order; a chain stands where a jump that ``moved`` first
        leads to it."""
        chains: dict[tuple[str, str], tuple[str, int]] = {}
        reached: dict[tuple[str, str], list[str]] = {}
        order: list[tuple[int, str, int]] = []
        for every in (False, True):
            for hook, table in BASES:
                for at, depth in self._walk((table, hook), moved, every, 0, set()):
                    line = self.lines[at]
                    key = (line.table, line.chain)
                    reached.setdefault(key, [])
                    if not every and hook not in reached[key]:
                        reached[key].append(hook)
                    if chains.setdefault(key, (hook, int(every))) == (hook, int(every)):
                        order.append((at, hook, depth))
        placed = {at for at, _, _ in order}
        order += [
            (at, "", 0) for chain in self._chains.values() for at in chain if at not in placed
        ]
        return self._places(order, reached, wanted)

    def _places(
        self,
        order: list[tuple[int, str, int]],
        reached: dict[tuple[str, str], list[str]],
        wanted: Collection[int],
    ) -> list[Place]:
        """In the order of hooks and their tables, whichever pass found them."""
        rank = {key: i for i, key in enumerate(BASES)}
        unique = dict.fromkeys(order)
        rows = sorted(
            unique, key=lambda row: rank.get((row[1], self.lines[row[0]].table), len(rank))
        )
        places = []
        for at, hook, depth in rows:
            line = self.lines[at]
            if at in wanted:
                also = tuple(
                    other for other in reached.get((line.table, line.chain), ()) if other != hook
                )
                places.append(Place(at, hook, depth, also))
        return places

    def _walk(
        self,
        key: tuple[str, str],
        moved: Collection[int],
        every: bool,
        depth: int,
        within: set[tuple[str, str]],
    ) -> Iterator[tuple[int, int]]:
        """(line, depth) of a chain and of those that it jumps to, each chain once."""
        if key in within:
            return
        within.add(key)
        for at in self._chains.get(key, ()):
            yield at, depth
            target = (key[0], self.lines[at].target)
            if target in self._chains and (every or at in moved):
                yield from self._walk(target, moved, every, depth + 1, within)
