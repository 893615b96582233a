"""The time axis: seconds since the start below, the clock of the reports above, as many ticks as
fit."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from correlator.report.plot.text import width

if TYPE_CHECKING:
    from correlator.report.plot.canvas import Canvas

STEPS = (
    *(base * 10.0**power for power in range(-7, 1) for base in (1, 2, 5)),
    10,
    20,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    10800,
    21600,
    43200,
    86400,
    2 * 86400,
    7 * 86400,
)
GAP = 0.35
"""Inches between two labels, at the least."""


def ticks(begin: float, end: float, step: float) -> list[float]:
    """Multiples of ``step`` in the window."""
    first, last = math.ceil(begin / step - 1e-9), math.floor(end / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def since(seconds: float, step: float) -> str:
    """``+0.5 s``, ``+25 min``, ``+3 h``: as far as ``step`` needs."""
    for unit, name in ((3600, "h"), (60, "min")):
        if step >= unit and step % unit == 0:
            return f"+{seconds / unit:g} {name}"
    if step >= 1:
        return f"+{seconds:.0f} s"
    if step >= 1e-3:
        return f"+{seconds:.{max(0, -math.floor(math.log10(step) + 1e-9))}f} s"
    return f"+{seconds * 1e3:.{max(0, -math.floor(math.log10(step * 1e3) + 1e-9))}f} ms"


def clock(ns: int, step: float) -> str:
    """``09:15:34.5`` (UTC), with the digits that ``step`` needs."""
    at = datetime.fromtimestamp(ns // 10**9, UTC)
    if step >= 60:
        return at.strftime("%H:%M")
    digits = 0 if step >= 1 else min(9, -math.floor(math.log10(step) + 1e-9))
    fraction = f".{ns % 10**9:09d}"[: digits + 1] if digits else ""
    return at.strftime("%H:%M:%S") + fraction


def draw_axis(canvas: Canvas, start: int) -> None:
    """Grid and labels of both axes."""
    theme, begin, end = canvas.theme, canvas.begin, canvas.end
    step = next(
        step
        for step in STEPS
        if _fits(canvas, begin, end, step, since(math.floor(end / step) * step, step))
    )
    for time in ticks(begin, end, step):
        canvas.plot.axvline(time, color=theme.grid, linewidth=0.7, zorder=0.5)
        canvas.write(
            canvas.x(time),
            canvas.bottom + 0.13 * canvas.scale,
            since(time, step),
            size=0.9,
            ha="center",
            colour=theme.ink,
        )
    day = start - start % (
        86_400 * 10**9
    )  # clock ticks are round on the clock, not since the start
    low, high = (start - day) / 1e9 + begin, (start - day) / 1e9 + end
    step = next(step for step in STEPS if _fits(canvas, low, high, step, clock(start, step)))
    for time in ticks(low, high, step):
        x = canvas.x(time - (start - day) / 1e9)
        canvas.page.plot(
            [x, x], [canvas.top - 0.05 * canvas.scale, canvas.top], color=theme.muted, linewidth=0.7
        )
        text = clock(day + round(time * 1e6) * 1000, step)
        canvas.write(
            x, canvas.top - 0.13 * canvas.scale, text, size=0.9, ha="center", colour=theme.muted
        )


def _fits(canvas: Canvas, begin: float, end: float, step: float, sample: str) -> bool:
    """Whether labels as wide as ``sample`` at every ``step`` leave a gap between them."""
    if (end - begin) / step > 60:
        return False
    return (
        step / (end - begin) * (canvas.right - canvas.left)
        >= width(sample, canvas.theme.size * 0.9) + GAP * canvas.scale
    )
