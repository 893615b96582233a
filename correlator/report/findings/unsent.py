"""What this host sent and no interface showed, because a rule of OUTPUT dropped it before: only its
counter tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.firewall.hooks import Hook
from correlator.report.findings.finding import Finding
from correlator.report.units import plural

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis

DROPS = ("DROP", "REJECT")


def unsent(analysis: Analysis) -> list[Finding]:
    """Rules and policies of chains at OUTPUT that drop or reject, and counted packets that no
    capture shows."""
    rules = analysis.rules
    standing = {
        (generation, chain.table, chain.name)
        for generation, ruleset in enumerate(analysis.rulesets)
        for chain in ruleset.at(Hook.OUTPUT)
    }
    mine = rules[rules["target"].isin(DROPS) & (rules["residual_packets"] > 0)]
    keys = zip(
        mine["generation"], mine["table"].astype(str), mine["chain"].astype(str), strict=True
    )
    mine = mine[np.array([key in standing for key in keys], dtype=bool)]
    findings = []
    for (table, chain, number, rule, target), frame in mine.groupby(
        ["table", "chain", "rule_number", "rule", "target"], observed=True, sort=False
    ):
        name = f"{table}/{chain}:{number or 'policy'}"
        count = int(frame["residual_packets"].sum())
        text = (
            f"{plural(count, 'packet')} that this host sent {'was' if count == 1 else 'were'} "
            f"{'rejected' if target == 'REJECT' else 'dropped'} by {name} "
            f"({rule if number else f'policy {target}'}) before any interface could show them: its "
            f"counter alone tells. docker-proxy, which connects to a container from this host, "
            f"meets the rules of OUTPUT, too."
        )
        findings.append(Finding("unsent", text, (), (name,)))
    return findings
