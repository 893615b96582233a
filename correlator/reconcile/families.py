"""IPv4 and IPv6 of one recording -> one analysis: each is reconciled on its own, beside what the
other one hit of the chains that both meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.addresses import using
from correlator.reconcile.both import join_families
from correlator.reconcile.build import analyse, written
from correlator.reconcile.intake.packets import PacketReader
from correlator.reconcile.pipeline import reconcile
from correlator.reconcile.shared import Shared, hits_beside, shared_entries

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis
    from correlator.reconcile.intake.inputs import Inputs, Progress
    from correlator.reconcile.intake.inputs6 import Inputs6
    from correlator.reconcile.intake.packets import Intake
    from correlator.reconcile.tally import Tally

ROUNDS = 3
"""So often each family is held against what the other one hit."""


def analyse_both(
    four: Inputs, reading: PacketReader, six: Inputs6, offset: int | None, progress: Progress | None
) -> Analysis:
    """The analysis of both. ``reading``: the packets of ``four``. Raises
    :class:`~correlator.errors.InputError` as :func:`correlator.reconcile.build.analyse` does."""
    intake, of_six = reading.result(), six.intake
    entries = shared_entries(intake.stages.register, of_six.stages.register)
    if not len(entries) or not len(of_six.capture.packets):
        found = analyse(four, intake, offset, progress)
        with using(six.book):
            return join_families(found, analyse(six.inputs, of_six, offset), six.book)
    shared4 = Shared(entries)
    entries6 = shared_entries(of_six.stages.register, intake.stages.register)
    verdict4 = reconcile(four, intake, offset, progress, shared4)
    shared6 = Shared(entries6, hits_beside(verdict4, of_six.stages.register))
    for _ in range(ROUNDS):
        with using(six.book):
            verdict6 = reconcile(six.inputs, of_six, offset, shared=shared6)
        shared4 = Shared(entries, hits_beside(verdict6, intake.stages.register))
        verdict4 = reconcile(four, _again(four, reading, intake), offset, shared=shared4)
        found6 = hits_beside(verdict4, of_six.stages.register)
        if _same(found6, shared6.hits):
            break
        shared6 = Shared(entries6, found6)
    analysis = written(verdict4, offset, progress, shared4)
    with using(six.book):
        return join_families(analysis, written(verdict6, offset, shared=shared6), six.book)


def _again(four: Inputs, reading: PacketReader, intake: Intake) -> Intake:
    """The same packets: what was folded is folded once more."""
    if intake.folded is None:
        return intake
    return PacketReader(four, limit=reading.limit, plan=reading.plan).result()


def _same(one: Tally, other: Tally | None) -> bool:
    """Whether two tallies hold the same hits."""
    return (
        other is not None
        and one.ways == other.ways
        and np.array_equal(one.offsets, other.offsets)
        and np.array_equal(one.low, other.low)
        and np.array_equal(one.high, other.high)
        and np.array_equal(one.bytes, other.bytes)
    )
