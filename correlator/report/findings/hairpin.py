"""Containers that reach a published port of their own network through the host's address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.report.findings.finding import Finding
from correlator.report.findings.phrases import connections_of, numbers, said, unproven
from correlator.report.findings.rules import hit_names, hits_of, same

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis

STOPPED = ("dropped", "rejected", "lost", "expired", "untracked", "unknown")


def hairpin(analysis: Analysis) -> list[Finding]:
    """Connections that DNAT turned round into the interface that they came from."""
    table = analysis.connections
    around = (
        same(table["in_interface"], table["out_interface"])
        & (table["in_interface"] != "").to_numpy()
    )
    if not around.any():
        return []
    came, gone = (table[name].astype(str).to_numpy() for name in ("in_interface", "out_interface"))
    src, dst, server, seen = (
        table[name].astype(str).to_numpy() for name in ("src", "dst", "reply_src", "reply_dst")
    )
    around = (
        (came != "")
        & (came == gone)
        & (dst != server)
        & (table["status"] != "ambiguous").to_numpy()
    )
    around &= ~table["outcome"].isin(STOPPED).to_numpy()
    mine = table[around]
    hits = hits_of(analysis, mine["connection"])
    dnat, snat = hit_names(hits, ("DNAT", "REDIRECT")), hit_names(hits, ("MASQUERADE", "SNAT"))
    keys = [
        (src == server)[around],
        (src != seen)[around],
        (mine["packets_reply"] == 0).to_numpy(),
        *(
            np.array([names.get(number, "") for number in numbers(mine)], dtype=object)
            for names in (dnat, snat)
        ),
        came[around],
    ]
    return [_hairpin(analysis, frame, *key) for key, frame in mine.groupby(keys, sort=False)]


def _hairpin(
    analysis: Analysis,
    frame: pd.DataFrame,
    itself: bool,
    hidden: bool,
    silent: bool,
    dnat: str,
    snat: str,
    device: str,
) -> Finding:
    peer = "a container" if device in analysis.host.bridges else "a host"
    text = (
        f"{connections_of(analysis, frame)} turned round at {device} (hairpin): {dnat or 'DNAT'} "
        f"sent {{it}} to {{server}}, "
        f"{'the very one that dialled' if itself else f'{peer} of the same network'}"
    )
    if hidden:
        text += (
            f", and {snat or 'source NAT'} hid the client, so that the answers come back "
            f"through this host."
        )
    elif silent:
        text += (
            ". No answer came back through this host, for no rule hid the client: most likely the "
            "server answers it directly, "
            "from an address that the client did not dial."
        )
    else:
        text += "."
    rules = tuple(rule for rule in (dnat, snat) if rule)
    return Finding("hairpin", said(analysis, text + unproven(frame), frame), numbers(frame), rules)
