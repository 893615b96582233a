"""What rules are walked on: ordinary connections decided, all other packets joined into
crossings on their host."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from correlator.errors import InputError
from correlator.flows.conntrack import ASIDE
from correlator.flows.conntrack_events import build_witness, told_openings
from correlator.flows.fold.folded import likely_rest
from correlator.flows.frames.bridge_ports import fold_ports
from correlator.flows.frames.direction import look
from correlator.flows.frames.fragments import reassemble
from correlator.flows.frames.interfaces import name_interfaces, split_vlans
from correlator.flows.host import NOTHING_SHOWN, build_host, shown_addresses
from correlator.flows.labels import guess_opening
from correlator.flows.pairs import Crossings, cross
from correlator.reconcile.intake.packets import Intake, ask, done, rest
from correlator.reconcile.possible.alternatives import published_servers
from correlator.reconcile.possible.scene import Scene, Setting
from correlator.reconcile.times import counted_between

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from correlator.arrays import Bools, Ints
    from correlator.decode import Capture
    from correlator.firewall.view import Host
    from correlator.flows.frames.direction import Sight
    from correlator.flows.host import Shown
    from correlator.reconcile.intake.inputs import Inputs
    from correlator.reconcile.intake.timetable import Timetable
    from correlator.reconcile.possible.decided import Ordinary


@dataclass(frozen=True)
class Sights:
    """Frames joined into crossings, before anything is asked of the host; ``names`` of the
    interfaces."""

    packets: pd.DataFrame
    names: tuple[str, ...]
    sight: Sight
    crossings: Crossings
    warnings: tuple[str, ...]

    @property
    def shown(self) -> Shown:
        """The addresses that these frames show."""
        crossings = self.crossings
        alone = crossings.left[(crossings.came_in < 0) & (crossings.left >= 0)]
        return shown_addresses(self.packets, self.sight, self.names, alone)


@dataclass(frozen=True)
class Prepared:
    """``ordinary`` connections under a ``timetable``, and a ``scene`` of all other packets: pairs
    that ``left`` tells (pairs,), with their ``sights``. ``witnessed`` and ``opening`` int8 (pairs
    of the scene,): how each opens as conntrack says (-1: nothing), and as is likeliest; ``low`` and
    ``high`` int64 (n,): when each crossing was counted; ``begin`` epoch ns of the first packet of
    all. ``guessed``: facts of the ``host`` that were inferred."""

    timetable: Timetable
    ordinary: Ordinary | None
    left: Bools
    sights: Sights
    host: Host
    guessed: tuple[str, ...]
    scene: Scene
    witnessed: npt.NDArray[np.int8]
    opening: npt.NDArray[np.int8]
    low: Ints
    high: Ints
    begin: int

    @property
    def inferred(self) -> tuple[str, ...]:
        """All that was."""
        return (*self.sights.sight.inferred, *self.guessed)


def prepare(
    inputs: Inputs, intake: Intake, timetable: Timetable, known: Prepared | None, more: bool
) -> Prepared:
    """What is walked under a timetable; ``known``: the same for another one, of the same
    intake. ``more``: there may be a third."""
    if known is not None and (known.ordinary is None or timetable.clock == known.timetable.clock):
        return known
    left, sights = (
        (known.left, known.sights) if known is not None else _first_sights(inputs, intake)
    )
    host, guessed = (
        (known.host, known.guessed) if known is not None else _host(inputs, intake, sights)
    )
    ordinary = None
    if intake.folded is not None:
        ordinary, now = _decide_ordinary(inputs, intake, host, timetable)
        if sights is None or not np.array_equal(now, left):
            ask(intake, now)
            _ = ordinary.tally  # while frames are looked for
            left, sights = now, _join(inputs, intake, rest(intake, now, more))
    assert sights is not None
    if not more:
        done(intake)
    if known is not None and sights is known.sights:
        return replace(known, timetable=timetable, ordinary=ordinary)
    if (
        not len(sights.packets)
        and (ordinary is None or not ordinary.kept.any())
        and not inputs.may_be_empty
    ):
        raise InputError(f"{inputs.source}: no IPv4 packet in any pcap: nothing to replay")
    scene = _set_scene(inputs, sights, host)
    begin = int(scene.packets["time"].min()) if len(scene.packets) else 0
    begin = ordinary.folded.begin if ordinary is not None else begin
    witnessed = told_openings(scene.witness, scene.crossings)
    opening = guess_opening(scene.crossings, published_servers(inputs.rulesets))
    opening = np.where(witnessed >= 0, witnessed, opening).astype(np.int8)
    between = counted_between(scene.crossings, scene.packets["time"].to_numpy())
    return Prepared(
        timetable, ordinary, left, sights, host, guessed, scene, witnessed, opening, *between, begin
    )


def _first_sights(inputs: Inputs, intake: Intake) -> tuple[Bools, Sights | None]:
    """(pairs, their frames) from which the host can be told: of all that was not folded, or may not
    have been where facts do not tell it; None where they do."""
    if intake.folded is None:
        return np.zeros(0, dtype=bool), _join(inputs, intake, intake.capture)
    left = likely_rest(intake.folded.folded)
    if "addr.json" in inputs.facts.present:
        return left, None
    ask(intake, left)
    return left, _join(inputs, intake, rest(intake, left, more=True))


def _host(inputs: Inputs, intake: Intake, sights: Sights | None) -> tuple[Host, tuple[str, ...]]:
    """The host, and what of it was inferred."""
    if sights is None:
        return build_host(inputs.facts, NOTHING_SHOWN, intake.capture.names, inputs.rulesets)
    shown = sights.shown
    if intake.folded is not None:
        reached = intake.folded.reached
        both = {
            name: sorted({*shown.reached.get(name, ()), *reached.get(name, ())})
            for name in {*shown.reached, *reached}
        }
        shown = replace(shown, reached={name: tuple(addresses) for name, addresses in both.items()})
    return build_host(inputs.facts, shown, sights.names, inputs.rulesets)


def _decide_ordinary(
    inputs: Inputs, intake: Intake, host: Host, timetable: Timetable
) -> tuple[Ordinary, Bools]:
    """(ordinary connections, pairs that are left)."""
    from correlator.reconcile.possible.decide import decide, rest_pairs

    assert intake.folded is not None
    witness = build_witness(inputs.events) if inputs.events is not None else None
    setting = Setting(
        host, _names(intake.capture.names, host), frozenset(intake.capture.names), witness
    )
    ordinary = decide(intake.folded.folded, setting, timetable)
    return ordinary, rest_pairs(ordinary)


def _join(inputs: Inputs, intake: Intake, capture: Capture) -> Sights:
    """Frames on their interfaces, put together, and joined into crossings."""
    capture = split_vlans(name_interfaces(capture, inputs.facts), inputs.facts)
    packets, lost = reassemble(capture.packets) if inputs.tracked else (capture.packets, 0)
    capture = fold_ports(replace(capture, packets=packets), inputs.facts)
    packets = capture.packets
    sight = look(capture, inputs.facts, intake.macs)
    warnings = [
        *capture.warnings,
        *inputs.warnings,
        *(inputs.log.warnings if inputs.log is not None else ()),
    ]
    warnings += _foreign(inputs, capture, intake.own_seen)
    if lost:
        warnings.append(
            f"{lost} fragments belong to datagrams that are incomplete: no rule saw them"
        )
    for interface in capture.interfaces:
        if interface.dropped:
            warnings.append(
                f"{interface.name}: {interface.dropped} packets were lost while capturing "
                f"({interface.file})"
            )
    crossings = cross(packets, sight)
    if not inputs.tracked:
        crossings = replace(crossings, kind=np.full_like(crossings.kind, ASIDE))
    return Sights(packets, capture.names, sight, crossings, tuple(warnings))


def _set_scene(inputs: Inputs, sights: Sights, host: Host) -> Scene:
    crossings, code = sights.crossings, sights.packets["interface"].to_numpy().astype(np.int64)
    return Scene(
        sights.packets,
        crossings,
        sights.sight,
        host,
        _names(sights.names, host),
        np.where(crossings.entered, code[crossings.came_in], -1),
        np.where(crossings.sent, code[crossings.left], -1),
        frozenset(sights.names),
        build_witness(inputs.events) if inputs.events is not None else None,
    )


def _names(names: tuple[str, ...], host: Host) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*names, *(r.device for r in host.routes if r.device), "lo"]))


def _foreign(inputs: Inputs, capture: Capture, own_seen: frozenset[str]) -> list[str]:
    """Interfaces none of whose frames bears the address that the facts give it, but those in
    ``own_seen``. Raises where that holds for all."""
    codes = capture.packets["interface"].to_numpy()
    mac_src, mac_dst = (capture.packets[n].to_numpy() for n in ("mac_src", "mac_dst"))
    asked, strange = 0, []
    for code, name in enumerate(capture.names):
        fact = inputs.facts.interfaces.get(name)
        rows = (
            (codes == code)
            & (mac_src != 0)
            & (mac_dst != 0)
            & (mac_dst >> np.uint64(40) & np.uint64(1) == 0)
        )
        if fact is None or not fact.mac or not (rows.any() or name in own_seen):
            continue
        asked += 1
        if (
            name not in own_seen
            and not ((mac_src[rows] == fact.mac) | (mac_dst[rows] == fact.mac)).any()
        ):
            strange.append(name)
    if strange and len(strange) == asked:
        raise InputError(
            f"{inputs.source}: no frame on {', '.join(strange)} bears the host's own address from "
            f"link.json: "
            "these pcaps are of another host"
        )
    return [
        f"{name}: no frame bears its own address from link.json: from another host?"
        for name in strange
    ]
