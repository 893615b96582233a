"""Two clocks, the packets' and the counters': how the times of one are told on the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from correlator.arrays import Ints


@dataclass(frozen=True, slots=True)
class Clock:
    """The counters' clock minus the packets' clock, in ns, with its bounds.

    ``offset`` holds at ``reference`` (epoch ns, packets' clock); the clocks drift apart by
    ``drift_ppm``. ``low`` and ``high`` bound the offset at the reference. ``source``: ``same
    clock`` (0 lies within the bounds), ``estimated``, ``given`` (by the user), ``one clock`` (a
    session's, which nothing had to tell) or ``unknown`` (nothing to tell it from)."""

    offset: int = 0
    low: int | None = None
    high: int | None = None
    drift_ppm: float = 0.0
    drift_low_ppm: float = 0.0
    drift_high_ppm: float = 0.0
    reference: int = 0
    source: str = "unknown"
    consistent: int = 0
    constraints: int = 0


def to_counters(clock: Clock, time: Ints) -> tuple[Ints, Ints]:
    """(earliest, latest) reading of the counters' clock at a time of the packets' clock; int64, ns.

    A point where the clocks are the same or the offset was given.
    """
    if not clock.offset and not clock.drift_ppm:
        return time, time
    shift = clock.offset + np.rint((time - clock.reference) * (clock.drift_ppm / 1e6)).astype(
        np.int64
    )
    return time + shift, time + shift
