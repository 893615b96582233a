"""One connection hook by hook: the ways of its packets, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.flows.conntrack import STATE_NAMES
from correlator.reconcile.analysis import PathView, Step
from correlator.reconcile.attribution import NO_WAY, Attribution
from correlator.reconcile.balances import doubted_entries, ordinary_ranks
from correlator.reconcile.ordinary import expand_rows
from correlator.reconcile.outcomes import way_at
from correlator.reconcile.tables import intervals_of, ordinary_hits, place_hits, rule_numbers, wire_agrees
from correlator.reconcile.words import DIRECTIONS, address

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from correlator.reconcile.replay import Verdict
    from correlator.reconcile.walks import Way

    Ints = npt.NDArray[np.int64]

ENDS = {
    "sent": "sent out of {out}", "delivered": "delivered to this host", "dropped": "dropped", "rejected": "rejected",
    "ttl": "dropped: its time to live ran out (before FORWARD)", "no-route": "dropped: no route leads there",
    "martian": "dropped: its source is this host's own address (martian)",
    "reverse-path": "dropped: no route back to its source by the interface it came in by (rp_filter)",
    "not-for-us": "ignored: not for this host", "unknown-target": "goes on out of sight: the target is unknown",
}  # fmt: skip


def connection_paths(verdict: Verdict, attribution: Attribution, connections: pd.DataFrame, number: int) -> tuple[PathView, ...]:
    """The ways that packets of a connection took, each with its packets, in order of first packet."""
    mine = np.flatnonzero(attribution.connection == number)
    groups: dict[tuple[object, ...], list[int]] = {}
    for at in mine.tolist():
        way = way_at(verdict, attribution, at)
        hits = way.hits if way is not None else ()
        key = (int(attribution.direction[at]), int(attribution.state[at]), hits, way.path.end if way else "")
        groups.setdefault(key, []).append(at)
    _, confirmed, _ = intervals_of(verdict)
    doubtful = set(verdict.hits.row[~confirmed].tolist())
    wire = wire_agrees(verdict, attribution)
    reason = str(connections["reason"].iloc[number - 1]) if 0 < number <= len(connections) else ""
    unverified = verdict.ledger is None
    return tuple(_view(verdict, attribution, rows, doubtful, wire, reason, unverified) for rows in groups.values())


def ordinary_paths(verdict: Verdict, connection: int) -> tuple[PathView, ...]:
    """The same of an ordinary connection (row of ``folded.connections``)."""
    ordinary = verdict.ordinary
    assert ordinary is not None
    mine = np.flatnonzero(ordinary.owner() == connection)
    combination, _, _, length = (column[mine] for column in ordinary.packets())
    came, kind = ordinary.came()[mine], ordinary.kind()[mine]
    doubtful = _doubtful_packets(verdict, mine)
    groups: dict[tuple[object, ...], list[int]] = {}
    for place in range(len(mine)):
        way = ordinary.way[int(combination[place])]
        assert way is not None
        one = ordinary.folded.kinds[int(kind[place])]
        groups.setdefault((int(one["direction"]), int(one["state"]), way.hits, way.path.end), []).append(place)
    views = []
    for (direction, state, *_), numbers in groups.items():
        at, first = np.array(numbers), numbers[0]
        way = ordinary.way[int(combination[first])]
        assert way is not None
        packet = expand_rows(ordinary.folded, np.array([connection]), kind[first : first + 1].astype(np.int64)).columns
        counted = verdict.ledger is not None and not doubtful[at].any()
        views.append(PathView(
            DIRECTIONS[int(str(direction))], STATE_NAMES[int(str(state))], len(at), int(length[at].sum()), int(came[at].min()),
            int(came[at].max()), ordinary.names[int(packet["in_code"][0])], ordinary.names[int(packet["out_code"][0])],
            _steps(verdict, verdict.stages.number(0, 0), way, {name: int(column[0]) for name, column in packet.items()}),
            "rules,wire,counters" if counted else "rules,wire", "exact" if verdict.ledger is not None else "unverified",
        ))  # fmt: skip
    return tuple(views)


def _doubtful_packets(verdict: Verdict, packets: Ints) -> npt.NDArray[np.bool_]:
    """Which of these packets (numbers, in order) made a hit that its counter does not confirm."""
    result = np.zeros(len(packets), dtype=bool)
    for entry in doubted_entries(verdict):
        low, packet = ordinary_hits(verdict, entry)
        _, good, _ = place_hits(verdict, entry, ordinary_ranks(verdict, entry, low))
        result |= np.isin(packets, packet[~good])
    return result


def _view(
    verdict: Verdict, attribution: Attribution, rows: list[int], doubtful: set[int], wire: object, reason: str,
    unverified: bool,
) -> PathView:  # fmt: skip
    at = rows[0]
    v = verdict.explored.rows.columns
    row = int(attribution.row[at])
    times = attribution.time[rows]
    names = verdict.scene.names
    counted = not unverified and not any(int(attribution.row[r]) in doubtful for r in rows)
    evidence = ["rules", *(["wire"] if all(wire[rows]) else []), *(["counters"] if counted else [])]  # type: ignore[index]
    doubt = bool(attribution.open[at]) or attribution.way[at] == NO_WAY
    came, gone = int(v["in_code"][row]), int(v["out_code"][row])
    entered = bool(v["enters"][row])
    way = way_at(verdict, attribution, at)
    return PathView(
        DIRECTIONS[int(attribution.direction[at])], STATE_NAMES[int(attribution.state[at])], len(rows),
        int(v["length"][attribution.row[rows]].sum()), int(times.min()), int(times.max()),
        names[came] if entered and came >= 0 else "", names[gone] if gone >= 0 else way.path.out_interface if way else "",
        _steps(verdict, int(verdict.explored.rows.program[row]), way, {n: int(c[row]) for n, c in v.items()}) if way else (),
        ",".join(evidence),
        "ambiguous" if doubt else "unverified" if unverified else "exact", reason if doubt else "",
    )  # fmt: skip


def _steps(verdict: Verdict, stage_number: int, way: Way, packet: dict[str, int]) -> tuple[Step, ...]:
    """The steps of a way as one packet took it; ``packet``: what rules saw of it (the columns of ``Rows``)."""
    stage = verdict.stages.stages[stage_number]
    numbers, generation = rule_numbers(verdict)
    steps: list[Step] = []
    for kind, hook, _table, entry, depth, text in way.path.events:
        if kind in ("rule", "policy"):
            if entry < 0:
                continue
            known = stage.program.ruleset.entries[entry]
            number = int(numbers[generation[stage_number], stage.numbers[entry]])
            steps.append(Step(kind, hook, known.table, known.chain, max(number, 0), known.text, known.target, depth))
        elif kind == "nat":
            steps.append(Step("nat", hook, "nat", text=_translation(packet, text)))
        elif kind == "route":
            steps.append(Step("route", hook, text="to this host" if text == "local" else f"out of {text}"))
        elif kind == "end":
            out = way.path.out_interface or "this host"
            steps.append(Step("end", hook, text=ENDS.get(text, text).format(out=out)))
    return tuple(steps)


def _translation(v: dict[str, int], text: str) -> str:
    """What NAT did to this very packet (the walk's note tells of the example of its kind)."""
    side, *values = text.split()
    old, old_port, new, new_port = (int(value) for value in values)
    if side == "dst":
        old, old_port = v["dst"], v["dport"]
        new, new_port = (v["to"], v["to_port"]) if v["to"] >= 0 else (new, new_port)
    else:
        old, old_port = v["src"], v["sport"]
        new, new_port = (v["from"], v["from_port"]) if v["from"] >= 0 else (new, new_port)
    word = "destination" if side == "dst" else "source"
    if v["protocol"] == 1:
        return f"{word} {address(old)} -> {address(new)}"
    return f"{word} {address(old)}:{old_port} -> {address(new)}:{new_port}"
