"""The hits table: one row per connection, direction and rule."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator.dataset import schema
from correlator.reconcile.settle.judge import (
    EVIDENCE,
    STATUSES,
    evidence_of,
    grounds_of,
    open_in_words,
    open_of,
    statuses_of,
)
from correlator.reconcile.tables.columns import DIRECTIONS, categorical, table, tuple_columns

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools, Ints
    from correlator.reconcile.intake.generations import Register
    from correlator.reconcile.settle.judge import Facts

    Integers = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class HitRows:
    """Hits (h,) added up by connection, direction, tuple and rule, as whoever decided them hands
    them over: ``connection`` and ``rule_number`` as tables number them, ``ends``: client, dialled,
    server, seen; ``entry`` in the register's numbers, ``first`` and ``last`` in epoch ns, ``facts``
    for the judge."""

    connection: Integers
    direction: Integers
    protocol: Integers
    ends: tuple[Ints, ...]
    entry: Ints
    rule_number: Ints
    packets: Ints
    bytes: Ints
    first: Ints
    last: Ints
    facts: Facts

    def take(self, at: Bools) -> HitRows:
        """Some of them."""
        columns = {one.name: getattr(self, one.name) for one in fields(self)}
        ends = tuple(end[at] for end in columns.pop("ends"))
        return HitRows(ends=ends, **{name: column[at] for name, column in columns.items()})


def hits_table(rows: HitRows, register: Register) -> pd.DataFrame:
    """As :data:`correlator.dataset.schema.HITS` declares it."""
    entries = register.entries
    handles = np.array([entry.handle for entry in entries], dtype=np.int64)
    columns: dict[str, Any] = {
        "connection": rows.connection,
        **tuple_columns(rows.protocol, *rows.ends),
        "direction": pd.Categorical.from_codes(rows.direction, categories=list(DIRECTIONS)),
        "table": categorical(rows.entry, lambda e: entries[e].table),
        "chain": categorical(rows.entry, lambda e: entries[e].chain),
        "rule_number": rows.rule_number,
        "handle": handles[rows.entry],
        "rule": categorical(rows.entry, lambda e: entries[e].text),
        "target": categorical(rows.entry, lambda e: entries[e].target),
        "packets": rows.packets,
        "bytes": rows.bytes,
        "first_seen": rows.first,
        "last_seen": rows.last,
        "evidence": pd.Categorical.from_codes(evidence_of(rows.facts), categories=list(EVIDENCE)),
        "status": pd.Categorical.from_codes(
            statuses_of(grounds_of(rows.facts)), categories=list(STATUSES)
        ),
        "open": categorical(open_of(rows.facts), open_in_words),
    }
    return table(columns, schema.HITS)
