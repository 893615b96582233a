"""Connections that INPUT (UFW, mostly) would have dropped, and never saw: DNAT sent them through FORWARD."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.report.findings.finding import Finding
from correlator.report.findings.rules import Rulebook, Walks, hit_rule, hits_of, quoted, rule_text, rulebooks, value, walks
from correlator.report.findings.words import connections_of, counted, doors, listed, numbers, picked

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis

LOOKED_AT = 2000
"""Kinds of client (address, port and interface) that are walked at most."""


def past_input(analysis: Analysis) -> list[Finding]:
    """What INPUT would have done with packets as clients sent them, where rules of INPUT would have stopped them."""
    table = analysis.connections
    sent = table["dst"].astype(str).to_numpy() != table["reply_src"].astype(str).to_numpy()
    sent &= (table["in_interface"].astype(str) != "").to_numpy()
    mine = table[sent & table["outcome"].isin(("DNAT", "MASQUERADE", "SNAT")) & (table["status"] != "ambiguous")]
    ends = {*mine["dst"].astype(str), *mine["reply_src"].astype(str)}
    local = {address: analysis.host.is_local(value(address)) for address in ends}
    mine = picked(mine, (local[str(d)] and not local[str(s)] for d, s in zip(mine["dst"], mine["reply_src"], strict=True)))
    if not len(mine):
        return []
    books = rulebooks(analysis)
    hits = hits_of(analysis, mine["connection"])
    mine = mine[~mine["connection"].isin(hits[hits["chain"] == "INPUT"]["connection"])]
    book = books[0]
    if any(_input_of(one) != _input_of(book) for one in books):
        return []  # what INPUT would have done depends on when
    stopped = _stopped(mine, walks(book, analysis.host, ("filter",)))
    findings = []
    for rule in dict.fromkeys(one for one in stopped if one):
        frame = picked(mine, (one == rule for one in stopped))
        findings.append(_finding(analysis, frame, rule, hits))
    return findings


def _input_of(book: Rulebook) -> list[tuple[str, str | None, tuple[str, ...]]]:
    """The filter table without what Docker writes behind FORWARD."""
    wanted, found = ["INPUT"], list[tuple[str, str | None, tuple[str, ...]]]()
    while wanted:
        name = wanted.pop()
        chain = book.ruleset.by_name.get(("filter", name))
        if chain is None or any(name == one[0] for one in found):
            continue
        found.append((name, chain.policy, tuple(rule.text for rule in chain.rules)))
        wanted += [rule.target.name for rule in chain.rules]
    return found


def _stopped(frame: pd.DataFrame, rules: Walks) -> list[str]:
    """For each connection the rule of INPUT that would have stopped it for certain; empty where none would, or perhaps."""
    if not rules.certain:
        return [""] * len(frame)
    reads = rules.walker.program.reads
    sources = np.array([value(address) for address in frame["src"]], dtype=np.int64)
    ports = frame["sport"].to_numpy(dtype=np.int64)
    kinds = frame[["protocol", "dst", "dport", "in_interface"]].astype(str).agg("|".join, axis=1).to_numpy()
    asked = any(one.startswith("set:") for one in reads.fields)
    spot = sources if asked else np.searchsorted(np.array(sorted(reads.addresses), dtype=np.int64), sources, side="right")
    door = ports if asked else np.searchsorted(np.array(sorted(reads.ports), dtype=np.int64), ports, side="right")
    known: dict[tuple[object, ...], str] = {}
    result = []
    for row, key in zip(frame.itertuples(), zip(kinds, spot.tolist(), door.tolist(), strict=True), strict=True):
        if key not in known:
            known[key] = _stopper(row, rules) if len(known) < LOOKED_AT else ""
        result.append(known[key])
    return result


def _stopper(row: Any, rules: Walks) -> str:
    paths = rules.outcomes(row)
    if not paths or any(path.end not in ("dropped", "rejected") for path in paths):
        return ""
    deciders = {path.decider for path in paths}
    return rules.walker.program.ruleset.entries[deciders.pop()].name if len(deciders) == 1 else ""


def _finding(analysis: Analysis, frame: pd.DataFrame, rule: str, hits: pd.DataFrame) -> Finding:
    dnat = [one for one in dict.fromkeys(hit_rule(hits, int(n), ("DNAT",)) for n in frame["connection"].head(LOOKED_AT)) if one]
    tool = "UFW" if "ufw" in rule else "INPUT"
    text = (
        f"{tool} did not stop {connections_of(analysis, frame)}: {listed(dnat) or 'DNAT'} sent {{it}} through FORWARD to "
        f"{doors(analysis, frame, 'server')}, and no rule of INPUT saw a packet. Without DNAT "
        f"{quoted(rule, rule_text(analysis, rule))} would have stopped {{it}}; rules for published ports belong in DOCKER-USER."
    )
    return Finding("past-input", counted(text, frame), numbers(frame), tuple(dict.fromkeys((*dnat, rule))))
