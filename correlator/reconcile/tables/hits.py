"""A verdict -> hits and packets as :mod:`correlator.dataset.schema` declares them, of what was
attributed packet by packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator.dataset import schema
from correlator.flows.conntrack import STATE_NAMES
from correlator.flows.frames.direction import IN, OUT
from correlator.reconcile.settle.judge import (
    EVIDENCE,
    STATUSES,
    Fact,
    evidence_of,
    grounds_of,
    statuses_of,
    together,
)
from correlator.reconcile.tables.attribution import Attribution, option_tuples
from correlator.reconcile.tables.columns import (
    DIRECTIONS,
    address,
    categorical,
    protocol,
    table,
    tuple_columns,
)

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.reconcile.pipeline import Verdict

OPEN = Fact.UNCONFIRMED | Fact.COVERED | Fact.UNSHOWN
"""What is known of the hits of packets that are still open: neither wire nor counters chose."""
KEYS = ["connection", "direction", "protocol", "client", "dialled", "server", "seen", "entry"]


def rule_numbers(verdict: Verdict) -> tuple[Ints, Ints]:
    """Number of every entry in every generation, int64 (generations, entries): -1 where it is not
    there; and (stages,) the generation by which a stage's packets are numbered."""
    numbers = np.full((len(verdict.register.of), len(verdict.register)), -1, dtype=np.int64)
    for generation, (ruleset, of) in enumerate(
        zip(verdict.stages.rulesets, verdict.register.of, strict=True)
    ):
        numbers[generation, of] = [entry.number for entry in ruleset.entries]
    return numbers, np.array([stage.first for stage in verdict.stages.stages], dtype=np.int64)


def walked_width(verdict: Verdict) -> int:
    """The most ways that any kind has, at least 1."""
    return max((len(ways) for ways in verdict.explored.walked.ways), default=1) or 1


def add_up_hits(verdict: Verdict, attribution: Attribution) -> pd.DataFrame:
    """What :func:`hits_table` writes: one row per connection, direction, tuple and rule, with its
    ``facts``."""
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
    facts = together(rows["facts"].to_numpy().astype(np.uint16), number, len(grouped))
    grouped = grouped.assign(facts=facts)
    numbers, generation = rule_numbers(verdict)
    entry = grouped["entry"].to_numpy()
    number = numbers[generation[grouped["stage"].to_numpy()], entry]
    number = np.where(number < 0, numbers.max(axis=0)[entry], number)
    return grouped.assign(rule_number=number).sort_values(
        ["connection", "direction", "first_seen", "entry"], kind="stable", ignore_index=True
    )


def hits_table(verdict: Verdict, rows: pd.DataFrame) -> pd.DataFrame:
    """The hits of :func:`add_up_hits`, as :data:`correlator.dataset.schema.HITS` declares them."""
    entries = verdict.register.entries
    entry = rows["entry"].to_numpy()
    ends = [rows[name].to_numpy() for name in ("client", "dialled", "server", "seen")]
    facts = rows["facts"].to_numpy()
    columns: dict[str, Any] = {
        "connection": rows["connection"].to_numpy(),
        **tuple_columns(rows["protocol"].to_numpy(), *ends),
        "direction": pd.Categorical.from_codes(
            rows["direction"].to_numpy(), categories=list(DIRECTIONS)
        ),
        "table": categorical(entry, lambda e: entries[e].table),
        "chain": categorical(entry, lambda e: entries[e].chain),
        "rule_number": rows["rule_number"].to_numpy(),
        "rule": categorical(entry, lambda e: entries[e].text),
        "target": categorical(entry, lambda e: entries[e].target),
        "packets": rows["packets"].to_numpy(),
        "bytes": rows["bytes"].to_numpy(),
        "first_seen": rows["first_seen"].to_numpy(),
        "last_seen": rows["last_seen"].to_numpy(),
        "evidence": pd.Categorical.from_codes(evidence_of(facts), categories=list(EVIDENCE)),
        "status": pd.Categorical.from_codes(
            statuses_of(grounds_of(facts)), categories=list(STATUSES)
        ),
    }
    return table(columns, schema.HITS)


def _hit_rows(verdict: Verdict, attribution: Attribution) -> pd.DataFrame:
    """One line a hit, with what it is grouped by."""
    hits = verdict.hits
    _, counted = verdict.placed
    place = np.full(len(verdict.explored.rows), -1, dtype=np.int64)
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
            "stage": verdict.explored.rows.program[hits.row],
        }
    )


def _open_rows(verdict: Verdict, attribution: Attribution) -> pd.DataFrame:
    """Hits of open units: what all options share is certain, the rest is the union of what they
    hit."""
    number = dict(zip(attribution.crossing.tolist(), attribution.connection.tolist(), strict=True))
    proto = dict(zip(attribution.crossing.tolist(), attribution.protocol.tolist(), strict=True))
    known = dict(zip(attribution.crossing.tolist(), attribution.facts.tolist(), strict=True))
    uncounted = Fact.UNCOUNTED if verdict.ledger is None else Fact(0)
    lines: list[dict[str, Any]] = []
    for unit in verdict.open:
        tallies: list[dict[tuple[int, ...], list[int]]] = []
        for option in unit.options:
            tally: dict[tuple[int, ...], list[int]] = {}
            for key, found, row, length in option_tuples(verdict, option):
                for entry in found:
                    crossing = int(verdict.explored.rows.crossing[row])
                    part = tally.setdefault((crossing, *key, entry), [0, 0, row])
                    part[0] += 1
                    part[1] += length
            tallies.append(tally)
        for place in dict.fromkeys(key for tally in tallies for key in tally):
            seen = [tally.get(place, [0, 0, 0])[:2] for tally in tallies]
            most, row = max(seen), next(tally[place][2] for tally in tallies if place in tally)
            crossing, direction, client, dialled, server, back, entry = place
            lines.append(
                {
                    "connection": number[crossing],
                    "direction": direction,
                    "protocol": proto[crossing],
                    "client": client,
                    "dialled": dialled,
                    "server": server,
                    "seen": back,
                    "entry": entry,
                    "packets": most[0],
                    "bytes": most[1],
                    "time": int(verdict.scene.crossings.time[crossing]),
                    "facts": (known[crossing] & ~Fact.DIFFERS)
                    | OPEN
                    | (Fact.DIFFERS if any(one != seen[0] for one in seen) else Fact(0))
                    | uncounted,
                    "stage": int(verdict.explored.rows.program[row]),
                }
            )
    return pd.DataFrame(lines)


def packets_table(verdict: Verdict, attribution: Attribution) -> pd.DataFrame:
    """Every frame with its connection and what conntrack called it."""
    packets, scene = verdict.scene.packets, verdict.scene
    count = len(packets)
    connection, direction = np.zeros(count, dtype=np.int64), np.full(count, 2, dtype=np.int64)
    state, crossing = np.full(count, 4, dtype=np.int64), np.zeros(count, dtype=np.int64)
    for rows in (scene.crossings.came_in, scene.crossings.left):
        seen = rows[attribution.crossing]
        good = seen >= 0
        connection[seen[good]] = attribution.connection[good]
        direction[seen[good]] = attribution.direction[good]
        state[seen[good]] = attribution.state[good]
        crossing[seen[good]] = attribution.crossing[good] + 1
    wire = np.select([scene.sight.wire == IN, scene.sight.wire == OUT], ["in", "out"], "")
    columns = {
        "time": packets["time"].to_numpy(),
        "interface": categorical(
            packets["interface"].to_numpy().astype(np.int64), lambda i: scene.names[i]
        ),
        "frame": packets["frame"].to_numpy(),
        "wire": pd.Categorical([str(word) for word in wire]),
        "protocol": categorical(packets["protocol"].to_numpy().astype(np.int64), protocol),
        "src": categorical(packets["src"].to_numpy().astype(np.int64), address),
        "sport": packets["sport"].to_numpy(),
        "dst": categorical(packets["dst"].to_numpy().astype(np.int64), address),
        "dport": packets["dport"].to_numpy(),
        "length": packets["length"].to_numpy(),
        "connection": connection,
        "direction": pd.Categorical.from_codes(direction, categories=list(DIRECTIONS)),
        "crossing": crossing,
        "state": pd.Categorical.from_codes(state, categories=list(STATE_NAMES)),
    }
    return table(columns, schema.PACKETS)
