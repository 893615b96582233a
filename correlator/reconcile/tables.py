"""A verdict -> the tables of :mod:`correlator.dataset.schema`: hits, ledger, rules and packets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator.dataset import schema
from correlator.flows.conntrack import STATE_NAMES
from correlator.flows.crossings import IN, OUT
from correlator.reconcile.attribution import NO_WAY, Attribution, option_tuples
from correlator.reconcile.counters import UNBOUNDED
from correlator.reconcile.words import DIRECTIONS, address, categorical, protocol, table, tuple_columns

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.replay import Verdict

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

EVIDENCE = ("rules", "rules,wire", "rules,counters", "rules,wire,counters")
STATUSES = ("exact", "ambiguous", "unverified")
EXACT, AMBIGUOUS, UNVERIFIED = range(3)
KEYS = ["connection", "direction", "protocol", "client", "dialled", "server", "seen", "entry"]


def intervals_of(verdict: Verdict) -> tuple[Ints, Bools, Bools]:
    """(interval of every hit, -1 outside of all samples; whether the counter confirms it; whether it counted fewer hits
    than the packets seem to have made), all (hits,)."""
    hits, ledger, counters = verdict.hits, verdict.ledger, verdict.counters
    interval = np.full(len(hits), -1, dtype=np.int64)
    good, over = np.zeros(len(hits), dtype=bool), np.zeros(len(hits), dtype=bool)
    if ledger is None or counters is None:
        return interval, good, over
    starts = np.searchsorted(hits.entry, ledger.active)
    ends = np.searchsorted(hits.entry, ledger.active, side="right")
    met = ledger.explained == counters.packets_low[:, ledger.active]  # a policy may start to count in mid-interval
    balanced = (ledger.residual == 0) & (ledger.residual_bytes == 0) & (~ledger.open_ended | met)
    balanced &= counters.known[:, ledger.active] & (counters.packets_high[:, ledger.active] < UNBOUNDED)
    for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        where = np.searchsorted(ledger.upto[:, i], np.arange(end - start), side="right") - 1
        where = np.where(where >= counters.samples - 1, -1, where)
        interval[start:end] = where
        good[start:end] = np.where(where >= 0, balanced[np.maximum(where, 0), i], False)
        over[start:end] = np.where(where >= 0, ledger.residual[np.maximum(where, 0), i] < 0, False)
    return interval, good, over


def rule_numbers(verdict: Verdict) -> tuple[Ints, Ints]:
    """Number of every entry in every generation, int64 (generations, entries): -1 where it is not there; and (stages,)
    the generation by which a stage's packets are numbered."""
    numbers = np.full((len(verdict.register.of), len(verdict.register)), -1, dtype=np.int64)
    for generation, (ruleset, of) in enumerate(zip(verdict.stages.rulesets, verdict.register.of, strict=True)):
        numbers[generation, of] = [entry.number for entry in ruleset.entries]
    return numbers, np.array([stage.first for stage in verdict.stages.stages], dtype=np.int64)


def wire_agrees(verdict: Verdict, attribution: Attribution) -> Bools:
    """Whether the wire shows how each packet ended, (k,): seen leaving, or seen coming in and rightly not leaving."""
    crossings, walked = verdict.scene.crossings, verdict.explored.walked
    sent = crossings.sent[attribution.crossing]
    watched = verdict.scene.watched
    told = np.zeros((len(walked.ways), walked_width(verdict)), dtype=bool)
    for kind, ways in enumerate(walked.ways):
        told[kind, : len(ways)] = [way.path.end != "sent" or way.path.out_interface in watched for way in ways]
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
    grouped = rows.groupby(KEYS, sort=False, observed=True).agg(
        packets=("packets", "sum"), bytes=("bytes", "sum"), first_seen=("time", "min"), last_seen=("time", "max"),
        ambiguous=("ambiguous", "max"), wire=("wire", "min"), counters=("counters", "min"), stage=("stage", "first"),
        covered=("covered", "max"),
    ).reset_index()  # fmt: skip
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
        "direction": pd.Categorical.from_codes(rows["direction"].to_numpy(), categories=list(DIRECTIONS)),
        "table": categorical(entry, lambda e: entries[e].table),
        "chain": categorical(entry, lambda e: entries[e].chain),
        "rule_number": rows["rule_number"].to_numpy(),
        "rule": categorical(entry, lambda e: entries[e].text),
        "target": categorical(entry, lambda e: entries[e].target),
        "packets": rows["packets"].to_numpy(), "bytes": rows["bytes"].to_numpy(),
        "first_seen": rows["first_seen"].to_numpy(), "last_seen": rows["last_seen"].to_numpy(),
        "evidence": pd.Categorical.from_codes(evidence, categories=list(EVIDENCE)),
        "status": pd.Categorical.from_codes(status, categories=list(STATUSES)),
    }  # fmt: skip
    return table(columns, schema.HITS)


def _hit_rows(verdict: Verdict, attribution: Attribution) -> pd.DataFrame:
    """One line a hit, with what it is grouped by."""
    hits = verdict.hits
    interval, confirmed, over = intervals_of(verdict)
    place = np.full(len(verdict.explored.rows), -1, dtype=np.int64)
    place[attribution.row] = np.arange(len(attribution))
    at = place[hits.row]
    return pd.DataFrame({
        "connection": attribution.connection[at], "direction": attribution.direction[at],
        "protocol": attribution.protocol[at], "client": attribution.client[at], "dialled": attribution.dialled[at],
        "server": attribution.server[at], "seen": attribution.seen[at], "entry": hits.entry, "packets": 1,
        "bytes": hits.bytes, "time": attribution.time[at], "ambiguous": over,
        "wire": wire_agrees(verdict, attribution)[at], "counters": confirmed, "open": attribution.open[at],
        "covered": interval >= 0, "stage": verdict.explored.rows.program[hits.row],
    })  # fmt: skip


def _open_rows(verdict: Verdict, attribution: Attribution) -> pd.DataFrame:
    """Hits of open units: what all options share is certain, the rest is the union of what they hit."""
    number = dict(zip(attribution.crossing.tolist(), attribution.connection.tolist(), strict=True))
    proto = dict(zip(attribution.crossing.tolist(), attribution.protocol.tolist(), strict=True))
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
            lines.append({
                "connection": number[crossing], "direction": direction, "protocol": proto[crossing], "client": client,
                "dialled": dialled, "server": server, "seen": back, "entry": entry, "packets": most[0],
                "bytes": most[1], "time": int(verdict.scene.crossings.time[crossing]),
                "ambiguous": unit.capped or any(one != seen[0] for one in seen), "wire": False, "counters": False,
                "covered": True, "stage": int(verdict.explored.rows.program[row]),
            })  # fmt: skip
    return pd.DataFrame(lines)


def ledger_table(verdict: Verdict, attribution: Attribution) -> pd.DataFrame:
    """Counted against explained, per rule and interval in which either moved."""
    counters, ledger = verdict.counters, verdict.ledger
    if counters is None or ledger is None:
        return table({name: np.zeros(0, dtype=np.int64) for name in schema.LEDGER}, schema.LEDGER)
    active = ledger.active
    shown = (counters.packets_low[:, active] != 0) | (ledger.explained != 0) | (ledger.residual != 0)
    shown |= (ledger.residual_bytes != 0) | counters.reset[:, active]
    interval, which = np.nonzero(shown)
    entry = active[which]
    generation = counters.generation[interval + 1]
    numbers, _ = rule_numbers(verdict)
    back = -verdict.clock.offset
    counted = counters.packets_low[interval, entry]
    highest = counters.packets_high[interval, entry]
    explained, residual = ledger.explained[interval, which], ledger.residual[interval, which]
    entries = verdict.register.entries
    columns = {
        "generation": generation,
        "table": categorical(entry, lambda e: entries[e].table),
        "chain": categorical(entry, lambda e: entries[e].chain),
        "rule_number": np.where(numbers[generation, entry] < 0, numbers.max(axis=0)[entry], numbers[generation, entry]),
        "rule": categorical(entry, lambda e: entries[e].text),
        "target": categorical(entry, lambda e: entries[e].target),
        "begin": counters.end[interval] + back, "end": counters.end[interval + 1] + back,
        "counted_packets": counted,
        "counted_packets_high": np.where(highest >= UNBOUNDED, np.maximum(explained, counted), highest),
        "explained_packets": explained, "residual_packets": residual,
        "counted_bytes": counters.bytes_low[interval, entry],
        "explained_bytes": ledger.explained_bytes[interval, which],
        "residual_bytes": ledger.residual_bytes[interval, which],
        "note": pd.Categorical(_notes(verdict, interval, which)),
        "connections": _explainers(verdict, attribution, interval, entry),
    }  # fmt: skip
    frame = table(columns, schema.LEDGER)
    return frame.sort_values(["begin", "generation"], kind="stable", ignore_index=True)


def _notes(verdict: Verdict, interval: Ints, which: Ints) -> list[str]:
    counters, ledger = verdict.counters, verdict.ledger
    assert counters is not None
    assert ledger is not None
    entry = ledger.active[which]
    rounded = counters.packets_low[interval, entry] != counters.packets_high[interval, entry]
    came = ~counters.present[interval, entry] & counters.present[interval + 1, entry]
    went = counters.present[interval, entry] & ~counters.present[interval + 1, entry]
    silent = ledger.uncounted[interval, which] & (ledger.explained[interval, which] > counters.packets_low[interval, entry])
    notes = np.select(
        [counters.reset[interval, entry], came, went, silent, rounded],
        ["reset", "rule added", "rule removed", "not counted", "rounded"], "",
    )  # fmt: skip
    return [str(note) for note in notes]


def _explainers(verdict: Verdict, attribution: Attribution, interval: Ints, entry: Ints) -> list[str]:
    """The connections behind every ledger line, as text."""
    hits = verdict.hits
    where, _, _ = intervals_of(verdict)
    connection = np.zeros(len(verdict.explored.rows), dtype=np.int64)
    connection[attribution.row] = attribution.connection
    width = len(verdict.register)
    frame = pd.DataFrame({"cell": where * width + hits.entry, "connection": connection[hits.row]})[where >= 0]
    frame = frame.drop_duplicates().sort_values(["cell", "connection"])
    words: dict[int, str] = {int(cell): " ".join(map(str, part.tolist())) for cell, part in frame.groupby("cell")["connection"]}
    return [words.get(cell, "") for cell in (interval * width + entry).tolist()]


def rules_table(verdict: Verdict, attribution: Attribution) -> pd.DataFrame:
    """Every rule and policy of every generation, with what it counted in all."""
    counters, ledger, hits = verdict.counters, verdict.ledger, verdict.hits
    entries = verdict.register.entries
    interval, _, _ = intervals_of(verdict)
    connection = np.zeros(len(verdict.explored.rows), dtype=np.int64)
    connection[attribution.row] = attribution.connection
    width = len(verdict.register)
    parts: list[dict[str, Any]] = []
    place = np.full(width, -1, dtype=np.int64)
    if ledger is not None:
        place[ledger.active] = np.arange(len(ledger.active))
    for generation, (ruleset, of) in enumerate(zip(verdict.stages.rulesets, verdict.register.of, strict=True)):
        if counters is not None and ledger is not None:
            mine = counters.generation[1:] == generation
            at = place[of]
            # an entry that never moved has no column in the ledger: its place is -1, where a zero stands
            residual, residual_bytes, explained, explained_bytes = (
                np.append(values[mine].sum(axis=0), 0)[at]
                for values in (ledger.residual, ledger.residual_bytes, ledger.explained, ledger.explained_bytes)
            )
            counted = counters.packets_low[mine][:, of].sum(axis=0)
            counted_bytes = counters.bytes_low[mine][:, of].sum(axis=0)
            chosen = mine[np.maximum(interval, 0)] & (interval >= 0)
        else:
            explained = np.bincount(hits.entry, minlength=width)[of]
            explained_bytes = np.bincount(hits.entry, hits.bytes, minlength=width)[of].astype(np.int64)
            residual = residual_bytes = np.zeros(len(of), dtype=np.int64)
            counted = counted_bytes = np.full(len(of), -1)
            chosen = np.ones(len(hits), dtype=bool)
        pairs = np.unique(np.stack([hits.entry[chosen], connection[hits.row[chosen]]]), axis=1)
        parts.append({
            "generation": np.full(len(of), generation), "entry": of,
            "rule_number": np.array([entry.number for entry in ruleset.entries], dtype=np.int64),
            "counted_packets": counted, "explained_packets": explained, "residual_packets": residual,
            "counted_bytes": counted_bytes, "explained_bytes": explained_bytes, "residual_bytes": residual_bytes,
            "connections": np.bincount(pairs[0], minlength=width)[of],
        })  # fmt: skip
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    entry = columns.pop("entry")
    for name in ("table", "chain", "text", "target"):
        key = "rule" if name == "text" else name
        columns[key] = categorical(entry, lambda e, n=name: getattr(entries[e], n))
    return table(columns, schema.RULES)


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
        "interface": categorical(packets["interface"].to_numpy().astype(np.int64), lambda i: scene.names[i]),
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
