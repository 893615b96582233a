"""Packets that came in and never left, with no rule to blame: what the kernel did where that is
known, else what is possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from correlator.addresses import is_no_source
from correlator.flows.pairs import UNREACHABLE
from correlator.report.findings.finding import Finding
from correlator.report.findings.phrases import connections_of, listed, numbers, picked, said, was
from correlator.report.findings.rules import device_of, value
from correlator.report.findings.unserved import refusers

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis


def lost(analysis: Analysis) -> list[Finding]:
    """Connections whose packets came in and went nowhere; groups (multicast, broadcast) are not for
    everyone and left out."""
    table = analysis.connections
    mine = table[(table["outcome"] == "lost") & table["protocol"].isin(("tcp", "udp", "icmp"))]
    findings = []
    mine = picked(
        mine, (analysis.host.address_type(value(str(address))) in SINGLE for address in mine["dst"])
    )
    keys = mine[["src", "reply_src", "in_interface"]].drop_duplicates()
    reasons = {
        tuple(row): _reason(analysis, *map(str, row)) for row in keys.itertuples(index=False)
    }
    codes = _prohibited(analysis, mine)
    said = [
        _filtered(codes[number]) if number in codes else reasons[row]
        for number, row in zip(
            mine["connection"].tolist(),
            mine[["src", "reply_src", "in_interface"]].itertuples(index=False, name=None),
            strict=True,
        )
    ]
    told = mine["connection"].isin(codes).to_numpy()
    for (reason, filtered, status), frame in mine.groupby(
        [said, told, mine["status"].astype(str).to_numpy()], sort=False
    ):
        known = bool(reason) and not filtered  # routing did it: no rule, recorded or not
        text = (
            f"{connections_of(analysis, frame)} came in by {_interfaces(frame)} and never left, "
            f"and no {'' if known else 'recorded '}rule dropped "
            f"{'it' if len(frame) == 1 else 'them'}: "
            f"{reason or _possible(analysis, frame, str(status))}."
            f"{'' if filtered else _told(analysis, frame)}"
        )
        findings.append(Finding("lost", text, numbers(frame)))
    return findings


PROHIBITED = (9, 10, 13)
"""Codes of "destination unreachable" that say "administratively prohibited" (RFC 1812, 5.2.7.1).
The kernel sends them for rules that reject and for routes of type prohibit (ip_error,
net/ipv4/route.c)."""


def _prohibited(analysis: Analysis, frame: pd.DataFrame) -> dict[int, int]:
    """connection -> the code by which this host told that it is administratively prohibited."""
    errors = analysis.errors_of(frame["connection"].to_numpy())
    errors = errors[(errors["icmp_type"] == UNREACHABLE) & errors["icmp_code"].isin(PROHIBITED)]
    return {
        int(number): int(code)
        for number, source, code in zip(
            errors["connection"], errors["src"], errors["icmp_code"], strict=True
        )
        if analysis.host.is_local(value(str(source)))
    }


def _filtered(code: int) -> str:
    return (
        f"this host answered that it is administratively prohibited (ICMP type {UNREACHABLE}, "
        f"code {code}), as a rule that rejects does, or a route of type prohibit: look at firewall "
        f"tables that were not recorded (nft list ruleset)"
    )


def _interfaces(frame: pd.DataFrame) -> str:
    return (
        " and ".join(sorted(set(frame["in_interface"].astype(str))))
        or "an interface that was not captured"
    )


def _told(analysis: Analysis, frame: pd.DataFrame) -> str:
    """Whether this host told the clients itself."""
    told = {
        source
        for source in refusers(analysis, frame).values()
        if analysis.host.is_local(value(source))
    }
    return (
        f" This host told the client so by an ICMP error (from {listed(sorted(told))})."
        if told
        else ""
    )


def _reason(analysis: Analysis, source: str, target: str, interface: str) -> str:
    """What the kernel did, where routes and settings leave no choice; empty where they do."""
    host = analysis.host
    if is_no_source(value(source)):
        return (
            f"the source {source} is a group's or everybody's address, and nothing from there is "
            f"routed: the kernel drops it after PREROUTING"
        )
    if not host.certain:
        return ""
    route = host.route(value(target))
    if route is None or route.blackhole:
        return f"no route leads to {target}"
    if host.keeps_out(value(target), interface):
        return (
            f"{target} is a loopback address, which nothing from outside may reach while "
            f"route_localnet is 0 on {interface}: the kernel drops it after PREROUTING"
        )
    if not host.is_local(value(target)) and not host.forwards(interface):
        return (
            f"this host does not forward what comes in by {interface} (net.ipv4.ip_forward, or "
            f"conf.{interface}.forwarding, is 0): the kernel drops it after PREROUTING"
        )
    why = host.turned_away(value(source), interface)
    if why == "martian":
        return (
            f"the source {source} is this host's own address, and accept_local is off on "
            f"{interface}"
        )
    if why == "reverse-path":
        back = device_of(host, source)
        leads = (
            f"the route back to {source} leads to {back}"
            if back
            else f"no route leads back to {source}"
        )
        mode = (host.reverse_path or {}).get(interface, 1)
        return (
            f"rp_filter is {mode} on {interface} and {leads}, so the kernel drops it after "
            f"PREROUTING"
        )
    return ""


SINGLE = ("LOCAL", "UNICAST", "BLACKHOLE")
CHECKSUMS = (
    "a wrong IP checksum (dropped before any rule)",
    "a wrong TCP or UDP checksum (INVALID to conntrack, so not translated)",
)
BEHIND = (
    "nobody answered ARP for the address, traffic control or a firewall table that was not "
    "recorded dropped {it}, or the capture lost {it}"
)


def _possible(analysis: Analysis, frame: pd.DataFrame, status: str) -> str:
    """What is left that could have done it: counters tell whether it met its rules, facts whether
    its source was believed."""
    if status == "ambiguous":
        return (
            f"the rules counted fewer packets than came in, so some did not get there; "
            f"possible are {', '.join(CHECKSUMS)}, or a rule of a firewall table that was not "
            f"recorded (nft list ruleset)"
        )
    route = "no route is missing and the time to live had not run out"
    if status == "exact":
        return said(
            analysis,
            f"by the counters the packets met every rule up to POSTROUTING; {route}; possibly "
            f"{BEHIND}",
            frame,
        )
    settings = (
        "" if analysis.host.reverse_path is not None else "rp_filter (its setting was not saved), "
    )
    routes = "the time to live had not run out" if not analysis.host.certain else route
    return said(
        analysis,
        f"{routes}; possible are {settings}{', '.join(CHECKSUMS)}, or that {BEHIND}",
        frame,
    )


def expired(analysis: Analysis) -> list[Finding]:
    """Connections whose packets' time to live ran out at this host."""
    table = analysis.connections
    mine = table[(table["outcome"] == "expired") & (table["status"] != "ambiguous")]
    if not len(mine):
        return []
    text = (
        f"{connections_of(analysis, mine)} {was(mine)} dropped because the time to live ran out "
        f"at this host, after PREROUTING "
        "and before FORWARD: no rule did it. traceroute does so on purpose; else packets go "
        "round, or their sender starts too low."
    )
    return [Finding("expired", text, numbers(mine))]
