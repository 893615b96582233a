"""The ground that rules are walked on: ordinary connections decided, all other packets joined into crossings on their host."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from correlator.errors import InputError
from correlator.flows.connections import cross, guess_opening
from correlator.flows.fragments import reassemble
from correlator.flows.host import build_host, look
from correlator.flows.interfaces import name_interfaces, split_vlans
from correlator.flows.ports import fold_ports
from correlator.flows.witness import build_witness, told_openings
from correlator.reconcile.intake import Intake, ask, rest
from correlator.reconcile.kinds import Scene, Surroundings
from correlator.reconcile.moments import moments
from correlator.reconcile.readings import dnat_rules, servers_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.decode import Capture
    from correlator.firewall.view import Host
    from correlator.reconcile.inputs import Inputs
    from correlator.reconcile.ordinary import Ordinary
    from correlator.reconcile.timetable import Timetable

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

_NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Ground:
    """``ordinary`` connections under a ``timetable``, and a ``scene`` of all other packets: pairs that ``left`` tells
    (pairs,), whose frames are ``capture``. ``told`` and ``guess`` int8 (pairs of the scene,): how each opens; ``low`` and
    ``high`` int64 (n,): when each crossing was counted; ``begin`` epoch ns of the first packet of all. ``inferred`` facts and
    ``warnings`` of losses."""

    timetable: Timetable
    ordinary: Ordinary | None
    left: Bools
    capture: Capture
    scene: Scene
    told: npt.NDArray[np.int8]
    guess: npt.NDArray[np.int8]
    low: Ints
    high: Ints
    begin: int
    inferred: tuple[str, ...]
    warnings: tuple[str, ...]


def prepare_ground(inputs: Inputs, intake: Intake, timetable: Timetable, known: Ground | None, more: bool) -> Ground:
    """The ground for a timetable; ``known``: that for another one, of the same intake. ``more``: there may be a third."""
    if known is not None and (known.ordinary is None or timetable.clock == known.timetable.clock):
        return known
    ordinary, left, capture = _decide_ordinary(inputs, intake, timetable, known, more)
    if known is not None and capture is known.capture:
        return replace(known, timetable=timetable, ordinary=ordinary)
    if not len(capture.packets) and ordinary is None and not inputs.may_be_empty:
        raise InputError(f"{inputs.source}: no IPv4 packet in any pcap: nothing to replay")
    scene, inferred, warnings = _set_scene(inputs, capture, intake.own_seen)
    begin = int(scene.packets["time"].min()) if len(scene.packets) else 0
    begin = ordinary.folded.begin if ordinary is not None else begin
    told = told_openings(scene.witness, scene.crossings)
    guess = guess_opening(scene.crossings, servers_of(dnat_rules(inputs.rulesets)))
    guess = np.where(told >= 0, told, guess).astype(np.int8)
    return Ground(timetable, ordinary, left, capture, scene, told, guess, *moments(scene), begin, inferred, warnings)


def _decide_ordinary(
    inputs: Inputs, intake: Intake, timetable: Timetable, known: Ground | None, more: bool
) -> tuple[Ordinary | None, Bools, Capture]:
    """(ordinary connections, where any were folded; pairs that are left, and their frames)."""
    if intake.folded is None:
        return None, np.zeros(0, dtype=bool), intake.capture
    from correlator.reconcile.ordinary import decide, rest_pairs

    empty = intake.capture.packets
    host, _ = build_host(inputs.facts, empty, look(intake.capture, inputs.facts), intake.capture.names, inputs.rulesets, _NONE)
    witness = build_witness(inputs.events) if inputs.events is not None else None
    names = _names(intake.capture, host)
    surroundings = Surroundings(host, names, frozenset(intake.capture.names), witness)
    ordinary = decide(intake.folded.folded, surroundings, timetable)
    left = rest_pairs(ordinary)
    if known is not None and (left == known.left).all():
        return ordinary, left, known.capture
    ask(intake, left)
    _ = ordinary.tally  # while frames are looked for
    return ordinary, left, rest(intake, left, more)


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
