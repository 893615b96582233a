"""One connection hook by hook: the ways of its packets, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from correlator.flows.conntrack import STATE_NAMES
from correlator.flows.keys import mix
from correlator.reconcile.analysis import PathView
from correlator.reconcile.settle.judge import evidence_in_words, judge
from correlator.reconcile.tables.attribution import Attribution, facts_of_packets
from correlator.reconcile.tables.columns import DIRECTIONS
from correlator.reconcile.tables.connections import candidates_in_words, way_at
from correlator.reconcile.tables.hits import rule_numbers
from correlator.reconcile.tables.ordinary_paths import (
    Grouped,
    OrdinaryPackets,
    PacketFacts,
    all_alike,
    views,
)
from correlator.reconcile.tables.steps import steps_of

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.reconcile.pipeline import Verdict
    from correlator.reconcile.settle.judge import Facts
    from correlator.reconcile.tables.numbering import Numbering


class Paths:
    """The ways of all packets, told on demand: what they are told from is gone through once, not
    once a connection."""

    def __init__(self, verdict: Verdict, attribution: Attribution, numbering: Numbering) -> None:
        self.verdict, self.attribution, self.numbering = verdict, attribution, numbering
        self._packets: OrdinaryPackets | None = None

    def of(self, connection: int) -> tuple[PathView, ...]:
        """The ways that packets of a connection took, each with its packets, in order of first
        packet."""
        if not 1 <= connection <= self.numbering.total:
            return ()
        ordinary, own = int(self._ordinary_of[connection]), int(self._own_of[connection])
        return (
            self._ordinary_paths(ordinary) if ordinary >= 0 else self._own_paths(own) if own else ()
        )

    def several(self, connections: Ints) -> Iterator[tuple[PathView, ...]]:
        """The same of several, in turn; packets are gone through once for all."""
        rows = self._ordinary_of[connections]
        if (rows >= 0).any():
            self._packets_of(rows[rows >= 0])
        return map(self.of, connections.tolist())

    def all(self) -> tuple[PathView, ...]:
        """The ways that packets of all connections took, most packets first; of a translation, what
        it did to one of them."""
        return tuple(
            sorted((*self._all_own(), *self._all_ordinary()), key=lambda view: -view.packets)
        )

    @cached_property
    def _own_of(self) -> Ints:
        """The attribution's number of each connection, 0 where it has none; (total + 1,)."""
        found = np.zeros(self.numbering.total + 1, dtype=np.int64)
        found[self.numbering.attributed] = np.arange(len(self.numbering.attributed))
        found[0] = 0
        return found

    @cached_property
    def _ordinary_of(self) -> Ints:
        """The fold's row of each connection, -1 where it has none; (total + 1,)."""
        found = np.full(self.numbering.total + 1, -1, dtype=np.int64)
        found[self.numbering.ordinary] = np.arange(len(self.numbering.ordinary))
        found[0] = -1
        return found

    @cached_property
    def _order(self) -> Grouped:
        return Grouped.by(
            self.attribution.connection, int(self.attribution.connection.max(initial=0))
        )

    @cached_property
    def _facts(self) -> Facts:
        """What the judge is told of each packet of the attribution."""
        return facts_of_packets(self.verdict, self.attribution)

    @cached_property
    def _candidates(self) -> dict[int, str]:
        return candidates_in_words(self.verdict, self.attribution)

    @cached_property
    def _numbers(self) -> tuple[Ints, Ints]:
        return rule_numbers(self.verdict)

    def _own_paths(self, number: int) -> tuple[PathView, ...]:
        groups: dict[tuple[object, ...], list[int]] = {}
        for at in self._order.of(number).tolist():
            way = way_at(self.verdict, self.attribution, at)
            hits = way.hits if way is not None else ()
            key = (
                int(self.attribution.direction[at]),
                int(self.attribution.state[at]),
                hits,
                way.path.end if way else "",
            )
            groups.setdefault(key, []).append(at)
        return tuple(
            self._own_view(np.array(rows), self._candidates.get(number, ""))
            for rows in groups.values()
        )

    def _all_own(self) -> list[PathView]:
        attribution = self.attribution
        if not len(attribution):
            return []
        v, row = self.verdict.explored.rows.columns, attribution.row
        keys = (
            attribution.direction,
            attribution.state,
            self.verdict.explored.walked.kind[row],
            attribution.way,
            attribution.open,
            v["in_code"][row],
            v["out_code"][row],
            v["enters"][row],
            self._facts,
        )
        _, group = np.unique(
            mix(*(np.asarray(key, dtype=np.int64) for key in keys)), return_inverse=True
        )
        return [self._own_view(rows, "") for rows in Grouped.by(group, int(group.max())).parts()]

    def _own_view(self, rows: Ints, candidates: str) -> PathView:
        attribution, verdict = self.attribution, self.verdict
        at = int(rows[0])
        v = verdict.explored.rows.columns
        row = int(attribution.row[at])
        times = attribution.time[rows]
        names = verdict.scene.names
        facts = int(np.bitwise_or.reduce(self._facts[rows]))
        status, reason = judge(facts, candidates)
        came, gone = int(v["in_code"][row]), int(v["out_code"][row])
        way = way_at(verdict, attribution, at)
        packet = {name: int(column[row]) for name, column in v.items()}
        return PathView(
            DIRECTIONS[int(attribution.direction[at])],
            STATE_NAMES[int(attribution.state[at])],
            len(rows),
            int(v["length"][attribution.row[rows]].sum()),
            int(times.min()),
            int(times.max()),
            names[came] if packet["enters"] and came >= 0 else "",
            names[gone] if gone >= 0 else way.path.out_interface if way else "",
            steps_of(verdict, int(verdict.explored.rows.program[row]), way, packet, self._numbers)
            if way
            else (),
            evidence_in_words(facts),
            status,
            reason if status == "ambiguous" else "",
        )

    @cached_property
    def _facts_of_ordinary(self) -> PacketFacts:
        assert self.verdict.ordinary is not None
        return PacketFacts.of(self.verdict, self.verdict.ordinary)

    def _packets_of(self, rows: Ints) -> OrdinaryPackets:
        """Packets of the fold's connections ``rows`` and perhaps of others: of all, where packets
        are at hand."""
        ordinary = self.verdict.ordinary
        assert ordinary is not None
        if self._packets is None or not self._packets.wanted[rows].all():
            wanted = ordinary.kept.copy()
            if len(ordinary.folded.packets.begins) > 1:
                wanted[:] = False
                wanted[rows] = True
            self._packets = OrdinaryPackets.of(ordinary, self._facts_of_ordinary, wanted)
        return self._packets

    def _ordinary_paths(self, connection: int) -> tuple[PathView, ...]:
        ordinary = self.verdict.ordinary
        assert ordinary is not None
        packets = self._packets_of(np.array([connection]))
        groups: dict[tuple[object, ...], list[int]] = {}
        for at in packets.grouped.of(connection).tolist():
            way, one = (
                ordinary.way[int(packets.combination[at])],
                ordinary.folded.kinds[int(packets.kind[at])],
            )
            assert way is not None
            groups.setdefault(
                (int(one["direction"]), int(one["state"]), way.hits, way.path.end), []
            ).append(at)
        return views(
            self.verdict,
            ordinary,
            [packets.alike(np.array(rows)) for rows in groups.values()],
            self._numbers,
        )

    def _all_ordinary(self) -> tuple[PathView, ...]:
        ordinary = self.verdict.ordinary
        if ordinary is None:
            return ()
        return views(
            self.verdict, ordinary, all_alike(ordinary, self._facts_of_ordinary), self._numbers
        )
