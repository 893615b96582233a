"""What of a session is shown: which connections, hits and lines of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.errors import InputError
from correlator.report.rule_names import parse_rule_name

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis
    from correlator.report.plot.model import Bools, Ints
    from correlator.report.plot.order import Book


@dataclass(frozen=True)
class Choice:
    """What of a session is shown: rules by name, connections of one client, a stretch of time;
    everything by default."""

    rules: tuple[str, ...] = ()
    client: str | None = None
    begin: str | None = None
    end: str | None = None


@dataclass(frozen=True)
class Selection:
    """Masks over connections (c,) and ledger lines (l,), and the lines of the book behind the
    latter. ``wanted`` lines are those that were named (with none, all are), ``theirs`` (c,) the
    connections of the client that was named, None without one."""

    book: Book
    begin: int
    end: int
    connections: Bools
    ledger: Bools
    of_ledger: Ints
    wanted: frozenset[int]
    theirs: Bools | None

    def hits(self, table: pd.DataFrame) -> tuple[Ints, Bools]:
        """The lines of the book behind rows of hits (h,), and which of them are shown."""
        lines, number = self.book.lines_of(table), table["connection"].to_numpy()
        mine = (
            (table["last_seen"] >= self.begin) & (table["first_seen"] <= self.end)
        ).to_numpy() & (lines >= 0)
        if self.theirs is not None:
            mine &= self.theirs[number - 1] & (number > 0)
        return lines, mine & np.isin(lines, list(self.wanted)) if self.wanted else mine


def select(analysis: Analysis, book: Book, choice: Choice, begin: int, end: int) -> Selection:
    """What was chosen between ``begin`` and ``end`` (epoch ns).

    Raises :class:`~correlator.errors.InputError` for rules and clients that are not there.
    """
    table, ledger, theirs = analysis.connections, analysis.balances, None
    wanted = frozenset(line for name in choice.rules for line in _lines_named(analysis, book, name))
    of_ledger = book.lines_of(ledger)
    connections = ((table["last_seen"] >= begin) & (table["first_seen"] <= end)).to_numpy()
    lines = ((ledger["end"] > begin) & (ledger["begin"] < end)).to_numpy() & (of_ledger >= 0)
    if choice.client is not None:
        theirs = (table["src"].astype(str) == choice.client).to_numpy()
        if not theirs.any():
            seen = ", ".join(sorted(map(str, table["src"].unique()))[:8])
            raise InputError(f"no connection of client {choice.client}: clients are {seen}")
        connections = connections & theirs
    if wanted:
        lines = lines & np.isin(of_ledger, list(wanted))
    return Selection(book, begin, end, connections, lines, of_ledger, wanted, theirs)


def _lines_named(analysis: Analysis, book: Book, name: str) -> tuple[int, ...]:
    table, chain, number = parse_rule_name(name)
    found = book.named(table, chain, number)
    if not found:
        chains = dict.fromkeys(line.chain for line in book.lines if line.table == table)
        hint = f"chains of {table}: {', '.join(chains)}" if chains else "no such table"
        raise InputError(f"{name}: no such rule: {hint}")
    return found
