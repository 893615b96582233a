"""Connections that left the host with the address that they came with, out of a bridge's subnet: no
rule of nat translated it, or a rule of raw kept them from nat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from correlator.report.findings.finding import Finding
from correlator.report.findings.patience import overdue
from correlator.report.findings.phrases import connections_of, listed, numbers, picked, unproven
from correlator.report.findings.rules import behind_bridge, hits_of, quoted
from correlator.report.units import plural

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis


def untranslated(analysis: Analysis) -> list[Finding]:
    """Connections from a bridge's subnet to a place outside that every rule let through with their
    own source address, and that nobody answered."""
    mine = left_untranslated(analysis)
    findings = []
    for (source, leaves), frame in mine.groupby(["src", "out_interface"], observed=True):
        text = (
            f"{connections_of(analysis, frame)} passed every rule and left by {leaves} with "
            f"{'its' if len(frame) == 1 else 'their'} own source address {source}, which no rule "
            f"of nat/POSTROUTING translated, and no answer was seen: whoever is to answer needs a "
            f"route back to {source} by this host, or this host a MASQUERADE rule for {source}; "
            f"where there is one, look at the server."
        )
        findings.append(Finding("untranslated", text + unproven(frame), numbers(frame)))
    return findings


def left_untranslated(analysis: Analysis) -> pd.DataFrame:
    """Their rows of the connections table."""
    table = analysis.connections
    mine = table[
        (table["outcome"] == "forwarded")
        & (table["status"] != "ambiguous")
        & (table["packets_reply"] == 0)
        & table["protocol"].isin(("tcp", "udp", "icmp"))
        & table["state"].isin(("half-open", "one-way"))
    ]
    mine = overdue(analysis, mine[mine["src"].astype(str) == mine["reply_dst"].astype(str)])
    pairs = mine[["src", "dst", "in_interface", "out_interface"]].astype(str)
    return picked(mine, (_outward(analysis, *row) for row in pairs.itertuples(index=False)))


def _outward(analysis: Analysis, source: str, target: str, came: str, left: str) -> bool:
    """From a bridge's subnet, by that bridge, to an address behind none."""
    home = behind_bridge(analysis.host, source)
    return bool(home and left) and home == came and not behind_bridge(analysis.host, target)


def past_conntrack(analysis: Analysis) -> list[Finding]:
    """Connections that a rule of raw keeps from conntrack, and so from nat, and that left."""
    table = analysis.connections
    mine = table[(table["outcome"] == "untracked") & (table["status"] == "exact")]
    hits = hits_of(analysis, mine["connection"])
    kept = hits[
        (hits["table"] == "raw")
        & (hits["status"] == "exact")
        & (hits["target"].isin(("CT", "NOTRACK")))
        & hits["rule"].astype(str).str.contains("NOTRACK|--notrack", regex=True)
    ]
    findings = []
    for (chain, number, rule), part in kept.groupby(
        ["chain", "rule_number", "rule"], observed=True, sort=False
    ):
        frame = mine[mine["connection"].isin(part["connection"])]
        frames = analysis.packets_of(frame["connection"].to_numpy())
        out = frames[(frames["wire"] == "out") & (frames["direction"] == "untracked")]
        frame = frame[frame["connection"].isin(out["connection"])]
        if len(frame):
            name = f"raw/{chain}:{number}"
            text = (
                f"{plural(int(out['crossing'].nunique()), 'packet')} of "
                f"{connections_of(analysis, frame)} {_left(out)} untranslated: "
                f"{quoted(name, str(rule))} keeps {'it' if len(frame) == 1 else 'them'} from "
                f"conntrack, so no rule of nat saw a packet."
            )
            findings.append(Finding("past-conntrack", text, numbers(frame), (name,)))
    return findings


def _left(out: pd.DataFrame) -> str:
    return f"left by {listed(sorted(set(out['interface'].astype(str))))}"
