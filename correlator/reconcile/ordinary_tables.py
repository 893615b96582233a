"""Ordinary connections -> their rows of the connections and hits tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator.dataset import schema
from correlator.reconcile.balances import doubted_entries
from correlator.reconcile.outcomes import COUNTED_FEWER, path_outcome
from correlator.reconcile.placed import placed
from correlator.reconcile.tables import AMBIGUOUS, EVIDENCE, EXACT, STATUSES, UNVERIFIED, rule_numbers
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
    c = _Fields(ordinary.folded.connections, at)
    ends = [c[name] for name in ("client", "dialled", "server", "seen")]
    combination = ordinary.combination[ordinary.group[at], c["kind"]]
    outcomes, rules = _outcomes(verdict, ordinary)
    (packets, replies), (size, answered) = c["packets"].T, c["bytes"].T
    refusals = c["refusals"]
    state = np.select([(refusals > 0) & (refusals == replies), replies > 0, c["protocol"] == TCP],
                      [np.int8(0), np.int8(1), np.int8(2)], np.int8(3))  # fmt: skip
    status = _worst(verdict, ordinary)[at]
    why = np.array(["", COUNTED_FEWER, "no counters" if verdict.ledger is None else "outside of the counter log"], dtype=object)
    names = list(ordinary.names)
    columns: dict[str, Any] = {
        "connection": numbering.ordinary[at], **tuple_columns(c["protocol"], *ends),
        "first_seen": c["first"], "last_seen": c["last"], "packets_original": packets, "packets_reply": replies,
        "bytes_original": size, "bytes_reply": answered, "in_interface": _named(c["in_code"], names),
        "out_interface": _named(c["out_code"], names),
        "outcome": _named(combination, outcomes), "rule": np.array(rules, dtype=object)[combination],
        "state": pd.Categorical.from_codes(state, categories=["refused", "established", "half-open", "one-way"]),
        "linked": np.zeros(len(at), dtype=np.int64), "status": pd.Categorical.from_codes(status, categories=list(STATUSES)),
        "reason": why[status],
    }  # fmt: skip
    return table(columns, schema.CONNECTIONS)


@dataclass(frozen=True)
class _Fields:
    """Fields of some records, each copied when it is asked for: whole records would take twice as much."""

    records: npt.NDArray[np.void]
    at: Ints

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.records[name][self.at]


def _named(codes: npt.NDArray[Any], names: list[str]) -> pd.Categorical:
    return categorical(codes, lambda code: names[code])


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


def _worst(verdict: Verdict, ordinary: Ordinary) -> npt.NDArray[np.int8]:
    """Number in STATUSES of every connection's worst hit, (c,)."""
    count = len(ordinary.kept)
    if verdict.counters is None or verdict.counters.samples < 2 or verdict.ledger is None:
        return np.full(count, UNVERIFIED, dtype=np.int8)
    ambiguous, uncovered = np.zeros(count, dtype=bool), np.zeros(count, dtype=bool)
    # a rule's hits are covered where any of them is (hits_table)
    per_rule = {entry: np.zeros(2 * count, dtype=np.uint8) for entry in doubted_entries(verdict) if _wanting(verdict, entry)}
    for part in placed(verdict, list(per_rule)):
        ambiguous[part.owner[part.over]] = True
        side = part.owner * 2 + ordinary.reply[part.combination]
        per_rule[part.entry][side] |= 1
        per_rule[part.entry][side[part.interval >= 0]] |= 2
    for told in per_rule.values():
        uncovered |= (told == 1).reshape(-1, 2).any(axis=1)
    return np.where(ambiguous, np.int8(AMBIGUOUS), np.where(uncovered, np.int8(UNVERIFIED), np.int8(EXACT)))


def _wanting(verdict: Verdict, entry: int) -> bool:
    """Whether an entry counted fewer hits than packets made somewhere, or some hit lies outside of all samples."""
    assert verdict.ledger is not None
    account = verdict.ledger.accounts[entry]
    whole = int(account.upto[0]) == 0 and int(account.upto[-1]) >= int(verdict.tallies.counts[entry])
    return not whole or bool((account.residual < 0).any())


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
    key = rows["owner"].to_numpy() * 2 + rows["direction"].to_numpy()
    of = {entry: np.flatnonzero(rows["entry"].to_numpy() == entry) for entry in doubted_entries(verdict)}
    for mine in of.values():
        flags["covered"][mine] = False
    for part in placed(verdict, [entry for entry, mine in of.items() if len(mine)]):
        mine = of[part.entry]
        wanted = part.owner * 2 + ordinary.reply[part.combination]
        at = np.searchsorted(key[mine], wanted)
        asked = (at < len(mine)) & (key[mine][np.minimum(at, len(mine) - 1)] == wanted)
        at = mine[at[asked]]
        flags["counters"][at[~part.good[asked]]] = False
        flags["ambiguous"][at[part.over[asked]]] = True
        flags["covered"][at[part.interval[asked] >= 0]] = True
    return rows.assign(**flags)
