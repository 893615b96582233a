"""The connections table: what became of every connection, and which rule decided it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator.dataset import schema
from correlator.reconcile.settle.judge import (
    RESIDUAL,
    STATUSES,
    Fact,
    open_in_words,
    reasons_of,
    statuses_of,
)
from correlator.reconcile.tables.columns import categorical, table, tuple_columns

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Ints
    from correlator.reconcile.settle.judge import Facts, Grounds
    from correlator.reconcile.tables.outcomes import Outcome

    Integers = npt.NDArray[np.integer[Any]]

CERTAIN = "; it hit the same rules either way"
STATES = ("untracked", "older", "refused", "established", "half-open", "one-way")
UNTRACKED, OLDER, REFUSED, ESTABLISHED, HALF_OPEN, ONE_WAY = range(6)


@dataclass(frozen=True)
class ConnectionRows:
    """Connections (n,), as whoever decided them hands them over: ``connection`` their numbers;
    ``ends``: client, dialled, server, seen; ``packets`` and ``bytes`` (2, n) of the original and
    the reply direction; ``in_code`` and ``out_code`` index ``interfaces`` (-1 none), ``outcome``
    indexes ``outcomes``, ``state`` :data:`STATES`; ``linked``: docker-proxy's other half (0 none);
    ``grounds``: the worst ground against any hit, ``open``: the facts that tell what is open of
    any; ``candidates``: what is left to choose from, by
    row; ``residual`` indexes ``residuals``: what a rule on its way counted beside (-1 none)."""

    connection: Integers
    protocol: Integers
    ends: tuple[Ints, ...]
    first: Integers
    last: Integers
    packets: Integers
    bytes: Integers
    in_code: Integers
    out_code: Integers
    interfaces: tuple[str, ...]
    outcome: Integers
    outcomes: list[Outcome]
    state: Integers
    linked: Integers
    grounds: Grounds
    open: Facts
    candidates: dict[int, str]
    residual: Ints
    residuals: list[str]


def connections_table(rows: ConnectionRows) -> pd.DataFrame:
    """One row a connection, as :data:`correlator.dataset.schema.CONNECTIONS` declares it."""
    reason = reasons_of(rows.grounds)
    for at, text in rows.candidates.items():
        opened = Fact(int(rows.open[at]))
        certain = CERTAIN if Fact.DST_OPEN in opened and Fact.RULE_OPEN not in opened else ""
        reason[at] = reason[at].format(candidates=text + certain)
    told = np.flatnonzero((rows.grounds == RESIDUAL) & (rows.residual >= 0))
    if len(told):
        reason[told] += ": " + np.array(rows.residuals, dtype=object)[rows.residual[told]]
    words, rules = (
        np.array([one[part] for one in rows.outcomes] or [""], dtype=object) for part in (0, 1)
    )
    columns: dict[str, Any] = {
        "connection": rows.connection,
        **tuple_columns(rows.protocol, *rows.ends),
        "first_seen": rows.first,
        "last_seen": rows.last,
        "packets_original": rows.packets[0],
        "packets_reply": rows.packets[1],
        "bytes_original": rows.bytes[0],
        "bytes_reply": rows.bytes[1],
        "in_interface": _interfaces(rows.in_code, rows.interfaces),
        "out_interface": _interfaces(rows.out_code, rows.interfaces),
        "outcome": categorical(rows.outcome, lambda code: words[code]),
        "rule": rules[rows.outcome],
        "state": pd.Categorical.from_codes(
            rows.state, categories=list(STATES)
        ).remove_unused_categories(),
        "linked": rows.linked,
        "status": pd.Categorical.from_codes(statuses_of(rows.grounds), categories=list(STATUSES)),
        "open": categorical(rows.open, open_in_words),
        "reason": reason,
    }
    return table(columns, schema.CONNECTIONS)


def _interfaces(codes: Integers, names: tuple[str, ...]) -> pd.Categorical:
    return categorical(codes, lambda code: names[code] if code >= 0 else "")
