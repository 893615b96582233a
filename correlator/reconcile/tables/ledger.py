"""A verdict -> the tables of what was counted: the ledger, line by line, and the rules."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator.dataset import schema
from correlator.reconcile.intake.counters import UNBOUNDED
from correlator.reconcile.tables.columns import categorical, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from correlator.arrays import Ints
    from correlator.reconcile.intake.counters import Counters
    from correlator.reconcile.settle.books import Books
    from correlator.reconcile.settle.ledger import Account
    from correlator.reconcile.tables.engines import Engine
    from correlator.reconcile.tables.rule_numbers import RuleNumbers
    from correlator.reconcile.tally import Tallies

BALANCES = {name: column for name, column in schema.LEDGER.items() if name != "connections"}
"""The ledger without the connections behind each line, which take longer to name than all else."""
NOTES = ("", "reset", "rule added", "rule removed", "not counted", "rounded")


@dataclass(frozen=True)
class Lines:
    """Lines of the ledger: ``interval`` and ``entry``, int64 (l,), in the order of the table."""

    interval: Ints
    entry: Ints

    def __len__(self) -> int:
        return len(self.interval)


def balances_table(books: Books | None, numbers: RuleNumbers) -> tuple[pd.DataFrame, Lines]:
    """Counted against explained, per rule and interval in which either moved."""
    empty = np.zeros(0, dtype=np.int64)
    if books is None or not books.ledger.accounts:
        return table(dict.fromkeys(BALANCES, empty), BALANCES), Lines(empty, empty)
    counters = books.counters
    parts: list[tuple[Ints, ...]] = [tuple(empty for _ in range(10))]
    for entry, account in books.ledger.accounts.items():
        if counters.counterless[entry]:
            continue
        moved, most = counters.packets_of(entry)
        size, reset = counters.bytes_of(entry)[0], counters.reset_of(entry)
        shown = (
            (moved != 0)
            | (account.explained != 0)
            | (account.residual != 0)
            | (account.residual_bytes != 0)
            | reset
        )
        at = np.flatnonzero(shown)
        parts.append(
            (
                at,
                np.full(len(at), entry),
                moved[at],
                most[at],
                account.explained[at],
                account.residual[at],
                size[at],
                account.explained_bytes[at],
                account.residual_bytes[at],
                _notes(account, counters, entry, at),
            )
        )
    (
        interval,
        which,
        counted,
        highest,
        explained,
        residual,
        counted_bytes,
        explained_bytes,
        residual_bytes,
        note,
    ) = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((which, counters.generation[interval + 1], interval))
    interval, which = interval[order], which[order]
    generation = counters.generation[interval + 1]
    back = -books.clock.offset
    entries = numbers.stages.register.entries
    columns = {
        "generation": generation,
        "table": categorical(which, lambda e: entries[e].table),
        "chain": categorical(which, lambda e: entries[e].chain),
        "rule_number": numbers.in_generation(generation, which),
        "rule": categorical(which, lambda e: entries[e].text),
        "target": categorical(which, lambda e: entries[e].target),
        "begin": counters.end[interval] + back,
        "end": counters.end[interval + 1] + back,
        "counted_packets": counted[order],
        "counted_packets_high": np.where(
            highest >= UNBOUNDED, np.maximum(explained, counted), highest
        )[order],
        "explained_packets": explained[order],
        "residual_packets": residual[order],
        "counted_bytes": counted_bytes[order],
        "explained_bytes": explained_bytes[order],
        "residual_bytes": residual_bytes[order],
        "note": pd.Categorical.from_codes(
            note[order], categories=list(NOTES)
        ).remove_unused_categories(),
    }
    return table(columns, BALANCES), Lines(interval, which)


def _notes(account: Account, counters: Counters, entry: int, at: Ints) -> Ints:
    """Number in NOTES of every interval of an entry."""
    (moved, most), present = counters.packets_of(entry), counters.present_of(entry)
    came, went = ~present[at] & present[at + 1], present[at] & ~present[at + 1]
    silent = account.uncounted[at] & (account.explained[at] > moved[at])
    return np.select(
        [counters.reset_of(entry)[at], came, went, silent, moved[at] != most[at]],
        [1, 2, 3, 4, 5],
        0,
    )


def explainers(engines: Sequence[Engine], total: int, lines: Lines) -> list[str]:
    """The connections (of ``total``) behind every one of these lines, as text: their numbers,
    separated by spaces."""
    number, found, count = _Cells(lines), [np.zeros(0, dtype=np.int64)], total + 1
    for engine in engines:
        for entry, interval, connection in engine.behind(number.entries):
            found.append(number.of(entry, interval, connection, count))
    pairs = _distinct(np.concatenate(found))
    bounds = np.searchsorted(pairs, np.arange(len(lines) + 1) * count).tolist()
    connections = (pairs % count).tolist()
    names = (
        [str(connection) for connection in range(count)] if len(pairs) > count else []
    )  # of many, each is made once
    texts = (
        [names[connection] for connection in connections]
        if names
        else [str(connection) for connection in connections]
    )
    return [" ".join(texts[begin:end]) for begin, end in pairwise(bounds)]


class _Cells:
    """Finds lines of the ledger by their entry and interval."""

    def __init__(self, lines: Lines) -> None:
        self.entries: list[int] = np.unique(lines.entry).tolist()
        self.last = int(lines.interval.max(initial=-1)) + 1
        self._lines: dict[int, Ints] = {}
        for entry in self.entries:
            mine = np.flatnonzero(lines.entry == entry)
            self._lines[entry] = np.full(self.last + 1, -1, dtype=np.int64)
            self._lines[entry][lines.interval[mine]] = mine

    def of(self, entry: int, interval: Ints, connection: Ints, count: int) -> Ints:
        """Each line * ``count`` + connection that hits of an entry, in these intervals (-1: none),
        make; each once, in order."""
        line = self._lines[entry][
            np.minimum(interval, self.last)
        ]  # none of -1 and of what is beyond
        asked = (line >= 0) & (interval >= 0)
        return _distinct(line[asked] * count + connection[asked])


def _distinct(values: Ints) -> Ints:
    """The distinct ones of values, in order, by sorting: of many that differ, a table (as np.unique
    has it) takes ten times as long."""
    values = np.sort(values)
    distinct: Ints = values[np.diff(values, prepend=-1) != 0]
    return distinct


def rules_table(
    books: Books | None, hits: Tallies, numbers: RuleNumbers, engines: Sequence[Engine]
) -> pd.DataFrame:
    """Every rule and policy of every generation, with what it counted in all."""
    stages, width = numbers.stages, len(numbers.stages.register)
    entries, parts = stages.register.entries, list[dict[str, Any]]()
    totals = books.counters.totals() if books is not None else None
    behind = np.sum([engine.behind_rules() for engine in engines], axis=0)
    for generation, (ruleset, of) in enumerate(
        zip(stages.rulesets, stages.register.of, strict=True)
    ):
        sums = {
            name: np.zeros(width, dtype=np.int64)
            for name in ("explained", "residual", "explained_bytes", "residual_bytes")
        }
        if books is not None and totals is not None:
            mine = books.counters.generation[1:] == generation
            for entry, account in books.ledger.accounts.items():
                for name, total in sums.items():
                    total[entry] = getattr(account, name)[mine].sum()
            there = ~books.counters.counterless[of]
            counted, counted_bytes = (
                np.where(there, total[generation][of], -1) for total in totals
            )
        else:
            sums["explained"] = hits.counts
            sums["explained_bytes"] = np.array([hits.bytes_of(entry) for entry in range(width)])
            counted = counted_bytes = np.full(len(of), -1)
        parts.append(
            {
                "generation": np.full(len(of), generation),
                "entry": of,
                "rule_number": np.array(
                    [entry.number for entry in ruleset.entries], dtype=np.int64
                ),
                "counted_packets": counted,
                "explained_packets": sums["explained"][of],
                "residual_packets": sums["residual"][of],
                "counted_bytes": counted_bytes,
                "explained_bytes": sums["explained_bytes"][of],
                "residual_bytes": sums["residual_bytes"][of],
                "connections": behind[generation][of],
            }
        )
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    which = columns.pop("entry")
    for name in ("table", "chain", "text", "target"):
        key = "rule" if name == "text" else name
        columns[key] = categorical(which, lambda e, n=name: getattr(entries[e], n))
    return table(columns, schema.RULES)
