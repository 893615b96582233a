"""One connection hook by hook: the ways of its packets, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from correlator.flows.conntrack import STATE_NAMES
from correlator.reconcile.analysis import PathView, Step
from correlator.reconcile.attribution import NO_WAY, Attribution
from correlator.reconcile.balances import doubted_entries, ordinary_ranks
from correlator.reconcile.ordinary import expand_rows
from correlator.reconcile.outcomes import COUNTED_FEWER, way_at
from correlator.reconcile.tables import intervals_of, ordinary_hits, place_hits, rule_numbers, wire_agrees
from correlator.reconcile.words import DIRECTIONS, address

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from correlator.reconcile.ordinary import Ordinary
    from correlator.reconcile.replay import Verdict
    from correlator.reconcile.walks import Way

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

UNCONFIRMED, FEWER, COVERED = 1, 2, 4
ENDS = {
    "sent": "sent out of {out}", "delivered": "delivered to this host", "dropped": "dropped", "rejected": "rejected",
    "ttl": "dropped: its time to live ran out (before FORWARD)", "no-route": "dropped: no route leads there",
    "martian": "dropped: its source is this host's own address (martian)",
    "reverse-path": "dropped: no route back to its source by the interface it came in by (rp_filter)",
    "not-for-us": "ignored: not for this host", "unknown-target": "goes on out of sight: the target is unknown",
}  # fmt: skip


@dataclass(frozen=True)
class _Writer:
    """Writes the steps of ways under one verdict."""

    verdict: Verdict

    @cached_property
    def _numbers(self) -> tuple[Ints, Ints]:
        return rule_numbers(self.verdict)

    def steps(self, stage_number: int, way: Way, packet: dict[str, int]) -> tuple[Step, ...]:
        """The steps of a way as one packet took it; ``packet``: what rules saw of it (the columns of ``Rows``)."""
        stage = self.verdict.stages.stages[stage_number]
        numbers, generation = self._numbers
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


@dataclass(frozen=True)
class AttributedPaths:
    """Paths of connections whose packets were attributed one by one, by the attribution's numbers."""

    verdict: Verdict
    attribution: Attribution
    connections: pd.DataFrame

    @cached_property
    def _writer(self) -> _Writer:
        return _Writer(self.verdict)

    @cached_property
    def _places(self) -> tuple[Ints, Ints]:
        """(rows of the attribution by connection, where each connection's begin)."""
        return _grouped(self.attribution.connection, len(self.connections) + 1)

    @cached_property
    def _flags(self) -> npt.NDArray[np.uint8]:
        """What counters say of each explored row's hits: bits of UNCONFIRMED, FEWER and COVERED."""
        interval, confirmed, over = intervals_of(self.verdict)
        result = np.zeros(len(self.verdict.explored.rows), dtype=np.uint8)
        for bit, which in ((UNCONFIRMED, ~confirmed), (FEWER, over), (COVERED, interval >= 0)):
            result[self.verdict.hits.row[which]] |= bit
        return result

    @cached_property
    def _wire(self) -> Bools:
        return wire_agrees(self.verdict, self.attribution)

    def of(self, number: int) -> tuple[PathView, ...]:
        """The ways that packets of a connection took, each with its packets, in order of first packet."""
        order, starts = self._places
        groups: dict[tuple[object, ...], list[int]] = {}
        for at in order[starts[number] : starts[number + 1]].tolist():
            way = way_at(self.verdict, self.attribution, at)
            hits = way.hits if way is not None else ()
            key = (int(self.attribution.direction[at]), int(self.attribution.state[at]), hits, way.path.end if way else "")
            groups.setdefault(key, []).append(at)
        reason = str(self.connections["reason"].iloc[number - 1])
        return tuple(self._view(rows, reason) for rows in groups.values())

    def _view(self, rows: list[int], reason: str) -> PathView:
        verdict, attribution, at = self.verdict, self.attribution, rows[0]
        v = verdict.explored.rows.columns
        row = int(attribution.row[at])
        times = attribution.time[rows]
        names = verdict.scene.names
        status, counted = _judge(verdict, self._flags[attribution.row[rows]])
        evidence = ["rules", *(["wire"] if self._wire[rows].all() else []), *(["counters"] if counted else [])]
        doubt = bool(attribution.open[at]) or attribution.way[at] == NO_WAY
        came, gone = int(v["in_code"][row]), int(v["out_code"][row])
        entered = bool(v["enters"][row])
        way = way_at(verdict, attribution, at)
        packet = {name: int(column[row]) for name, column in v.items()}
        return PathView(
            DIRECTIONS[int(attribution.direction[at])], STATE_NAMES[int(attribution.state[at])], len(rows),
            int(v["length"][attribution.row[rows]].sum()), int(times.min()), int(times.max()),
            names[came] if entered and came >= 0 else "", names[gone] if gone >= 0 else way.path.out_interface if way else "",
            self._writer.steps(int(verdict.explored.rows.program[row]), way, packet) if way is not None else (),
            ",".join(evidence), "ambiguous" if doubt else status, reason if doubt or status == "ambiguous" else "",
        )  # fmt: skip


@dataclass(frozen=True)
class OrdinaryPaths:
    """Paths of ordinary connections, by their row of ``folded.connections``."""

    verdict: Verdict
    ordinary: Ordinary

    @cached_property
    def _writer(self) -> _Writer:
        return _Writer(self.verdict)

    @cached_property
    def _places(self) -> tuple[Ints, Ints]:
        return _grouped(self.ordinary.owner(), len(self.ordinary.kept))

    @cached_property
    def _columns(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        combination, _, _, length = self.ordinary.packets()
        return combination, length

    @cached_property
    def _flags(self) -> npt.NDArray[np.uint8]:
        """What counters say of each packet's hits: bits of UNCONFIRMED, FEWER and COVERED."""
        doubted = doubted_entries(self.verdict)
        plain = {n for n, way in enumerate(self.ordinary.way) if way is not None and not set(way.hits) <= set(doubted)}
        sure = np.isin(self._columns[0], np.array(sorted(plain), dtype=np.int32))
        result = np.where(sure, COVERED, 0).astype(np.uint8)
        for entry in doubted:
            low, packet = ordinary_hits(self.verdict, entry)
            interval, good, over = place_hits(self.verdict, entry, ordinary_ranks(self.verdict, entry, low))
            for bit, which in ((UNCONFIRMED, ~good), (FEWER, over), (COVERED, interval >= 0)):
                result[packet[which]] |= bit
        return result

    def of(self, connection: int) -> tuple[PathView, ...]:
        """The ways that packets of a connection took, each with its packets, in order of first packet."""
        order, starts = self._places
        mine = order[starts[connection] : starts[connection + 1]]
        combination, kind = self._columns[0][mine].tolist(), self.ordinary.kind()[mine].astype(np.int64)
        groups: dict[tuple[object, ...], list[int]] = {}
        for place, (number, one) in enumerate(zip(combination, self.ordinary.folded.kinds[kind], strict=True)):
            way = self.ordinary.way[number]
            assert way is not None
            groups.setdefault((int(one["direction"]), int(one["state"]), way.hits, way.path.end), []).append(place)
        return tuple(self._view(connection, mine[at], int(kind[at[0]]), combination[at[0]]) for at in groups.values())

    def _view(self, connection: int, packets: Ints, kind: int, combination: int) -> PathView:
        ordinary = self.ordinary
        way = ordinary.way[combination]
        assert way is not None
        columns = expand_rows(ordinary.folded, np.array([connection]), np.array([kind])).columns
        packet = {name: int(column[0]) for name, column in columns.items()}
        came, length = ordinary.came()[packets], self._columns[1][packets]
        status, counted = _judge(self.verdict, self._flags[packets])
        return PathView(
            DIRECTIONS[packet["reply"]], STATE_NAMES[packet["state"]], len(packets), int(length.sum()), int(came.min()),
            int(came.max()), ordinary.names[packet["in_code"]], ordinary.names[packet["out_code"]],
            self._writer.steps(self.verdict.stages.number(0, 0), way, packet),
            "rules,wire,counters" if counted else "rules,wire", status, COUNTED_FEWER if status == "ambiguous" else "",
        )  # fmt: skip


def _judge(verdict: Verdict, flags: npt.NDArray[np.uint8]) -> tuple[str, bool]:
    """(status of packets with these flags, whether counters confirm every hit of theirs)."""
    if verdict.ledger is None:
        return "unverified", False
    fewer, covered = bool((flags & FEWER).any()), bool((flags & COVERED).any()) or not (flags & UNCONFIRMED).any()
    return "ambiguous" if fewer else "exact" if covered else "unverified", not (flags & UNCONFIRMED).any()


def _grouped(owner: npt.NDArray[np.integer], count: int) -> tuple[Ints, Ints]:
    """(numbers of packets by owner, in order; where each owner's begin, (count + 1,))."""
    order = np.argsort(owner, kind="stable")
    return order, np.searchsorted(owner[order], np.arange(count + 1))


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
