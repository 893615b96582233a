"""The tables of a verdict, each written when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.intake.packets import PacketReader
from correlator.reconcile.pipeline import Verdict, reconcile
from correlator.reconcile.tables.attribution import Attribution, attribute
from correlator.reconcile.tables.columns import join_tables
from correlator.reconcile.tables.comments import packet_paths
from correlator.reconcile.tables.connections import connections_table
from correlator.reconcile.tables.frames import frame_rows
from correlator.reconcile.tables.hits import add_up_hits, hits_table, packets_table
from correlator.reconcile.tables.ledger import Lines, balances_table, explainers, rules_table
from correlator.reconcile.tables.numbering import Numbering, number
from correlator.reconcile.tables.other_tools import community_table, flows_table
from correlator.reconcile.tables.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    import pandas as pd

    from correlator.reconcile.analysis import PacketPaths, PathView
    from correlator.reconcile.settle.confirm import Doubts

    Ints = npt.NDArray[np.int64]


PART = 1 << 15
"""Connections whose hits are written at a time."""


@dataclass(frozen=True)
class Tables:
    """What packets that were attributed one by one and ordinary connections amount to, together."""

    verdict: Verdict
    attribution: Attribution
    numbering: Numbering
    clock_offset: int | None

    @cached_property
    def _attributed_hits(self) -> pd.DataFrame:
        return add_up_hits(self.verdict, self.attribution)

    @cached_property
    def _attributed(self) -> pd.DataFrame:
        """The attribution's connections under its own numbers."""
        return connections_table(self.verdict, self.attribution, self._attributed_hits)

    def connections(self) -> pd.DataFrame:
        """All connections, in order of first_seen."""
        own, numbers = self._attributed, self.numbering.attributed
        if self.verdict.ordinary is None:
            return own
        from correlator.reconcile.tables.ordinary_tables import ordinary_connections

        own = own.assign(
            connection=numbers[own["connection"].to_numpy()],
            linked=numbers[own["linked"].to_numpy()],
        )
        return join_tables([own, ordinary_connections(self.verdict, self.numbering)], "connection")

    def rules(self) -> pd.DataFrame:
        """Every rule and policy of every generation."""
        return rules_table(self.verdict, self.numbering)

    @cached_property
    def _balances(self) -> tuple[pd.DataFrame, Lines]:
        return balances_table(self.verdict)

    def balances(self) -> pd.DataFrame:
        """The ledger without the connections behind its lines."""
        return self._balances[0]

    def explain(self, lines: Ints) -> list[str]:
        """The connections behind these lines of the ledger (row numbers)."""
        _, every = self._balances
        return explainers(
            self.verdict, self.numbering, Lines(every.interval[lines], every.entry[lines])
        )

    def hits(self) -> pd.DataFrame:
        """All hits."""
        return self._hits_between(1, self.numbering.total + 1)

    def hits_in_parts(self) -> Iterator[pd.DataFrame]:
        """All hits, those of some connections at a time, in the order of connections."""
        for begin in range(1, max(self.numbering.total, 1) + 1, PART):
            yield self._hits_between(begin, begin + PART)

    def _hits_between(self, begin: int, end: int) -> pd.DataFrame:
        """The hits of connections with numbers from ``begin`` up to ``end``."""
        own = self._own_hits
        if self.verdict.ordinary is None and begin == 1 and end > self.numbering.total:
            return own
        mine = own[
            ((own["connection"] >= begin) & (own["connection"] < end)).to_numpy()
        ].reset_index(drop=True)
        return join_tables(
            [mine, *self._ordinary_hits(self.numbering.owners_between(begin, end))], "connection"
        )

    @cached_property
    def _own_hits(self) -> pd.DataFrame:
        """The attribution's hits under the numbers of all connections."""
        own = hits_table(self.verdict, self._attributed_hits)
        return own.assign(connection=self.numbering.attributed[own["connection"].to_numpy()])

    def _ordinary_hits(self, owners: Ints) -> list[pd.DataFrame]:
        """The hits of some of the fold's connections (rows, in the order of their numbers), where
        there are any."""
        if self.verdict.ordinary is None or not len(owners):
            return []
        from correlator.reconcile.tables.ordinary_tables import ordinary_hits_table

        return [ordinary_hits_table(self.verdict, self.numbering, owners, self._doubts)]

    @cached_property
    def _doubts(self) -> Doubts:
        from correlator.reconcile.settle.confirm import doubted_entries, doubts_of

        return doubts_of(self.verdict, doubted_entries(self.verdict))

    @cached_property
    def _whole(self) -> Tables:
        """The same with every packet attributed one by one, where frames are asked for that were
        folded."""
        if self.verdict.ordinary is None:
            return self
        inputs = self.verdict.inputs
        everything = PacketReader(inputs, fold=False, limit=self.verdict.intake.limit).result()
        return tables_of(reconcile(inputs, everything, self.clock_offset), self.clock_offset)

    def hits_of(self, connections: Ints | None, targets: tuple[str, ...]) -> pd.DataFrame:
        """The hits of these connections, or of rules with these targets."""
        own, owners = self._own_hits, self.numbering.owners
        own = own[
            own["connection"].isin(connections)
            if connections is not None
            else own["target"].isin(targets)
        ]
        tables = [own.reset_index(drop=True)]
        if connections is not None:
            tables += self._ordinary_hits(
                owners[np.isin(self.numbering.ordinary[owners], connections)]
            )
        elif self._aims(targets):
            for begin in range(0, len(owners), PART):
                for found in self._ordinary_hits(owners[begin : begin + PART]):
                    tables.append(found[found["target"].isin(targets)].reset_index(drop=True))
        return join_tables(tables, "connection")

    def _aims(self, targets: tuple[str, ...]) -> bool:
        """Whether an ordinary packet hit a rule with one of these targets."""
        entries = self.verdict.register.entries
        ways = self.verdict.ordinary.way if self.verdict.ordinary is not None else ()
        return any(
            entries[entry].target in targets
            for way in ways
            if way is not None
            for entry in way.hits
        )

    def packets(self) -> pd.DataFrame:
        """All frames."""
        whole = self._whole
        return packets_table(whole.verdict, whole.attribution)

    def packets_of(self, connections: Ints) -> pd.DataFrame:
        """The frames of these connections."""
        tables = self if not np.isin(self.numbering.ordinary, connections).any() else self._whole
        return tables.unfolded_of(connections)

    def unfolded_of(self, connections: Ints) -> pd.DataFrame:
        """Those of them that were attributed one by one."""
        frames = packets_table(self.verdict, self.attribution)
        numbers = self.numbering.attributed[frames["connection"].to_numpy()]
        return frames.assign(connection=numbers)[np.isin(numbers, connections)].reset_index(
            drop=True
        )

    def packet_paths(self) -> PacketPaths:
        """The rules that each frame's packet traversed, as text."""
        whole = self._whole
        return packet_paths(whole.verdict, whole.attribution)

    def frames(self) -> pd.DataFrame:
        """Every frame of the input files, with its row of the packets table."""
        return frame_rows(self._whole.verdict)

    def flows(self) -> pd.DataFrame:
        """What other tools call the connections."""
        whole = self._whole
        return flows_table(whole.verdict, whole.attribution)

    def community(self, begin: int, end: int) -> pd.DataFrame:
        """The Community IDs of both tuples of connections with numbers from ``begin`` up to
        ``end``."""
        return community_table(self.verdict, self._own_flows, self.numbering, begin, end)

    @cached_property
    def _own_flows(self) -> pd.DataFrame:
        return flows_table(self.verdict, self.attribution)

    @cached_property
    def _paths(self) -> Paths:
        return Paths(self.verdict, self.attribution, self.numbering)

    def paths(self, connection: int) -> tuple[PathView, ...]:
        """The ways that packets of a connection took."""
        return self._paths.of(connection)

    def paths_of(self, connections: Ints) -> Iterator[tuple[PathView, ...]]:
        """The same of several, in turn."""
        return self._paths.several(connections)

    def ways(self) -> tuple[PathView, ...]:
        """The ways that packets of all connections took."""
        return self._paths.all()


def tables_of(verdict: Verdict, clock_offset: int | None) -> Tables:
    """Attribute every packet and number the connections."""
    attribution = attribute(verdict)
    return Tables(verdict, attribution, number(verdict, attribution), clock_offset)
