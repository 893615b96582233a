"""Hits against the kernel's truth: every row that the kernel counted is there, nothing else is,
none is wrong."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

Key = tuple[str, ...]
PROTOCOLS = {"icmp": "1", "tcp": "6", "udp": "17", "ipv6-icmp": "58"}
IGMP = "2"


@dataclass(frozen=True)
class Comparison:
    """``missing``: the kernel counted it and no row says so; ``wrong``: packets or bytes differ in
    a row that claims to be certain; ``extra``: a row that claims to be certain, which the kernel
    does not have."""

    missing: list[Key]
    wrong: list[tuple[Key, tuple[int, int], tuple[int, int]]]
    extra: list[Key]
    ambiguous: int
    rows: int


def _key(row: dict[str, object]) -> Key:
    protocol = PROTOCOLS.get(str(row["protocol"]), str(row["protocol"]))
    rule = re.sub(r"\s+", " ", str(row["rule"]).replace('"', "")).strip()
    if row.get("handle"):
        rule = f"handle {row['handle']}"
    quiet = protocol in ("1", "58")
    sport, dport = ("0", "0") if quiet else (str(row["sport"]), str(row["dport"]))
    return (
        protocol,
        str(row["src"]),
        sport,
        str(row["dst"]),
        dport,
        str(row["direction"]),
        _table(row),
        str(row["chain"]),
        rule,
    )


def _table(row: dict[str, object]) -> str:
    """A table with its family, where that is not ip."""
    family = str(row.get("family") or "ip")
    return str(row["table"]) if family == "ip" else f"{family} {row['table']}"


def read_truth(path: Path) -> dict[Key, tuple[int, int]]:
    """(packets, bytes) of every row of a hits.csv."""
    found: dict[Key, list[int]] = defaultdict(lambda: [0, 0])
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            key = _key(dict(row))
            found[key][0] += int(row["packets"])
            found[key][1] += int(row["bytes"])
    return {key: (packets, size) for key, (packets, size) in found.items() if key[0] != IGMP}


def compare(hits: pd.DataFrame, truth: Path) -> Comparison:
    """Compare a hits table with a hits.csv. What was sent before the trace began (IGMP) is left
    out."""
    want = read_truth(truth)
    have: dict[Key, list[int]] = defaultdict(lambda: [0, 0])
    doubtful: set[Key] = set()
    for row in hits.to_dict("records"):
        key = _key(row)
        if key[0] == IGMP:
            continue
        have[key][0] += int(row["packets"])
        have[key][1] += int(row["bytes"])
        if row["status"] == "ambiguous":
            doubtful.add(key)
    missing = [key for key in want if key not in have]
    wrong = [
        (key, value, (have[key][0], have[key][1]))
        for key, value in want.items()
        if key in have and (have[key][0], have[key][1]) != value and key not in doubtful
    ]
    extra = [key for key in have if key not in want and key not in doubtful]
    return Comparison(missing, wrong, extra, len(doubtful), len(want))


def assert_right(hits: pd.DataFrame, truth: Path, doubts: int = 0) -> None:
    """Every row right and none extra; at most ``doubts`` rows ambiguous."""
    found = compare(hits, truth)
    assert found.rows > 0
    assert (found.missing, found.wrong, found.extra) == ([], [], [])
    assert found.ambiguous <= doubts
