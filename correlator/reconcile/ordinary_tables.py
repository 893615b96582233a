"""Ordinary connections -> their rows of the connections and hits tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator.dataset import schema
from correlator.reconcile.balances import doubted_entries, ordinary_ranks
from correlator.reconcile.outcomes import COUNTED_FEWER, path_outcome
from correlator.reconcile.tables import AMBIGUOUS, EVIDENCE, EXACT, STATUSES, UNVERIFIED, ordinary_hits, place_hits, rule_numbers
from correlator.reconcile.words import DIRECTIONS, categorical, table, tuple_columns

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.numbering import Numbering
    from correlator.reconcile.ordinary import Ordinary
    from correlator.reconcile.replay import Verdict

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

TCP = 6


def ordinary_connections(verdict: Verdict, numbering: Numbering) -> pd.DataFrame:
    """One row a connection, in the order of their numbers, as :data:`correlator.dataset.schema.CONNECTIONS` has it."""
    ordinary = verdict.ordinary
    assert ordinary is not None
    at = np.flatnonzero(ordinary.kept)
    at = at[np.argsort(numbering.ordinary[at], kind="stable")]
    c = ordinary.folded.connections[at]
    ends = [c[name].astype(np.int64) for name in ("client", "dialled", "server", "seen")]
    combination = ordinary.combination[ordinary.group[at], c["kind"]]
    outcomes, rules = _outcomes(verdict, ordinary)
    replies = c["packets"][:, 1]
    state = np.select(
        [(c["refusals"] > 0) & (c["refusals"] == replies), replies > 0, c["protocol"] == TCP], [0, 1, 2], 3
    )  # fmt: skip
    status = _worst(verdict, ordinary)[at]
    why = np.array(["", COUNTED_FEWER, "no counters" if verdict.ledger is None else "outside of the counter log"], dtype=object)
    names = list(ordinary.names)
    columns: dict[str, Any] = {
        "connection": numbering.ordinary[at], **tuple_columns(c["protocol"].astype(np.int64), *ends),
        "first_seen": c["first"].astype(np.int64), "last_seen": c["last"].astype(np.int64),
        "packets_original": c["packets"][:, 0], "packets_reply": replies, "bytes_original": c["bytes"][:, 0],
        "bytes_reply": c["bytes"][:, 1], "in_interface": _named(c["in_code"], names), "out_interface": _named(c["out_code"], names),
        "outcome": _named(combination, outcomes), "rule": np.array(rules, dtype=object)[combination],
        "state": pd.Categorical.from_codes(state, categories=["refused", "established", "half-open", "one-way"]),
        "linked": np.zeros(len(at), dtype=np.int64), "status": pd.Categorical.from_codes(status, categories=list(STATUSES)),
        "reason": why[status],
    }  # fmt: skip
    return table(columns, schema.CONNECTIONS)


def _named(codes: npt.NDArray[Any], names: list[str]) -> pd.Categorical:
    return categorical(codes.astype(np.int64), lambda code: names[code])


def _outcomes(verdict: Verdict, ordinary: Ordinary) -> tuple[list[str], list[str]]:
    """(what became of a connection whose first packet was of each combination, the rule that decided)."""
    numbers, _ = rule_numbers(verdict)
    stage = verdict.stages.stages[verdict.stages.number(0, 0)]
    v = ordinary.rows.columns
    outcomes, rules = [], []
    for row, way in enumerate(ordinary.way):
        if way is None:
            outcomes.append("")
            rules.append("")
            continue
        ends = tuple(int(v[name][row]) for name in ("client", "dialled", "server", "seen"))
        outcome, decider = path_outcome(way.path, stage.program.ruleset.entries, True, verdict.scene.watched, ends, True)
        outcomes.append(outcome)
        if decider < 0:
            rules.append("")
            continue
        entry = stage.numbers[decider]
        found, number = verdict.register.entries[entry], int(numbers[stage.first, entry])
        rules.append(f"{found.table}/{found.chain}:{number if number > 0 else found.number or 'policy'}")
    return outcomes, rules


def _worst(verdict: Verdict, ordinary: Ordinary) -> Ints:
    """Number in STATUSES of every connection's worst hit, (c,)."""
    count = len(ordinary.kept)
    if verdict.counters is None or verdict.counters.samples < 2 or verdict.ledger is None:
        return np.full(count, UNVERIFIED)
    owner = ordinary.whole.owner
    ambiguous, uncovered = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    counts = verdict.tallies.counts
    for entry in doubted_entries(verdict):
        account = verdict.ledger.accounts[entry]
        if not (account.residual < 0).any() and int(account.upto[0]) == 0 and int(account.upto[-1]) >= int(counts[entry]):
            continue
        low, packet = ordinary_hits(verdict, entry)
        interval, _, over = place_hits(verdict, entry, ordinary_ranks(verdict, entry, low))
        ambiguous[owner[packet[over]]] = True
        # a rule's hits are covered where any of them is (hits_table)
        per_rule = np.zeros(2 * count, dtype=np.int8)
        direction = ordinary.direction[packet]
        per_rule[owner[packet] * 2 + direction] |= 1
        per_rule[(owner[packet] * 2 + direction)[interval >= 0]] |= 2
        uncovered |= ((per_rule == 1).reshape(-1, 2)).any(axis=1)
    return np.where(ambiguous, AMBIGUOUS, np.where(uncovered, UNVERIFIED, EXACT))


def ordinary_hits_table(verdict: Verdict, numbering: Numbering, wanted: Bools | None = None) -> pd.DataFrame:
    """One row per connection (those in ``wanted`` (c,), where given), direction and rule, as
    :data:`correlator.dataset.schema.HITS` declares it."""
    ordinary = verdict.ordinary
    assert ordinary is not None
    rows = _grouped(verdict, ordinary, wanted)
    owner, entry, direction = (rows[name].to_numpy() for name in ("owner", "entry", "direction"))
    c, entries = ordinary.folded.connections[owner], verdict.register.entries
    numbers, _ = rule_numbers(verdict)
    number = numbers[verdict.stages.stages[verdict.stages.number(0, 0)].first]
    unverified = verdict.counters is None or verdict.counters.samples < 2
    certain = UNVERIFIED if unverified else EXACT
    status = np.where(rows["ambiguous"], AMBIGUOUS, np.where(rows["covered"], certain, UNVERIFIED))
    columns: dict[str, Any] = {
        "connection": numbering.ordinary[owner],
        **tuple_columns(c["protocol"].astype(np.int64), *(c[n].astype(np.int64) for n in ("client", "dialled", "server", "seen"))),
        "direction": pd.Categorical.from_codes(direction, categories=list(DIRECTIONS)),
        "table": categorical(entry, lambda e: entries[e].table), "chain": categorical(entry, lambda e: entries[e].chain),
        "rule_number": number[entry], "rule": categorical(entry, lambda e: entries[e].text),
        "target": categorical(entry, lambda e: entries[e].target), "packets": rows["packets"].to_numpy(),
        "bytes": rows["bytes"].to_numpy(), "first_seen": rows["first_seen"].to_numpy(), "last_seen": rows["last_seen"].to_numpy(),
        "evidence": pd.Categorical.from_codes(1 + 2 * rows["counters"].to_numpy(), categories=list(EVIDENCE)),
        "status": pd.Categorical.from_codes(status, categories=list(STATUSES)),
    }  # fmt: skip
    return table(columns, schema.HITS)


def _grouped(verdict: Verdict, ordinary: Ordinary, wanted: Bools | None) -> pd.DataFrame:
    """Hits by owner, direction and entry: packets, bytes, first and last time, and what the counters say of them."""
    combination, length = ordinary.whole.combination, ordinary.whole.length
    owner, came = ordinary.whole.owner, ordinary.whole.came
    if wanted is not None:
        mine = wanted[owner]
        combination, length, owner, came = combination[mine], length[mine], owner[mine], came[mine]
    owner = owner.astype(np.int64)
    width = len(ordinary.way)
    packets = pd.DataFrame({"key": owner * width + combination, "bytes": length.astype(np.int64), "time": came})
    few = packets.groupby("key", sort=True).agg(
        packets=("time", "size"), bytes=("bytes", "sum"), first_seen=("time", "min"), last_seen=("time", "max")
    ).reset_index()  # fmt: skip
    key = few["key"].to_numpy()
    taken = [way.hits if way is not None else () for way in ordinary.way]
    sizes = np.array([len(hits) for hits in taken], dtype=np.int64)
    offsets = np.cumsum(sizes) - sizes
    flat = np.array([entry for hits in taken for entry in hits], dtype=np.int64)
    count = sizes[key % width]
    at = np.repeat(np.arange(len(few)), count)
    within = np.arange(len(at)) - np.repeat(np.cumsum(count) - count, count)
    entry = flat[np.repeat(offsets[key % width], count) + within]
    reply = ordinary.rows.columns["reply"]
    rows = few.iloc[at].assign(owner=key[at] // width, direction=reply[key[at] % width], entry=entry)
    counted = verdict.ledger is not None
    rows = rows.groupby(["owner", "direction", "entry"], sort=True).agg(
        packets=("packets", "sum"), bytes=("bytes", "sum"), first_seen=("first_seen", "min"), last_seen=("last_seen", "max")
    ).reset_index().assign(ambiguous=False, covered=counted, counters=counted)  # fmt: skip
    rows = _with_doubts(verdict, ordinary, rows) if counted else rows
    return rows.sort_values(["owner", "direction", "first_seen", "entry"], kind="stable", ignore_index=True)


def _with_doubts(verdict: Verdict, ordinary: Ordinary, rows: pd.DataFrame) -> pd.DataFrame:
    """The same with what the counters say of hits that they do not plainly confirm."""
    flags = {name: rows[name].to_numpy().copy() for name in ("ambiguous", "covered", "counters")}
    owner, direction = ordinary.whole.owner, ordinary.direction
    key = rows["owner"].to_numpy() * 2 + rows["direction"].to_numpy()
    for entry in doubted_entries(verdict):
        mine = np.flatnonzero(rows["entry"].to_numpy() == entry)
        if not len(mine):
            continue
        low, packet = ordinary_hits(verdict, entry)
        interval, good, over = place_hits(verdict, entry, ordinary_ranks(verdict, entry, low))
        wanted = owner[packet].astype(np.int64) * 2 + direction[packet]
        at = np.searchsorted(key[mine], wanted)
        asked = (at < len(mine)) & (key[mine][np.minimum(at, len(mine) - 1)] == wanted)
        at, interval, good, over = mine[at[asked]], interval[asked], good[asked], over[asked]
        flags["counters"][at[~good]] = False
        flags["ambiguous"][at[over]] = True
        covered = np.zeros(len(rows), dtype=bool)
        covered[at[interval >= 0]] = True
        flags["covered"][mine] = covered[mine]
    return rows.assign(**flags)
