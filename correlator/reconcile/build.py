"""A verdict -> the :class:`~correlator.reconcile.analysis.Analysis` that every report reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.errors import InputError
from correlator.flows.conntrack import SYNACK
from correlator.reconcile.analysis import Analysis
from correlator.reconcile.attribution import NO_WAY, Attribution, attribute
from correlator.reconcile.outcomes import connections_table
from correlator.reconcile.paths import Paths
from correlator.reconcile.replay import Verdict, reconcile
from correlator.reconcile.tables import hits_table, ledger_table, packets_table, rules_table

if TYPE_CHECKING:
    from correlator.reconcile.inputs import Inputs, Progress

UNFIT_ROWS, UNFIT_SHARE, UNFIT_HITS = 8, 0.9, 0.5


def analyse(inputs: Inputs, clock_offset: int | None = None, progress: Progress | None = None) -> Analysis:
    """Reconcile and write the tables. Raises :class:`~correlator.errors.InputError` where rules or counters do not fit
    the packets at all."""
    verdict = reconcile(inputs, clock_offset, progress)
    attribution = attribute(verdict)
    _refuse_unfit(verdict, attribution)
    if progress is not None:
        progress("writing the tables", 0.9)
    hits = hits_table(verdict, attribution)
    connections = connections_table(verdict, attribution, hits)
    names = verdict.scene.names
    codes = verdict.scene.packets["interface"].to_numpy()
    return Analysis(
        connections, hits, ledger_table(verdict, attribution), packets_table(verdict, attribution),
        rules_table(verdict, attribution), verdict.clock, (*verdict.warnings, *_doubts(verdict, attribution)),
        verdict.inferred,
        {name: int((codes == code).sum()) for code, name in enumerate(names) if name in verdict.scene.watched},
        verdict.counters.samples if verdict.counters is not None else 0, len(inputs.rulesets), inputs.source,
        inputs.facts.containers, Paths(verdict, attribution, connections),
    )  # fmt: skip


def _refuse_unfit(verdict: Verdict, attribution: Attribution) -> None:
    nowhere = int((attribution.way == NO_WAY).sum())
    if len(attribution) >= UNFIT_ROWS and nowhere >= UNFIT_SHARE * len(attribution):
        raise InputError(
            f"{verdict.inputs.source}: the rules do not fit the packets: of {len(attribution)} packets, {nowhere} have no "
            "way through them: are they of the same host and time?"
        )
    ledger, counters = verdict.ledger, verdict.counters
    if ledger is None or counters is None or not ledger.active.size or not len(verdict.scene.packets):
        return  # without a packet the ledger shows all that was counted as residuals
    counted = int(counters.packets_low[:, ledger.active].sum())
    gap = int(np.abs(ledger.residual).sum())
    explained = int(ledger.explained.sum())
    uncounted = -int(np.minimum(ledger.residual, 0).sum())
    if explained >= UNFIT_ROWS and counted >= UNFIT_ROWS and uncounted > UNFIT_HITS * explained:
        raise InputError(
            f"{verdict.inputs.source}: the counters do not fit the packets: of {explained} hits that the packets made, "
            f"{uncounted} were never counted: are they of the same host and time?"
        )
    if counted >= UNFIT_ROWS and explained == 0 and gap >= counted:
        begin, end = int(counters.begin[0] - verdict.clock.offset), int(counters.end[-1] - verdict.clock.offset)
        times = verdict.scene.packets["time"].to_numpy()
        apart = times[-1] < begin or times[0] > end
        raise InputError(
            f"{verdict.inputs.source}: the counters do not fit the packets: {counted} hits counted, none explained"
            + (": they were recorded at different times" if apart else ": are they of the same host?")
        )


def _doubts(verdict: Verdict, attribution: Attribution) -> list[str]:
    """What the reports must say: packets without a way, sums that nothing meets, sights that are missing."""
    doubts: list[str] = []
    if not len(verdict.scene.packets):
        doubts.append("no IPv4 packet was recorded: whatever the counters counted is a residual")
    nowhere = attribution.way == NO_WAY
    if nowhere.any():
        numbers = sorted(set(attribution.connection[nowhere].tolist()))
        shown = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
        doubts.append(f"{int(nowhere.sum())} packets fit no way through the rules (connections {shown})")
    if not verdict.explored.agreed:
        doubts.append("what conntrack knew and what the rules did to it do not agree yet: some states may be wrong")
    if verdict.broken:
        doubts.append(f"{verdict.broken} sums of the counters are met by no choice: something is missing")
    transit = verdict.explored.rows.columns["enters"][attribution.row].astype(bool)
    transit &= ~verdict.scene.crossings.entered[attribution.crossing] & ~verdict.scene.crossings.loop[attribution.crossing]
    if transit.any():
        doubts.append(
            f"{int(transit.sum())} forwarded packets were seen leaving only: "
            "the interface they came in by was not captured, or lost them"
        )
    _, first = np.unique(attribution.connection, return_index=True)
    crossings = verdict.scene.crossings
    answered = first[(crossings.kind[attribution.crossing[first]] == SYNACK) & (attribution.protocol[first] == 6)]
    if len(answered):
        opened = ", ".join(str(int(n)) for n in attribution.connection[answered][:8])
        doubts.append(f"the packet that opened connection {opened} was not captured: what it hit is missing")
    skipped = dict(verdict.inputs.capture.skipped)
    if skipped.get("IPv6"):
        doubts.append(f"{skipped['IPv6']} IPv6 packets were left out: these are IPv4 rules")
    return doubts
