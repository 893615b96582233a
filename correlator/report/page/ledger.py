"""The ledger for the page: residuals line by line, and its sums over time for the chart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from correlator.report.page.entries import Catalogue

if TYPE_CHECKING:
    import pandas as pd

RESIDUALS_SHOWN, LINES_SHOWN, BINS = 400, 40_000, 3_000


@dataclass(frozen=True, slots=True)
class Residual:
    """A ledger line that does not balance; times in epoch ns."""

    lane: int
    name: str
    text: str
    begin: int
    end: int
    counted: int
    explained: int
    residual: int
    residual_bytes: int
    note: str
    connections: tuple[int, ...]


def residuals(
    ledger: pd.DataFrame, explained: Callable[[pd.DataFrame], pd.DataFrame], known: Catalogue
) -> tuple[tuple[Residual, ...], int]:
    """Lines that do not balance, the largest first, and how many there are in all. ``explained``
    names the connections behind some lines."""
    off = ledger[(ledger["residual_packets"] != 0) | (ledger["residual_bytes"] != 0)]
    size = off["residual_packets"].abs()
    shown = (
        off.assign(size=size)
        .sort_values(["size", "begin"], ascending=[False, True], kind="stable")
        .head(RESIDUALS_SHOWN)
    )
    find = known.find()
    rows = []
    for row in explained(shown).itertuples():
        entry = known.entries[
            find[(str(row.table), str(row.chain), int(row.rule_number), str(row.rule))]
        ]
        text = entry.text if entry.number else f"policy {entry.target}"
        numbers = tuple(int(n) for n in str(row.connections).split())
        rows.append(
            Residual(
                entry.lane,
                entry.name,
                text,
                int(row.begin),
                int(row.end),
                int(row.counted_packets),
                int(row.explained_packets),
                int(row.residual_packets),
                int(row.residual_bytes),
                str(row.note),
                numbers,
            )
        )
    return tuple(rows), len(off)


@dataclass(frozen=True, slots=True)
class Total:
    """A rule over the whole session; ``counted`` is -1 where it was not."""

    name: str
    text: str
    counted: int
    explained: int
    residual: int
    connections: int


def totals(rules: pd.DataFrame, known: Catalogue) -> tuple[Total, ...]:
    """Every rule that was counted or hit, the largest residual first, then in the order of
    traversal."""
    moved = rules[
        (rules["counted_packets"] > 0)
        | (rules["explained_packets"] > 0)
        | (rules["residual_packets"] != 0)
    ]
    find = known.find()
    rows: dict[int, Total] = {}
    for row in moved.itertuples():
        entry = known.entries[
            find[(str(row.table), str(row.chain), int(row.rule_number), str(row.rule))]
        ]
        old = rows.get(entry.lane, Total("", "", -1, 0, 0, 0))
        counted = int(row.counted_packets)
        rows[entry.lane] = Total(
            entry.name,
            entry.text if entry.number else f"policy {entry.target}",
            old.counted if counted < 0 else max(old.counted, 0) + counted,
            old.explained + int(row.explained_packets),
            old.residual + int(row.residual_packets),
            old.connections + int(row.connections),
        )
    return tuple(
        rows[lane] for lane in sorted(rows, key=lambda lane: (-abs(rows[lane].residual), lane))
    )


def ledger_columns(ledger: pd.DataFrame, known: Catalogue, origin: int) -> dict[str, Any]:
    """The lines for the page's rule view: lane, begin, end (us after ``origin``), counted,
    explained, residual; ``notes`` by place.

    Lines that do not balance are kept before any that do, where there are more than the page holds.
    """
    find = known.find()
    keys = ledger[["table", "chain", "rule_number", "rule"]].drop_duplicates()
    lane = {
        key: known.entries[find[key]].lane
        for key in (
            (str(r.table), str(r.chain), int(r.rule_number), str(r.rule)) for r in keys.itertuples()
        )
    }
    shown = ledger
    if len(ledger) > LINES_SHOWN:
        balanced = (ledger["residual_packets"] == 0) & (ledger["residual_bytes"] == 0)
        shown = ledger.loc[balanced.sort_values(kind="stable").index[:LINES_SHOWN]].sort_index()
    names = zip(
        shown["table"].astype(str),
        shown["chain"].astype(str),
        shown["rule_number"].tolist(),
        shown["rule"].astype(str),
        strict=True,
    )
    return {
        "lane": [lane[name] for name in names],
        "begin": ((shown["begin"] - origin) // 1000).tolist(),
        "end": ((shown["end"] - origin) // 1000).tolist(),
        "counted": shown["counted_packets"].tolist(),
        "explained": shown["explained_packets"].tolist(),
        "residual": shown["residual_packets"].tolist(),
        "notes": {str(at): note for at, note in enumerate(shown["note"].astype(str)) if note},
    }


def balance(ledger: pd.DataFrame, origin: int) -> dict[str, Any]:
    """Hits over time, per interval between readings: ``begin`` and ``end`` (us after ``origin``),
    explained, residual (its size, summed); ``merged`` into some :data:`BINS` stretches of one
    width, where there are more intervals."""
    silent = ledger["note"].astype(str) == "not counted"
    kept = ledger[~silent]
    sums = (
        kept.assign(gap=kept["residual_packets"].abs())
        .groupby(["begin", "end"], as_index=False)[
            ["counted_packets", "explained_packets", "residual_packets", "gap"]
        ]
        .sum()
    )
    sums = sums.sort_values(["begin", "end"], kind="stable")
    merged = len(sums) > BINS
    if merged:  # by time, so that what is idle stays so and a rate is one
        first = int(sums["begin"].min())
        width = max((int(sums["end"].max()) - first) // BINS, 1)
        begin = first + (sums["begin"] - first) // width * width
        sums = (
            sums.assign(begin=begin, end=begin + width)
            .groupby(["begin", "end"], as_index=False)
            .sum()
        )
    return {
        "begin": ((sums["begin"] - origin) // 1000).tolist(),
        "end": ((sums["end"] - origin) // 1000).tolist(),
        "explained": sums["explained_packets"].tolist(),
        "residual": sums["residual_packets"].tolist(),
        "gap": sums["gap"].tolist(),
        "merged": merged,
    }
