"""A loaded recording against the kernel's rows, one by one.

A row is a connection's original tuple, direction, table, chain and rule; rows of several
connections with the same tuple are one. It is right where packets are the kernel's and every part
of it says ``exact``."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab.accuracy.kernel import NUMBERS
from tests.lab.accuracy.variations import About

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis

Key = tuple[int, str, int, str, int, str, str, str, str]
"""(protocol, source, port, destination, port, direction, table, chain, rule text)."""
IGMP = 2
MANY = 40


@dataclass(frozen=True)
class Counted:
    """What the kernel counted in a row; ``hidden`` of it by packets that are on no wire."""

    packets: int
    size: int
    hidden: int


@dataclass(frozen=True)
class Claimed:
    """What the product says of a row: packets and bytes, ``sure`` packets of them called exact, its
    statuses, connections and whether the ledger has a residual on the rule."""

    packets: int
    size: int
    sure: int
    statuses: frozenset[str]
    connections: tuple[int, ...]


@dataclass
class Score:
    """``counts``: see :data:`tests.lab.accuracy.summary.COLUMNS`. ``wrong``: the first rows that
    claim ``exact`` and are not so: (key, kernel's packets, packets claimed, connections)."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[tuple[Key, int, int, tuple[int, ...]]] = field(default_factory=list)


def row_key(row: dict[str, Any], text: str | None = None) -> Key:
    """The key of a row of hits; ports count for TCP and UDP only, quotes and spaces of rules do
    not."""
    name = str(row["protocol"]).lower()
    protocol = NUMBERS[name] if name in NUMBERS else int(name)
    ports = [max(int(row[side]), 0) if protocol in (6, 17) else 0 for side in ("sport", "dport")]
    rule = re.sub(r'["\\]', "", str(row["rule"]) if text is None else text)
    rule = re.sub(r"\s+", " ", rule).strip() or "(empty)"
    ends = (protocol, str(row["src"]), ports[0], str(row["dst"]), ports[1])
    return (*ends, str(row["direction"]), str(row["table"]), str(row["chain"]), rule)


def read_kernel(path: Path) -> dict[Key, Counted]:
    """The rows of a hits.csv, without IGMP: what was sent before the trace began."""
    sums: dict[Key, list[int]] = defaultdict(lambda: [0, 0, 0])
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            key = row_key(dict(row))
            for at, name in enumerate(("packets", "bytes", "unseeable")):
                sums[key][at] += int(row.get(name) or 0)
    return {key: Counted(*row) for key, row in sums.items() if key[0] != IGMP}


def read_claims(analysis: Analysis, texts: dict[tuple[str, str, int], str]) -> dict[Key, Claimed]:
    """What the product says; ``texts`` spell rules as iptables-save does: listings do not."""
    parts: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for row in analysis.hits.to_dict("records"):
        place = (str(row["table"]), str(row["chain"]), int(row["rule_number"]))
        key = row_key(row, texts.get(place) if place[2] else None)
        if key[0] != IGMP:
            parts[key].append(row)
    return {
        key: Claimed(
            sum(int(row["packets"]) for row in rows),
            sum(int(row["bytes"]) for row in rows),
            sum(int(row["packets"]) for row in rows if row["status"] == "exact"),
            frozenset(str(row["status"]) for row in rows),
            tuple(sorted({int(row["connection"]) for row in rows})),
        )
        for key, rows in parts.items()
    }


def phantoms(case: Path) -> set[tuple[str, str]]:
    """Base chains without rules whose policy never counted: nobody can tell them from chains that
    are not there."""
    rules, moved, declared, table = set(), set(), set(), ""
    for line in (case / "counters.log").read_text().splitlines():
        policy = re.match(r":(\S+) \w+ \[(\d+):", line)
        if line.startswith("*"):
            table = line[1:]
        elif policy:
            declared.add((table, policy[1]))
            moved |= {(table, policy[1])} if policy[2] != "0" else set()
        elif rule := re.match(r"\[\d+:\d+\] -A (\S+)", line):
            rules.add((table, rule[1]))
    return declared - rules - moved


def shown_ends(analysis: Analysis) -> set[tuple[Any, ...]]:
    """Who was on any wire: the ends of TCP and UDP packets, the pairs of addresses of others."""
    columns = ["protocol", "src", "sport", "dst", "dport"]
    found: set[tuple[Any, ...]] = set()
    for name, src, sport, dst, dport in (
        analysis.packets[columns].drop_duplicates().itertuples(index=False)
    ):
        number = NUMBERS[str(name).lower()] if str(name).lower() in NUMBERS else int(name)
        found |= (
            {(number, src, sport), (number, dst, dport)}
            if number in (6, 17)
            else {(number, *sorted((src, dst)))}
        )
    return found


def false_claims(
    kernel: dict[Key, Counted], claims: dict[Key, Claimed]
) -> list[tuple[Key, int, Claimed]]:
    """(key, packets that the kernel counted, claim) of every row that claims ``exact`` and is
    wrong. What no wire shows may be missing."""
    found = []
    for key, claimed in claims.items():
        row = kernel.get(key, Counted(0, 0, 0))
        whole = (row.packets, row.packets - row.hidden)
        short = claimed.statuses == {"exact"} and claimed.sure not in whole
        if claimed.sure > row.packets or short:
            found.append((key, row.packets, claimed))
    return found


def score(case: Path, analysis: Analysis, known: About, listed: bool) -> Score:
    """Hold an analysis of a case against its truth. ``listed``: it read listings only."""
    texts = rule_texts(case) if listed and not known.changes else {}
    ghosts = phantoms(case)
    counted = read_kernel(case / "truth" / "hits.csv").items()
    claimed = read_claims(analysis, texts).items()
    kernel = {
        key: row
        for key, row in counted
        if key[6:8] not in ghosts and (not listed or key[6] in known.tables)
    }
    claims = {key: claim for key, claim in claimed if key[6:8] not in ghosts}
    wrong = false_claims(kernel, claims)
    result = Score(_count(kernel, claims, {key for key, _, _ in wrong}, analysis))
    result.counts["exact_wrong"] = len(wrong)
    result.counts["clean_wrong"] = len(wrong) > 0 and _clean(analysis)
    result.wrong = [(key, packets, c.sure, c.connections) for key, packets, c in wrong[:MANY]]
    return result


def _count(
    kernel: dict[Key, Counted], claims: dict[Key, Claimed], wrong: set[Key], analysis: Analysis
) -> Counter[str]:
    statuses, shown = _statuses(analysis), shown_ends(analysis)
    counts: Counter[str] = Counter()
    for key, row in kernel.items():
        seen = row.packets > row.hidden and _seen(key, shown)
        claimed = claims.get(key)
        counts["rows"] += 1
        counts["seen"] += seen
        if claimed is None:
            counts["open_without"] += "ambiguous" in statuses[key[:5]]
        elif key in wrong:
            continue
        elif "ambiguous" in claimed.statuses:
            counts["open_with"] += 1
        elif claimed.statuses == {"exact"} and claimed.packets == row.packets:
            counts["right"] += 1
            counts["right_seen"] += seen
    return counts


def _clean(analysis: Analysis) -> bool:
    """Whether the ledger has no residual."""
    balances = analysis.balances
    return len(balances) > 0 and not (balances["residual_packets"] != 0).any()


def _statuses(analysis: Analysis) -> dict[tuple[Any, ...], set[str]]:
    found: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    blank = {"direction": "", "table": "", "chain": "", "rule": ""}
    for row in analysis.connections.to_dict("records"):
        found[row_key({**row, **blank})[:5]].add(str(row["status"]))
    return found


def _seen(key: Key, shown: set[tuple[Any, ...]]) -> bool:
    return (
        (key[0], key[1], key[2]) in shown
        if key[0] in (6, 17)
        else (key[0], *sorted((key[1], key[3]))) in shown
    )


def rule_texts(case: Path) -> dict[tuple[str, str, int], str]:
    """(table, chain, number) -> rule as iptables-save spells it, of the rules that stood there
    first."""
    texts: dict[tuple[str, str, int], str] = {}
    numbers: Counter[tuple[str, str]] = Counter()
    table = ""
    for line in (case / "rules.v4").read_text().splitlines():
        rule = re.match(r"-A (\S+) ?(.*)", line)
        if line.startswith("*"):
            table = line[1:]
        elif rule:
            numbers[table, rule[1]] += 1
            texts[table, rule[1], numbers[table, rule[1]]] = rule[2]
    return texts
