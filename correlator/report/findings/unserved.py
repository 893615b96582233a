"""Let through by every rule, and refused or never answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.settle.judge import REOPENED
from correlator.report.findings.finding import Finding
from correlator.report.findings.patience import overdue
from correlator.report.findings.phrases import (
    PORTED,
    connections_of,
    numbers,
    picked,
    said,
    sentence,
    unproven,
    was,
    who,
)
from correlator.report.findings.published import published, why_not_dnat
from correlator.report.findings.rules import Why, hits_of, value
from correlator.report.findings.untranslated import left_untranslated

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis

STOPPED = ("dropped", "rejected", "lost", "expired", "unknown", "untracked")
NOBODY = "as where nothing listens"
UNLISTED = "at its way back, or at firewall tables that were not recorded (nft list ruleset)"


def refused(analysis: Analysis) -> list[Finding]:
    """Connections that no rule stopped and that got nothing but resets or ICMP errors, and from
    whom."""
    table = analysis.connections
    mine = table[
        (table["state"] == "refused")
        & ~table["outcome"].isin(STOPPED)
        & table["protocol"].isin(PORTED)
    ]
    mine = mine[mine["status"] != "ambiguous"]
    if not len(mine):
        return []
    known, sources = published(analysis), refusers(analysis, mine)
    local = {
        address: analysis.host.is_local(value(address))
        for address in mine["reply_src"].astype(str).unique()
    }
    here = [local[str(address)] for address in mine["reply_src"]]
    whys = why_not_dnat(known, mine, hits_of(analysis, mine["connection"]))
    keys = [
        (at_home, sources.get(int(number), ""), why if at_home else ("", ()))
        for at_home, number, why in zip(here, mine["connection"], whys, strict=True)
    ]
    return [
        _refused(analysis, picked(mine, (one == key for one in keys)), *key)
        for key in dict.fromkeys(keys)
    ]


def _refused(
    analysis: Analysis, frame: pd.DataFrame, at_home: bool, source: str, why: Why
) -> Finding:
    answer = f"by an ICMP error of {who(analysis, source)}" if source else "by a reset"
    if at_home:
        text = (
            f"{connections_of(analysis, frame)} reached this host and {was(frame)} refused "
            f"{answer}, {NOBODY}."
        )
        text += f" {sentence(said(analysis, why[0], frame))}." if why[0] else ""
    else:
        passed_on = not source or source in set(frame["reply_src"].astype(str))
        text = said(
            analysis,
            f"{connections_of(analysis, frame)} got through every rule to {{server}} and "
            f"{was(frame)} refused {answer}, "
            f"{NOBODY if passed_on else 'which could not or would not pass it on'}.",
            frame,
        )
    return Finding("refused", text + unproven(frame), numbers(frame), why[1])


def refusers(analysis: Analysis, frame: pd.DataFrame) -> dict[int, str]:
    """connection -> who sent an ICMP error that answered it."""
    errors = analysis.errors_of(frame["connection"].to_numpy())
    return {
        int(number): str(source)
        for number, source in zip(errors["connection"], errors["src"], strict=True)
    }


def unanswered(analysis: Analysis) -> list[Finding]:
    """TCP connections that every rule let through and that nobody answered, though there was
    time."""
    table = analysis.connections
    mine = table[
        (table["state"] == "half-open")
        & (table["packets_reply"] == 0)
        & ~table["outcome"].isin(STOPPED)
    ]
    certain = (mine["status"] != "ambiguous") | (mine["reason"] == REOPENED)
    mine = mine[certain & (mine["protocol"] == "tcp")]
    if not len(mine):
        return []
    mine = overdue(analysis, mine)
    mine = mine[~mine["connection"].isin(left_untranslated(analysis)["connection"])]
    hits = hits_of(analysis, mine["connection"])
    mine = mine[
        ~mine["connection"].isin(hits[hits["target"].isin(("DROP", "REJECT"))]["connection"])
    ]
    out = mine["out_interface"].astype(str)
    mine = mine[
        (mine["in_interface"].astype(str) != out) | (out == "")
    ]  # of hairpins, their own finding tells
    local = {
        address: analysis.host.is_local(value(address))
        for address in mine["reply_src"].astype(str).unique()
    }
    here = np.array([local[str(address)] for address in mine["reply_src"]], dtype=bool)
    findings = []
    for (at_home, leaves, again), frame in mine.groupby(
        [here, mine["out_interface"].astype(str), mine["reason"] == REOPENED], sort=False
    ):
        gone = f"{f'left by {leaves}' if leaves else 'went on'} to {{server}}"
        passed = "recorded rule and reached this host" if at_home else f"rule and {gone}"
        look = UNLISTED if at_home else "or at its way back"
        text = (
            f"{connections_of(analysis, frame)} passed every {passed}, and no answer was seen: "
            f"look at the server, {look}.{unproven(frame)}"
        )
        if again:
            text = text.removesuffix(".") + f": {REOPENED}."
        findings.append(Finding("unanswered", said(analysis, text, frame), numbers(frame)))
    return findings
