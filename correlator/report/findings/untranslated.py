"""A container's own connections that left the host with the container's address: no rule translated
it, so whoever is to answer needs a route back to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from correlator.report.findings.finding import Finding
from correlator.report.findings.phrases import connections_of, listed, numbers, picked, unproven
from correlator.report.findings.rules import behind_bridge, hits_of, quoted
from correlator.report.units import plural

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis

PATIENCE_NS = 1_000_000_000
"""How long an answer may be awaited before it is missed: a SYN is sent again after a second (RFC
6298)."""


def untranslated(analysis: Analysis) -> list[Finding]:
    """Connections from a bridge's subnet to a place outside that every rule let through with their
    own source address, and that nobody answered."""
    mine = left_untranslated(analysis)
    findings = []
    for (source, leaves), frame in mine.groupby(["src", "out_interface"], observed=True):
        text = (
            f"{connections_of(analysis, frame)} passed every rule and left by {leaves} with the "
            f"container's own address {source}, which no rule of nat/POSTROUTING translated, and "
            f"no answer was seen: whoever is to answer needs a route back to {source} by this "
            f"host, or this host a MASQUERADE rule for {source}."
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
    mine = mine[mine["src"].astype(str) == mine["reply_dst"].astype(str)]
    end = int(table["last_seen"].max()) if len(table) else 0
    waited = (mine["packets_original"] > 1) | (mine["first_seen"] < end - PATIENCE_NS)
    mine = mine[waited]
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
