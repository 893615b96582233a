"""Packets longer than the MTU of the interface they were to leave by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from correlator.report.findings.finding import Finding
from correlator.report.findings.phrases import PORTED, connections_of, numbers
from correlator.report.findings.rules import value
from correlator.report.units import plural

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis


def too_big(analysis: Analysis) -> list[Finding]:
    """Connections of which this host turned packets back by ICMP errors that exceed the MTU of the
    interface behind it: it does so before FORWARD (ip_forward, net/ipv4/ip_forward.c)."""
    host, table = analysis.host, analysis.connections
    if not host.mtus or table.empty:
        return []
    ported = table[table["protocol"].isin(PORTED)]
    errors = analysis.errors_of(ported["connection"].to_numpy(), ("original", "reply"))
    own = [host.is_local(value(str(address))) for address in errors["src"]]
    mine = table[table["connection"].isin(errors["connection"][own])]
    packets = analysis.packets_of(mine["connection"].to_numpy())
    stuck = packets[(packets["wire"] == "in") & (packets["protocol"] != "icmp")]
    stuck = stuck[~stuck["crossing"].isin(packets.loc[packets["wire"] == "out", "crossing"])]
    found = []
    for (came, left), frame in mine.groupby(["in_interface", "out_interface"], observed=True):
        sides = {"original": str(left), "reply": str(came)}
        for direction, device in sides.items():
            big = stuck[stuck["connection"].isin(frame["connection"])]
            big = big[(big["direction"] == direction)]
            big = big[[host.exceeds_mtu(int(length), device) for length in big["length"]]]
            if len(big):
                part = frame[frame["connection"].isin(big["connection"])]
                found.append(_finding(analysis, part, big, device))
    return found


def _finding(analysis: Analysis, frame: pd.DataFrame, big: pd.DataFrame, device: str) -> Finding:
    mtu = analysis.host.mtus[device]
    text = (
        f"{plural(len(big), 'packet')} of {connections_of(analysis, frame)} came in and never "
        f"left: with up to {int(big['length'].max())} bytes they exceed the MTU of {device}, which "
        f"is {mtu}, and this host said so by ICMP errors.{_unseen(frame)} A sender that does not "
        f"get those errors, or does not heed them, sends the same again."
    )
    return Finding("too-big", text, numbers(frame))


def _unseen(frame: pd.DataFrame) -> str:
    return " No rule of FORWARD saw them." if (frame["status"] == "exact").all() else ""
