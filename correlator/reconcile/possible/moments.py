"""When a packet may have been counted: between the sights of it, on the packets' clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.possible.kinds import Scene

    Ints = npt.NDArray[np.int64]

SLACK_NS = 5_000_000
"""How long before it was seen leaving, or after it was seen coming in, a packet may be counted (8
us to 4 ms seen)."""


def moments(scene: Scene) -> tuple[Ints, Ints]:
    """(earliest, latest) time at which the rules counted each crossing; int64 (n,) epoch ns."""
    crossings, time = scene.crossings, scene.packets["time"].to_numpy()
    entered, sent = crossings.entered, crossings.sent
    came = np.where(entered, time[crossings.came_in], time[crossings.left] - SLACK_NS)
    left = np.where(sent, time[crossings.left], time[crossings.came_in] + SLACK_NS)
    lonely = crossings.loop | (came == left)
    return np.where(lonely & sent, came - SLACK_NS, came), np.where(
        lonely & entered, left + SLACK_NS, left
    )


def widen(came: Ints, left: Ints) -> tuple[Ints, Ints]:
    """The same of packets that were seen both coming in and leaving; (n,) epoch ns."""
    lonely = came == left
    if not lonely.any():
        return came, left
    return np.where(lonely, came - SLACK_NS, came), np.where(lonely, left + SLACK_NS, left)
