"""The reconciliation from end to end: packets, rules and counters in, a verdict on every packet out.

frames -> crossings -> readings -> kinds walked -> choices -> clock -> counters settle -> ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from correlator.errors import InputError
from correlator.flows.connections import cross, guess_opening
from correlator.flows.fragments import reassemble
from correlator.flows.host import build_host, look
from correlator.flows.interfaces import name_interfaces, split_vlans
from correlator.flows.ports import fold_ports
from correlator.flows.witness import build_witness, told_openings
from correlator.reconcile.analysis import Clock
from correlator.reconcile.changes import order_changes
from correlator.reconcile.choices import Choices, Option, Unit, find_choices, way_of
from correlator.reconcile.clock import estimate, to_counters
from correlator.reconcile.counters import Counters, read_counters
from correlator.reconcile.explore import Explored, explore
from correlator.reconcile.generations import Register, Stages
from correlator.reconcile.hits import Hits, spread, tally_of
from correlator.reconcile.intake import Intake, ask, rest
from correlator.reconcile.kinds import Scene, Surroundings
from correlator.reconcile.ledger import Ledger, keep_ledger
from correlator.reconcile.moments import moments
from correlator.reconcile.readings import dnat_rules, servers_of
from correlator.reconcile.settle import settle
from correlator.reconcile.tally import Tallies, Tally

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.decode import Capture
    from correlator.firewall.view import Host
    from correlator.reconcile.inputs import Inputs, Progress
    from correlator.reconcile.ordinary import Ordinary

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

PASSES = 3
_NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Verdict:
    """What became of every row of ``explored.rows``.

    ``row`` and ``way`` int64 (k,): rows that are decided, and the number of their way. ``open``: units that nothing
    settled, likeliest option first. ``hits`` are those of decided rows and of the open units' first options, ordered by
    entry and time. ``ordinary`` holds connections that were decided while they were read; they have no row. ``tallies``:
    all hits of both.
    """

    inputs: Inputs
    scene: Scene
    register: Register
    stages: Stages
    explored: Explored
    choices: Choices
    row: Ints
    way: Ints
    open: tuple[Unit, ...]
    broken: int
    hits: Hits
    counters: Counters | None
    ledger: Ledger | None
    clock: Clock
    warnings: tuple[str, ...]
    inferred: tuple[str, ...]
    intake: Intake
    ordinary: Ordinary | None
    tallies: Tallies

    @cached_property
    def intervals(self) -> tuple[Ints, Bools, Bools]:
        """What :func:`correlator.reconcile.tables.intervals_of` tells of ``hits``."""
        from correlator.reconcile.tables import intervals_of

        return intervals_of(self)


def reconcile(inputs: Inputs, intake: Intake, clock_offset: int | None = None, progress: Progress | None = None) -> Verdict:
    """Decide every packet's way. ``clock_offset`` in ns sets the counters' clock minus the packets'."""
    say = progress or (lambda _what, _part: None)
    stages, entries = intake.stages, intake.stages.register
    counters = read_counters(inputs.log, entries) if inputs.log is not None else None
    ordinary, capture = _decide_ordinary(inputs, intake, stages)
    if not len(capture.packets) and ordinary is None and not inputs.may_be_empty:
        raise InputError(f"{inputs.source}: no IPv4 packet in any pcap: nothing to replay")
    scene, inferred, warnings = _set_scene(inputs, capture, intake.own_seen)
    begin = int(scene.packets["time"].min()) if len(scene.packets) else 0
    begin = ordinary.folded.begin if ordinary is not None else begin
    told = told_openings(scene.witness, scene.crossings)
    guess = guess_opening(scene.crossings, servers_of(dnat_rules(inputs.rulesets)))
    guess = np.where(told >= 0, told, guess).astype(np.int8)
    low, high = moments(scene)
    policies = np.array([entry.number == 0 for entry in entries.entries], dtype=bool)
    clock = Clock(offset=clock_offset, source="given") if clock_offset is not None else Clock()
    likely = None
    for number in range(PASSES):
        say("walking the rules", 0.4 + 0.1 * number)
        stage_of = _stage_of(stages, counters, clock, low, high)
        explored = explore(scene, stages, stage_of, guess, told, begin)
        choices = find_choices(explored, scene.watched, counters is not None and counters.samples > 1)
        row_low, row_high = low[explored.rows.crossing], high[explored.rows.crossing]
        choices = order_changes(explored, choices, stages, row_low, row_high)
        length = explored.rows.columns["length"]
        zeros = np.zeros(len(choices.settled), dtype=np.int64)
        if counters is None or clock_offset is not None:
            break
        picked, way = _first_options(choices.units, explored)
        taken, ways = np.r_[choices.settled, picked], np.r_[zeros, way]
        likely = _tallies(tally_of(taken, ways, explored.walked, row_low, row_high, length), ordinary, len(entries))
        found = estimate(likely, counters, _certain(explored, choices, len(entries)))
        found = _simpler(found, likely, counters, policies, inputs.log is not None and inputs.log.form == "session")
        moved = abs(found.offset - clock.offset) > 0 or found.drift_ppm != clock.drift_ppm
        clock = found
        if not moved or len(inputs.rulesets) == 1:
            break
    say("settling against the counters", 0.8)
    base = None
    if choices.units:
        certain = tally_of(choices.settled, zeros, explored.walked, row_low, row_high, length)
        base = _tallies(certain, ordinary, len(entries))
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
    final = likely or _tallies(own, ordinary, len(entries))
    ledger = keep_ledger(final, counters, clock, policies) if counters is not None and counted else None
    return Verdict(
        inputs, scene, entries, stages, explored, choices, row, way, standing, settlement.broken, hits, counters, ledger,
        clock, warnings, inferred, intake, ordinary, final,
    )  # fmt: skip


def _decide_ordinary(inputs: Inputs, intake: Intake, stages: Stages) -> tuple[Ordinary | None, Capture]:
    """Ordinary connections, where any were folded, and the frames that are left."""
    if intake.folded is None:
        return None, intake.capture
    from correlator.reconcile.ordinary import decide, rest_pairs

    empty = intake.capture.packets
    host, _ = build_host(inputs.facts, empty, look(intake.capture, inputs.facts), intake.capture.names, inputs.rulesets, _NONE)
    witness = build_witness(inputs.events) if inputs.events is not None else None
    names = _names(intake.capture, host)
    surroundings = Surroundings(host, names, frozenset(intake.capture.names), witness)
    ordinary = decide(intake.folded.folded, surroundings, stages.stages[stages.number(0, 0)])
    left = rest_pairs(ordinary)
    ask(intake, left)
    _ = ordinary.tally  # while frames are looked for
    return ordinary, rest(intake, left)


def _tallies(own: Tally, ordinary: Ordinary | None, entries: int) -> Tallies:
    """All hits."""
    if ordinary is None:
        return Tallies(entries, own)
    return Tallies(entries, own, ordinary.hits, ordinary.taken, ordinary.folded.packets.begins, ordinary.tallies)


def _simpler(found: Clock, hits: Tallies, counters: Counters, policies: npt.NDArray[np.bool_], same: bool) -> Clock:
    """The same clock for both, unless an offset explains more: a lossy capture can look shifted by less than it lost.

    ``same``: one recording read both on one clock, whatever it lost.
    """
    if found.source == "unknown" and same:
        return Clock(source="one clock")
    if found.source != "estimated":
        return found
    if not same:
        unexplained = [keep_ledger(hits, counters, clock, policies).residual for clock in (Clock(), found)]
        if unexplained[0] > unexplained[1]:
            return found
    low = min(found.low, 0) if found.low is not None else None
    high = max(found.high, 0) if found.high is not None else None
    return replace(found, offset=0, low=low, high=high, drift_ppm=0.0, source="same clock")


def _set_scene(
    inputs: Inputs, capture: Capture, own_seen: frozenset[str]
) -> tuple[Scene, tuple[str, ...], tuple[str, ...]]:
    """The packets joined into crossings, on their host; what was inferred; losses."""
    capture = split_vlans(name_interfaces(capture, inputs.facts), inputs.facts)
    capture = fold_ports(capture, inputs.facts)
    packets, lost = reassemble(capture.packets)
    capture = replace(capture, packets=packets)
    sight = look(capture, inputs.facts)
    warnings = [*capture.warnings, *inputs.warnings, *(inputs.log.warnings if inputs.log is not None else ())]
    warnings += _foreign(inputs, capture, own_seen)
    if lost:
        warnings.append(f"{lost} fragments belong to datagrams that are incomplete: no rule saw them")
    for interface in capture.interfaces:
        if interface.dropped:
            warnings.append(f"{interface.name}: {interface.dropped} packets were lost while capturing ({interface.file})")
    crossings = cross(packets, sight)
    alone = crossings.left[(crossings.came_in < 0) & (crossings.left >= 0)]
    host, guessed = build_host(inputs.facts, packets, sight, capture.names, inputs.rulesets, alone)
    names = _names(capture, host)
    code = packets["interface"].to_numpy().astype(np.int64)
    scene = Scene(
        packets, crossings, sight, host, names, np.where(crossings.entered, code[crossings.came_in], -1),
        np.where(crossings.sent, code[crossings.left], -1), frozenset(capture.names),
        build_witness(inputs.events) if inputs.events is not None else None,
    )  # fmt: skip
    return scene, (*sight.inferred, *guessed), tuple(warnings)


def _names(capture: Capture, host: Host) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*capture.names, *(r.device for r in host.routes if r.device), "lo"]))


def _foreign(inputs: Inputs, capture: Capture, own_seen: frozenset[str]) -> list[str]:
    """Interfaces none of whose frames bears the address that the facts give it, but those in ``own_seen``. Raises where
    that holds for all."""
    codes = capture.packets["interface"].to_numpy()
    mac_src, mac_dst = (capture.packets[n].to_numpy() for n in ("mac_src", "mac_dst"))
    asked, strange = 0, []
    for code, name in enumerate(capture.names):
        fact = inputs.facts.interfaces.get(name)
        rows = (codes == code) & (mac_src != 0) & (mac_dst != 0) & (mac_dst >> np.uint64(40) & np.uint64(1) == 0)
        if fact is None or not fact.mac or not (rows.any() or name in own_seen):
            continue
        asked += 1
        if name not in own_seen and not ((mac_src[rows] == fact.mac) | (mac_dst[rows] == fact.mac)).any():
            strange.append(name)
    if strange and len(strange) == asked:
        raise InputError(
            f"{inputs.source}: no frame on {', '.join(strange)} bears the host's own address from link.json: "
            "these pcaps are of another host"
        )
    return [f"{name}: no frame bears its own address from link.json: from another host?" for name in strange]


def _stage_of(stages: Stages, counters: Counters | None, clock: Clock, low: Ints, high: Ints) -> Ints:
    if counters is None or len(stages.rulesets) == 1:
        return np.full(len(low), stages.number(0, 0), dtype=np.int64)
    early, late = to_counters(clock, low)[0], to_counters(clock, high)[1]
    return stages.assign(early, late, counters.begin, counters.end, counters.generation)


def _first_options(units: tuple[Unit, ...], explored: Explored) -> tuple[Ints, Ints]:
    """(rows, ways) of every unit's likeliest option."""
    picks = np.array([pick for unit in units for pick in unit.options[0]], dtype=np.int64).reshape(-1, 2)
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
