"""The report for people: the answer, one line a connection, the ledger with residuals first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from correlator import plain
from correlator.report.findings import find
from correlator.report.findings_text import findings_block
from correlator.report.summary import Summary, summarise
from correlator.report.units import clock_line, moment, plural

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis

CONNECTIONS_SHOWN, CLIENTS_SHOWN, LEDGER_SHOWN = 60, 10, 30
NOWHERE = ("dropped", "rejected", "expired", "lost")
"""Outcomes of packets that did not leave."""


def render_replay(analysis: Analysis, everything: bool = False) -> str:
    """The whole report as text; ``everything`` lifts the bounds on its lists."""
    parts = [
        render_answer(analysis, everything),
        _connections(analysis, everything),
        _ledger(analysis, everything),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def render_answer(analysis: Analysis, everything: bool = False) -> str:
    """The report's first part: findings, what connections did, and how that is proven."""
    summary = summarise(analysis)
    frames = ", ".join(f"{name} {number:,}" for name, number in analysis.interfaces.items())
    counters = (
        f"{plural(analysis.samples, 'counter sample')}, "
        f"{plural(analysis.generations, 'generation')} of rules"
    )
    lines = [
        f"{plural(len(analysis.connections), 'connection')} in {analysis.source}",
        f"  packets: {frames}; {counters if analysis.samples else 'no counters'}",
        "",
    ]
    said = findings_block(find(analysis), everything)
    lines += [*said, *([""] if said else [])]
    width = max((len(group.what) for group in summary.groups), default=0)
    lines += [
        f"  {group.number:>6,}  {group.what:<{width}}  {group.rule}".rstrip()
        for group in summary.groups
    ]
    lines += [*([""] if summary.groups else []), *_proof(analysis, summary)]
    if analysis.inferred:
        lines.append(f"inferred  {'; '.join(analysis.inferred)} (no facts were saved)")
    lines += [f"warning   {warning}" for warning in analysis.warnings]
    return plain.lines(lines)


def _proof(analysis: Analysis, summary: Summary) -> list[str]:
    statuses = ", ".join(f"{number:,} {word}" for word, number in summary.statuses.items())
    lines = [f"status    {statuses or 'nothing to attribute'}"]
    if not analysis.samples:
        return [*lines, "counters  none: no row is verified"]
    share = (
        100.0
        if not summary.counted
        else 100.0 * min(summary.explained, summary.counted) / summary.counted
    )
    share = min(share, 99.99) if summary.residuals else share
    balance = (
        f"no residual in {plural(summary.lines, 'ledger line')}"
        if not summary.residuals
        else f"{plural(summary.residuals, 'ledger line')} of {summary.lines:,} with a residual"
    )
    lines.append(
        f"counters  {summary.counted:,} hits counted, {summary.explained:,} explained by packets "
        f"({share:.4g}%), {balance}"
    )
    if summary.resets:
        lines.append(
            f"          counters were reset: {plural(summary.resets, 'ledger line')} beside it "
            f"tell a lower bound only"
        )
    if summary.uncounted:
        lines.append(
            f"          policies that the kernel does not count yet: {', '.join(summary.uncounted)}"
        )
    if summary.counterless:
        lines.append(
            f"          {summary.counterless:,} of {plural(summary.rules, 'rule')} have no counter"
            f": no count confirms what hit them"
        )
    return [*lines, f"clock     {clock_line(analysis.clock)}"]


def _connections(analysis: Analysis, everything: bool) -> str:
    table = analysis.connections
    if not len(table):
        return ""
    shown = table if everything else table.head(CONNECTIONS_SHOWN)
    rows = [
        (
            "#",
            "first seen",
            "",
            "client",
            "dialled",
            "server",
            "in > out",
            "packets",
            "outcome",
            "decided by",
            "status",
        )
    ]
    for row in shown.itertuples():
        bare = row.protocol not in ("tcp", "udp")
        away = "" if row.outcome in NOWHERE else row.out_interface or "host"
        server = _end(analysis.named(row.reply_src), row.reply_sport, bare)
        dialled = _end(analysis.named(row.dst), row.dport, bare)
        client = _end(analysis.named(row.src), row.sport, bare)
        linked = f" with #{row.linked}" if row.linked else ""
        rows.append(
            (
                str(row.connection),
                moment(int(row.first_seen)),
                str(row.protocol),
                client,
                dialled,
                "" if server == dialled else server,
                f"{row.in_interface or 'host'} > {away}".rstrip(),
                f"{row.packets_original}+{row.packets_reply}",
                f"{row.outcome}{linked}",
                str(row.rule),
                f"{row.status}{': ' if row.reason else ''}{row.reason}",
            )
        )
    text = "Connections (packets: original+reply)\n" + _columns(rows)
    if len(shown) < len(table):
        text += (
            f"\n... and {len(table) - len(shown):,} more: --all shows them, `correlator "
            f"export` writes them"
        )
        text += "\n\n" + _clients(analysis)
    return text


def _clients(analysis: Analysis) -> str:
    """Those with the most connections, where these are too many to be shown."""
    table = analysis.connections
    clients = table.groupby("src", observed=True, sort=False)[
        ["packets_original", "packets_reply"]
    ].agg("sum")
    clients = clients.assign(many=table["src"].value_counts()).sort_values(
        "many", ascending=False, kind="stable"
    )
    rows = [("connections", "packets", "client")]
    for row in clients.head(CLIENTS_SHOWN).itertuples():
        rows.append(
            (
                f"{row.many:,}",
                f"{row.packets_original}+{row.packets_reply}",
                analysis.named(row.Index),
            )
        )
    more = len(clients) - CLIENTS_SHOWN
    return (
        f"Clients with the most connections{f', of {len(clients):,}' if more > 0 else ''}\n"
        + _columns(rows)
    )


def _end(address: object, port: object, bare: bool) -> str:
    return str(address) if bare else f"{address}:{port}"


def _columns(rows: Sequence[tuple[str, ...]]) -> str:
    rows = [tuple(map(plain.one_line, row)) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _ledger(analysis: Analysis, everything: bool) -> str:
    if not analysis.samples:
        return ""
    residuals = _residuals(analysis, everything)
    rows = [("counted", "explained", "residual", "connections", "rule", "")]
    rules = analysis.rules
    moved = rules[
        (rules["counted_packets"] > 0)
        | (rules["explained_packets"] > 0)
        | (rules["residual_packets"] != 0)
    ]
    moved = moved.assign(off=moved["residual_packets"].abs()).sort_values(
        "off", ascending=False, kind="stable"
    )
    if not len(moved):
        return residuals
    shown = moved if everything else _foremost(moved)
    many = analysis.generations > 1
    for row in shown.itertuples():
        name = f"{row.table}/{row.chain}:{row.rule_number or 'policy'}" + (
            f" (generation {row.generation})" if many else ""
        )
        rows.append(
            (
                f"{row.counted_packets:,}" if row.counted_packets >= 0 else "no counter",
                f"{row.explained_packets:,}",
                f"{row.residual_packets:+,}" if row.residual_packets else "0",
                f"{row.connections:,}",
                name,
                str(row.rule if row.rule_number else f"policy {row.target}"),
            )
        )
    text = f"{residuals}Ledger (packets per rule)\n" + _columns(rows)
    if len(shown) < len(moved):
        text += f"\n... and {len(moved) - len(shown):,} more that balance: --all shows them"
    return text


def _foremost(moved: pd.DataFrame) -> pd.DataFrame:
    """All rules with a residual, and of the others those that most packets hit, in their order."""
    others = moved[moved["off"] == 0]
    room = max(LEDGER_SHOWN - (len(moved) - len(others)), 0)
    most = others["counted_packets"].nlargest(room).index
    return moved[(moved["off"] != 0) | moved.index.isin(most)]


def _residuals(analysis: Analysis, everything: bool) -> str:
    """What is not explained, by rule and interval."""
    ledger = analysis.balances
    off: pd.DataFrame = ledger[(ledger["residual_packets"] != 0) | (ledger["residual_bytes"] != 0)]
    if not len(off):
        return ""
    shown = off if everything else off.head(LEDGER_SHOWN)
    rows = [("from", "until", "rule", "counted", "explained", "residual", "bytes", "connections")]
    for row in analysis.explained(shown).itertuples():
        rows.append(
            (
                moment(int(row.begin)),
                moment(int(row.end)),
                f"{row.table}/{row.chain}:{row.rule_number or 'policy'}",
                f"{row.counted_packets:,}",
                f"{row.explained_packets:,}",
                f"{row.residual_packets:+,}",
                f"{row.residual_bytes:+,}",
                str(row.connections)[:40],
            )
        )
    more = (
        f"\n... and {len(off) - len(shown):,} more: --all shows them"
        if len(shown) < len(off)
        else ""
    )
    return (
        "Residuals: counted minus explained, where they differ\n" + _columns(rows) + more + "\n\n"
    )
