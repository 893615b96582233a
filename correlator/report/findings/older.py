"""Connections older than the recording or than a rule: conntrack keeps the answer that nat gave their first packet."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from correlator.report.findings.finding import Finding
from correlator.report.findings.rules import Walks, quoted, rulebooks, walks
from correlator.report.findings.words import connections_of, door, numbers, picked

if TYPE_CHECKING:
    import pandas as pd

    from correlator.firewall.walk import Path
    from correlator.reconcile.analysis import Analysis

LOOKED_AT = 1000
"""Connections that outlive a change of rules and are walked anew at most."""


def older_than_recording(analysis: Analysis) -> list[Finding]:
    """Connections that nat translated before the recording began: its rules are there, and were not hit."""
    table = analysis.connections
    mine = table[(table["state"] == "older") & (table["status"] != "ambiguous")]
    ends = [mine[name].astype(str).to_numpy() for name in ("src", "dst", "reply_dst", "reply_src")]
    mine = mine[(ends[0] != ends[2]) | (ends[1] != ends[3])]
    hits = analysis.hits
    nat = hits[(hits["table"] == "nat") & (hits["rule_number"] > 0)]["connection"]
    mine = mine[~mine["connection"].isin(nat)]
    if not len(mine):
        return []
    text = (
        f"{connections_of(analysis, mine)} began before the recording: nat translated the first packet then, conntrack keeps its "
        f"answer, and no nat rule counts {'it' if len(mine) == 1 else 'them'} again."
    )
    return [Finding("older", text, numbers(mine))]


def older_than_rule(analysis: Analysis) -> list[Finding]:
    """Connections that went on after the rules changed, and that a new packet of theirs would now lead elsewhere."""
    table, ledger = analysis.connections, analysis.ledger
    generations = sorted(analysis.rules["generation"].unique())
    if len(generations) < 2 or not len(ledger):
        return []
    books = rulebooks(analysis)
    begins = ledger.groupby("generation")["begin"].min()
    findings: list[Finding] = []
    seen: set[int] = set()
    for before, after in reversed(list(pairwise(generations))):
        if before not in begins.index or after not in begins.index:
            continue
        begun = ledger[ledger["generation"] == before]["end"].max()
        mine = table[(table["first_seen"] < min(begun, begins[after])) & (table["last_seen"] > begins[after])]
        mine = mine[(mine["status"] != "ambiguous") & (mine["in_interface"].astype(str) != "") & ~mine["connection"].isin(seen)]
        mine = mine[mine["protocol"].isin(("tcp", "udp")) & ~mine["outcome"].isin(("dropped", "rejected", "untracked", "unknown"))]
        now = walks(books[generations.index(after)], analysis.host)
        told = [_now(row, now) for row in mine.head(LOOKED_AT).itertuples()]
        mine = mine.head(LOOKED_AT)
        for new in dict.fromkeys(one for one in told if one is not None):
            frame = picked(mine, (one == new for one in told))
            findings += [_finding(analysis, part, new) for _, part in frame.groupby(["reply_src", "reply_sport"], observed=True)]
            seen |= set(numbers(frame))
    return findings


def _now(row: Any, rules: Walks) -> tuple[int, int, str, str] | None:
    """(address, port, rule) where nat would lead the connection's first packet now, if that is elsewhere for certain."""
    paths: list[Path] | None = rules.outcomes(row) if rules.certain else None
    if not paths or len({(path.destination, path.dnat_entry) for path in paths}) != 1 or any(path.forked for path in paths):
        return None
    path = paths[0]
    if path.end in ("dropped", "rejected") and path.dnat_entry < 0 and _raw(path, rules):
        return None
    address, port = path.destination
    if f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}:{port}" == f"{row.reply_src}:{row.reply_sport}":
        return None
    if path.dnat_entry < 0:
        return address, port, "", ""
    entry = rules.walker.program.ruleset.entries[path.dnat_entry]
    return address, port, entry.name, entry.text


def _raw(path: Path, rules: Walks) -> bool:
    return path.decider >= 0 and rules.walker.program.ruleset.entries[path.decider].table in ("raw", "mangle")


def _finding(analysis: Analysis, frame: pd.DataFrame, new: tuple[int, int, str, str]) -> Finding:
    address, port, name, text = new
    row = frame.iloc[0]
    there = f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"
    old = door(analysis, row["protocol"], row["reply_src"], row["reply_sport"])
    chosen = numbers(frame)
    if name:
        change = f"{quoted(name, text)} would send a new one to {door(analysis, row['protocol'], there, port)}"
    else:
        change = "no DNAT rule would send a new one there"
    said = (
        f"{connections_of(analysis, frame)} {'is' if len(frame) == 1 else 'are'} older than a change of the rules: {change}, but "
        f"conntrack keeps the answer of the first packet, so {'it goes' if len(frame) == 1 else 'they go'} on to {old} and no nat "
        "rule is hit."
    )
    return Finding("older-than-rule", said, chosen, (name,) if name else ())
