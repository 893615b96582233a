"""Captures that leave out an interface: what its packets show on one side only may be something
else.

What leaves eth0 with the host's address may be the host's own, or a container's behind MASQUERADE;
what comes in to a published port goes on where nobody looked. Conntrack could tell; without it only
a counter can confirm such a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.pipeline import Verdict
    from correlator.reconcile.tables.attribution import Attribution

    Bools = npt.NDArray[np.bool_]

UNSEEN = "an interface was not captured, and no counter confirms what its packets seem to have hit"
REWRITES = frozenset(("DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP"))


def is_blind(verdict: Verdict) -> bool:
    """Whether packets may have been rewritten on their way to or from an interface that was not
    captured."""
    scene = verdict.scene
    if scene.witness is not None and scene.witness.events.complete:
        return False
    devices = {route.device for route in scene.host.routes if route.device} - {"lo"}
    rules = (
        rule
        for ruleset in verdict.stages.rulesets
        for chain in ruleset.chains
        for rule in chain.rules
    )
    return bool(devices - scene.watched) and any(rule.target.name in REWRITES for rule in rules)


@dataclass(frozen=True)
class Unseen:
    """By the attribution's numbers (from 1; 0 is none), bool (connections + 1,): ``once``: some
    packet was seen on one side only, so that what no counter confirms may be otherwise;
    ``guessed``: what it dialled was not seen, and sums of the counters that would have told are met
    by no choice."""

    once: Bools
    guessed: Bools


def unseen(verdict: Verdict, attribution: Attribution) -> Unseen:
    """What an interface that was not captured leaves open; nothing where every interface was."""
    count = int(attribution.connection.max()) if len(attribution) else 0
    once, guessed = np.zeros(count + 1, dtype=bool), np.zeros(count + 1, dtype=bool)
    if len(attribution) and verdict.ledger is not None and is_blind(verdict):
        crossings, explored = verdict.scene.crossings, verdict.explored
        lonely = ~(crossings.entered & crossings.sent) & ~crossings.loop
        once[attribution.connection[lonely[attribution.crossing]]] = True
        if verdict.broken:
            candidate = (
                explored.alternatives.dialled[explored.rows.alternative[attribution.row]] >= 0
            )
            guessed[attribution.connection[candidate]] = True
    return Unseen(once, guessed)
