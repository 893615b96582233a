"""Connections older than the recording or than a rule: conntrack keeps the answer that nat gave
their first packet."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from correlator import addresses
from correlator.firewall.hooks import Hook
from correlator.report.findings.finding import Finding
from correlator.report.findings.phrases import PORTED, connections_of, door, numbers, picked, said
from correlator.report.findings.rules import hits_of, quoted, rulebooks
from correlator.report.findings.walked import Walks, walks

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis

LOOKED_AT = 1000
"""Connections that outlive a change of rules and are walked anew at most; of further ones nothing
is claimed."""
Now = tuple[int, int, str, str]
"""(address, port, name and text of the rule) where nat would lead a new connection; no rule where
none would."""


def older_than_recording(analysis: Analysis) -> list[Finding]:
    """Connections that nat translated before the recording began: its rules are there, and were not
    hit."""
    table = analysis.connections
    mine = table[(table["state"] == "older") & (table["status"] != "ambiguous")]
    src, dst, server, seen = (
        mine[name].astype(str) for name in ("src", "dst", "reply_src", "reply_dst")
    )
    mine = mine[(src != seen) | (dst != server)]
    hits = hits_of(analysis, mine["connection"])
    mine = mine[
        ~mine["connection"].isin(
            hits[(hits["table"] == "nat") & (hits["rule_number"] > 0)]["connection"]
        )
    ]
    if not len(mine):
        return []
    text = (
        f"{connections_of(analysis, mine)} began before the recording: nat translated the first "
        f"packet then, conntrack keeps its "
        "answer, and no nat rule counts {it} again."
    )
    return [Finding("older", said(analysis, text, mine), numbers(mine))]


def older_than_rule(analysis: Analysis) -> list[Finding]:
    """Connections that went on after the rules changed, and that a new packet of theirs would have
    led elsewhere by then."""
    table, ledger = analysis.connections, analysis.balances
    generations = sorted(int(one) for one in analysis.rules["generation"].unique())
    if len(generations) < 2 or not len(ledger):
        return []
    books = rulebooks(analysis)
    begins = ledger.groupby("generation")["begin"].min()
    long = table[
        (table["status"] != "ambiguous")
        & (table["in_interface"].astype(str) != "")
        & table["protocol"].isin(PORTED)
    ]
    long = long[~long["outcome"].isin(("dropped", "rejected", "untracked", "unknown"))]
    findings: list[Finding] = []
    for before, after in reversed(list(pairwise(generations))):
        if before not in begins.index or after not in begins.index:
            continue
        there = (
            long["last_seen"] > begins[after]
        )  # rules of the last generation that it saw are what counts
        mine, long = (
            long[there & (long["first_seen"] < begins[after])].head(LOOKED_AT),
            long[~there],
        )
        now = walks(books[generations.index(after)], analysis.host)
        told = [_now(row, now) for row in mine.itertuples()]
        for new in dict.fromkeys(one for one in told if one is not None):
            frame = picked(mine, (one == new for one in told))
            for _, part in frame.groupby(["reply_src", "reply_sport"], observed=True, sort=False):
                findings.append(_finding(analysis, part, new))
    return findings


def _now(row: Any, rules: Walks) -> Now | None:
    """Where nat would lead the connection's first packet now, if that is elsewhere, and certain."""
    paths = rules.paths(row)
    if len({(path.destination, path.dnat_entry) for path in paths}) != 1 or any(
        path.forked for path in paths
    ):
        return None
    path = paths[0]
    if path.decider >= 0 and path.last is Hook.PREROUTING:
        return None  # it would not come to nat
    address, port = path.destination
    if f"{addresses.text(address)}:{port}" == f"{row.reply_src}:{row.reply_sport}":
        return None
    entry = rules.entry(path.dnat_entry) if path.dnat_entry >= 0 else None
    return (
        address,
        port,
        entry.name if entry is not None else "",
        entry.text if entry is not None else "",
    )


def _finding(analysis: Analysis, frame: pd.DataFrame, new: Now) -> Finding:
    address, port, name, rule = new
    protocol = frame.iloc[0]["protocol"]
    if name:
        change = (
            f"{quoted(name, rule)} would send a new one to "
            f"{door(analysis, protocol, addresses.text(address), port)}"
        )
    else:
        change = "no DNAT rule would send a new one there"
    text = (
        f"{connections_of(analysis, frame)} {'is' if len(frame) == 1 else 'are'} older than a "
        f"change of the rules: {change}, but "
        f"conntrack keeps the answer of the first packet: "
        f"{'it goes' if len(frame) == 1 else 'they go'} on to {{server}} and "
        f"{'hits' if len(frame) == 1 else 'hit'} no nat rule."
    )
    return Finding(
        "older-than-rule", said(analysis, text, frame), numbers(frame), (name,) if name else ()
    )
