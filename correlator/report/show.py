"""One connection hook by hook, or the connections of one rule."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from correlator import plain
from correlator.errors import InputError
from correlator.report.findings import about, find
from correlator.report.findings_text import findings_block
from correlator.report.rule_names import parse_rule_name
from correlator.report.units import moment, plural

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis, PathView

SHOWN = 20


def render_connection(analysis: Analysis, number: int) -> str:
    """Every way that its packets took. Raises :class:`~correlator.errors.InputError` for a number
    that is none."""
    if not 1 <= number <= len(analysis.connections):
        raise InputError(f"no connection {number}: there are 1 to {len(analysis.connections)}")
    return _said(analysis, [number]) + _connection(analysis, number)


def _said(analysis: Analysis, connections: Iterable[int], rule: str = "") -> str:
    """The findings that concern what is shown."""
    found = about(find(analysis), connections, rule)
    lines = findings_block(found, more="`correlator replay --all` shows them")
    return "".join(f"{line}\n" for line in [*lines, *([""] if lines else [])])


def _connection(analysis: Analysis, number: int) -> str:
    row = analysis.connections.iloc[number - 1]
    lines = _title(row, analysis)
    for path in analysis.paths(number):
        lines += ["", *_path(path)]
    return plain.lines(lines) + "\n"


def _title(row: pd.Series, analysis: Analysis) -> list[str]:
    icmp, named = row["protocol"] in ("icmp", "ipv6-icmp"), analysis.named
    ports = [f" id {row['sport']}", ""] if icmp else [f":{row['sport']}", f":{row['dport']}"]
    lines = [
        f"connection {row['connection']}: {row['protocol']} {named(row['src'])}{ports[0]} -> "
        f"{named(row['dst'])}{ports[1]}, "
        f"{row['state']}",
        f"  reply tuple  {named(row['reply_src'])}{'' if icmp else ':' + str(row['reply_sport'])} "
        f"-> "
        f"{named(row['reply_dst'])}{'' if icmp else ':' + str(row['reply_dport'])}",
        f"  outcome      {row['outcome']}{' by ' + row['rule'] if row['rule'] else ''}",
        f"  status       {row['status']}{': ' + row['reason'] if row['reason'] else ''}",
    ]
    if row["linked"]:
        lines.append(f"  docker-proxy carries it: its other half is connection {row['linked']}")
    return lines


def _path(path: PathView) -> list[str]:
    came = path.in_interface or "this host"
    head = (
        f"{path.direction}, {path.state}: {plural(path.packets, 'packet')} ({path.bytes:,} bytes) "
        f"{moment(path.first_seen)} to {moment(path.last_seen)}, from {came}"
    )
    lines = [head]
    hook = ""
    for step in path.steps:
        label = step.hook if step.hook != hook else ""
        hook = step.hook
        if step.kind in ("rule", "policy"):
            indent = "  " * step.depth
            name = f"{step.table}/{step.chain}:{step.rule_number or 'policy'}"
            text = step.text if step.kind == "rule" else f"policy {step.target}"
            lines.append(f"  {label:<12} {indent}{name}  {text}")
        elif step.kind == "nat":
            lines.append(f"  {label:<12} NAT: {step.text}")
        elif step.kind == "route":
            lines.append(f"  {label:<12} route: {step.text}")
        else:
            lines.append(f"  {label:<12} => {step.text}")
    if not path.steps:
        lines.append("  no way through the rules fits what was seen of these packets")
    lines.append(
        f"  evidence: {path.evidence}; {path.status}{': ' + path.reason if path.reason else ''}"
    )
    return lines


def render_client(analysis: Analysis, address: str) -> str:
    """Every connection of a client. Raises :class:`~correlator.errors.InputError` where it has
    none."""
    table = analysis.connections
    mine = table[table["src"].astype(str) == address]
    if not len(mine):
        seen = ", ".join(sorted(set(table["src"].astype(str)))[:8])
        raise InputError(f"no connection of client {address}: clients are {seen}")
    parts = [_connection(analysis, int(n)) for n in mine["connection"].head(SHOWN)]
    if len(mine) > SHOWN:
        parts.append(f"... and {len(mine) - SHOWN} more connections of {plain.one_line(address)}\n")
    return _said(analysis, mine["connection"]) + "\n".join(parts)


def render_rule(analysis: Analysis, name: str) -> str:
    """The connections that hit a rule. Raises :class:`~correlator.errors.InputError` for a rule
    that is not there."""
    table, chain, number = parse_rule_name(name)
    rules, hits = analysis.rules, analysis.hits
    known = rules[
        (rules["table"] == table) & (rules["chain"] == chain) & (rules["rule_number"] == number)
    ]
    if not len(known):
        chains = rules[rules["table"] == table]["chain"].unique()
        hint = (
            f"chains of {table}: {', '.join(map(str, chains))}" if len(chains) else "no such table"
        )
        raise InputError(f"{name}: no such rule: {hint}")
    lines = []
    for rule in known.drop_duplicates(["rule"]).itertuples():
        same = known[known["rule"] == rule.rule]
        mine = hits[
            (hits["table"] == rule.table)
            & (hits["chain"] == rule.chain)
            & (hits["rule"] == rule.rule)
        ]
        mine = mine[mine["rule_number"] == number]
        counted = int(same["counted_packets"].sum())
        lines.append(f"{name}  {rule.rule if number else 'policy ' + str(rule.target)}")
        lines.append(
            f"  {'not counted' if counted < 0 else f'{counted:,} counted'}, "
            f"{int(same['explained_packets'].sum()):,} explained, "
            f"{plural(mine['connection'].nunique(), 'connection')}"
        )
        for hit in mine.itertuples():
            lines.append(
                f"  #{hit.connection:<5} {hit.protocol} {hit.src}:{hit.sport} -> "
                f"{hit.dst}:{hit.dport}  {hit.direction}  "
                f"{plural(int(hit.packets), 'packet')}, {hit.bytes:,} bytes  "
                f"{moment(int(hit.first_seen))}  "
                f"{hit.evidence}  {hit.status}"
            )
    return _said(analysis, (), name) + plain.lines(lines) + "\n"
