"""A verdict -> the :class:`~correlator.reconcile.analysis.Analysis` that every report reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.errors import InputError
from correlator.flows.conntrack import SYNACK
from correlator.flows.fold.plan import UNFOLDED
from correlator.reconcile.analysis import Analysis
from correlator.reconcile.intake.packets import PacketReader
from correlator.reconcile.pipeline import reconcile
from correlator.reconcile.possible.walks import NO_WAY
from correlator.reconcile.settle.judge import Fact
from correlator.reconcile.settle.unseen import is_blind
from correlator.reconcile.tables.attribution import Attribution
from correlator.reconcile.tables.numbering import Numbering
from correlator.reconcile.tables.tables import tables_of

if TYPE_CHECKING:
    from correlator.arrays import Bools
    from correlator.reconcile.clocks import Clock
    from correlator.reconcile.intake.counters import Counters
    from correlator.reconcile.intake.inputs import Inputs, Progress
    from correlator.reconcile.intake.packets import Intake
    from correlator.reconcile.shared import Shared
    from correlator.reconcile.tables.engines import Engine
    from correlator.reconcile.tables.tables import Tables
    from correlator.reconcile.verdict import Verdict

UNFIT_ROWS, UNFIT_SHARE, UNFIT_HITS = 8, 0.9, 0.5


def analyse(
    inputs: Inputs,
    intake: Intake,
    clock_offset: int | None = None,
    progress: Progress | None = None,
) -> Analysis:
    """Reconcile and write the tables. Raises :class:`~correlator.errors.InputError` where rules or
    counters do not fit the packets at all."""
    return written(reconcile(inputs, intake, clock_offset, progress), clock_offset, progress)


def written(
    verdict: Verdict,
    clock_offset: int | None = None,
    progress: Progress | None = None,
    shared: Shared | None = None,
) -> Analysis:
    """Write the tables of a verdict, which was reached with the same arguments."""
    inputs, intake = verdict.inputs, verdict.intake

    def again() -> Verdict:
        everything = PacketReader(inputs, limit=intake.limit, plan=UNFOLDED).result()
        return reconcile(inputs, everything, clock_offset, shared=shared)

    tables = tables_of(verdict, again)
    attribution = tables.attribution
    _refuse_unfit(verdict, tables)
    if progress is not None:
        progress("writing the tables", 0.9)
    return Analysis(
        tables.connections(),
        tables.rules(),
        tables,
        verdict.clock,
        (*verdict.warnings, *_doubts(verdict, attribution, tables.numbering)),
        verdict.inferred,
        _frames(tables.engines),
        verdict.counters.samples if verdict.counters is not None else 0,
        len(inputs.rulesets),
        inputs.source,
        inputs.facts.containers,
        verdict.decided.scene.host,
        *_readings(verdict.counters, verdict.clock),
        tuple((name, str(file)) for name, file in inputs.files),
        inputs.rulesets,
    )


def _frames(engines: tuple[Engine, ...]) -> dict[str, int]:
    """Frames of IPv4 on every interface that was captured."""
    counts: dict[str, int] = {}
    for engine in engines:
        for name, amount in engine.frames().items():
            counts[name] = counts.get(name, 0) + amount
    return counts


def _readings(
    counters: Counters | None, clock: Clock
) -> tuple[tuple[int, int] | None, tuple[tuple[int, int], ...]]:
    """(the stretch that the counters cover, the stretches in which the rules changed), epoch ns on
    the packets' clock."""
    if counters is None or counters.samples < 2:
        return None, ()
    back = clock.offset
    begin, end = counters.begin - back, counters.end - back
    changed = np.flatnonzero(np.diff(counters.generation))
    return (int(end[0]), int(end[-1])), tuple((int(begin[i]), int(end[i + 1])) for i in changed)


def _refuse_unfit(verdict: Verdict, tables: Tables) -> None:
    nowhere = int(_nowhere(tables.attribution).sum())
    known = sum(engine.packets() for engine in tables.engines)
    if known >= UNFIT_ROWS and nowhere >= UNFIT_SHARE * known:
        raise InputError(
            f"{verdict.inputs.source}: the rules do not fit the packets: of {known} packets, "
            f"{nowhere} have no "
            "way through them: are they of the same host and time?"
        )
    books = verdict.books
    if books is None or not books.ledger.accounts or not known:
        return  # without a packet the ledger shows all that was counted as residuals
    ledger, counters = books.ledger, books.counters
    blind = is_blind(verdict.decided.scene, verdict.stages.rulesets)
    counted = sum(int(counters.packets_of(entry)[0].sum()) for entry in ledger.accounts)
    gap = ledger.residual
    explained = sum(int(account.explained.sum()) for account in ledger.accounts.values())
    uncounted = -sum(
        int(np.minimum(account.residual, 0).sum()) for account in ledger.accounts.values()
    )
    if (
        explained >= UNFIT_ROWS
        and counted >= UNFIT_ROWS
        and uncounted > UNFIT_HITS * explained
        and not blind
    ):
        raise InputError(
            f"{verdict.inputs.source}: the counters do not fit the packets: of {explained} hits "
            f"that the packets made, "
            f"{uncounted} were never counted: are they of the same host and time?"
        )
    if blind:
        return  # what it did not see may well be most of it
    if counted >= UNFIT_ROWS and explained == 0 and gap >= counted:
        begin, end = (
            int(counters.begin[0] - verdict.clock.offset),
            int(counters.end[-1] - verdict.clock.offset),
        )
        first, last = books.hits.span
        apart = last < begin or first > end
        raise InputError(
            f"{verdict.inputs.source}: the counters do not fit the packets: {counted} hits "
            f"counted, none explained"
            + (
                ": they were recorded at different times"
                if apart
                else ": are they of the same host?"
            )
        )


def _nowhere(attribution: Attribution) -> Bools:
    """Rows that rules and wire leave no way, (k,)."""
    nowhere: Bools = (attribution.way == NO_WAY) & ((attribution.facts & Fact.CROWDED) == 0)
    return nowhere


def _doubts(verdict: Verdict, attribution: Attribution, numbering: Numbering) -> list[str]:
    """What the reports must say: packets without a way, sums that nothing meets, sights that are
    missing."""
    doubts: list[str] = []
    if not len(verdict.decided.scene.packets) and (
        verdict.ordinary is None or not verdict.ordinary.kept.any()
    ):
        doubts.append("no IPv4 packet was recorded: whatever the counters counted is a residual")
    crowded = (attribution.facts & Fact.CROWDED) != 0
    for some, what in (
        (_nowhere(attribution), "fit no way through the rules"),
        (crowded, "have more ways through the rules, or rules on one, than are followed"),
    ):
        if some.any():
            numbers = sorted(set(numbering.attributed[attribution.connection[some]].tolist()))
            shown = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
            doubts.append(f"{int(some.sum())} packets {what} (connections {shown})")
    if not verdict.decided.explored.agreed:
        doubts.append(
            "what conntrack knew and what the rules did to it do not agree yet: some states may "
            "be wrong"
        )
    if verdict.decided.broken:
        broken = verdict.decided.broken
        doubts.append(f"{broken} sums of the counters are met by no choice: something is missing")
    transit = verdict.decided.explored.rows.columns["enters"][attribution.row].astype(bool)
    transit &= (
        ~verdict.decided.scene.crossings.entered[attribution.crossing]
        & ~verdict.decided.scene.crossings.loop[attribution.crossing]
    )
    if transit.any():
        doubts.append(
            f"{int(transit.sum())} forwarded packets were seen leaving only: "
            "the interface they came in by was not captured, or lost them"
        )
    _, first = np.unique(attribution.connection, return_index=True)
    crossings = verdict.decided.scene.crossings
    answered = first[
        (crossings.kind[attribution.crossing[first]] == SYNACK) & (attribution.protocol[first] == 6)
    ]
    if len(answered):
        opened = ", ".join(
            str(n)
            for n in sorted(numbering.attributed[attribution.connection[answered]].tolist())[:8]
        )
        doubts.append(
            f"the packet that opened connection {opened} was not captured: what it hit is missing"
        )
    skipped = dict(verdict.intake.capture.skipped)
    if skipped.get("IPv6"):
        doubts.append(f"{skipped['IPv6']} IPv6 packets were left out: these are IPv4 rules")
    return doubts
