"""Requests that docker-proxy carried, and why DNAT did not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from correlator.report.findings.finding import Finding
from correlator.report.findings.phrases import (
    connections_of,
    doors,
    numbers,
    picked,
    said,
    unproven,
)
from correlator.report.findings.published import published, why_not_dnat
from correlator.report.findings.rules import hits_of
from correlator.report.units import plural

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis


def halves(analysis: Analysis) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(connections that clients made to docker-proxy, those that it made for them), in the same
    order."""
    table = analysis.connections
    sure = table[(table["linked"] > 0) & (table["status"] != "ambiguous")]
    front = sure[(sure["linked"] > sure["connection"]) & sure["linked"].isin(sure["connection"])]
    return front, table.iloc[front["linked"].to_numpy() - 1]


def through_proxy(analysis: Analysis) -> list[Finding]:
    """Requests that went through docker-proxy and not DNAT, by the reason."""
    front, back = halves(analysis)
    if not len(front):
        return []
    reasons = why_not_dnat(published(analysis), front, hits_of(analysis, front["connection"]))
    findings = []
    for reason in dict.fromkeys(reasons):
        mine, its = (picked(half, (one == reason for one in reasons)) for half in (front, back))
        why = said(analysis, reason[0] or "no DNAT rule took {it}", mine)
        text = (
            f"{connections_of(analysis, mine)} went through docker-proxy and not DNAT: {why}. "
            f"docker-proxy opened "
            f"{plural(len(its), 'connection')} of its own to "
            f"{doors(analysis, its)}.{unproven(mine)}"
        )
        findings.append(Finding("docker-proxy", text, (*numbers(mine), *numbers(its)), reason[1]))
    return findings
