"""When a packet may have been counted: between the sights of it, on the packets' clock.

::

    seen coming in ......... rules count it ......... seen leaving
    |<---------------- a few us to SLACK_NS ---------------->|

Where one of the two sights is missing, SLACK_NS stands in for what lies between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.flows.pairs import Crossings

SLACK_NS = 5_000_000
"""How long before it was seen leaving, or after it was seen coming in, a packet may be counted (8
us to 4 ms seen)."""


def counted_between(crossings: Crossings, time: Ints) -> tuple[Ints, Ints]:
    """(earliest, latest) time at which the rules counted each crossing; int64 (n,) epoch ns.
    ``time``: that of every row of the packet table."""
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
