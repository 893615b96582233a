"""Rules in both iptables-legacy and iptables-nft."""

from __future__ import annotations

from typing import TYPE_CHECKING

from correlator.report.findings.finding import Finding

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis

MARK = "rules in both iptables-"
"""How :func:`correlator.reconcile.intake.inputs.read_session` begins to say it."""


def both_backends(analysis: Analysis) -> list[Finding]:
    """Every packet meets both, and a rule that is looked for in one may be in the other."""
    return [
        Finding("both-backends", f"{w[0].upper()}{w[1:]}.")
        for w in analysis.warnings
        if w.startswith(MARK)
    ]
