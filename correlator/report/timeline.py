"""Rule hits over time: a row per rule in traversal order, connections as spans above.

What a counter counted stands above a row's line, what packets explain hangs below it: where both agree the row is its
own mirror image, and where they do not, both halves are red.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.errors import InputError
from correlator.firewall.model import BASE_CHAINS, TABLES
from correlator.report.machine import write_whole

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis

FORMATS = (".png", ".svg", ".pdf")
SPANS_SHOWN, LABEL = 60, 64
COUNTED, EXPLAINED, WRONG = "#2b6cb0", "#2f9e72", "#d0342c"
OUTCOMES = {
    "DNAT": "#2b6cb0", "REDIRECT": "#2b6cb0", "MASQUERADE": "#8a63d2", "SNAT": "#8a63d2", "docker-proxy": "#c77f0a",
    "forwarded": "#5b8c5a", "local": "#7a869a", "dropped": "#d0342c", "rejected": "#d0342c",
}  # fmt: skip


def plot_timeline(analysis: Analysis, path: Path) -> None:
    """Draw the timeline into a png, svg or pdf. Raises :class:`~correlator.errors.InputError`."""
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: unknown ending {path.suffix!r}: expected one of {', '.join(FORMATS)}")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rules = _rows(analysis)
    spans = min(len(analysis.connections), SPANS_SHOWN)
    tall = max(1.2, 0.075 * spans + 0.4)
    figure, (top, bottom) = pyplot.subplots(
        2, 1, sharex=True, figsize=(14, 1.8 + tall + 0.34 * max(len(rules), 1)), layout="constrained",
        height_ratios=(tall, 0.34 * max(len(rules), 1)),
    )  # fmt: skip
    if not len(analysis.packets):
        raise InputError(f"{analysis.source}: holds no packet: there is nothing to plot")
    begin = int(analysis.packets["time"].iloc[0])
    _draw_connections(top, analysis, begin)
    _draw_rules(bottom, analysis, rules, begin)
    title = f"{analysis.source}: {len(analysis.connections):,} connections"
    if analysis.samples:
        off = int((analysis.ledger["residual_packets"] != 0).sum())
        title += ", every counted hit explained" if not off else f", {off} ledger lines do not balance (red)"
    figure.suptitle(title, fontsize=12)
    try:
        write_whole(path, lambda file: figure.savefig(file, dpi=110))
    finally:
        pyplot.close(figure)


def _rows(analysis: Analysis) -> list[tuple[str, str, str, str]]:
    """(table, chain, rule, label) of every rule that moved or was hit, in traversal order: hook by hook, a chain's rules
    where it is first jumped to."""
    keys = ["table", "chain", "rule"]
    totals = analysis.rules.groupby(keys, observed=True)[["counted_packets", "explained_packets"]].max()
    moved = {key for key, row in zip(totals.index, totals.to_numpy(), strict=True) if (row > 0).any()}
    chains: dict[tuple[str, str], list[Any]] = {}
    for row in analysis.rules.drop_duplicates(keys).itertuples():
        chains.setdefault((str(row.table), str(row.chain)), []).append(row)
    found: list[tuple[str, str, str, str]] = []
    seen: set[tuple[str, str]] = set()

    def visit(key: tuple[str, str]) -> None:
        if key in seen:
            return
        seen.add(key)
        for row in chains.get(key, []):
            if (*key, str(row.rule)) in moved:
                text = str(row.rule) if row.rule_number else row.target
                found.append((*key, str(row.rule), f"{key[0]}/{key[1]}:{row.rule_number or 'policy'}  {text}"))
            visit((key[0], str(row.target)))

    for hook in BASE_CHAINS:
        for table in TABLES:
            visit((table, hook))
    for key in chains:
        visit(key)
    return found


def _draw_connections(axes: Any, analysis: Analysis, begin: int) -> None:
    shown = analysis.connections.head(SPANS_SHOWN)
    used: dict[str, str] = {}
    for i, row in enumerate(shown.itertuples()):
        outcome = str(row.outcome)
        colour = OUTCOMES.get(outcome, "#444444")
        start, end = (int(row.first_seen) - begin) / 1e9, (int(row.last_seen) - begin) / 1e9
        axes.plot([start, end], [i + 1, i + 1], color=colour, linewidth=2.4, solid_capstyle="round", marker="o", markersize=2.6)
        used.setdefault(outcome, colour)
    axes.set_ylim(len(shown) + 0.7, 0.3)
    axes.set_ylabel("connections")
    more = len(analysis.connections) - len(shown)
    if more > 0:
        axes.text(
            1.0,
            1.01,
            f"the first {len(shown)}; {more:,} more are not drawn",
            transform=axes.transAxes,
            ha="right",
            fontsize=8,
        )
    handles = [axes.plot([], [], color=colour, linewidth=3, label=word)[0] for word, colour in used.items()]
    if handles:
        axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.005, 0.5), fontsize=8, frameon=False)
    _tidy(axes)


def _draw_rules(axes: Any, analysis: Analysis, rules: list[tuple[str, str, str, str]], begin: int) -> None:
    for i, (table, chain, rule, _) in enumerate(rules):
        axes.axhline(i, color="#cccccc", linewidth=0.6, zorder=0)
        if analysis.samples:
            _draw_ledger(axes, _pick(analysis.ledger, table, chain, rule), i, begin)
        else:
            hits = _pick(analysis.hits, table, chain, rule)
            axes.plot((hits["first_seen"].to_numpy() - begin) / 1e9, np.full(len(hits), i), "|", color=EXPLAINED, markersize=9)
    axes.set_yticks(range(len(rules)), [_short(label) for *_, label in rules], fontsize=7.5, family="monospace")
    axes.set_ylim(max(len(rules), 1) - 0.4, -0.6)
    axes.set_xlabel("seconds since the first packet")
    from matplotlib.patches import Patch

    if analysis.samples:
        words = ((COUNTED, "counted (above)"), (EXPLAINED, "explained (below)"), (WRONG, "they differ"))
        axes.legend(
            handles=[Patch(color=colour, label=word) for colour, word in words], loc="center left",
            bbox_to_anchor=(1.005, 0.5), fontsize=8, frameon=False,
        )  # fmt: skip
    _tidy(axes)


def _pick(frame: pd.DataFrame, table: str, chain: str, rule: str) -> pd.DataFrame:
    return frame[(frame["table"] == table) & (frame["chain"] == chain) & (frame["rule"] == rule)]


def _draw_ledger(axes: Any, lines: pd.DataFrame, row: int, begin: int) -> None:
    if not len(lines):
        return
    counted, explained = lines["counted_packets"].to_numpy(), lines["explained_packets"].to_numpy()
    top = max(int(counted.max()), int(explained.max()), 1)
    start = (lines["begin"].to_numpy() - begin) / 1e9
    width = np.maximum((lines["end"].to_numpy() - lines["begin"].to_numpy()) / 1e9, 1e-4)
    off = (lines["residual_packets"].to_numpy() != 0) | (lines["residual_bytes"].to_numpy() != 0)
    for values, sign, colour in ((counted, -1, COUNTED), (explained, 1, EXPLAINED)):
        height = 0.42 * np.sqrt(values / top)
        axes.bar(start, sign * height, width=width, bottom=row, align="edge", color=np.where(off, WRONG, colour), linewidth=0)


def _short(label: str) -> str:
    return label if len(label) <= LABEL else label[: LABEL - 1] + "…"


def _tidy(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="x", color="#eeeeee", linewidth=0.6)
    axes.set_axisbelow(True)
