"""Captures that leave out an interface: what its packets show on one side only may be something
else.

What leaves eth0 with the host's address may be the host's own, or a container's behind MASQUERADE;
what comes in to a published port goes on where nobody looked. Conntrack could tell; without it only
a counter can confirm such a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.settle.judge import Fact

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.firewall.model import Ruleset
    from correlator.reconcile.possible.scene import Scene
    from correlator.reconcile.settle.judge import Facts
    from correlator.reconcile.verdict import Decided


def is_blind(scene: Scene, rulesets: tuple[Ruleset, ...]) -> bool:
    """Whether packets may have been rewritten on their way to or from an interface that was not
    captured."""
    if scene.witness is not None and scene.witness.events.complete:
        return False
    devices = {route.device for route in scene.host.routes if route.device} - {"lo"}
    rules = (rule for ruleset in rulesets for rule in ruleset.rules)
    return bool(devices - scene.watched) and any(rule.nat is not None for rule in rules)


def unseen(decided: Decided, row: Ints, connection: Ints) -> Facts:
    """What an interface that was not captured leaves open of every connection, by the number (from
    1) that each explored ``row`` (k,) has it under, where :func:`is_blind`."""
    facts = np.zeros(int(connection.max(initial=0)) + 1, dtype=np.uint32)
    crossings, explored = decided.scene.crossings, decided.explored
    lonely = ~(crossings.entered & crossings.sent) & ~crossings.loop
    one_sided = lonely[explored.rows.crossing[row]]
    facts[connection[one_sided]] |= np.uint32(Fact.ONE_SIDED)
    if decided.broken:
        guessed = explored.alternatives.dialled[explored.rows.alternative[row]] >= 0
        facts[connection[guessed]] |= np.uint32(Fact.DIALLED_GUESSED)
    return facts
