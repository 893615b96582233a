"""The tables of a verdict, each written when it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from correlator.reconcile.attribution import Attribution, attribute
from correlator.reconcile.balances import Lines, balances_table, explainers, rules_table
from correlator.reconcile.flow_names import flows_table
from correlator.reconcile.numbering import Numbering, number
from correlator.reconcile.outcomes import connections_table
from correlator.reconcile.paths import Paths
from correlator.reconcile.per_frame import frame_rows
from correlator.reconcile.per_packet import packet_paths
from correlator.reconcile.replay import Verdict, reconcile
from correlator.reconcile.tables import hits_table, packets_table
from correlator.reconcile.words import join_tables

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from correlator.reconcile.analysis import PacketPaths

    Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tables:
    """What packets that were attributed one by one and ordinary connections amount to, together."""

    verdict: Verdict
    attribution: Attribution
    numbering: Numbering
    clock_offset: int | None

    @cached_property
    def _attributed_hits(self) -> pd.DataFrame:
        return hits_table(self.verdict, self.attribution)

    @cached_property
    def _attributed(self) -> pd.DataFrame:
        """The attribution's connections under its own numbers."""
        return connections_table(self.verdict, self.attribution, self._attributed_hits)

    def connections(self) -> pd.DataFrame:
        """All connections, in order of first_seen."""
        own, numbers = self._attributed, self.numbering.attributed
        if self.verdict.ordinary is None:
            return own
        from correlator.reconcile.ordinary_tables import ordinary_connections

        own = own.assign(connection=numbers[own["connection"].to_numpy()], linked=numbers[own["linked"].to_numpy()])
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
        return explainers(self.verdict, self.numbering, Lines(every.interval[lines], every.entry[lines]))

    def hits(self) -> pd.DataFrame:
        """All hits."""
        own, numbers = self._attributed_hits, self.numbering.attributed
        if self.verdict.ordinary is None:
            return own
        from correlator.reconcile.ordinary_tables import ordinary_hits_table

        own = own.assign(connection=numbers[own["connection"].to_numpy()])
        return join_tables([own, ordinary_hits_table(self.verdict, self.numbering)], "connection")

    @cached_property
    def _whole(self) -> Tables:
        """The same with every packet attributed one by one, where frames are asked for that were folded."""
        if self.verdict.ordinary is None:
            return self
        return tables_of(reconcile(self.verdict.inputs, self.clock_offset, fold=False), self.clock_offset)

    def packets(self) -> pd.DataFrame:
        """All frames."""
        whole = self._whole
        return packets_table(whole.verdict, whole.attribution)

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

    @cached_property
    def paths(self) -> Paths:
        """The ways that packets took, of one connection or of all."""
        return Paths(self.verdict, self.attribution, self.numbering, lambda: self._attributed)


def tables_of(verdict: Verdict, clock_offset: int | None) -> Tables:
    """Attribute every packet and number the connections."""
    attribution = attribute(verdict)
    return Tables(verdict, attribution, number(verdict, attribution), clock_offset)
