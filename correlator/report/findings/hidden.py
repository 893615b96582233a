"""Services that see another address than their client's, and who hid it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.report.findings.finding import Finding
from correlator.report.findings.proxied import halves
from correlator.report.findings.rules import behind_bridge, doors_of, hits_of, quoted, rulebooks, value
from correlator.report.findings.words import clients, doors, listed, numbers, picked, unproven
from correlator.report.units import plural

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis


def client_hidden(analysis: Analysis) -> list[Finding]:
    """Containers that see the bridge's address (or another) instead of the client: by MASQUERADE or SNAT, by docker-proxy,
    or, where the other side was not captured, possibly so."""
    return [*_by_rule(analysis), *_by_proxy(analysis), *_perhaps(analysis)]


def _by_rule(analysis: Analysis) -> list[Finding]:
    table = analysis.connections
    changed = table["src"].astype(str).to_numpy() != table["reply_dst"].astype(str).to_numpy()
    mine = table[changed & (table["status"] != "ambiguous").to_numpy() & ~table["outcome"].isin(("dropped", "rejected")).to_numpy()]
    servers = {address: behind_bridge(analysis.host, address) for address in mine["reply_src"].astype(str).unique()}
    mine = picked(mine, (bool(servers[str(address)]) for address in mine["reply_src"]))
    hits = hits_of(analysis, mine["connection"])
    hits = hits[hits["target"].isin(("MASQUERADE", "SNAT", "NETMAP")) & (hits["chain"] != "PREROUTING") & (hits["table"] == "nat")]
    names = {
        int(n): f"nat/{chain}:{number}"
        for n, chain, number in zip(hits["connection"], hits["chain"], hits["rule_number"], strict=True)
    }
    by = np.array([names.get(int(n), "") for n in mine["connection"]], dtype=object)
    findings = []
    for (rule, seen), frame in mine.groupby([by, mine["reply_dst"].astype(str).to_numpy()], sort=False):
        chosen = numbers(frame)
        text = _sees(analysis, frame, str(seen))
        if rule:
            word = hits[hits["connection"] == chosen[0]].iloc[0]["target"]
            text += f": {word} did that, by {quoted(str(rule), _text(hits, chosen[0]))}."
        else:
            text += ": they are older than the recording, and the rule that hid them was hit before it."
        findings.append(Finding("client-hidden", text + unproven(_status(frame)), chosen, (str(rule),) if rule else ()))
    return findings


def _text(hits: pd.DataFrame, connection: int) -> str:
    return str(hits[hits["connection"] == connection].iloc[0]["rule"])


def _sees(analysis: Analysis, frame: pd.DataFrame, seen: str) -> str:
    what = f"{seen}{_whose(analysis, seen)}"
    return (
        f"{doors(analysis, frame, 'server')} {'sees' if frame['reply_src'].nunique() == 1 else 'see'} {what} instead of "
        f"{clients(analysis, frame)} in {plural(len(frame), 'connection')}"
    )


def _whose(analysis: Analysis, address: str) -> str:
    device = next((name for name, own in analysis.host.addresses.items() if value(address) in own), "")
    return f" ({device}'s own address)" if device else ""


def _status(frame: pd.DataFrame) -> str:
    return "unverified" if (frame["status"] == "unverified").any() else "exact"


def _by_proxy(analysis: Analysis) -> list[Finding]:
    front, back = halves(analysis)
    findings = []
    for (server, seen), its in back.groupby(["reply_src", "reply_dst"], observed=True, sort=False):
        mine = front[front["linked"].isin(its["connection"])]
        text = (
            f"{doors(analysis, its, 'server')} sees {seen}{_whose(analysis, str(seen))} "
            f"instead of {clients(analysis, mine)} in {plural(len(its), 'connection')}: docker-proxy did that, which opens its own "
            f"connection to {analysis.named(server)}."
        )
        findings.append(Finding("client-hidden", text + unproven(_status(its)), (*numbers(mine), *numbers(its))))
    return findings


def _perhaps(analysis: Analysis) -> list[Finding]:
    """The host's own connections to a published container, where what docker-proxy accepts on loopback was not captured."""
    table = analysis.connections
    if "lo" in analysis.interfaces:
        return []
    mine = table[(table["outcome"] == "local") & (table["linked"] == 0) & (table["in_interface"].astype(str) == "")]
    mine = mine[(mine["status"] != "ambiguous") & mine["protocol"].isin(("tcp", "udp"))]
    if not len(mine):
        return []
    doors_to = {(one.protocol, one.server): one.rule.name for one in doors_of(rulebooks(analysis))}
    rules = [
        doors_to.get((str(protocol), (value(dst), int(port))), "") if behind_bridge(analysis.host, dst) else ""
        for protocol, dst, port in zip(mine["protocol"], mine["dst"], mine["dport"], strict=True)
    ]
    mine, rules = picked(mine, map(bool, rules)), [rule for rule in rules if rule]
    if not len(mine):
        return []
    seen = listed(mine["src"].astype(str))
    text = (
        f"{doors(analysis, mine)} sees {seen} in {plural(len(mine), 'connection')} of this host: a program here dialled the "
        "container itself, or docker-proxy did for a client on loopback, which was not captured: that cannot be told."
    )
    return [Finding("client-hidden", text, numbers(mine), tuple(dict.fromkeys(rules)))]
