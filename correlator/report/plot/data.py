"""An analysis and what was asked of it -> the numbers of a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.errors import InputError
from correlator.report.plot.bands import bands
from correlator.report.plot.captions import balance, notes, subtitle, title
from correlator.report.plot.density import choose_edges
from correlator.report.plot.hit_times import tell
from correlator.report.plot.model import MINUS, Change, TimelineData
from correlator.report.plot.order import Book
from correlator.report.plot.rows import Rows, read_ledger
from correlator.report.plot.selection import Choice, select
from correlator.report.plot.window import window

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis
    from correlator.report.plot.model import Row
    from correlator.report.plot.selection import Selection

ROWS = 90
"""The most rows of a picture: more cannot be read."""


def timeline_data(analysis: Analysis, choice: Choice | None = None) -> TimelineData:
    """The numbers of a picture. Raises :class:`~correlator.errors.InputError` for rules, clients
    and times that are not there, and where there is nothing to draw."""
    choice = choice or Choice()
    first, last = extent(analysis)
    begin, end = window(choice.begin, choice.end, first, last)
    low, high = (begin - first) / 1e9, max((end - first) / 1e9, (begin - first) / 1e9 + 1e-3)
    book = Book(analysis.rules)
    changes = _changes(analysis, book, first)
    borders = (0.0, *(change.middle for change in changes), (last - first) / 1e9)
    chosen = select(analysis, book, choice, begin, end)
    builder = _builder(analysis, book, chosen, first, (low, high), borders)
    moved = {
        *np.flatnonzero(builder.told.number).tolist(),
        *builder.ledger.line[builder.ledger.moved].tolist(),
    }
    rows = builder.build(book.traverse(moved, chosen.wanted or moved))
    shown = _most_telling(rows) if len(rows) > ROWS else rows
    drawn = chosen.connections & builder.told.touched[1:] if chosen.wanted else chosen.connections
    strips = bands(analysis, drawn, first, builder.edges, high - low)
    if not rows and not strips:
        raise InputError(
            f"{analysis.source}: nothing to plot: no connection and no hit of a rule in what was "
            f"asked for"
        )
    compared, covered = builder.compared, analysis.covered
    return TimelineData(
        title=title(strips, rows, choice),
        subtitle=subtitle(analysis, begin, end),
        balance=balance(analysis, rows, compared),
        start=first,
        begin=low,
        end=high,
        edges=builder.edges,
        own=builder.own,
        compared=compared,
        covered=((covered[0] - first) / 1e9, (covered[1] - first) / 1e9)
        if covered is not None and compared
        else None,
        changes=tuple(change for change in changes if change.end >= low and change.begin <= high),
        bands=strips,
        rows=shown,
        notes=notes(
            analysis, choice, shown, builder.edges, builder.own, compared, len(rows) - len(shown)
        ),
        warnings=analysis.warnings,
    )


def _builder(
    analysis: Analysis,
    book: Book,
    chosen: Selection,
    start: int,
    window: tuple[float, float],
    borders: tuple[float, ...],
) -> Rows:
    """What builds the rows: the ledger stands for the hits where counters were read and count what
    was chosen."""
    compared = analysis.samples > 1 and chosen.theirs is None
    ledger = read_ledger(analysis.balances, chosen.of_ledger, chosen.ledger & compared, start)
    edges, own = choose_edges(ledger.begin, ledger.end, *window)
    size = (len(book.lines), len(analysis.connections))
    told = tell(analysis.in_parts("hits"), chosen.hits, size, start, compared, edges, window)
    return Rows(
        book.lines, told, ledger, edges, own, compared, borders, analysis.connections["outcome"]
    )


def extent(analysis: Analysis) -> tuple[int, int]:
    """(first, last) moment of the session, epoch ns: of its packets and of its counters' readings.

    Raises :class:`~correlator.errors.InputError` where it has neither.
    """
    table = analysis.connections
    ends = [int(table["first_seen"].min()), int(table["last_seen"].max())] if len(table) else []
    ends += list(analysis.covered or ())
    if not ends:
        raise InputError(
            f"{analysis.source}: holds no packet and no counters: there is nothing to plot"
        )
    return min(ends), max(ends)


def _changes(analysis: Analysis, book: Book, start: int) -> tuple[Change, ...]:
    """When the rules changed, and by how many rules."""
    changes = []
    for generation, (begin, end) in enumerate(analysis.changes):
        before = {i for i, line in enumerate(book.lines) if generation in line.numbers}
        after = {i for i, line in enumerate(book.lines) if generation + 1 in line.numbers}
        came, went = len(after - before), len(before - after)
        parts = [text for text, number in ((f"+{came}", came), (f"{MINUS}{went}", went)) if number]
        changes.append(
            Change((begin - start) / 1e9, (end - start) / 1e9, " ".join(parts) or "order")
        )
    return tuple(changes)


def _most_telling(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """``ROWS`` of them, in their order: those that do not balance, then those that drop, then the
    busiest."""
    weight = sorted(rows, key=lambda row: (row.gaps == 0, not row.drops, -row.packets))[:ROWS]
    kept = {id(row) for row in weight}
    return tuple(row for row in rows if id(row) in kept)
