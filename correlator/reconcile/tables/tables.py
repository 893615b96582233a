"""The tables of a verdict, each written when it is asked for, by one writer from what every engine
hands over."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.settle.unseen import is_blind
from correlator.reconcile.tables.attribution import Attribution, attribute
from correlator.reconcile.tables.columns import join_tables
from correlator.reconcile.tables.comments import packet_paths
from correlator.reconcile.tables.connections import connections_table
from correlator.reconcile.tables.folded import Folded
from correlator.reconcile.tables.frames import frame_rows
from correlator.reconcile.tables.hits import hits_table
from correlator.reconcile.tables.ledger import Lines, balances_table, explainers, rules_table
from correlator.reconcile.tables.numbering import Numbering, number
from correlator.reconcile.tables.other_tools import community_table, flows_table
from correlator.reconcile.tables.packets import packets_table
from correlator.reconcile.tables.paths import path_of
from correlator.reconcile.tables.rule_numbers import RuleNumbers
from correlator.reconcile.tables.walked import Walked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

    from correlator.arrays import Ints
    from correlator.reconcile.analysis import PacketPaths, PathView
    from correlator.reconcile.tables.engines import Engine
    from correlator.reconcile.verdict import Verdict

PART = 1 << 15
"""Connections whose hits are written at a time."""


@dataclass(frozen=True)
class Tables:
    """What all ``engines`` decided: ``walked``, packet by packet, and where files were folded,
    ordinary connections besides. ``again`` reads everything packet by packet, for who asks of
    frames that were folded."""

    verdict: Verdict
    attribution: Attribution
    numbering: Numbering
    numbers: RuleNumbers
    walked: Walked
    engines: tuple[Engine, ...]
    again: Callable[[], Verdict]

    def connections(self) -> pd.DataFrame:
        """All connections, in order of first_seen."""
        tables = [connections_table(engine.connections()) for engine in self.engines]
        return join_tables(tables, "connection")

    def rules(self) -> pd.DataFrame:
        """Every rule and policy of every generation."""
        return rules_table(self.verdict.books, self.verdict.hits, self.numbers, self.engines)

    @cached_property
    def _balances(self) -> tuple[pd.DataFrame, Lines]:
        return balances_table(self.verdict.books, self.numbers)

    def balances(self) -> pd.DataFrame:
        """The ledger without the connections behind its lines."""
        return self._balances[0]

    def explain(self, lines: Ints) -> list[str]:
        """The connections behind these lines of the ledger (row numbers)."""
        _, every = self._balances
        some = Lines(every.interval[lines], every.entry[lines])
        return explainers(self.engines, self.numbering.total, some)

    def hits(self) -> pd.DataFrame:
        """All hits."""
        return self._hits(np.arange(1, self.numbering.total + 1))

    def hits_in_parts(self) -> Iterator[pd.DataFrame]:
        """All hits, those of some connections at a time, in the order of connections."""
        end = self.numbering.total + 1
        for begin in range(1, max(end, 2), PART):
            yield self._hits(np.arange(begin, min(begin + PART, end)))

    def _hits(self, connections: Ints) -> pd.DataFrame:
        """The hits of these connections."""
        register = self.verdict.stages.register
        tables = [hits_table(engine.hits(connections), register) for engine in self.engines]
        return join_tables(tables, "connection")

    def hits_of(self, connections: Ints | None, targets: tuple[str, ...]) -> pd.DataFrame:
        """The hits of these connections, or of rules with these targets."""
        if connections is not None:
            return self._hits(connections)
        register, tables = self.verdict.stages.register, [self._hits(np.zeros(0, dtype=np.int64))]
        for engine in self.engines:
            numbers = engine.own_numbers(targets)
            for begin in range(0, len(numbers), PART):
                found = hits_table(engine.hits(numbers[begin : begin + PART]), register)
                tables.append(found[found["target"].isin(targets)].reset_index(drop=True))
        return join_tables(tables, "connection")

    @cached_property
    def _whole(self) -> Tables:
        """The same with every packet looked at one by one, where frames are asked for that were
        folded."""
        return self if len(self.engines) == 1 else tables_of(self.again(), self.again)

    def packets(self) -> pd.DataFrame:
        """All frames."""
        whole = self._whole
        return packets_table(whole.verdict.decided.scene, whole.attribution)

    def packets_of(self, connections: Ints) -> pd.DataFrame:
        """The frames of these connections."""
        folded = np.isin(self.numbering.ordinary, connections).any()
        return (self._whole if folded else self)._unfolded_of(connections)

    def errors_of(self, connections: Ints) -> pd.DataFrame:
        """The frames of ICMP among those that were looked at one by one, with their ``icmp_type``
        and ``icmp_code`` (int16)."""
        frames = self._unfolded_of(connections, "icmp_type", "icmp_code")
        return frames[frames["protocol"].isin(("icmp", "ipv6-icmp"))].reset_index(drop=True)

    def _unfolded_of(self, connections: Ints, *more: str) -> pd.DataFrame:
        """Those of them that were looked at one by one, with ``more`` columns of the decoder's."""
        scene = self.verdict.decided.scene
        frames = packets_table(scene, self.attribution)
        numbers = self.numbering.attributed[frames["connection"].to_numpy()]
        decoded = {name: scene.packets[name].to_numpy() for name in more}
        mine = np.isin(numbers, connections)
        return frames.assign(connection=numbers, **decoded)[mine].reset_index(drop=True)

    def packet_paths(self) -> PacketPaths:
        """The rules that each frame's packet traversed, as text."""
        whole = self._whole
        return packet_paths(whole.verdict, whole.attribution)

    def frames(self) -> pd.DataFrame:
        """Every frame of the input files, with its row of the packets table."""
        whole = self._whole.verdict
        return frame_rows(whole.intake.capture.packets, whole.decided.scene.packets)

    def flows(self) -> pd.DataFrame:
        """What other tools call the connections."""
        whole = self._whole
        return flows_table(whole.verdict.decided, whole.attribution)

    def community(self, begin: int, end: int) -> pd.DataFrame:
        """The Community IDs of both tuples of connections with numbers from ``begin`` up to
        ``end``."""
        return community_table(self._own_flows, self.verdict.ordinary, self.numbering, begin, end)

    @cached_property
    def _own_flows(self) -> pd.DataFrame:
        return flows_table(self.verdict.decided, self.attribution)

    def paths(self, connection: int) -> tuple[PathView, ...]:
        """The ways that packets of a connection took, in order of their first packets."""
        if not 1 <= connection <= self.numbering.total:
            return ()
        ways = (one for engine in self.engines for one in engine.ways_of(connection))
        return tuple(path_of(one, self.numbers) for one in ways)

    def paths_of(self, connections: Ints) -> Iterator[tuple[PathView, ...]]:
        """The same of several, in turn; packets are gone through once for all."""
        for engine in self.engines:
            engine.prepare(connections)
        return map(self.paths, connections.tolist())

    def ways(self) -> tuple[PathView, ...]:
        """The ways that packets of all connections took, most packets first; of a translation, what
        it did to one of them."""
        views = (path_of(one, self.numbers) for engine in self.engines for one in engine.all_ways())
        return tuple(sorted(views, key=lambda view: -view.packets))


def tables_of(verdict: Verdict, again: Callable[[], Verdict]) -> Tables:
    """Attribute every packet and number the connections."""
    blind = verdict.books is not None and is_blind(verdict.decided.scene, verdict.stages.rulesets)
    attribution = attribute(verdict, blind)
    numbering, numbers = number(verdict, attribution), RuleNumbers.of(verdict.stages)
    walked = Walked(verdict, attribution, numbering, numbers)
    engines: tuple[Engine, ...] = (walked,)
    if verdict.ordinary is not None:
        engines = (walked, Folded(verdict, verdict.ordinary, numbering, numbers))
    return Tables(verdict, attribution, numbering, numbers, walked, engines, again)
