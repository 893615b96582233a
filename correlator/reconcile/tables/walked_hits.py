"""Hits of packets that were looked at one by one, added up by connection, direction and rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator.reconcile.settle.confirm import uncounted
from correlator.reconcile.settle.judge import FIELDS, Fact, together
from correlator.reconcile.tables.attribution import (
    Attribution,
    facts_of_packets,
    open_fields,
    option_tuples,
    protocols_of,
)
from correlator.reconcile.tables.columns import DIRECTIONS
from correlator.reconcile.tables.hits import HitRows

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.reconcile.settle.judge import Facts
    from correlator.reconcile.tables.numbering import Numbering
    from correlator.reconcile.tables.rule_numbers import RuleNumbers
    from correlator.reconcile.verdict import Verdict

ALL_OPEN = Fact(sum(FIELDS.values()))
OPEN = Fact.UNCONFIRMED | Fact.COVERED | Fact.UNSHOWN
"""What is known of the hits of packets that are still open: neither wire nor counters chose."""
KEYS = ["connection", "direction", "protocol", "client", "dialled", "server", "seen", "entry"]


def add_up_hits(
    verdict: Verdict, attribution: Attribution, numbering: Numbering, numbers: RuleNumbers
) -> HitRows:
    """One row per connection, direction, tuple and rule, in the order of connections."""
    base = _hit_rows(verdict, attribution)
    settled = base[~base["open"]].drop(columns="open")
    doubtful = _open_rows(verdict, attribution)
    rows = pd.concat([settled, doubtful], ignore_index=True) if len(doubtful) else settled
    groups = rows.groupby(KEYS, sort=False, observed=True)
    grouped = groups.agg(
        packets=("packets", "sum"),
        bytes=("bytes", "sum"),
        first_seen=("time", "min"),
        last_seen=("time", "max"),
        stage=("stage", "first"),
    ).reset_index()
    number = groups.ngroup().to_numpy()
    facts = together(rows["facts"].to_numpy().astype(np.uint32), number, len(grouped))
    grouped = grouped.assign(facts=facts | _of_others(verdict, attribution, grouped))
    grouped = grouped.sort_values(
        ["connection", "direction", "first_seen", "entry"], kind="stable", ignore_index=True
    )
    column = {name: grouped[name].to_numpy() for name in grouped}
    stage, entry = column["stage"], column["entry"]
    return HitRows(
        numbering.attributed[column["connection"]],
        column["direction"],
        column["protocol"],
        tuple(column[name] for name in ("client", "dialled", "server", "seen")),
        entry,
        numbers.in_generation(numbers.generation[stage], entry),
        column["packets"],
        column["bytes"],
        column["first_seen"],
        column["last_seen"],
        column["facts"],
    )


def _of_others(verdict: Verdict, attribution: Attribution, grouped: pd.DataFrame) -> Facts:
    """What speaks against how often each connection hit a rule (h,): doubts about packets of its
    that are not counted there, and would be under another reading of them."""
    explored, facts = verdict.decided.explored, facts_of_packets(verdict, attribution)
    doubts = facts & np.uint32(Fact.RESIDUAL | Fact.REJECTED)
    doubted = np.flatnonzero(doubts)
    place = np.full(len(verdict.decided.scene.crossings), -1, dtype=np.int64)
    place[attribution.crossing[doubted]] = doubted
    at = place[explored.rows.crossing]
    kinds = np.unique(np.stack([at[at >= 0], explored.walked.kind[at >= 0]]), axis=1)
    hit = [sorted({entry for way in ways for entry in way.hits}) for ways in explored.walked.ways]
    width = np.array([len(entries) for entries in hit], dtype=np.int64)[kinds[1]]
    entry = np.array([e for kind in kinds[1].tolist() for e in hit[kind]], dtype=np.int64)
    packet = np.repeat(kinds[0], width)
    count = len(verdict.stages.register.entries)

    def code(connection: Ints, direction: Ints, entry: Ints) -> Ints:
        return (connection * len(DIRECTIONS) + direction) * count + entry

    told = code(attribution.connection[packet], attribution.direction[packet], entry)
    asked = code(*(grouped[name].to_numpy() for name in ("connection", "direction", "entry")))
    known, number = np.unique(told, return_inverse=True)
    said = np.r_[together(doubts[packet], number, len(known)), np.uint32(0)]
    where = np.searchsorted(known, asked)
    found = (where < len(known)) & (np.r_[known, -1][where] == asked)
    result: Facts = np.where(found, said[where], np.uint32(0))
    return result


def _hit_rows(verdict: Verdict, attribution: Attribution) -> pd.DataFrame:
    """One line a hit, with what it is grouped by."""
    hits = verdict.decided.hits
    _, counted = verdict.placed
    place = np.full(len(verdict.decided.explored.rows), -1, dtype=np.int64)
    place[attribution.row] = np.arange(len(attribution))
    at = place[hits.row]
    return pd.DataFrame(
        {
            "connection": attribution.connection[at],
            "direction": attribution.direction[at],
            "protocol": attribution.protocol[at],
            "client": attribution.client[at],
            "dialled": attribution.dialled[at],
            "server": attribution.server[at],
            "seen": attribution.seen[at],
            "entry": hits.entry,
            "packets": 1,
            "bytes": hits.bytes,
            "time": attribution.time[at],
            "facts": counted | attribution.facts[at],
            "open": attribution.open[at],
            "stage": verdict.decided.explored.rows.program[hits.row],
        }
    )


def _open_rows(verdict: Verdict, attribution: Attribution) -> pd.DataFrame:
    """Hits of open units: what all options share is certain, the rest is the union of what they
    hit."""
    number = dict(zip(attribution.crossing.tolist(), attribution.connection.tolist(), strict=True))
    known = dict(zip(attribution.crossing.tolist(), attribution.facts.tolist(), strict=True))
    hits, (_, placed) = verdict.decided.hits, verdict.placed
    of_open = np.isin(hits.row, attribution.row[attribution.open])
    said: dict[tuple[int, int], int] = {}
    for row, entry, facts in zip(
        hits.row[of_open].tolist(),
        hits.entry[of_open].tolist(),
        placed[of_open].tolist(),
        strict=True,
    ):
        said[row, entry] = said.get((row, entry), 0) | facts
    lines: list[dict[str, Any]] = []
    for unit in verdict.decided.open:
        tallies: list[dict[tuple[int, ...], list[int]]] = []
        for option in unit.options:
            tally: dict[tuple[int, ...], list[int]] = {}
            for key, found, row, length in option_tuples(verdict.decided, option):
                for entry in found:
                    crossing = int(verdict.decided.explored.rows.crossing[row])
                    part = tally.setdefault((crossing, *key, entry), [0, 0, row])
                    part[0] += 1
                    part[1] += length
            tallies.append(tally)
        unlike = _open_fields(tallies)
        standing = {
            int(verdict.decided.explored.rows.crossing[row]): row for row, _ in unit.options[0]
        }
        for place in dict.fromkeys(key for tally in tallies for key in tally):
            seen = [tally.get(place, [0, 0, 0])[:2] for tally in tallies]
            most, row = max(seen), next(tally[place][2] for tally in tallies if place in tally)
            crossing, direction, client, dialled, server, back, entry = place
            differs = unlike[crossing, entry] if any(one != seen[0] for one in seen) else 0
            # where all options hit the rule alike, its counter speaks for all of them
            counted = (
                OPEN
                if differs & Fact.RULE_OPEN
                else said.get((standing.get(crossing, -1), entry), OPEN)
            )
            lines.append(
                {
                    "connection": number[crossing],
                    "direction": direction,
                    "protocol": int(
                        protocols_of(verdict.decided, np.array([row]), np.array([direction]))[0]
                    ),
                    "client": client,
                    "dialled": dialled,
                    "server": server,
                    "seen": back,
                    "entry": entry,
                    "packets": most[0],
                    "bytes": most[1],
                    "time": int(verdict.decided.scene.crossings.time[crossing]),
                    "facts": (known[crossing] & ~(Fact.DIFFERS | ALL_OPEN))
                    | counted
                    | differs
                    | int(uncounted(verdict.books)),
                    "stage": int(verdict.decided.explored.rows.program[row]),
                }
            )
    return pd.DataFrame(lines)


def _open_fields(tallies: list[dict[tuple[int, ...], list[int]]]) -> dict[tuple[int, int], int]:
    """(crossing, entry) -> what differs of its hits under a unit's options."""
    found: dict[tuple[int, int], int] = {}
    tuples: dict[int, list[tuple[int, ...]]] = {}
    counts: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for number, tally in enumerate(tallies):
        for (crossing, *key, entry), (packets, size, _) in tally.items():
            tuples.setdefault(crossing, []).append(tuple(key))
            several = counts.setdefault((crossing, entry), [(0, 0)] * len(tallies))
            several[number] = (several[number][0] + packets, several[number][1] + size)
    for (crossing, entry), several in counts.items():
        rule = Fact.RULE_OPEN if len(set(several)) > 1 else Fact(0)
        found[crossing, entry] = Fact.DIFFERS | rule | open_fields(tuples[crossing])
    return found
