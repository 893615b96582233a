"""Let through by every rule, and refused or never answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.report.findings.finding import Finding
from correlator.report.findings.rules import Why, hits_of, rulebooks, value, why_no_dnat
from correlator.report.findings.words import connections_of, counted, doors, numbers, picked, sentence, unproven, was, who

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis

PORTS = ("tcp", "udp")
NOBODY = "as where nothing listens"
STOPPED = ("dropped", "rejected", "lost", "expired", "unknown", "untracked")


def refused(analysis: Analysis) -> list[Finding]:
    """Connections that no rule stopped and that got nothing but resets or ICMP errors, and from whom."""
    table = analysis.connections
    mine = table[(table["state"] == "refused") & ~table["outcome"].isin(STOPPED) & table["protocol"].isin(PORTS)]
    mine = mine[mine["status"] != "ambiguous"]
    findings: list[Finding] = []
    if not len(mine):
        return findings
    books, sources, hits = rulebooks(analysis), refusers(analysis, mine), hits_of(analysis, mine["connection"])
    here = [analysis.host.is_local(value(address)) for address in mine["reply_src"]]
    for at_home in (True, False):
        part = picked(mine, (one == at_home for one in here))
        said = [why_no_dnat(books, row, hits) if at_home else ("", ()) for row in part.itertuples()]
        key = [(sources.get(int(n), ""), why) for n, why in zip(part["connection"], said, strict=True)]
        for one in dict.fromkeys(key):
            findings.append(_refused(analysis, picked(part, (k == one for k in key)), at_home, one[0], one[1]))
    return findings


def _refused(analysis: Analysis, frame: pd.DataFrame, at_home: bool, source: str, why: Why) -> Finding:
    answer = "by a reset" if not source else f"by an ICMP error of {who(analysis, source)}"
    status = "unverified" if (frame["status"] == "unverified").any() else "exact"
    if at_home:
        by = f" reached this host and {was(frame)} refused {answer}, {NOBODY}"
    else:
        by = f" got through every rule to {doors(analysis, frame, 'server')} and {was(frame)} refused {answer}"
        by += f", {NOBODY}" if not source or source in set(frame["reply_src"].astype(str)) else ", which could not pass it on"
    text = f"{connections_of(analysis, frame)}{by}.{f' {sentence(counted(why[0], frame))}.' if why[0] else ''}{unproven(status)}"
    return Finding("refused", text, numbers(frame), why[1])


def refusers(analysis: Analysis, frame: pd.DataFrame) -> dict[int, str]:
    """connection -> who sent the ICMP error that answered it."""
    packets = analysis.packets
    errors = packets[(packets["protocol"] == "icmp") & np.isin(packets["connection"].to_numpy(), frame["connection"].to_numpy())]
    return {int(n): str(src) for n, src in zip(errors["connection"], errors["src"], strict=True)}


def unanswered(analysis: Analysis) -> list[Finding]:
    """TCP connections that every rule let through and that nobody answered."""
    table = analysis.connections
    mine = table[(table["state"] == "half-open") & (table["packets_reply"] == 0) & ~table["outcome"].isin(STOPPED)]
    mine = mine[(mine["status"] != "ambiguous") & (mine["protocol"] == "tcp")]
    around = mine["in_interface"].astype(str) == mine["out_interface"].astype(str)
    mine = mine[~around]  # a hairpin's answer need not come by: the finding on hairpins tells
    findings = []
    for out, frame in mine.groupby(mine["out_interface"].astype(str), sort=False):
        where = f"left by {out} to {doors(analysis, frame, 'server')}" if out else "reached this host"
        text = (
            f"{connections_of(analysis, frame)} passed every rule and {where}, and no answer was seen: look at the server, or at "
            "its way back."
        )
        findings.append(Finding("unanswered", text, numbers(frame), tuple(r for r in {str(r) for r in frame["rule"]} if r)))
    return findings
