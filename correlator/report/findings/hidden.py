"""Services that see another address than their client's, and who hid it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.firewall.values import PROTOCOLS
from correlator.report.findings.finding import Finding
from correlator.report.findings.phrases import (
    PORTED,
    clients,
    doors,
    listed,
    numbers,
    picked,
    unproven,
)
from correlator.report.findings.proxied import halves
from correlator.report.findings.published import published
from correlator.report.findings.rules import (
    behind_bridge,
    hit_names,
    hits_of,
    named,
    quoted,
    same,
    text_of,
    value,
)
from correlator.report.units import plural

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis

HIDING = ("MASQUERADE", "SNAT", "NETMAP")


def client_hidden(analysis: Analysis) -> list[Finding]:
    """Containers that see the bridge's address (or another) instead of the client: by MASQUERADE or
    SNAT, by docker-proxy, or, where the other side was not captured, possibly so."""
    return [*_by_rule(analysis), *_by_proxy(analysis), *_perhaps(analysis)]


def _by_rule(analysis: Analysis) -> list[Finding]:
    table = analysis.connections
    mine = table[~same(table["src"], table["reply_dst"])]
    mine = mine[
        (mine["status"] != "ambiguous")
        & ~mine["outcome"].isin(("dropped", "rejected", "lost", "expired"))
    ]
    inside = {
        address: bool(behind_bridge(analysis.host, address))
        for address in mine["reply_src"].astype(str).unique()
    }
    mine = picked(mine, (inside[str(address)] for address in mine["reply_src"]))
    hits = hits_of(analysis, mine["connection"])
    hits = hits[hits["chain"] != "PREROUTING"]
    names = hit_names(hits, HIDING)
    by = np.array([names.get(number, "") for number in numbers(mine)], dtype=object)
    findings = []
    for (rule, seen), frame in mine.groupby(
        [by, mine["reply_dst"].astype(str).to_numpy()], sort=False
    ):
        text = _sees(analysis, frame, str(seen), clients(analysis, frame))
        if rule:
            row = named(hits, str(rule)).iloc[0]
            text += f": {row['target']} did that, by {quoted(str(rule), text_of(row))}."
        elif (frame["state"] == "older").all():
            text += ": that was decided before the recording began, so no rule of it was hit."
        else:
            text += ": which rule did that was not seen."
        findings.append(
            Finding(
                "client-hidden",
                text + unproven(frame),
                numbers(frame),
                (str(rule),) if rule else (),
            )
        )
    return findings


def _sees(analysis: Analysis, frame: pd.DataFrame, seen: str, instead: str) -> str:
    device = next((name for name, own in analysis.host.addresses.items() if value(seen) in own), "")
    verb = "sees" if len(frame[["reply_src", "reply_sport"]].drop_duplicates()) == 1 else "see"
    own = f" ({device}'s own address)" if device else ""
    return (
        f"{doors(analysis, frame, server=True)} {verb} {seen}{own} instead of {instead} in "
        f"{plural(len(frame), 'connection')}"
    )


def _by_proxy(analysis: Analysis) -> list[Finding]:
    front, back = halves(analysis)
    findings = []
    for (server, seen), its in back.groupby(["reply_src", "reply_dst"], observed=True, sort=False):
        mine = front[front["linked"].isin(its["connection"])]
        text = (
            f"{_sees(analysis, its, str(seen), clients(analysis, mine))}: docker-proxy did that, "
            f"which opens its own connection to "
            f"{analysis.named(server)}.{unproven(its)}"
        )
        findings.append(Finding("client-hidden", text, (*numbers(mine), *numbers(its))))
    return findings


def _perhaps(analysis: Analysis) -> list[Finding]:
    """The host's own connections to a published container, where what docker-proxy accepts on
    loopback was not captured."""
    table = analysis.connections
    if "lo" in analysis.interfaces:
        return []
    mine = table[
        (table["outcome"] == "local") & (table["linked"] == 0) & (table["in_interface"] == "")
    ]
    mine = mine[mine["protocol"].isin(PORTED)]  # of open ones too: it is only possible anyway
    if not len(mine):
        return []
    known = {(one.protocol, one.server): one.rule.name for one in published(analysis).doors}
    rules = [
        known.get((PROTOCOLS.get(str(protocol), -1), (value(str(dst)), int(port))), "")
        if behind_bridge(analysis.host, str(dst))
        else ""
        for protocol, dst, port in zip(mine["protocol"], mine["dst"], mine["dport"], strict=True)
    ]
    mine = picked(mine, map(bool, rules))
    if not len(mine):
        return []
    seen = listed(mine["src"].astype(str))
    text = (
        f"{doors(analysis, mine)} saw {seen} in {plural(len(mine), 'connection')} of this host: a "
        f"program here dialled the "
        "container itself, or docker-proxy did for a client on loopback, which was not captured."
    )
    return [
        Finding(
            "client-hidden",
            text,
            numbers(mine),
            tuple(rule for rule in dict.fromkeys(rules) if rule),
        )
    ]
