"""The session's clock: realtime as it stood at the start, carried on by the monotonic clock.

Frames bear the kernel's realtime stamps. Where that clock is stepped in mid-run (NTP, an
administrator), their times are brought back, so that a session has one time line; slewing moves
both clocks alike (clock_gettime(2))."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

STEP_NS = 2_000_000
"""What two readings of the clocks cannot differ by without a step."""
HELD_NS = 1_000_000_000
"""How long a frame may wait in the kernel's ring before it is read."""


def _between(realtime: Callable[[], int], monotonic: Callable[[], int]) -> int:
    """Realtime minus monotonic, from the tightest of some readings: nobody interrupted that one."""
    best: tuple[int, int] | None = None
    for _ in range(3):
        before = monotonic()
        now = realtime()
        after = monotonic()
        if best is None or after - before < best[0]:
            best = (after - before, now - (before + after) // 2)
    assert best is not None
    return best[1]


@dataclass
class SessionClock:
    """``steps`` are (session time, ns) of every step of the realtime clock that was noticed."""

    realtime: Callable[[], int] = time.time_ns
    monotonic: Callable[[], int] = time.monotonic_ns
    steps: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.begun = self.monotonic()
        self.offset = _between(self.realtime, self.monotonic)
        self.checked = self.now()
        self.shift = 0
        self.shift_before = 0
        self.checked_before = self.checked

    def now(self) -> int:
        """Session time, epoch ns."""
        return self.monotonic() + self.offset

    def check(self) -> None:
        """Compare the clocks; call it before the frames that arrived since the last call are
        read."""
        self.checked_before, self.checked = self.checked, self.now()
        self.shift_before = self.shift
        shift = _between(self.realtime, self.monotonic) - self.offset
        if abs(shift - self.shift) > STEP_NS:
            self.steps.append((self.checked, shift - self.shift))
            self.shift = shift

    def correct(self, stamps: Ints) -> Ints:
        """Session times of frames that were read after the last check, from their realtime stamps;
        int64 (n,).

        Where the clock was stepped between the last two checks, a frame is of before or after it as
        puts it nearer to the time between them."""
        after = stamps - self.shift
        if self.shift == self.shift_before:
            return after
        before = stamps - self.shift_before
        low, high = self.checked_before - HELD_NS, self.checked + STEP_NS

        def outside(times: Ints) -> Ints:
            return np.maximum(low - times, 0) + np.maximum(times - high, 0)

        return np.where(outside(before) < outside(after), before, after)
