"""The answer of a replay in numbers: what connections did, and how much of the counters is
explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from correlator.reconcile.analysis import Analysis


@dataclass(frozen=True, slots=True)
class Group:
    """Connections alike in what became of them."""

    number: int
    what: str
    rule: str


@dataclass(frozen=True)
class Summary:
    """``counted`` and ``explained`` hits over all rules that were counted exactly; ``residuals``
    the number of ledger lines that do not balance; ``resets`` the ledger lines beside a reset,
    whose counters tell a lower bound only; ``rules`` those of the last generation, of which so many
    have no counter (``counterless``)."""

    groups: tuple[Group, ...]
    statuses: dict[str, int]
    counted: int
    explained: int
    residuals: int
    lines: int
    uncounted: tuple[str, ...]
    resets: int
    rules: int
    counterless: int


def summarise(analysis: Analysis) -> Summary:
    """Count connections by outcome, and the ledger's hits."""
    counts: dict[tuple[str, str], int] = {}
    first, number = _alike(analysis.connections)
    for row, many in zip(
        analysis.connections.iloc[first].itertuples(), number.tolist(), strict=True
    ):
        key = (_what(row), str(row.rule))
        counts[key] = counts.get(key, 0) + many
    groups = tuple(
        Group(n, what, rule)
        for (what, rule), n in sorted(counts.items(), key=lambda item: -item[1])
    )
    statuses = analysis.connections["status"].value_counts()
    ledger = analysis.balances
    silent = ledger["note"].astype(str) == "not counted"
    off = ledger[(ledger["residual_packets"] != 0) | (ledger["residual_bytes"] != 0)]
    uncounted = ledger[silent][["table", "chain"]].drop_duplicates()
    beside = (ledger["note"].astype(str) == "reset") | (
        (ledger["counted_packets_high"] > ledger["counted_packets"]) & ~silent
    )
    beside &= ledger["note"].astype(str) != "rounded"
    counted = ledger[~silent & ~beside]
    rules = analysis.rules
    rules = rules[(rules["generation"] == rules["generation"].max()) & (rules["rule_number"] > 0)]
    return Summary(
        groups,
        {str(word): int(n) for word, n in statuses.items() if n},
        int(counted["counted_packets"].sum()),
        int((counted["explained_packets"]).sum()),
        len(off),
        len(ledger),
        tuple(f"{row.table}/{row.chain}" for row in uncounted.itertuples()),
        int(beside.sum()),
        len(rules),
        int((rules["counted_packets"] < 0).sum()) if analysis.samples > 1 else 0,
    )


def _alike(table: pd.DataFrame) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(the first of connections that are alike in what the summary tells of them, in order; how
    many there are of each)."""
    import numpy as np
    import pandas as pd

    from correlator.flows.keys import mix

    words = [
        table[name].cat.codes.to_numpy()
        for name in ("outcome", "protocol", "reply_src", "reply_dst")
    ]
    rule, _ = pd.factorize(table["rule"])
    _, first, number = np.unique(
        mix(*words, rule, table["reply_sport"].to_numpy()), return_index=True, return_counts=True
    )
    order = np.argsort(first)
    return first[order], number[order]


def _what(row: object) -> str:
    """A connection's outcome in words."""
    outcome = str(row.outcome)  # type: ignore[attr-defined]
    server = str(row.reply_src)  # type: ignore[attr-defined]
    if row.protocol not in ("icmp", "ipv6-icmp"):  # type: ignore[attr-defined]
        server += f":{row.reply_sport}"  # type: ignore[attr-defined]
    if outcome in ("DNAT", "REDIRECT"):
        return f"{outcome} to {server}"
    if outcome in ("MASQUERADE", "SNAT"):
        return f"{outcome} as {row.reply_dst}"  # type: ignore[attr-defined]
    if outcome in ("dropped", "rejected"):
        return f"{outcome} by"
    return {
        "local": "local (to or from this host)",
        "docker-proxy": "docker-proxy (two connections for one request)",
        "forwarded": "forwarded without NAT",
        "untracked": "untracked or INVALID to conntrack",
        "expired": "dropped: time to live ran out",
        "lost": "came in and never left, no rule to blame",
        "unknown": "unknown",
    }.get(outcome, outcome)
