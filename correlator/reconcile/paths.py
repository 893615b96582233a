"""One connection hook by hook: the ways of its packets, step by step."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from correlator.flows.conntrack import STATE_NAMES
from correlator.reconcile.analysis import PathView, Step
from correlator.reconcile.attribution import NO_WAY, Attribution
from correlator.reconcile.outcomes import way_at
from correlator.reconcile.tables import intervals_of, rule_numbers, wire_agrees
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
    "not-for-us": "ignored: not for this host", "unknown-target": "goes on out of sight: the target is unknown",
}  # fmt: skip


class Paths:
    """The ways of all packets, told on demand: what the tables were made of is gone through once, not once a connection."""

    def __init__(self, verdict: Verdict, attribution: Attribution, connections: pd.DataFrame) -> None:
        self.verdict, self.attribution, self.connections = verdict, attribution, connections

    @cached_property
    def _order(self) -> tuple[Ints, Ints]:
        """Rows of the attribution by connection, in order of time; and where each connection's rows begin."""
        order = np.argsort(self.attribution.connection, kind="stable")
        return order, np.searchsorted(self.attribution.connection[order], np.arange(len(self.connections) + 2))

    @cached_property
    def _doubtful(self) -> npt.NDArray[np.bool_]:
        """Rows of which a counter does not confirm some hit, (explored rows,)."""
        doubtful = np.zeros(len(self.verdict.explored.rows), dtype=bool)
        doubtful[self.verdict.hits.row[~intervals_of(self.verdict)[1]]] = True
        return doubtful

    @cached_property
    def _wire(self) -> npt.NDArray[np.bool_]:
        return wire_agrees(self.verdict, self.attribution)

    @cached_property
    def _numbers(self) -> tuple[Ints, Ints]:
        return rule_numbers(self.verdict)

    def __call__(self, number: int) -> tuple[PathView, ...]:
        """The ways that packets of a connection took, each with its packets, in order of first packet."""
        order, starts = self._order
        if not 1 <= number <= len(self.connections):
            return ()
        groups: dict[tuple[object, ...], list[int]] = {}
        for at in order[starts[number] : starts[number + 1]].tolist():
            way = way_at(self.verdict, self.attribution, at)
            hits = way.hits if way is not None else ()
            key = (int(self.attribution.direction[at]), int(self.attribution.state[at]), hits, way.path.end if way else "")
            groups.setdefault(key, []).append(at)
        reason = str(self.connections["reason"].iloc[number - 1])
        return tuple(self._view(np.array(rows), reason) for rows in groups.values())

    def all(self) -> tuple[PathView, ...]:
        """The ways that packets of all connections took, most packets first."""
        attribution = self.attribution
        if not len(attribution):
            return ()
        v, row = self.verdict.explored.rows.columns, attribution.row
        keys = (
            attribution.direction, attribution.state, self.verdict.explored.walked.kind[row], attribution.way,
            attribution.open, v["in_code"][row], v["out_code"][row], v["enters"][row], self._doubtful[row], self._wire,
        )  # fmt: skip
        _, group = np.unique(np.stack([np.asarray(key, dtype=np.int64) for key in keys], axis=1), axis=0, return_inverse=True)
        group = group.reshape(-1)
        order = np.argsort(group, kind="stable")
        parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
        return tuple(sorted((self._view(rows, "") for rows in parts), key=lambda view: -view.packets))

    def _view(self, rows: Ints, reason: str) -> PathView:
        attribution, verdict = self.attribution, self.verdict
        at = int(rows[0])
        v = verdict.explored.rows.columns
        row = int(attribution.row[at])
        times = attribution.time[rows]
        names = verdict.scene.names
        unverified = verdict.ledger is None
        counted = not unverified and not self._doubtful[attribution.row[rows]].any()
        evidence = ["rules", *(["wire"] if self._wire[rows].all() else []), *(["counters"] if counted else [])]
        doubt = bool(attribution.open[at]) or attribution.way[at] == NO_WAY
        came, gone = int(v["in_code"][row]), int(v["out_code"][row])
        entered = bool(v["enters"][row])
        way = way_at(verdict, attribution, at)
        return PathView(
            DIRECTIONS[int(attribution.direction[at])], STATE_NAMES[int(attribution.state[at])], len(rows),
            int(v["length"][attribution.row[rows]].sum()), int(times.min()), int(times.max()),
            names[came] if entered and came >= 0 else "", names[gone] if gone >= 0 else way.path.out_interface if way else "",
            _steps(verdict, attribution, at, way, self._numbers) if way is not None else (), ",".join(evidence),
            "ambiguous" if doubt else "unverified" if unverified else "exact", reason if doubt else "",
        )  # fmt: skip


def _steps(verdict: Verdict, attribution: Attribution, at: int, way: Way, numbered: tuple[Ints, Ints]) -> tuple[Step, ...]:
    row = int(attribution.row[at])
    stage_number = int(verdict.explored.rows.program[row])
    stage = verdict.stages.stages[stage_number]
    numbers, generation = numbered
    steps: list[Step] = []
    for kind, hook, _table, entry, depth, text in way.path.events:
        if kind in ("rule", "policy"):
            if entry < 0:
                continue
            known = stage.program.ruleset.entries[entry]
            number = int(numbers[generation[stage_number], stage.numbers[entry]])
            steps.append(Step(kind, hook, known.table, known.chain, max(number, 0), known.text, known.target, depth))
        elif kind == "nat":
            steps.append(Step("nat", hook, "nat", text=_translation(verdict, row, text)))
        elif kind == "route":
            steps.append(Step("route", hook, text="to this host" if text == "local" else f"out of {text}"))
        elif kind == "end":
            out = way.path.out_interface or "this host"
            steps.append(Step("end", hook, text=ENDS.get(text, text).format(out=out)))
    return tuple(steps)


def _translation(verdict: Verdict, row: int, text: str) -> str:
    """What NAT did to this very packet (the walk's note tells of the example of its kind)."""
    side, *values = text.split()
    v = {name: int(column[row]) for name, column in verdict.explored.rows.columns.items()}
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
