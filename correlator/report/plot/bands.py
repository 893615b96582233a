"""Connections as strips above the rules: each its own where they are few, spans in lanes or a
density where they are many."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.report.plot.density import lanes, open_between
from correlator.report.plot.model import Band

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from correlator.reconcile.analysis import Analysis
    from correlator.report.plot.model import Floats

EACH, LANES, CROWD = 32, 10, 60
"""Up to so many connections have a line of their own; those of an outcome are spans in up to so
many lanes, if a lane holds no more than ``CROWD`` on average; else a density."""

APART = 1 / 150
"""Spans of one lane are that part of the window apart, so that their ends can be told."""

OUTCOMES = (
    "dropped",
    "rejected",
    "lost",
    "expired",
    "docker-proxy",
    "DNAT",
    "REDIRECT",
    "MASQUERADE",
    "SNAT",
    "forwarded",
    "local",
    "untracked",
    "unknown",
)
"""Strips from above: what went wrong first."""

REFUSED = ("dropped", "rejected", "lost", "expired")


def bands(
    analysis: Analysis, chosen: npt.NDArray[np.bool_], start: int, edges: Floats, width: float
) -> tuple[Band, ...]:
    """The strips of the ``chosen`` rows of the connections table (n,), over a window that is
    ``width`` seconds wide."""
    table = analysis.connections[chosen]
    if len(table) <= EACH:
        return tuple(_one(analysis, table.iloc[i : i + 1], start, edges) for i in range(len(table)))
    outcome = table["outcome"].astype(str)
    known = [word for word in OUTCOMES if (outcome == word).any()]
    known += sorted(set(outcome.unique()) - set(OUTCOMES))
    return tuple(
        _many(table[(outcome == word).to_numpy()], word, start, edges, width) for word in known
    )


def _one(analysis: Analysis, row: pd.DataFrame, start: int, edges: Floats) -> Band:
    at = next(row.itertuples())
    bare = at.protocol not in ("tcp", "udp")
    by = f" by {str(at.rule).partition('/')[2]}" if at.outcome in REFUSED and at.rule else ""
    client = (
        analysis.named(at.src) if bare or by else f"{analysis.named(at.src)}:{at.sport}"
    )  # room for what matters
    dialled = analysis.named(at.dst) if bare else f"{analysis.named(at.dst)}:{at.dport}"
    protocol = f"protocol {at.protocol}" if str(at.protocol).isdigit() else at.protocol
    label = f"#{at.connection} {protocol} {client} → {dialled}{by}"
    return _band(row, str(at.outcome), label, start, edges, np.zeros(1, dtype=np.int64), 1)


def _many(rows: pd.DataFrame, outcome: str, start: int, edges: Floats, width: float) -> Band:
    found = None
    if len(rows) <= LANES * CROWD:
        first = (rows["first_seen"].to_numpy() - start) / 1e9
        last = (rows["last_seen"].to_numpy() - start) / 1e9
        found = lanes(first, last, width * APART, LANES)
    if found is not None and len(rows) > CROWD * (int(found.max(initial=0)) + 1):
        found = None
    return _band(
        rows,
        outcome,
        outcome,
        start,
        edges,
        found,
        1 if found is None else int(found.max(initial=0)) + 1,
    )


def _band(
    rows: pd.DataFrame,
    outcome: str,
    label: str,
    start: int,
    edges: Floats,
    lane: npt.NDArray[np.int64] | None,
    count: int,
) -> Band:
    first = (rows["first_seen"].to_numpy() - start) / 1e9
    last = (rows["last_seen"].to_numpy() - start) / 1e9
    packets = int(rows["packets_original"].sum() + rows["packets_reply"].sum())
    ambiguous = (rows["status"].astype(str) == "ambiguous").to_numpy()
    return Band(
        outcome,
        label,
        rows["connection"].to_numpy().astype(np.int64),
        first,
        last,
        ambiguous,
        packets,
        lane,
        count,
        open_between(first, last, edges),
    )
