"""Copies that a bridge makes of what it got for a group of IPv6, one for each port that it leaves
by.

Each copy walks FORWARD and POSTROUTING on its own, and goes ahead of what the bridge hands up to
the host itself (br_handle_frame_finish): so the first copy, not INPUT, walks nat for the source of
a connection that conntrack follows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from correlator.addresses import is_ipv6, is_multicast
from correlator.endpoints import address_of
from correlator.flows.frames.bridge_ports import ON_PORT
from correlator.flows.frames.interfaces import TWIN_NS

if TYPE_CHECKING:
    from correlator.arrays import Bools
    from correlator.flows.labels import Labels
    from correlator.reconcile.possible.scene import Scene


def copies(scene: Scene) -> Bools:
    """Crossings (n,) that are such copies."""
    crossings, target = scene.crossings, address_of(scene.crossings.out_destination)
    found: Bools = ~crossings.entered & crossings.sent & is_ipv6(target) & is_multicast(target)
    if found.any():
        found &= scene.packets[ON_PORT].to_numpy()[np.maximum(crossings.left, 0)]
    return found


def nat_of_copies(labels: Labels, scene: Scene) -> Labels:
    """The labels with nat for the source where the kernel walks it."""
    crossings, flooded = scene.crossings, copies(scene)
    if not (flooded & (labels.direction == 0)).any():
        return labels
    nat, rows = labels.source_nat.copy(), np.flatnonzero(flooded)
    for row in np.flatnonzero(crossings.entered & ~crossings.sent & nat).tolist():
        behind = crossings.time[rows] - crossings.time[row]
        same = (crossings.pair[rows] == crossings.pair[row]) & (behind >= 0) & (behind <= TWIN_NS)
        if same.any():
            nat[row], nat[rows[np.argmax(same)]] = False, True
    return replace(labels, source_nat=nat)
