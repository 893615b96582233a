"""What of a session is shown: which connections, hits and lines of the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from correlator.errors import InputError
from correlator.report.names import parse_rule_name

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis
    from correlator.report.plot.model import Bools, Ints
    from correlator.report.plot.order import Book


@dataclass(frozen=True)
class Choice:
    """What of a session is shown: rules by name, connections of one client, a stretch of time; everything by default."""

    rules: tuple[str, ...] = ()
    client: str | None = None
    begin: str | None = None
    end: str | None = None


@dataclass(frozen=True)
class Selection:
    """Masks over connections (c,), hits (h,) and ledger lines (l,), and the lines of the book behind the latter two;
    ``wanted`` are those that were named, ``of_client`` says that only one client's connections were chosen."""

    connections: Bools
    hits: Bools
    ledger: Bools
    of_hits: Ints
    of_ledger: Ints
    wanted: frozenset[int] = field(default_factory=frozenset)
    of_client: bool = False


def select(analysis: Analysis, book: Book, choice: Choice, begin: int, end: int) -> Selection:
    """What was chosen between ``begin`` and ``end`` (epoch ns).

    Raises :class:`~correlator.errors.InputError` for rules and clients that are not there.
    """
    table, hits, ledger = analysis.connections, analysis.hits, analysis.balances
    wanted = frozenset(line for name in choice.rules for line in _lines_named(analysis, book, name))
    of_hits, of_ledger = book.lines_of(hits), book.lines_of(ledger)
    connections = ((table["last_seen"] >= begin) & (table["first_seen"] <= end)).to_numpy()
    mine = ((hits["last_seen"] >= begin) & (hits["first_seen"] <= end)).to_numpy() & (of_hits >= 0)
    lines = ((ledger["end"] > begin) & (ledger["begin"] < end)).to_numpy() & (of_ledger >= 0)
    number = hits["connection"].to_numpy()
    if choice.client is not None:
        theirs = (table["src"].astype(str) == choice.client).to_numpy()
        if not theirs.any():
            seen = ", ".join(sorted(map(str, table["src"].unique()))[:8])
            raise InputError(f"no connection of client {choice.client}: clients are {seen}")
        connections = connections & theirs
        mine = mine & theirs[number - 1] & (number > 0)
    if wanted:
        mine = mine & np.isin(of_hits, list(wanted))
        lines = lines & np.isin(of_ledger, list(wanted))
        theirs = np.zeros(len(table) + 1, dtype=bool)
        theirs[number[mine]] = True
        connections = connections & theirs[1:]
    return Selection(connections, mine, lines, of_hits, of_ledger, wanted, choice.client is not None)


def _lines_named(analysis: Analysis, book: Book, name: str) -> tuple[int, ...]:
    table, chain, number = parse_rule_name(name)
    found = book.named(table, chain, number)
    if not found:
        chains = dict.fromkeys(line.chain for line in book.lines if line.table == table)
        hint = f"chains of {table}: {', '.join(chains)}" if chains else "no such table"
        raise InputError(f"{name}: no such rule: {hint}")
    return found
