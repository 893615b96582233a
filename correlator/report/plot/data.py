"""An analysis and what was asked of it -> the numbers of a picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from correlator.errors import InputError
from correlator.report.names import parse_rule_name
from correlator.report.plot.bands import bands
from correlator.report.plot.density import choose_edges
from correlator.report.plot.model import Change, TimelineData
from correlator.report.plot.order import Book
from correlator.report.plot.rows import Rows, read_hits, read_ledger
from correlator.report.plot.window import window
from correlator.report.plot.words import notes, subtitle, title

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis
    from correlator.report.plot.model import Bools, Ints, Row

ROWS = 90
"""The most rows of a picture: more cannot be read."""


@dataclass(frozen=True)
class Choice:
    """What of a session is shown: rules by name, connections of one client, a stretch of time; everything by default."""

    rules: tuple[str, ...] = ()
    client: str | None = None
    begin: str | None = None
    end: str | None = None


@dataclass(frozen=True)
class _Selection:
    """Masks over connections (c,), hits (h,) and ledger lines (l,), and the lines of the book behind the latter two."""

    connections: Bools
    hits: Bools
    ledger: Bools
    of_hits: Ints
    of_ledger: Ints
    wanted: frozenset[int] = field(default_factory=frozenset)


def timeline_data(analysis: Analysis, choice: Choice | None = None) -> TimelineData:
    """The numbers of a picture. Raises :class:`~correlator.errors.InputError` for rules, clients and times that are not there,
    and where there is nothing to draw."""
    choice = choice or Choice()
    first, last = extent(analysis)
    begin, end = window(choice.begin, choice.end, first, last)
    book = Book(analysis.rules)
    compared = analysis.samples > 1 and choice.client is None
    chosen = _select(analysis, book, choice, begin, end)
    hits = read_hits(analysis.hits, chosen.of_hits, chosen.hits, first, analysis.samples > 1 and compared)
    ledger = read_ledger(analysis.ledger, chosen.of_ledger, chosen.ledger & compared, first)
    low, high = (begin - first) / 1e9, max((end - first) / 1e9, (begin - first) / 1e9 + 1e-3)
    edges, own = choose_edges(ledger.begin, ledger.end, low, high)
    changes = _changes(analysis, book, first)
    borders = (0.0, *(change.middle for change in changes), (last - first) / 1e9)
    builder = Rows(
        book.lines, hits, ledger, edges, compared, (low, high), borders, analysis.connections["outcome"].astype(str).tolist()
    )
    moved = set(hits.line.tolist()) if len(hits.line) < 10_000 else set(np.unique(hits.line).tolist())
    moved |= set(ledger.line.tolist())
    wanted = chosen.wanted or moved
    rows = builder.build(book.traverse(moved, wanted))
    shown = _most_telling(rows) if len(rows) > ROWS else rows
    strips = bands(analysis, chosen.connections, first, edges, high - low)
    if not rows and not strips:
        raise InputError(f"{analysis.source}: nothing to plot: no connection and no hit of a rule in what was asked for")
    covered = analysis.covered
    return TimelineData(
        title(strips, rows, choice), subtitle(analysis, rows, compared, begin, end, choice), first, low, high, edges, own, compared,
        ((covered[0] - first) / 1e9, (covered[1] - first) / 1e9) if covered is not None and compared else None,
        tuple(change for change in changes if change.end >= low and change.begin <= high), strips, shown,
        notes(analysis, choice, edges, own, compared, len(rows) - len(shown)), analysis.warnings,
    )  # fmt: skip


def extent(analysis: Analysis) -> tuple[int, int]:
    """(first, last) moment of the session, epoch ns: of its packets and of its counters' readings.

    Raises :class:`~correlator.errors.InputError` where it has neither.
    """
    times = analysis.packets["time"].to_numpy()
    ends = [int(times.min()), int(times.max())] if len(times) else []
    ends += list(analysis.covered or ())
    if not ends:
        raise InputError(f"{analysis.source}: holds no packet and no counters: there is nothing to plot")
    return min(ends), max(ends)


def _select(analysis: Analysis, book: Book, choice: Choice, begin: int, end: int) -> _Selection:
    table, hits, ledger = analysis.connections, analysis.hits, analysis.ledger
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
        connections &= theirs
        mine &= theirs[number - 1] & (number > 0)
    if wanted:
        mine &= np.isin(of_hits, list(wanted))
        lines &= np.isin(of_ledger, list(wanted))
        theirs = np.zeros(len(table) + 1, dtype=bool)
        theirs[number[mine]] = True
        connections &= theirs[1:]
    return _Selection(connections, mine, lines, of_hits, of_ledger, wanted)


def _lines_named(analysis: Analysis, book: Book, name: str) -> tuple[int, ...]:
    table, chain, number = parse_rule_name(name)
    found = book.named(table, chain, number)
    if not found:
        chains = dict.fromkeys(line.chain for line in book.lines if line.table == table)
        hint = f"chains of {table}: {', '.join(chains)}" if chains else "no such table"
        raise InputError(f"{name}: no such rule: {hint}")
    return found


def _changes(analysis: Analysis, book: Book, start: int) -> tuple[Change, ...]:
    """When the rules changed, and by how many rules."""
    changes = []
    for generation, (begin, end) in enumerate(analysis.changes):
        before = {i for i, line in enumerate(book.lines) if generation in line.numbers}
        after = {i for i, line in enumerate(book.lines) if generation + 1 in line.numbers}
        came, went = len(after - before), len(before - after)
        parts = [text for text, number in ((f"+{came}", came), (f"−{went}", went)) if number]
        changes.append(Change((begin - start) / 1e9, (end - start) / 1e9, " ".join(parts) or "order"))
    return tuple(changes)


def _most_telling(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """``ROWS`` of them, in their order: those that do not balance, then those that drop, then the busiest."""
    weight = sorted(rows, key=lambda row: (row.gaps == 0, not row.drops, -row.packets))[:ROWS]
    kept = {id(row) for row in weight}
    return tuple(row for row in rows if id(row) in kept)
