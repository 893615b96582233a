"""Containers that reach a published port of their own network through the host's address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.report.findings.finding import Finding
from correlator.report.findings.rules import hit_rule, hits_of
from correlator.report.findings.words import clients, doors, numbers, unproven
from correlator.report.units import plural

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis


def hairpin(analysis: Analysis) -> list[Finding]:
    """Connections that DNAT turned round into the bridge that they came from."""
    table = analysis.connections
    came, gone = table["in_interface"].astype(str).to_numpy(), table["out_interface"].astype(str).to_numpy()
    dialled, server = table["dst"].astype(str).to_numpy(), table["reply_src"].astype(str).to_numpy()
    around = (came != "") & (came == gone) & (dialled != server) & (table["status"] != "ambiguous").to_numpy()
    around &= ~table["outcome"].isin(("dropped", "rejected", "lost", "expired", "untracked")).to_numpy()
    mine = table[around]
    hits = hits_of(analysis, mine["connection"])
    findings = []
    itself = mine["src"].astype(str).to_numpy() == mine["reply_src"].astype(str).to_numpy()
    hidden = mine["src"].astype(str).to_numpy() != mine["reply_dst"].astype(str).to_numpy()
    silent = (mine["packets_reply"] == 0).to_numpy()
    dnat = np.array([hit_rule(hits, int(n), ("DNAT", "REDIRECT")) for n in mine["connection"]], dtype=object)
    snat = np.array([hit_rule(hits, int(n), ("MASQUERADE", "SNAT")) for n in mine["connection"]], dtype=object)
    for key, frame in mine.groupby([itself, hidden, silent, dnat, snat], sort=False):
        findings.append(_hairpin(analysis, frame, *key))
    return findings


def _hairpin(
    analysis: Analysis, frame: pd.DataFrame, itself: bool, hidden: bool, silent: bool, dnat: str, snat: str
) -> Finding:  # fmt: skip
    bridge = str(frame.iloc[0]["in_interface"])
    text = (
        f"{plural(len(frame), 'connection')} from {clients(analysis, frame)} to {doors(analysis, frame)} turned round at {bridge} "
        f"(hairpin): {dnat or 'DNAT'} sent {'it' if len(frame) == 1 else 'them'} to {doors(analysis, frame, 'server')}, "
        f"{'the very container that dialled' if itself else 'a container of the same network'}"
    )
    if hidden:
        text += f", and {snat or 'source NAT'} hid the client, so that the answers come back through this host."
    elif silent:
        text += (
            ". No answer came back through this host, for no rule hid the client: most likely the server answers it directly "
            "inside the bridge, from an address that the client did not dial."
        )
    else:
        text += "."
    status = "unverified" if (frame["status"] == "unverified").any() else "exact"
    return Finding("hairpin", text + unproven(status), numbers(frame), tuple(rule for rule in (dnat, snat) if rule))
