"""The reconciliation from end to end: packets, rules and counters in, a verdict on every packet
out.

frames -> crossings -> readings -> kinds walked -> choices -> clock -> counters settle -> ledger.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.clocks import Clock
from correlator.reconcile.intake.counters import Counters, read_counters
from correlator.reconcile.intake.packets import Intake, done
from correlator.reconcile.intake.timetable import Timetable
from correlator.reconcile.possible.changes import order_changes
from correlator.reconcile.possible.choices import Choices, Option, Unit, find_choices, way_of
from correlator.reconcile.possible.explore import Explored, explore
from correlator.reconcile.possible.prepare import prepare
from correlator.reconcile.settle.books import Books
from correlator.reconcile.settle.hits import spread, tally_of
from correlator.reconcile.settle.ledger import keep_ledger
from correlator.reconcile.settle.offset import estimate
from correlator.reconcile.settle.settle import settle
from correlator.reconcile.shared import Shared
from correlator.reconcile.tally import Tallies, Tally
from correlator.reconcile.verdict import Decided, Verdict

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Ints
    from correlator.reconcile.intake.inputs import Inputs, Progress
    from correlator.reconcile.possible.decided import Ordinary


PASSES = 3


def reconcile(
    inputs: Inputs,
    intake: Intake,
    clock_offset: int | None = None,
    progress: Progress | None = None,
    shared: Shared | None = None,
) -> Verdict:
    """Decide every packet's way. ``clock_offset`` in ns sets the counters' clock minus the
    packets'. ``shared``: what packets of another family meet, too."""
    say = progress or (lambda _what, _part: None)
    stages, entries = intake.stages, intake.stages.register
    counters = read_counters(inputs.log, entries) if inputs.log is not None else None
    beside = shared.hits if shared is not None else None
    if counters is not None and shared is not None and beside is None:
        counters = counters.without(shared.entries)
    policies = np.array([entry.number == 0 for entry in entries.entries], dtype=bool)
    clock = Clock(offset=clock_offset, source="given") if clock_offset is not None else Clock()
    same = inputs.log is not None and inputs.log.form == "session"
    one = counters is None or clock_offset is not None or len(inputs.rulesets) == 1
    likely = prepared = None
    for number in range(PASSES):
        say("walking the rules", 0.4 + 0.1 * number)
        timetable = Timetable.of(stages, counters, clock)
        prepared = prepare(inputs, intake, timetable, prepared, more=not (one or same))
        scene, ordinary, low, high = prepared.scene, prepared.ordinary, prepared.low, prepared.high
        explored = explore(
            scene,
            stages,
            timetable.stage_of(low, high),
            prepared.opening,
            prepared.witnessed,
            prepared.begin,
        )
        choices = find_choices(
            explored, scene.watched, counters is not None and counters.samples > 1
        )
        row_low, row_high = low[explored.rows.crossing], high[explored.rows.crossing]
        choices = order_changes(explored, choices, stages, row_low, row_high)
        length = explored.rows.columns["length"]
        zeros = np.zeros(len(choices.settled), dtype=np.int64)
        if counters is None or clock_offset is not None:
            break
        picked, way = _first_options(choices.units, explored)
        taken, ways = np.r_[choices.settled, picked], np.r_[zeros, way]
        likely = _tallies(
            tally_of(taken, ways, explored.walked, row_low, row_high, length),
            ordinary,
            len(entries),
            beside,
        )
        found = estimate(likely, counters, _certain(explored, choices, len(entries)))
        found = _simpler(found, likely, counters, policies, same)
        moved = abs(found.offset - clock.offset) > 0 or found.drift_ppm != clock.drift_ppm
        clock = found
        if not moved or one:
            break
    assert prepared is not None
    done(intake)
    say("settling against the counters", 0.8)
    base = None
    if choices.units:
        certain = tally_of(choices.settled, zeros, explored.walked, row_low, row_high, length)
        base = _tallies(certain, ordinary, len(entries), beside)
    likely = likely if not choices.units else None
    settlement = settle(explored, choices, base, counters, clock, row_low, row_high, length)
    row, way = _decided(choices, settlement.taken)
    counted = counters is not None and counters.samples > 1
    standing = settlement.standing if counted else choices.units
    first = _first_options(standing, explored)
    row_of, way_of_row = np.r_[row, first[0]], np.r_[way, first[1]]
    hits = spread(row_of, way_of_row, explored.walked, row_low, row_high, length).by_time()
    # where nothing was open, what was likely is what is
    own = tally_of(row_of, way_of_row, explored.walked, row_low, row_high, length)
    final = likely or _tallies(own, ordinary, len(entries), beside)
    books = None
    if counters is not None and counted:
        books = Books(counters, clock, final, keep_ledger(final, counters, clock, policies))
    nowhere = np.r_[choices.contradicted, choices.crowded]
    decided = Decided(scene, explored, row, way, standing, nowhere, settlement.broken, hits)
    warnings = prepared.sights.warnings
    return Verdict(
        inputs,
        intake,
        stages,
        decided,
        ordinary,
        final,
        counters,
        books,
        clock,
        warnings,
        prepared.inferred,
    )


def _tallies(own: Tally, ordinary: Ordinary | None, entries: int, beside: Tally | None) -> Tallies:
    """All hits."""
    if ordinary is None:
        return Tallies(entries, own, beside=beside)
    return Tallies(
        entries,
        own,
        ordinary.hits,
        ordinary.taken,
        ordinary.folded.packets.begins,
        ordinary.tallies,
        beside,
    )


def _simpler(
    found: Clock, hits: Tallies, counters: Counters, policies: npt.NDArray[np.bool_], same: bool
) -> Clock:
    """The same clock for both, unless an offset explains more: a lossy capture can look shifted by
    less than it lost.

    ``same``: one recording read both on one clock, whatever it lost.
    """
    if found.source == "unknown" and same:
        return Clock(source="one clock")
    if found.source != "estimated":
        return found
    if not same:
        unexplained = [
            keep_ledger(hits, counters, clock, policies).residual for clock in (Clock(), found)
        ]
        if unexplained[0] > unexplained[1]:
            return found
    low = min(found.low, 0) if found.low is not None else None
    high = max(found.high, 0) if found.high is not None else None
    return replace(found, offset=0, low=low, high=high, drift_ppm=0.0, source="same clock")


def _first_options(units: tuple[Unit, ...], explored: Explored) -> tuple[Ints, Ints]:
    """(rows, ways) of every unit's likeliest option."""
    picks = np.array([pick for unit in units for pick in unit.options[0]], dtype=np.int64).reshape(
        -1, 2
    )
    picks = picks[explored.walked.forks[explored.walked.kind[picks[:, 0]]] > 0]
    return picks[:, 0], picks[:, 1]


def _certain(explored: Explored, choices: Choices, count: int) -> Ints:
    """Entries that every option of every open choice hits alike."""
    differ = np.zeros(count, dtype=bool)
    for unit in choices.units:
        tallies = [_tally(explored, option) for option in unit.options]
        for other in tallies[1:]:
            for entry in other.keys() | tallies[0].keys():
                differ[entry] |= other.get(entry) != tallies[0].get(entry)
    return np.flatnonzero(~differ)


def _tally(explored: Explored, option: Option) -> dict[int, list[int]]:
    """entry -> the crossings that hit it, in order."""
    tally: dict[int, list[int]] = {}
    for row, way in option:
        found = way_of(explored, row, way)
        for entry in found.hits if found is not None else ():
            tally.setdefault(entry, []).append(int(explored.rows.crossing[row]))
    return {entry: sorted(crossings) for entry, crossings in tally.items()}


def _decided(choices: Choices, taken: tuple[tuple[int, int], ...]) -> tuple[Ints, Ints]:
    settled = choices.settled
    more = np.array(taken, dtype=np.int64).reshape(-1, 2)
    return np.r_[settled, more[:, 0]], np.r_[np.zeros(len(settled), dtype=np.int64), more[:, 1]]
