"""The connections table: what became of every connection, and which rule decided it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator.dataset import schema
from correlator.endpoints import address_of, pack, port_of
from correlator.firewall.published import dnat_rules, publication
from correlator.firewall.walk.path import End
from correlator.flows.conntrack import ORIGINAL, REPLY, UNTRACKED
from correlator.reconcile.possible.walks import NO_WAY
from correlator.reconcile.settle.judge import (
    STATUSES,
    UNDECIDED,
    grounds_of,
    reasons_of,
    statuses_of,
    together,
    worst,
)
from correlator.reconcile.tables.attribution import Attribution
from correlator.reconcile.tables.columns import endpoint, table, tuple_columns
from correlator.reconcile.tables.hits import rule_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from correlator.firewall.model import Entry
    from correlator.firewall.walk.path import Path
    from correlator.reconcile.pipeline import Verdict
    from correlator.reconcile.possible.walks import Way

    Ints = npt.NDArray[np.int64]

RST = 4
PROXY_NS = 1_000_000_000
"""How soon docker-proxy opens its own connection after it accepted one."""


def connections_table(
    verdict: Verdict, attribution: Attribution, hits: pd.DataFrame
) -> pd.DataFrame:
    """One row a connection, as :data:`correlator.dataset.schema.CONNECTIONS` declares it. ``hits``:
    :func:`correlator.reconcile.tables.hits.add_up_hits`."""
    count = int(attribution.connection.max()) if len(attribution) else 0
    number = attribution.connection - 1
    length = verdict.explored.rows.columns["length"][attribution.row]
    first = first_of(attribution, count)
    tracked = attribution.direction != UNTRACKED
    sums = {
        f"{what}_{name}": np.bincount(number[pick], weights[pick], minlength=count).astype(np.int64)
        for name, pick in (
            ("original", attribution.direction == ORIGINAL),
            ("reply", attribution.direction == REPLY),
        )
        for what, weights in (("packets", np.ones(len(number))), ("bytes", length))
    }
    outcome, rule = _outcomes(verdict, attribution, first)
    linked = _proxied(verdict, attribution, first, outcome)
    outcome = np.where(linked > 0, "docker-proxy", outcome)
    status, reason = _doubts(verdict, attribution, hits, count)
    begin = np.full(count, np.iinfo(np.int64).max)
    end = np.zeros(count, dtype=np.int64)
    np.minimum.at(begin, number, attribution.time)
    np.maximum.at(end, number, attribution.time)
    ends = [getattr(attribution, name)[first] for name in ("client", "dialled", "server", "seen")]
    columns: dict[str, Any] = {
        "connection": np.arange(1, count + 1),
        **tuple_columns(attribution.protocol[first], *ends),
        "first_seen": begin,
        "last_seen": end,
        **sums,
        "in_interface": _interfaces(verdict, attribution, count, "in_code"),
        "out_interface": _interfaces(verdict, attribution, count, "out_code"),
        "outcome": pd.Categorical([str(word) for word in outcome]),
        "rule": rule,
        "state": pd.Categorical(_states(verdict, attribution, tracked, count)),
        "linked": linked,
        "status": pd.Categorical.from_codes(status, categories=list(STATUSES)),
        "reason": reason,
    }
    return table(columns, schema.CONNECTIONS)


def first_of(attribution: Attribution, count: int) -> Ints:
    """The row that stands for each connection: its first one of the original direction, else of
    any."""
    rank = np.where(
        attribution.direction == ORIGINAL, 0, np.where(attribution.direction == REPLY, 1, 2)
    )
    rank = rank + 3 * (attribution.way == NO_WAY)
    order = np.lexsort((np.arange(len(attribution)), rank, attribution.connection))
    _, at = np.unique(attribution.connection[order], return_index=True)
    result: Ints = order[at]
    return result


def way_at(verdict: Verdict, attribution: Attribution, at: int) -> Way | None:
    """The way of a row of the attribution; None where it has none."""
    way = int(attribution.way[at])
    if way == NO_WAY:
        return None
    return verdict.explored.walked.ways[int(verdict.explored.walked.kind[attribution.row[at]])][way]


def _outcomes(
    verdict: Verdict, attribution: Attribution, first: Ints
) -> tuple[npt.NDArray[Any], list[str]]:
    numbers, generation = rule_numbers(verdict)
    outcomes, rules = [], []
    sent = verdict.scene.crossings.sent
    for at in first.tolist():
        way = way_at(verdict, attribution, at)
        stage = int(verdict.explored.rows.program[attribution.row[at]])
        outcome, decider = _outcome(
            verdict, attribution, at, way, bool(sent[attribution.crossing[at]])
        )
        name = ""
        if decider >= 0:
            entry = verdict.stages.stages[stage].numbers[decider]
            found = verdict.register.entries[entry]
            number = int(numbers[generation[stage], entry])
            name = (
                f"{found.table}/{found.chain}:{number if number > 0 else found.number or 'policy'}"
            )
        outcomes.append(outcome)
        rules.append(name)
    return np.array(outcomes, dtype=object), rules


def _outcome(
    verdict: Verdict, attribution: Attribution, at: int, way: Way | None, left: bool
) -> tuple[str, int]:
    """(what became of it, the entry of its stage that decided)."""
    if attribution.direction[at] == UNTRACKED:
        return "untracked", -1
    if way is None:
        return "unknown", -1
    row = attribution.row[at]
    entries = verdict.stages.stages[int(verdict.explored.rows.program[row])].program.ruleset.entries
    ends = tuple(
        int(values[at])
        for values in (
            attribution.client,
            attribution.dialled,
            attribution.server,
            attribution.seen,
        )
    )
    return path_outcome(
        way.path,
        entries,
        left,
        verdict.scene.watched,
        ends,
        bool(verdict.explored.rows.columns["enters"][row]),
    )


def path_outcome(
    path: Path,
    entries: Sequence[Entry],
    left: bool,
    watched: frozenset[str],
    ends: tuple[int, ...],
    enters: bool,
) -> tuple[str, int]:
    """(what became of a connection whose first packet took this path, the entry that decided or
    -1).

    ``left``: it was seen leaving; ``ends``: client, dialled, server, seen; ``enters``: it came from
    outside of the host."""
    if path.end.by_rule:
        return path.end.value, path.decider
    if path.end in (End.UNKNOWN_TARGET, End.UNLISTED):
        return "unknown", path.decider
    if path.end is End.TTL:
        return "expired", -1
    if path.end.by_routing:
        return "lost", -1
    if path.end is End.SENT and not left and path.out_interface in watched:
        return "unknown" if path.unseen else "lost", -1
    for entry in (path.dnat_entry, path.snat_entry):
        if entry >= 0:
            return entries[entry].target, entry
    client, dialled, server, seen = ends
    if server != dialled:
        return "DNAT", -1
    if client != seen:
        return "MASQUERADE", -1
    if path.end is End.SENT and enters:
        return "forwarded", -1
    return ("local" if path.end in (End.SENT, End.DELIVERED) else "lost"), -1


def _proxied(
    verdict: Verdict, attribution: Attribution, first: Ints, outcome: npt.NDArray[Any]
) -> Ints:
    """The other half of connections that docker-proxy carries: it accepts one and opens one to the
    container."""
    doors: dict[tuple[int, int], set[int]] = {}
    for rule in dnat_rules(verdict.stages.rulesets):
        told = publication(rule)
        if told is not None and told.ports[0] == told.ports[1]:
            address, port = told.server
            doors.setdefault((told.protocol, told.ports[0]), set()).add(pack(address, port))
    linked = np.zeros(len(first), dtype=np.int64)
    accepted: list[int] = []
    sent_by_host = verdict.explored.rows.columns["enters"][attribution.row[first]] == 0
    for i in np.argsort(attribution.time[first], kind="stable").tolist():
        at = int(first[i])
        if outcome[i] != "local":
            continue
        protocol_number, server = int(attribution.protocol[at]), int(attribution.server[at])
        if (protocol_number, port_of(server)) in doors and verdict.scene.host.is_local(
            address_of(server)
        ):
            accepted.append(i)
        elif sent_by_host[i] and verdict.scene.host.is_local(
            address_of(int(attribution.client[at]))
        ):
            _link(i, server, protocol_number, accepted, doors, attribution, first, linked)
    return linked


def _link(
    i: int,
    server: int,
    protocol_number: int,
    accepted: list[int],
    doors: dict[tuple[int, int], set[int]],
    attribution: Attribution,
    first: Ints,
    linked: Ints,
) -> None:
    for j in reversed(accepted):
        door = port_of(int(attribution.server[first[j]]))
        near = 0 <= attribution.time[first[i]] - attribution.time[first[j]] < PROXY_NS
        if near and not linked[j] and server in doors.get((protocol_number, door), ()):
            linked[i], linked[j] = j + 1, i + 1
            return


def _interfaces(
    verdict: Verdict, attribution: Attribution, count: int, name: str
) -> pd.Categorical:
    """Where the original direction comes in or leaves; the reply direction tells the same the other
    way round."""
    other = "out_code" if name == "in_code" else "in_code"
    v = verdict.explored.rows.columns
    names = [""] * count
    for direction, column in ((ORIGINAL, name), (REPLY, other)):
        pick = np.flatnonzero(attribution.direction == direction)
        code = v[column][attribution.row[pick]]
        for at, value in zip(
            attribution.connection[pick][code >= 0].tolist(), code[code >= 0].tolist(), strict=True
        ):
            names[at - 1] = names[at - 1] or verdict.scene.names[value]
    return pd.Categorical(names)


def _states(
    verdict: Verdict, attribution: Attribution, tracked: npt.NDArray[np.bool_], count: int
) -> list[str]:
    number = attribution.connection - 1
    crossing = attribution.crossing
    reading = verdict.explored.alternatives.hypothesis[
        verdict.explored.rows.alternative[attribution.row]
    ]
    older = np.stack([r.labels.older for r in verdict.explored.hypotheses])[reading, crossing]
    v = verdict.explored.rows.columns
    replies = np.bincount(number[attribution.direction == REPLY], minlength=count)
    error = verdict.scene.crossings.kind[crossing] == 9
    reset = (v["tcp_flags"][attribution.row] & RST != 0) & (attribution.protocol == 6)
    refusal = (attribution.direction == REPLY) & (error | reset)
    refusals = np.bincount(number[refusal], minlength=count)
    began_before = np.bincount(number[older], minlength=count) > 0
    tcp = np.bincount(number[attribution.protocol == 6], minlength=count) > 0
    any_tracked = np.bincount(number[tracked], minlength=count) > 0
    words = np.select(
        [~any_tracked, began_before, (refusals > 0) & (refusals == replies), replies > 0, tcp],
        ["untracked", "older", "refused", "established", "half-open"],
        "one-way",
    )
    return [str(word) for word in words]


def _doubts(
    verdict: Verdict, attribution: Attribution, hits: pd.DataFrame, count: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.object_]]:
    """(number in STATUSES, why it is not exact) of every connection: the worst of its hits', and
    what is open of its packets."""
    undecided = attribution.facts & np.uint16(UNDECIDED)
    grounds = np.minimum(
        worst(grounds_of(hits["facts"].to_numpy()), hits["connection"].to_numpy() - 1, count),
        grounds_of(together(undecided, attribution.connection - 1, count)),
    )
    reasons = reasons_of(grounds)
    for number, text in candidates_in_words(verdict, attribution).items():
        reasons[number - 1] = reasons[number - 1].format(candidates=text)
    return statuses_of(grounds), reasons


def candidates_in_words(verdict: Verdict, attribution: Attribution) -> dict[int, str]:
    """connection -> what is left to choose from, in words; of those of which something is open."""
    place = dict(zip(attribution.row.tolist(), attribution.connection.tolist(), strict=True))
    found: dict[int, str] = {}
    for unit in verdict.open:
        text = _why(verdict, unit.options)
        found.update({place[row]: text for row, _ in unit.options[0] if row in place})
    return found


def _why(verdict: Verdict, options: tuple[tuple[tuple[int, int], ...], ...]) -> str:
    """The candidates of an open unit, in words."""
    v = verdict.explored.rows.columns
    dialled = list(dict.fromkeys(int(v["dialled"][row]) for option in options for row, _ in option))
    if len(dialled) > 1:
        return "what it dialled was not seen: " + " or ".join(
            endpoint(value) for value in dialled[:4]
        )
    counts: list[dict[int, int]] = []
    for option in options:
        tally: dict[int, int] = {}
        for row, way in option:
            ways = verdict.explored.walked.ways[int(verdict.explored.walked.kind[row])]
            for entry in ways[way].hits if way < len(ways) else ():
                tally[entry] = tally.get(entry, 0) + 1
        counts.append(tally)
    differing = [
        e
        for e in dict.fromkeys(e for c in counts for e in c)
        if len({c.get(e, 0) for c in counts}) > 1
    ]
    names = [verdict.register.entries[entry].name for entry in differing[:4]]
    if not names:
        return "it may have begun before the capture"
    return (
        f"{len(options)} ways fit, which differ in "
        f"{', '.join(names)}{', ...' if len(differing) > 4 else ''}"
    )
