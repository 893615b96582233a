"""Dropped and rejected: by which rule, or by a policy, and which rule would have let it through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from correlator.firewall.docker import internal_bridge, names_interfaces_only, shielded_bridge
from correlator.firewall.effects.verdicts import Reject
from correlator.firewall.hooks import Hook
from correlator.report.findings.finding import Finding
from correlator.report.findings.phrases import (
    PORTED,
    connections_of,
    listed,
    numbers,
    said,
    sentence,
    unproven,
    was,
)
from correlator.report.findings.published import Published, published, why_not_dnat
from correlator.report.findings.rules import (
    Why,
    base_named,
    behind_bridge,
    device_of,
    hit_names,
    hits_of,
    named,
    quoted,
    rule_named,
    rulebooks,
    split,
    texts_of,
    value,
)
from correlator.report.units import plural

if TYPE_CHECKING:
    import pandas as pd

    from correlator.firewall.model import Rule
    from correlator.reconcile.analysis import Analysis


def dropped(analysis: Analysis) -> list[Finding]:
    """Connections whose first packet was dropped, by the rule or policy that did it, and what was
    missing."""
    table = analysis.connections
    mine = table[table["outcome"] == "dropped"]
    if not len(mine):
        return []
    known, hits = published(analysis), hits_of(analysis, mine["connection"])
    findings: list[Finding] = []
    for (rule, text, status), frame in mine.groupby(
        ["rule", texts_of(analysis, mine), "status"], observed=True, sort=False
    ):
        if str(status) == "ambiguous":
            findings.append(_perhaps(analysis, frame, str(rule)))
            continue
        for (why, more), part in _by_cause(analysis, frame, known, hits, str(rule), str(text)):
            by = quoted(str(rule), str(text))
            findings.append(_dropped(analysis, part, by, why, (str(rule), *more), hits))
    return sorted(findings, key=lambda finding: -len(finding.connections))


def _by_cause(
    analysis: Analysis,
    frame: pd.DataFrame,
    known: Published,
    hits: pd.DataFrame,
    rule: str,
    text: str,
) -> list[tuple[Why, pd.DataFrame]]:
    """Its connections apart by why they were dropped: one look at those that dialled alike."""
    keys = ["protocol", "dst", "dport", "reply_src", "reply_sport", "in_interface"]
    bare = ~frame["protocol"].isin(PORTED)
    ends = frame.assign(
        dport=frame["dport"].where(~bare, 0), reply_sport=frame["reply_sport"].where(~bare, 0)
    )
    group = ends.groupby(keys, observed=True, sort=False).ngroup()
    first = frame[~group.duplicated()]
    told = _reasons(analysis, first, known, hits, rule, text)
    order = {why: i for i, why in enumerate(dict.fromkeys(told))}
    cause = group.map(
        {number: order[why] for number, why in zip(group[first.index].tolist(), told, strict=True)}
    )
    return [(why, frame[cause == i]) for why, i in order.items()]


def _dropped(
    analysis: Analysis,
    frame: pd.DataFrame,
    by: str,
    why: str,
    rules: tuple[str, ...],
    hits: pd.DataFrame,
) -> Finding:
    its = hits[hits["connection"].isin(frame["connection"]) & (hits["direction"] == "original")]
    stopped = int(named(its, rules[0])["packets"].sum()) if split(rules[0])[2] else 0
    later = (its["chain"] == "POSTROUTING").any() or frame["state"].isin(
        ("established", "older")
    ).any()
    later = later or 0 < stopped < int(frame["packets_original"].sum())
    some, verb = ("The first packets of ", "were") if later else ("", was(frame))
    filled = _filled(analysis, why, frame)
    text = (
        f"{some}{connections_of(analysis, frame)} {verb} dropped by {by}{filled}.{unproven(frame)}"
    )
    return Finding("dropped", text, numbers(frame), tuple(dict.fromkeys(rules)))


def _perhaps(analysis: Analysis, frame: pd.DataFrame, rule: str) -> Finding:
    reason = listed(frame["reason"].astype(str), bound=1)
    by = f", most likely by {rule}," if rule else ""
    text = (
        f"{connections_of(analysis, frame)} {was(frame)} dropped{by} which is not certain: "
        f"{reason}."
    )
    return Finding("dropped", text, numbers(frame), (rule,) if rule else ())


def _reasons(
    analysis: Analysis,
    first: pd.DataFrame,
    known: Published,
    hits: pd.DataFrame,
    rule: str,
    text: str,
) -> list[Why]:
    """Why each of these was dropped there, beyond the rule's own words."""
    table, chain, number = split(rule)
    rows = list(first.itertuples())
    asked = rule_named(known.books, rule, text)
    hook = base.hook if (base := base_named(known.books, table, chain)) is not None else None
    if table == "raw":
        return [(_raw(analysis, row, asked), ()) for row in rows]
    if chain.startswith(("DOCKER-ISOLATION", "DOCKER-INTERNAL")):
        return [(_isolated(analysis, row, asked), ()) for row in rows]
    if chain == "DOCKER-USER":
        return [(", in the chain that Docker leaves to the administrator", ())] * len(rows)
    if chain == "DOCKER" and table == "filter" and asked and names_interfaces_only(asked):
        return [_unpublished(analysis, row, known, hits, "") for row in rows]
    if number:
        return [("", ())] * len(rows)
    if hook is Hook.FORWARD:
        return [
            _unpublished(analysis, row, known, hits, ": no rule before it accepts {it}")
            for row in rows
        ]
    if hook is Hook.INPUT:
        whys = why_not_dnat(known, first, hits)
        return [_not_let_in(row, why) for row, why in zip(rows, whys, strict=True)]
    return [(": no rule before it accepts {it}", ())] * len(rows)


def _raw(analysis: Analysis, row: Any, rule: Rule | None) -> str:
    first = (
        ": raw comes first, so neither nat nor filter, where Docker lets published ports in, "
        "saw {it}"
    )
    bridge = shielded_bridge(rule) if rule is not None else ""
    if bridge and behind_bridge(analysis.host, str(row.dst)) == bridge:
        return (
            f"{first}. Docker 28 and newer write such rules: from outside, a container answers "
            f"on published ports only"
        )
    return first


def _isolated(analysis: Analysis, row: Any, rule: Rule | None) -> str:
    """Docker keeps its networks apart."""
    internal = internal_bridge(rule) if rule is not None else ""
    if internal:
        return (
            f": the network {internal} is internal, so nothing comes in from elsewhere and "
            f"nothing goes out"
        )
    came, goes = str(row.in_interface), device_of(analysis.host, str(row.reply_src))
    if not came or not goes or came == goes:
        return ": Docker isolates this network"
    return (
        f": Docker isolates the networks {came} and {goes} from each other (a container can be "
        f"on both)"
    )


def _unpublished(
    analysis: Analysis, row: Any, known: Published, hits: pd.DataFrame, end: str
) -> Why:
    """What FORWARD would have needed to let a packet to a container pass."""
    protocol, server, port = str(row.protocol), str(row.reply_src), int(row.reply_sport)
    bridge, came = behind_bridge(analysis.host, server), str(row.in_interface)
    if protocol not in PORTED or not bridge or came == bridge:
        return end, ()
    if not end and came in analysis.host.bridges:
        return _isolated(analysis, row, None), ()
    mine = hits[hits["connection"] == int(row.connection)]
    asked = not end or bool(((mine["table"] == "filter") & (mine["target"] == "DOCKER")).any())
    missing = f"missing is `-I {'DOCKER' if asked else 'FORWARD'} {{accept}}`{{alike}}"
    if (str(row.dst), int(row.dport)) != (server, port):
        hit = hit_names(mine, ("DNAT", "REDIRECT")).get(int(row.connection), "")
        return f", after {hit or 'DNAT'} led {{it}} to {{server}}{end}. {sentence(missing)}", (
            hit,
        ) if hit else ()
    names = tuple(dict.fromkeys(known.leading_to(value(server), port)))
    if names:
        return (
            f"{end}. {listed(names)} publishes {{server}}, and the client dialled the container "
            f"itself; {missing}",
            names,
        )
    return f"{end}. The port is not published (no DNAT rule leads to {{server}}); {missing}", ()


def _filled(analysis: Analysis, text: str, frame: pd.DataFrame) -> str:
    """A reason with the rules that were missing for these connections: the first one's, spelled
    out."""
    row = frame.iloc[0]
    server, protocol, bridge = (
        row["reply_src"],
        row["protocol"],
        behind_bridge(analysis.host, str(row["reply_src"])),
    )
    accept = (
        f"-d {server}/32 ! -i {bridge} -o {bridge} -p {protocol} -m {protocol} --dport "
        f"{row['reply_sport']} -j ACCEPT"
    )
    alike = (
        ""
        if len(frame[["protocol", "reply_src", "reply_sport"]].drop_duplicates()) == 1
        else " and its like"
    )
    text = text.replace("{accept}", accept).replace("{alike}", alike)
    return said(analysis, text.replace("{door}", f"-p {protocol} --dport {row['dport']}"), frame)


def _not_let_in(row: Any, why: Why) -> Why:
    """What INPUT would have needed, and why it came there."""
    end = ": no rule before it accepts {it}"
    if str(row.protocol) not in PORTED:
        return end, ()
    reason = f"{sentence(why[0])}; " if why[0] else ""
    return (
        f"{end}. {reason}to the host itself `-A INPUT {{door}} -j ACCEPT`{{alike}} would have let "
        f"{{it}} in",
        why[1],
    )


def rejected(analysis: Analysis) -> list[Finding]:
    """Connections whose first packet a rule rejected, and what the client was told."""
    table = analysis.connections
    mine = table[table["outcome"] == "rejected"]
    findings: list[Finding] = []
    if not len(mine):
        return findings
    books = rulebooks(analysis)
    for (rule, text, status), frame in mine.groupby(
        ["rule", texts_of(analysis, mine), "status"], observed=True, sort=False
    ):
        name, what = str(rule), f"{connections_of(analysis, frame)} {was(frame)} rejected"
        if str(status) == "ambiguous":
            what += (
                f", most likely by {name}, which is not certain: "
                f"{listed(frame['reason'].astype(str), bound=1)}."
            )
        else:
            what += (
                f" by {quoted(name, str(text))}: the client gets "
                f"{_answer(rule_named(books, name, str(text)))}.{unproven(frame)}"
            )
        findings.append(Finding("rejected", what, numbers(frame), (name,) if name else ()))
    return findings


def _answer(rule: Rule | None) -> str:
    """What a rule tells the sender of what it rejects."""
    effects = rule.effects if rule is not None else ()
    told = (effect for effect in effects if isinstance(effect, Reject))
    answer = next(told, Reject()).answer
    return "a TCP reset" if answer == "tcp-reset" else f"an ICMP error ({answer})"


def dropped_later(analysis: Analysis) -> list[Finding]:
    """Packets that a rule dropped or rejected of connections whose first packet no rule stopped."""
    hits, table = analysis.hits_of(targets=("DROP", "REJECT")), analysis.connections
    stopped = table["connection"].to_numpy()[
        table["outcome"].isin(("dropped", "rejected")).to_numpy()
    ]
    mine = hits[hits["status"] != "ambiguous"]
    mine = mine[~mine["connection"].isin(stopped)]
    findings = []
    keys = ["table", "chain", "rule_number", "rule", "target", "direction"]
    for (of, chain, number, text, target, direction), frame in mine.groupby(
        keys, observed=True, sort=False
    ):
        name, packets = f"{of}/{chain}:{number or 'policy'}", int(frame["packets"].sum())
        part = table[table["connection"].isin(frame["connection"])]
        what, untracked = (
            plural(packets, "answering packet" if direction == "reply" else "packet"),
            direction == "untracked",
        )
        unknown = ", which conntrack calls INVALID or does not track," if untracked else ""
        findings.append(
            Finding(
                "dropped-later",
                f"{what} of {connections_of(analysis, part)}{unknown} "
                f"{'was' if packets == 1 else 'were'} "
                f"{'dropped' if target == 'DROP' else 'rejected'} by "
                f"{quoted(name, str(text) if number else f'policy {target}')}"
                f"{'' if untracked else ', though no rule stopped the first one'}."
                f"{unproven(frame)}",
                numbers(part),
                (name,),
            )
        )
    return findings
