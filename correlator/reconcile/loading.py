"""Files -> an analysis, with what a replay does while it waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from correlator.flows.fold.plan import USUAL, Plan

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis
    from correlator.reconcile.intake.inputs import Progress


def load_files(
    path: Path | None,
    pcaps: Sequence[tuple[str | None, Path]] = (),
    counters: Path | None = None,
    rules: Path | None = None,
    facts: Path | None = None,
    *,
    clock_offset: float | None = None,
    max_memory: int | None = None,
    progress: Progress | None = None,
    meanwhile: Callable[[], None] | None = None,
    plan: Plan = USUAL,
) -> Analysis:
    """Replay a folder, or files one by one; see :func:`correlator.load`. ``meanwhile`` is called
    while another process reads packets: imports are not free. ``plan``: how they are read."""
    from correlator.flows.fold.process import begin_process

    # It starts while all else is imported.
    aside = begin_process(path, [file for _, file in pcaps], plan)

    from correlator.reconcile.intake.inputs import read_inputs
    from correlator.reconcile.intake.inputs6 import read_inputs6
    from correlator.reconcile.intake.packets import PacketReader

    inputs = read_inputs(path, pcaps, counters, rules, facts, progress)
    six = read_inputs6(path, counters, facts, inputs)
    if six is not None and len(six.intake.capture.packets):
        inputs = replace(inputs, may_be_empty=True)
    reading = PacketReader(inputs, progress, aside, limit=max_memory, plan=plan)

    from correlator.reconcile.build import analyse  # and with it pandas

    if meanwhile is not None:
        meanwhile()
    offset = None if clock_offset is None else round(clock_offset * 1e9)
    if six is None:
        return analyse(inputs, reading.result(), offset, progress)
    from correlator.reconcile.families import analyse_both

    return analyse_both(inputs, reading, six, offset, progress)
