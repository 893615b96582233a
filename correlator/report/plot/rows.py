"""Rows of the timeline: every rule that moved, what was counted and explained of it bin by bin, and
its hits one by one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.firewall.languages.iptables_short import short_rule
from correlator.report.plot.density import spread
from correlator.report.plot.model import Marks, Row
from correlator.report.rule_names import rule_name

if TYPE_CHECKING:
    import pandas as pd

    from correlator.report.plot.hit_times import HitColumns, Told
    from correlator.report.plot.model import Bools, Floats, Ints
    from correlator.report.plot.order import Line, Place

DROPS = ("DROP", "REJECT", "drop", "reject")


@dataclass(frozen=True)
class LedgerColumns:
    """The ledger's lines of a picture as arrays (l,), ordered by ``line``; times in s, packets
    where nothing else is said."""

    line: Ints
    begin: Floats
    end: Floats
    explained: Ints
    residual: Ints
    residual_bytes: Ints
    uncounted: Bools
    reset: Bools
    moved: Bools

    def slice_of(self, line: int) -> slice:
        """The rows of one line."""
        first, last = np.searchsorted(self.line, [line, line + 1])
        return slice(int(first), int(last))


def read_ledger(ledger: pd.DataFrame, lines: Ints, keep: Bools, start: int) -> LedgerColumns:
    """The rows of ``ledger`` to ``keep`` (l,), whose lines of the book are ``lines`` (l,)."""
    at = np.flatnonzero(keep)
    at = at[np.argsort(lines[at], kind="stable")]
    note = ledger["note"].astype("category")
    words, code = list(note.cat.categories), note.cat.codes.to_numpy()[at]
    uncounted, reset = (
        code == words.index(word) if word in words else np.zeros(len(at), bool)
        for word in ("not counted", "reset")
    )
    return LedgerColumns(
        lines[at],
        (ledger["begin"].to_numpy()[at] - start) / 1e9,
        (ledger["end"].to_numpy()[at] - start) / 1e9,
        ledger["explained_packets"].to_numpy()[at],
        ledger["residual_packets"].to_numpy()[at],
        ledger["residual_bytes"].to_numpy()[at],
        uncounted,
        reset,
        (
            ledger[
                ["counted_packets", "explained_packets", "residual_packets", "residual_bytes"]
            ].to_numpy()[at]
            != 0
        ).any(axis=1),
    )


@dataclass(frozen=True)
class Rows:
    """Builds rows over the bins between ``edges`` (``own``: the counters' intervals).

    ``compared``: the ledger stands for the hits; without it they alone are drawn. ``outcomes``: the
    word of connections 1 to c."""

    lines: list[Line]
    told: Told
    ledger: LedgerColumns
    edges: Floats
    own: bool
    compared: bool
    borders: tuple[float, ...]
    outcomes: pd.Series

    def build(self, places: list[Place]) -> tuple[Row, ...]:
        """One row a place."""
        mine = np.argsort(self.told.few.line, kind="stable")
        starts = np.searchsorted(self.told.few.line[mine], np.arange(len(self.lines) + 1))
        return tuple(
            self._row(p, self.told.few.take(mine[starts[p.line] : starts[p.line + 1]]))
            for p in places
        )

    def _row(self, place: Place, few: HitColumns) -> Row:
        line = self.lines[place.line]
        book, told = self._book(place.line), self.told
        guessed = told.bins.get(place.line, np.zeros(len(self.edges) - 1))
        bins, total = self._compared(book, guessed) if self.compared else self._explained(guessed)
        off = book.residual != 0
        return Row(
            rule_name(line.table, line.chain, line.number),
            place.hook,
            line.table,
            place.depth,
            short_rule(line.number, line.text, line.target),
            place.also,
            line.target in DROPS,
            self._there(line),
            *bins,
            book.end[~off & (book.residual_bytes != 0)],
            book.end[book.reset],
            self._marks(few),
            total,
            int(book.explained[~book.uncounted].sum() + book.residual.sum())
            if self.compared
            else -1,
            int(book.residual.sum()),
            int((off | (book.residual_bytes != 0)).sum()),
            int(told.connections[place.line]),
            bool(told.about[place.line]),
        )

    def _book(self, line: int) -> LedgerColumns:
        at = self.ledger.slice_of(line)
        return LedgerColumns(*(values[at] for values in vars(self.ledger).values()))

    def _explained(self, found: Floats) -> tuple[tuple[Floats, Floats, Floats, Floats], int]:
        """((explained, over, under, unconfirmed), packets) where no counter is at hand."""
        zero = np.zeros(len(self.edges) - 1)
        return (found, zero, zero, zero), round(float(found.sum()))

    def _compared(
        self, book: LedgerColumns, outside: Floats
    ) -> tuple[tuple[Floats, Floats, Floats, Floats], int]:
        """The same from the ledger's lines, beside hits that no counter places (b,)."""

        def laid(amount: Ints) -> Floats:
            return spread(book.begin, book.end, amount.astype(float), self.edges)

        bins = (
            laid(np.where(book.uncounted, 0, book.explained)),
            laid(np.maximum(book.residual, 0)),
            laid(np.maximum(-book.residual, 0)),
            laid(np.where(book.uncounted, book.explained, 0)) + outside,
        )
        return bins, int(book.explained.sum()) + round(float(outside.sum()))

    def _marks(self, hits: HitColumns) -> Marks | None:
        if not len(hits.line):
            return None
        words = tuple(
            str(self.outcomes.iat[number - 1]) if number else "unknown"
            for number in hits.connection.tolist()
        )
        return Marks(hits.begin, hits.end, hits.packets, words, hits.ambiguous)

    def _there(self, line: Line) -> tuple[tuple[float, float], ...]:
        """The stretches between ``borders`` (of generations) in which the rule was there, those
        that touch joined."""
        found: list[tuple[float, float]] = []
        for generation in sorted(line.numbers):
            if generation + 1 >= len(self.borders):
                continue
            begin, end = self.borders[generation], self.borders[generation + 1]
            if found and found[-1][1] == begin:
                begin = found.pop()[0]
            found.append((begin, end))
        return tuple(found)
