"""Connections that INPUT (UFW, mostly) would have stopped, and never saw: DNAT sent them through
FORWARD."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.report.findings.finding import Finding
from correlator.report.findings.phrases import (
    PORTED,
    connections_of,
    listed,
    numbers,
    picked,
    said,
    unproven,
)
from correlator.report.findings.rules import (
    Rulebook,
    hit_names,
    hits_of,
    quoted,
    rule_text,
    rulebooks,
    value,
)
from correlator.report.findings.walked import Walks, walks

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis

LOOKED_AT = 2000
"""Kinds of connection that are walked at most; of further ones nothing is claimed."""


def past_input(analysis: Analysis) -> list[Finding]:
    """Connections from elsewhere to an address of this host that DNAT led away, and that INPUT
    would have stopped for certain had it seen them."""
    rules = analysis.rules
    guard = rules[(rules["table"] == "filter") & (rules["chain"] == "INPUT")]
    if not ((guard["rule_number"] > 0) | (guard["target"] == "DROP")).any():
        return []  # it stops nothing
    table = analysis.connections
    away = table["dst"].astype(str).to_numpy() != table["reply_src"].astype(str).to_numpy()
    away &= (table["in_interface"].astype(str) != "").to_numpy() & table["protocol"].isin(
        PORTED
    ).to_numpy()
    mine = table[away]
    mine = mine[
        mine["outcome"].isin(("DNAT", "MASQUERADE", "SNAT")) & (mine["status"] != "ambiguous")
    ]
    ends = {*mine["dst"].astype(str), *mine["reply_src"].astype(str)}
    local = {address: analysis.host.is_local(value(address)) for address in ends}
    here, served = (
        mine[name].astype(str).map(local).to_numpy(dtype=bool) for name in ("dst", "reply_src")
    )
    mine = mine[here & ~served]
    books = rulebooks(analysis) if len(mine) else []
    if not books or any(_input_of(book) != _input_of(books[0]) for book in books):
        return []  # what INPUT would have done depends on when
    stopped = _stopped(mine, walks(books[0], analysis.host, nat=False))
    if not any(stopped):
        return []
    hits = hits_of(analysis, mine["connection"])
    dnat, seen = hit_names(hits, ("DNAT",)), set(hits[hits["chain"] == "INPUT"]["connection"])
    findings = []
    for rule in dict.fromkeys(one for one in stopped if one):
        frame = picked(mine, (one == rule for one in stopped))
        frame = frame[~frame["connection"].isin(seen)]
        if len(frame):
            findings.append(
                _finding(
                    analysis,
                    frame,
                    rule,
                    list(dict.fromkeys(dnat[n] for n in numbers(frame) if n in dnat)),
                )
            )
    return findings


def _input_of(book: Rulebook) -> dict[str, tuple[str | None, tuple[str, ...]]]:
    """INPUT and the chains that it leads to."""
    wanted, found = ["INPUT"], dict[str, tuple[str | None, tuple[str, ...]]]()
    while wanted:
        chain = book.ruleset.by_name.get(("filter", wanted.pop()))
        if chain is not None and chain.name not in found:
            found[chain.name] = (chain.policy, tuple(rule.text for rule in chain.rules))
            wanted += [jump.chain for rule in chain.rules for jump in rule.jumps]
    return found


def _stopped(frame: pd.DataFrame, rules: Walks) -> list[str]:
    """For each connection the rule of INPUT that would have stopped it for certain, or empty;
    looked at once a kind."""
    reads = rules.walker.program.reads
    whole = any(one.startswith("set:") for one in reads.fields)
    known = {address: value(address) for address in frame["src"].astype(str).unique()}
    source, port = (
        frame["src"].astype(str).map(known).to_numpy(dtype=np.int64),
        frame["sport"].to_numpy(dtype=np.int64),
    )
    if not whole:
        cuts = [np.array(sorted(one), dtype=np.int64) for one in (reads.addresses, reads.ports)]
        source, port = (
            np.searchsorted(cut, values, side="right")
            for cut, values in zip(cuts, (source, port), strict=True)
        )
    alike = ["protocol", "dst", "dport", "in_interface", "source", "port"]
    kind = (
        frame.assign(source=source, port=port)
        .groupby(alike, observed=True, sort=False)
        .ngroup()
        .to_numpy()
    )
    _, first = np.unique(kind, return_index=True)
    answers = [_stopper(row, rules) for row in frame.iloc[first[:LOOKED_AT]].itertuples()]
    answers += [""] * (len(first) - len(answers))
    return [answers[number] for number in kind.tolist()]


def _stopper(row: Any, rules: Walks) -> str:
    paths = rules.paths(row)
    if not paths or not all(path.end.by_rule for path in paths):
        return ""
    entries = {rules.entry(path.decider) for path in paths}
    first = next(iter(entries))
    return first.name if len(entries) == 1 and first.table == "filter" else ""


def _finding(analysis: Analysis, frame: pd.DataFrame, rule: str, dnat: list[str]) -> Finding:
    tool, would = "UFW" if "ufw" in rule else "INPUT", quoted(rule, rule_text(analysis, rule))
    text = (
        f"{tool} did not stop {connections_of(analysis, frame)}: {listed(dnat) or 'DNAT'} sent "
        f"{{it}} through FORWARD to "
        f"{{server}}, and no rule of INPUT saw a packet. Without DNAT {would} would have stopped "
        f"{{it}}; rules for "
        "published ports belong in "
        "DOCKER-USER."
    )
    return Finding(
        "past-input", said(analysis, text + unproven(frame), frame), numbers(frame), (*dnat, rule)
    )
