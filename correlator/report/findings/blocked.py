"""Dropped and rejected: by which rule, or by a policy, and which rule would have let it through."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from correlator.report.findings.finding import Finding
from correlator.report.findings.rules import (
    Rulebook,
    Why,
    behind_bridge,
    device_of,
    doors_of,
    hit_rule,
    hits_of,
    parsed,
    quoted,
    rulebooks,
    texts_of,
    value,
    why_no_dnat,
)  # fmt: skip
from correlator.report.findings.words import connections_of, counted, door, listed, numbers, sentence, unproven, was
from correlator.report.units import plural

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis

PORTS = ("tcp", "udp")


def dropped(analysis: Analysis) -> list[Finding]:
    """Connections whose first packet was dropped, by the rule or policy that did it, and what was missing."""
    table = analysis.connections
    mine = table[table["outcome"] == "dropped"]
    findings: list[Finding] = []
    if not len(mine):
        return findings
    books = rulebooks(analysis)
    for (rule, text, status), frame in mine.groupby(["rule", texts_of(analysis, mine), "status"], observed=True, sort=False):
        for (why, more), part in _by_cause(analysis, frame, books, str(rule), str(text)):
            by = quoted(str(rule), str(text))
            findings.append(_dropped(analysis, part, str(rule), by, str(status), why, more))
    return sorted(findings, key=lambda finding: -len(finding.connections))


def _by_cause(
    analysis: Analysis, frame: pd.DataFrame, books: list[Rulebook], rule: str, text: str
) -> list[tuple[Why, pd.DataFrame]]:
    """Its connections apart by why they were dropped: one look a door and interface."""
    keys = ["protocol", "dst", "dport", "reply_src", "reply_sport", "in_interface"]
    bare = ~frame["protocol"].isin(PORTS)
    ends = frame.assign(dport=frame["dport"].where(~bare, 0), reply_sport=frame["reply_sport"].where(~bare, 0))
    group = ends.groupby(keys, observed=True, sort=False).ngroup()
    first = frame[~group.duplicated()]
    told = [_why(analysis, row, books, rule, text) for row in first.itertuples()]
    reasons = dict(zip(group[first.index].tolist(), told, strict=True))
    order = {why: i for i, why in enumerate(dict.fromkeys(reasons.values()))}
    cause = group.map(lambda number: order[reasons[number]])
    return [(why, frame[cause == i]) for why, i in order.items()]


def _dropped(
    analysis: Analysis, frame: pd.DataFrame, rule: str, by: str, status: str, why: str, more: tuple[str, ...]
) -> Finding:
    chosen = numbers(frame)
    if status == "ambiguous":
        reason = listed(dict.fromkeys(frame["reason"].astype(str)), bound=1)
        text = f"{connections_of(analysis, frame)} {was(frame)} dropped, most likely by {rule}, which is not certain: {reason}."
        return Finding("dropped", text, chosen, (rule,) if rule else ())
    some = "The first packets of " if _passed_later(analysis, frame) else ""
    verb = "were" if some else was(frame)
    text = f"{some}{connections_of(analysis, frame)} {verb} dropped by {by}{counted(why, frame)}.{unproven(status)}"
    return Finding("dropped", text, chosen, tuple(dict.fromkeys((rule, *more))))


def _passed_later(analysis: Analysis, frame: pd.DataFrame) -> bool:
    """Whether later packets of one of them got on: to a rule of POSTROUTING, or to an answer."""
    hits = hits_of(analysis, numbers(frame))
    on = hits[(hits["chain"] == "POSTROUTING") & (hits["direction"] == "original")]
    return bool(len(on)) or bool(frame["state"].isin(("established", "older")).any())


def _why(analysis: Analysis, row: Any, books: list[Rulebook], rule: str, text: str) -> Why:
    table, _, rest = rule.partition("/")
    chain, _, number = rest.rpartition(":")
    if table == "raw":
        return _raw(analysis, row, text), ()
    if chain.startswith(("DOCKER-ISOLATION", "DOCKER-INTERNAL")):
        return _isolated(analysis, row, text), ()
    if chain == "DOCKER-USER":
        return ", in the chain that Docker leaves to the administrator", ()
    default = chain == "DOCKER" and table == "filter" and _names_interfaces_only(table, chain, text)
    if number != "policy" and not default:
        return "", ()
    end = "" if default else ": no rule before it accepts {it}"
    if default and str(row.in_interface) in analysis.host.bridges:
        return _isolated(analysis, row, text), ()
    if chain in ("FORWARD", "DOCKER"):
        return _not_forwarded(analysis, row, books, end)
    return _not_let_in(analysis, row, books, end) if chain == "INPUT" else (end, ())


def _names_interfaces_only(table: str, chain: str, text: str) -> bool:
    matches = parsed(table, chain, 1, text).matches
    return bool(matches) and all(match.name in ("in-interface", "out-interface") for match in matches)


def _raw(analysis: Analysis, row: Any, text: str) -> str:
    first = ": raw comes first, so neither nat nor filter, where Docker lets published ports in, saw {it}"
    away = re.fullmatch(r"-d (\S+?)(?:/32)? ! -i (\S+) (?:-p \S+ -m \S+ --dport \d+ )?-j DROP", text)
    if away and behind_bridge(analysis.host, row.dst) == away[2]:
        return f"{first}. Docker 28 and newer write such rules: from outside, a container answers on published ports only"
    return first


def _isolated(analysis: Analysis, row: Any, text: str) -> str:
    """Docker keeps its networks apart."""
    internal = re.fullmatch(r"! -[sd] \S+ (?:! -[io] \S+ )?-[io] (\S+)(?: ! -[io] \S+)? -j DROP", text)
    if internal:
        return f": the network {internal[1]} is internal, so nothing comes in from elsewhere and nothing goes out"
    came, goes = str(row.in_interface), device_of(analysis.host, row.reply_src)
    if not came or not goes or came == goes:
        return ": Docker isolates this network"
    return f": Docker isolates the networks {came} and {goes} from each other (a container can be on both)"


def _not_forwarded(analysis: Analysis, row: Any, books: list[Rulebook], end: str) -> Why:
    """What FORWARD would have needed."""
    protocol, server, port = str(row.protocol), row.reply_src, int(row.reply_sport)
    bridge = behind_bridge(analysis.host, server)
    if protocol not in PORTS or not bridge or str(row.in_interface) == bridge:
        return end, ()
    rule = f"-A DOCKER -d {server}/32 ! -i {bridge} -o {bridge} -p {protocol} -m {protocol} --dport {port} -j ACCEPT"
    where, missing = door(analysis, protocol, server, port), f"missing is `{rule}`"
    leads = [one.rule.name for one in doors_of(books) if one.protocol == protocol and one.server == (value(server), port)]
    if (str(row.dst), int(row.dport)) != (str(server), port):
        hit = hit_rule(hits_of(analysis, [int(row.connection)]), int(row.connection), ("DNAT",))
        return f", after {hit or 'DNAT'} led {{it}} to {where}{end}. {missing[0].upper()}{missing[1:]}", (hit,) if hit else ()
    if leads:
        names = tuple(dict.fromkeys(leads))
        return f"{end}. {listed(names)} publishes {where}, and the client dialled the container itself; {missing}", names
    return f"{end}. The port is not published (no DNAT rule leads to {where}); {missing}", ()


def _not_let_in(analysis: Analysis, row: Any, books: list[Rulebook], end: str) -> Why:
    """What INPUT would have needed, and why it came there."""
    if str(row.protocol) not in PORTS:
        return end, ()
    why, names = why_no_dnat(books, row, hits_of(analysis, [int(row.connection)]))
    needed = f"`-A INPUT -p {row.protocol} --dport {row.dport} -j ACCEPT` would have let {{it}} in to the host itself"
    return f"{end}. {sentence(why)}{'; ' if why else ''}{needed}", names


def rejected(analysis: Analysis) -> list[Finding]:
    """Connections whose first packet a rule rejected, and what the client was told."""
    table = analysis.connections
    mine = table[table["outcome"] == "rejected"]
    findings: list[Finding] = []
    if not len(mine):
        return findings
    for (rule, said, status), frame in mine.groupby(["rule", texts_of(analysis, mine), "status"], observed=True, sort=False):
        name, chosen = str(rule), numbers(frame)
        if str(status) == "ambiguous":
            text = f"{connections_of(analysis, frame)} {was(frame)} rejected, most likely by {name}, which is not certain."
        else:
            text = (
                f"{connections_of(analysis, frame)} {was(frame)} rejected by {quoted(name, str(said))}: "
                f"the client gets {_answer(name, str(said))}.{unproven(str(status))}"
            )
        findings.append(Finding("rejected", text, chosen, (name,) if name else ()))
    return findings


def _answer(name: str, text: str) -> str:
    table, _, rest = name.partition("/")
    option = parsed(table, rest.rpartition(":")[0], 1, text).target.option("--reject-with")
    answer = option.value if option is not None else "icmp-port-unreachable"
    return "a TCP reset" if answer == "tcp-reset" else f"an ICMP error ({answer.removeprefix('icmp-')})"


def dropped_later(analysis: Analysis) -> list[Finding]:
    """Packets that a rule dropped or rejected of connections whose first packet no rule stopped."""
    hits = analysis.hits
    mine = hits[hits["target"].isin(("DROP", "REJECT")) & (hits["status"] != "ambiguous")]
    table = analysis.connections
    through = table[~table["outcome"].isin(("dropped", "rejected"))]
    mine = mine[mine["connection"].isin(through["connection"])]
    findings = []
    keys = ["table", "chain", "rule_number", "rule", "target", "direction"]
    for (of, chain, number, text, target, direction), frame in mine.groupby(keys, observed=True, sort=False):
        name = f"{of}/{chain}:{number or 'policy'}"
        part = table[table["connection"].isin(frame["connection"])]
        what = {"reply": "answering packet", "untracked": "packet"}.get(str(direction), "packet")
        packets = int(frame["packets"].sum())
        known = ", which conntrack calls INVALID or does not track," if direction == "untracked" else ""
        status = "unverified" if (frame["status"] == "unverified").any() else "exact"
        findings.append(Finding(
            "dropped-later",
            f"{plural(packets, what)} of {connections_of(analysis, part)}{known} {'was' if packets == 1 else 'were'} "
            f"{'dropped' if target == 'DROP' else 'rejected'} by {quoted(name, str(text) if number else f'policy {target}')}"
            f"{'' if direction == 'untracked' else ', though no rule stopped the first one'}.{unproven(status)}",
            numbers(part), (name,),
        ))  # fmt: skip
    return findings
