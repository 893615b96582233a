"""Connections and the ways of their packets as compact columns.

Many connections go the same way, so a way is kept once as a template, in which the connection's own
endpoints are tokens, and a connection's packets name templates: 5,000 connections take a megabyte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.report.page.answer import BAD

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from correlator.reconcile.analysis import Analysis, PathView, Step
    from correlator.report.page.entries import Catalogue, Key

CONNECTIONS_SHOWN = 20_000
"""Connections of which one page holds rows and ways."""
CATEGORIES = (
    "protocol",
    "src",
    "dst",
    "reply_src",
    "reply_dst",
    "in_interface",
    "out_interface",
    "outcome",
    "rule",
    "state",
    "status",
    "reason",
)
NUMBERS = (
    "connection",
    "sport",
    "dport",
    "reply_sport",
    "reply_dport",
    "packets_original",
    "packets_reply",
    "bytes_original",
    "bytes_reply",
    "linked",
)
ENDS = (
    ("c", "src", "sport"),
    ("d", "dst", "dport"),
    ("s", "reply_src", "reply_sport"),
    ("n", "reply_dst", "reply_dport"),
)
"""Tokens for the endpoints of a connection: client, dialled, server, and whom the server sees
(``n``)."""

Template = tuple[object, ...]


@dataclass(frozen=True)
class Shown:
    """The connections that are on the page, ``all`` of how many."""

    rows: pd.DataFrame
    all: int

    @property
    def left_out(self) -> int:
        """Connections that are not on the page."""
        return self.all - len(self.rows)


def choose(
    connections: pd.DataFrame, named: Iterable[int] = (), limit: int = CONNECTIONS_SHOWN
) -> Shown:
    """All connections; where there are more than ``limit``, first those that findings name, then
    those that did not get through or are not exact, then some of each outcome and rule, then as
    many of the others as fit, evenly over the session."""
    if len(connections) <= limit:
        return Shown(connections, len(connections))
    outcome = connections["outcome"].astype(str)
    rank = np.full(len(connections), 3)
    nth = connections.groupby(["outcome", "rule"], observed=True).cumcount().to_numpy()
    rank[nth < max(limit // 100, 1)] = 2
    rank[(outcome.isin([*BAD, "unknown"]) | (connections["status"] != "exact")).to_numpy()] = 1
    rank[connections["connection"].isin(list(named)).to_numpy()] = 0
    others = np.flatnonzero(rank == 3)
    room = limit - (len(rank) - len(others))
    if room > 0:
        rank[others[np.linspace(0, len(others) - 1, room).round().astype(int)]] = 2
    kept = np.sort(np.argsort(rank, kind="stable")[:limit])
    return Shown(connections.iloc[kept], len(connections))


def connection_columns(rows: pd.DataFrame, origin: int) -> dict[str, Any]:
    """Columns of the table: numbers as lists, words as ``{"words": [...], "at": [...]}``, times in
    us after ``origin``."""
    columns: dict[str, Any] = {name: rows[name].tolist() for name in NUMBERS}
    for name in CATEGORIES:
        words: dict[str, int] = {}
        at = [words.setdefault(str(value), len(words)) for value in rows[name].tolist()]
        columns[name] = {"words": list(words), "at": at}
    columns["first"] = ((rows["first_seen"] - origin) // 1000).tolist()
    columns["last"] = ((rows["last_seen"] - origin) // 1000).tolist()
    return columns


def way_columns(
    analysis: Analysis, rows: pd.DataFrame, known: Catalogue, origin: int
) -> dict[str, Any]:
    """``templates`` of ways, and ``views``: per connection a flat list of (template, packets,
    bytes, first, last)."""
    find = known.find()
    templates: dict[Template, int] = {}
    views: list[list[int]] = []
    for row, paths in zip(
        rows.itertuples(), analysis.paths_of(rows["connection"].to_numpy()), strict=True
    ):
        tokens = {
            _end(getattr(row, host), getattr(row, port)): f"{{{token}}}"
            for token, host, port in reversed(ENDS)
        }
        flat: list[int] = []
        for path in paths:
            key = _template(path, tokens, find)
            flat += (
                templates.setdefault(key, len(templates)),
                path.packets,
                path.bytes,
                (path.first_seen - origin) // 1000,
                (path.last_seen - origin) // 1000,
            )
        views.append(flat)
    return {"templates": [_written(template) for template in templates], "views": views}


def _end(address: object, port: object) -> str:
    return f"{address}:{port}"


def _template(path: PathView, tokens: dict[str, str], find: dict[Key, int]) -> Template:
    steps = tuple(_step(step, tokens, find) for step in path.steps)
    return (
        path.direction,
        path.state,
        path.in_interface,
        path.out_interface,
        path.evidence,
        path.status,
        steps,
    )


def _step(step: Step, tokens: dict[str, str], find: dict[Key, int]) -> tuple[object, ...]:
    """(hook, entry, depth, certain) of a rule or policy; (hook, kind, text) of anything else."""
    if step.kind in ("rule", "policy"):
        at = find.get((step.table, step.chain, step.rule_number, step.text), -1)
        if at >= 0:
            return (step.hook, at, step.depth, int(step.certain))
        return (
            step.hook,
            "rule",
            f"{step.table}/{step.chain}:{step.rule_number or 'policy'}  {step.text}",
        )
    text = step.text
    if step.kind == "nat":
        before, after = (tokens.get(one, one) for one in (step.before, step.after))
        text = f"{step.side} {before} -> {after}"
    return (step.hook, step.kind, text)


def _written(template: Template) -> dict[str, object]:
    names = ("direction", "state", "in", "out", "evidence", "status", "steps")
    return dict(zip(names, template, strict=True))


def candidates(analysis: Analysis, rows: pd.DataFrame, known: Catalogue) -> dict[str, list[int]]:
    """Entries that an ambiguous connection may have hit, by its number: the rows of the hits table
    that are not exact."""
    if not (rows["status"] == "ambiguous").any():
        return {}  # the table of all hits takes its time, and is not needed
    hits = analysis.hits
    doubtful = hits[(hits["status"] == "ambiguous") & hits["connection"].isin(rows["connection"])]
    find = known.find()
    found: dict[str, list[int]] = {}
    keys = ["connection", "table", "chain", "rule_number", "rule"]
    for row in doubtful[keys].drop_duplicates().itertuples():
        at = find.get((str(row.table), str(row.chain), int(row.rule_number), str(row.rule)))
        if at is not None:
            found.setdefault(str(row.connection), []).append(at)
    return found
