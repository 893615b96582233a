"""A verdict -> hits and packets as :mod:`correlator.dataset.schema` declares them, of what was
attributed packet by packet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator.dataset import schema
from correlator.flows.conntrack import STATE_NAMES
from correlator.flows.crossings import IN, OUT
from correlator.reconcile.intake.counters import UNBOUNDED
from correlator.reconcile.settle.unseen import unseen
from correlator.reconcile.tables.attribution import NO_WAY, Attribution, option_tuples
from correlator.reconcile.tables.columns import (
    DIRECTIONS,
    address,
    categorical,
    protocol,
    table,
    tuple_columns,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.intake.counters import Counters
    from correlator.reconcile.pipeline import Verdict
    from correlator.reconcile.settle.ledger import Account

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

EVIDENCE = ("rules", "rules,wire", "rules,counters", "rules,wire,counters")
STATUSES = ("exact", "ambiguous", "unverified")
EXACT, AMBIGUOUS, UNVERIFIED = range(3)
KEYS = ["connection", "direction", "protocol", "client", "dialled", "server", "seen", "entry"]


def intervals_of(verdict: Verdict) -> tuple[Ints, Bools, Bools]:
    """(interval of every hit, -1 outside of all samples; whether the counter confirms it; whether
    it counted fewer hits than the packets seem to have made), all (hits,)."""
    hits, ledger = verdict.hits, verdict.ledger
    interval = np.full(len(hits), -1, dtype=np.int64)
    good, over = np.zeros(len(hits), dtype=bool), np.zeros(len(hits), dtype=bool)
    if ledger is None:
        return interval, good, over
    places = {
        entry: np.searchsorted(hits.entry, [entry, entry + 1]).tolist() for entry in ledger.accounts
    }
    ranks = {entry: np.arange(end - start) for entry, (start, end) in places.items() if start < end}
    for part in verdict.tallies.blocks() if ranks else ():
        for entry, rank in ranks.items():
            others = np.sort(part.gather(part.low, part.members.get(entry, ())), kind="stable")
            rank += np.searchsorted(others, hits.low[slice(*places[entry])], side="left")
    for entry, rank in ranks.items():
        at = slice(*places[entry])
        interval[at], good[at], over[at] = place_hits(verdict, entry, rank)
    return interval, good, over


def place_hits(verdict: Verdict, entry: int, rank: Ints) -> tuple[Ints, Bools, Bools]:
    """The same of one entry's hits, by their number in order of time among all of its hits; all
    (h,)."""
    assert verdict.ledger is not None
    assert verdict.counters is not None
    account, counters = verdict.ledger.accounts[entry], verdict.counters
    balanced = confirmed(account, counters, entry)
    where = np.searchsorted(account.upto, rank, side="right") - 1
    where = np.where(where >= counters.samples - 1, -1, where)
    at = np.maximum(where, 0)
    if not len(balanced):
        return where, np.zeros(len(rank), dtype=bool), np.zeros(len(rank), dtype=bool)
    return where, (where >= 0) & balanced[at], (where >= 0) & (account.residual[at] < 0)


def confirmed(account: Account, counters: Counters, entry: int) -> Bools:
    """The intervals in which an entry's counter confirms all hits that fall into them, bool
    (S-1,)."""
    moved, most = counters.packets_of(entry)
    met = account.explained == moved  # a policy may start to count in mid-interval
    balanced: Bools = (
        (account.residual == 0) & (account.residual_bytes == 0) & (~account.open_ended | met)
    )
    return balanced & counters.known_of(entry) & (most < UNBOUNDED)


def rule_numbers(verdict: Verdict) -> tuple[Ints, Ints]:
    """Number of every entry in every generation, int64 (generations, entries): -1 where it is not
    there; and (stages,) the generation by which a stage's packets are numbered."""
    numbers = np.full((len(verdict.register.of), len(verdict.register)), -1, dtype=np.int64)
    for generation, (ruleset, of) in enumerate(
        zip(verdict.stages.rulesets, verdict.register.of, strict=True)
    ):
        numbers[generation, of] = [entry.number for entry in ruleset.entries]
    return numbers, np.array([stage.first for stage in verdict.stages.stages], dtype=np.int64)


def wire_agrees(verdict: Verdict, attribution: Attribution) -> Bools:
    """Whether the wire shows how each packet ended, (k,): seen leaving, or seen coming in and
    rightly not leaving."""
    crossings, walked = verdict.scene.crossings, verdict.explored.walked
    sent = crossings.sent[attribution.crossing]
    watched = verdict.scene.watched
    told = np.zeros((len(walked.ways), walked_width(verdict)), dtype=bool)
    for kind, ways in enumerate(walked.ways):
        told[kind, : len(ways)] = [
            way.path.end != "sent" or way.path.out_interface in watched for way in ways
        ]
    ended = told[walked.kind[attribution.row], np.maximum(attribution.way, 0)]
    result: Bools = (sent | ended) & (attribution.way != NO_WAY)
    return result


def walked_width(verdict: Verdict) -> int:
    """The most ways that any kind has, at least 1."""
    return max((len(ways) for ways in verdict.explored.walked.ways), default=1) or 1


def hits_table(verdict: Verdict, attribution: Attribution) -> pd.DataFrame:
    """The hits, one row per connection, direction, tuple and rule."""
    base = _hit_rows(verdict, attribution)
    settled = base[~base["open"]].drop(columns="open")
    doubtful = _open_rows(verdict, attribution)
    rows = pd.concat([settled, doubtful], ignore_index=True) if len(doubtful) else settled
    grouped = (
        rows.groupby(KEYS, sort=False, observed=True)
        .agg(
            packets=("packets", "sum"),
            bytes=("bytes", "sum"),
            first_seen=("time", "min"),
            last_seen=("time", "max"),
            ambiguous=("ambiguous", "max"),
            wire=("wire", "min"),
            counters=("counters", "min"),
            stage=("stage", "first"),
            covered=("covered", "max"),
        )
        .reset_index()
    )
    numbers, generation = rule_numbers(verdict)
    entry = grouped["entry"].to_numpy()
    number = numbers[generation[grouped["stage"].to_numpy()], entry]
    number = np.where(number < 0, numbers.max(axis=0)[entry], number)
    grouped = grouped.assign(rule_number=number).sort_values(
        ["connection", "direction", "first_seen", "entry"], kind="stable", ignore_index=True
    )
    return _write_hits(verdict, grouped)


def _write_hits(verdict: Verdict, rows: pd.DataFrame) -> pd.DataFrame:
    entries = verdict.register.entries
    entry = rows["entry"].to_numpy()
    ends = [rows[name].to_numpy() for name in ("client", "dialled", "server", "seen")]
    unverified = verdict.counters is None or verdict.counters.samples < 2
    certain = UNVERIFIED if unverified else EXACT
    status = np.where(rows["ambiguous"], AMBIGUOUS, np.where(rows["covered"], certain, UNVERIFIED))
    evidence = rows["wire"].to_numpy().astype(np.int64) + 2 * rows["counters"].to_numpy()
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
        "evidence": pd.Categorical.from_codes(evidence, categories=list(EVIDENCE)),
        "status": pd.Categorical.from_codes(status, categories=list(STATUSES)),
    }
    return table(columns, schema.HITS)


def _hit_rows(verdict: Verdict, attribution: Attribution) -> pd.DataFrame:
    """One line a hit, with what it is grouped by."""
    hits = verdict.hits
    interval, confirmed, over = verdict.intervals
    place = np.full(len(verdict.explored.rows), -1, dtype=np.int64)
    place[attribution.row] = np.arange(len(attribution))
    at = place[hits.row]
    hidden, connection = unseen(verdict, attribution), attribution.connection[at]
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
            "ambiguous": over | (hidden.once[connection] & ~confirmed) | hidden.guessed[connection],
            "wire": wire_agrees(verdict, attribution)[at],
            "counters": confirmed,
            "open": attribution.open[at],
            "covered": interval >= 0,
            "stage": verdict.explored.rows.program[hits.row],
        }
    )


def _open_rows(verdict: Verdict, attribution: Attribution) -> pd.DataFrame:
    """Hits of open units: what all options share is certain, the rest is the union of what they
    hit."""
    number = dict(zip(attribution.crossing.tolist(), attribution.connection.tolist(), strict=True))
    proto = dict(zip(attribution.crossing.tolist(), attribution.protocol.tolist(), strict=True))
    once = unseen(verdict, attribution).once
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
                    "ambiguous": unit.capped
                    or once[number[crossing]]
                    or any(one != seen[0] for one in seen),
                    "wire": False,
                    "counters": False,
                    "covered": True,
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
