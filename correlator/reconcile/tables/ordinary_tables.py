"""Ordinary connections -> their rows of the connections and hits tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator.dataset import schema
from correlator.reconcile.settle.confirm import doubted_entries, doubts_of
from correlator.reconcile.settle.judge import (
    EVIDENCE,
    STATUSES,
    Fact,
    evidence_of,
    grounds_of,
    reasons_of,
    statuses_of,
)
from correlator.reconcile.tables.columns import DIRECTIONS, categorical, table, tuple_columns
from correlator.reconcile.tables.connections import path_outcome
from correlator.reconcile.tables.hits import rule_numbers
from correlator.reconcile.tables.sums import add_up

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Ints
    from correlator.reconcile.pipeline import Verdict
    from correlator.reconcile.possible.decided import Ordinary
    from correlator.reconcile.settle.confirm import Doubts
    from correlator.reconcile.settle.judge import Facts
    from correlator.reconcile.tables.numbering import Numbering
    from correlator.reconcile.tables.sums import Sums

TCP = 6


def ordinary_connections(verdict: Verdict, numbering: Numbering) -> pd.DataFrame:
    """One row a connection, in the order of their numbers, as
    :data:`correlator.dataset.schema.CONNECTIONS` has it."""
    ordinary = verdict.ordinary
    assert ordinary is not None
    at = numbering.owners
    c = _Fields(ordinary.folded.connections, at)
    ends = [c[name] for name in ("client", "dialled", "server", "seen")]
    combination = ordinary.opening[at]
    outcomes, rules = _outcomes(verdict, ordinary)
    (packets, replies), (size, answered) = c["packets"].T, c["bytes"].T
    refusals = c["refusals"]
    state = np.select(
        [(refusals > 0) & (refusals == replies), replies > 0, c["protocol"] == TCP],
        [np.int8(0), np.int8(1), np.int8(2)],
        np.int8(3),
    )
    grounds = _worst(verdict, ordinary)[at]
    names = list(ordinary.names)
    columns: dict[str, Any] = {
        "connection": numbering.ordinary[at],
        **tuple_columns(c["protocol"], *ends),
        "first_seen": c["first"],
        "last_seen": c["last"],
        "packets_original": packets,
        "packets_reply": replies,
        "bytes_original": size,
        "bytes_reply": answered,
        "in_interface": _named(c["in_code"], names),
        "out_interface": _named(c["out_code"], names),
        "outcome": _named(combination, outcomes),
        "rule": np.array(rules, dtype=object)[combination],
        "state": pd.Categorical.from_codes(
            state, categories=["refused", "established", "half-open", "one-way"]
        ),
        "linked": np.zeros(len(at), dtype=np.int64),
        "status": pd.Categorical.from_codes(statuses_of(grounds), categories=list(STATUSES)),
        "reason": reasons_of(grounds),
    }
    return table(columns, schema.CONNECTIONS)


@dataclass(frozen=True)
class _Fields:
    """Fields of some records, each copied when it is asked for: whole records would take twice as
    much."""

    records: npt.NDArray[np.void]
    at: Ints

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.records[name][self.at]


def _named(codes: npt.NDArray[Any], names: list[str]) -> pd.Categorical:
    return categorical(codes, lambda code: names[code])


def _outcomes(verdict: Verdict, ordinary: Ordinary) -> tuple[list[str], list[str]]:
    """(what became of a connection whose first packet was of each combination, the rule that
    decided)."""
    numbers, _ = rule_numbers(verdict)
    v = ordinary.rows.columns
    outcomes, rules = [], []
    for row, way in enumerate(ordinary.way):
        if way is None:
            outcomes.append("")
            rules.append("")
            continue
        ends = tuple(int(v[name][row]) for name in ("client", "dialled", "server", "seen"))
        stage = verdict.stages.stages[int(ordinary.rows.program[row])]
        outcome, decider = path_outcome(
            way.path, stage.program.ruleset.entries, True, verdict.scene.watched, ends, True
        )
        outcomes.append(outcome)
        if decider < 0:
            rules.append("")
            continue
        entry = stage.numbers[decider]
        found, number = verdict.register.entries[entry], int(numbers[stage.first, entry])
        rules.append(
            f"{found.table}/{found.chain}:{number if number > 0 else found.number or 'policy'}"
        )
    return outcomes, rules


def _worst(verdict: Verdict, ordinary: Ordinary) -> npt.NDArray[np.int8]:
    """The worst ground against any hit of every connection, (c,)."""
    count = len(ordinary.kept)
    uncounted = np.full(1, Fact.UNCOUNTED if verdict.ledger is None else 0, dtype=np.uint16)
    grounds = np.repeat(grounds_of(uncounted), count)
    wanting = [entry for entry in doubted_entries(verdict) if _wanting(verdict, entry)]
    for facts in doubts_of(verdict, wanting).values():
        either = facts.reshape(-1, 2)
        for side in (0, 1):
            np.minimum(grounds, grounds_of(either[:, side]), out=grounds)
    return grounds


def _wanting(verdict: Verdict, entry: int) -> bool:
    """Whether an entry counted fewer hits than packets made somewhere, or some hit lies outside of
    all samples."""
    assert verdict.ledger is not None
    account = verdict.ledger.accounts[entry]
    whole = int(account.upto[0]) == 0 and int(account.upto[-1]) >= int(
        verdict.tallies.counts[entry]
    )
    return not whole or bool((account.residual < 0).any())


def ordinary_hits_table(
    verdict: Verdict, numbering: Numbering, owners: Ints, doubts: Doubts
) -> pd.DataFrame:
    """One row per connection of ``owners`` (rows of the fold's connections, in the order of their
    numbers), direction and rule, as :data:`correlator.dataset.schema.HITS` declares it."""
    ordinary = verdict.ordinary
    assert ordinary is not None
    numbers, generation = rule_numbers(verdict)
    rows = add_up(ordinary, owners, generation[ordinary.rows.program], len(verdict.register))
    owner, entry = rows.owner, rows.entry
    c, entries = _Fields(ordinary.folded.connections, owner), verdict.register.entries
    number = numbers[rows.generation, entry]
    facts = _facts(verdict, rows, doubts)
    columns: dict[str, Any] = {
        "connection": numbering.ordinary[owner],
        **tuple_columns(
            c["protocol"], *(c[name] for name in ("client", "dialled", "server", "seen"))
        ),
        "direction": pd.Categorical.from_codes(rows.direction, categories=list(DIRECTIONS)),
        "table": categorical(entry, lambda e: entries[e].table),
        "chain": categorical(entry, lambda e: entries[e].chain),
        "rule_number": np.where(number < 0, numbers.max(axis=0)[entry], number),
        "rule": categorical(entry, lambda e: entries[e].text),
        "target": categorical(entry, lambda e: entries[e].target),
        "packets": rows.packets,
        "bytes": rows.bytes,
        "first_seen": rows.first,
        "last_seen": rows.last,
        "evidence": pd.Categorical.from_codes(evidence_of(facts), categories=list(EVIDENCE)),
        "status": pd.Categorical.from_codes(
            statuses_of(grounds_of(facts)), categories=list(STATUSES)
        ),
    }
    return table(columns, schema.HITS)


def _facts(verdict: Verdict, rows: Sums, doubts: Doubts) -> Facts:
    """What the judge is told of these hits, (h,)."""
    uncounted = Fact.UNCOUNTED if verdict.ledger is None else Fact(0)
    facts = np.full(len(rows), uncounted, dtype=np.uint16)
    for entry, told in doubts.items():
        mine = np.flatnonzero(rows.entry == entry)
        facts[mine] |= told[rows.owner[mine] * 2 + rows.direction[mine]]
    return facts
