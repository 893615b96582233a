"""What the marks mean: only those that the picture holds, in as many lines as they need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.patches import Rectangle

from correlator.report.plot.bands import OUTCOMES, REFUSED
from correlator.report.plot.canvas import PAD
from correlator.report.plot.text import width
from correlator.report.plot.theme import MARKERS, Theme

if TYPE_CHECKING:
    from correlator.report.plot.canvas import Canvas
    from correlator.report.plot.model import TimelineData

Draw = Callable[["Canvas", float, float], None]
HANDLE, LINE = 0.3, 0.22
"""Inches of a sample, and from line to line, at the usual size."""


@dataclass(frozen=True)
class Item:
    """A sample, drawn at (x, middle) inches ``HANDLE`` wide, and what it means."""

    text: str
    draw: Draw


def items(data: TimelineData, theme: Theme) -> list[Item]:
    """What the picture holds."""
    present = {band.outcome for band in data.bands}
    present |= {word for row in data.rows if row.marks is not None for word in row.marks.outcome}
    found = [Item(word, _span(word)) for word in OUTCOMES if word in present]
    if any(band.ambiguous.any() for band in data.bands):
        found.append(Item("ambiguous", _span("", dotted=True)))
    if any(row.explained.any() and not (row.drops and data.compared) for row in data.rows) and any(
        data.dense(row) for row in data.rows
    ):
        words = "packets counted, all explained" if data.compared else "packets that hit the rule"
        found.append(Item(words, _area(theme.area if data.own else theme.dense, theme.line)))
    if any(row.drops and row.explained.any() and data.compared for row in data.rows):
        found.append(
            Item("packets dropped", _area(theme.colour("dropped"), theme.colour("dropped")))
        )
    if any(row.over.any() or row.under.any() for row in data.rows):
        found.append(Item("counted ≠ explained", _gap))
    if any(len(row.bytes_off) for row in data.rows):
        found.append(Item("only bytes differ", _mark("D", theme.gap, True)))
    if any(row.unconfirmed.any() for row in data.rows):
        found.append(
            Item("hits that no counter confirms", _area(theme.loose, theme.line, dashed=True))
        )
    if any(row.marks is not None for row in data.rows):
        found.append(Item("hits of one connection (its colour)", _hit))
    if any(len(row.resets) for row in data.rows):
        found.append(Item("counter reset", _mark("v", theme.change, True)))
    if data.changes:
        found.append(Item("rules changed", _line(theme.change)))
    if uncovered(data):
        found.append(Item("outside of the counter samples", _shade))
    return found


def uncovered(data: TimelineData) -> list[tuple[float, float]]:
    """Stretches of the window that no counter sample covers."""
    if data.covered is None:
        return []
    begin, end = data.covered
    slack = 0.002 * (data.end - data.begin)
    found = [(data.begin, min(begin, data.end))] if begin > data.begin + slack else []
    return found + ([(max(end, data.begin), data.end)] if end < data.end - slack else [])


def flow(found: list[Item], theme: Theme) -> list[list[tuple[float, Item]]]:
    """Lines of (x in inches, item) that fit the theme's width."""
    scale = theme.size / 8.5
    lines: list[list[tuple[float, Item]]] = [[]]
    x = PAD
    for item in found:
        wide = HANDLE * scale + 0.06 * scale + width(item.text, theme.size * 0.92)
        if lines[-1] and x + wide > theme.width - PAD:
            lines.append([])
            x = PAD
        lines[-1].append((x, item))
        x += wide + 0.24 * scale
    return [line for line in lines if line]


def draw_legend(canvas: Canvas, lines: list[list[tuple[float, Item]]], top: float) -> None:
    """All items from ``top`` inches on."""
    for i, line in enumerate(lines):
        y = top + (i + 0.5) * LINE * canvas.scale
        for x, item in line:
            item.draw(canvas, x, y)
            canvas.write(x + (HANDLE + 0.06) * canvas.scale, y, item.text, size=0.92)


def _span(outcome: str, dotted: bool = False) -> Draw:
    def draw(canvas: Canvas, x: float, y: float) -> None:
        colour, wide = canvas.theme.colour(outcome), HANDLE * canvas.scale
        style = (0, (1, 1)) if dotted else "solid"
        canvas.page.plot(
            [x, x + wide],
            [y, y],
            color=colour,
            linewidth=2.4 * canvas.scale,
            linestyle=style,
            solid_capstyle="butt",
        )
        size = (6 if outcome in REFUSED else 5) * canvas.scale
        face = canvas.theme.background if dotted else colour
        canvas.page.plot(
            [x + 0.3 * wide],
            [y],
            MARKERS.get(outcome, "o"),
            color=colour,
            markersize=size,
            markerfacecolor=face,
        )

    return draw


def _area(area: str, line: str, dashed: bool = False) -> Draw:
    def draw(canvas: Canvas, x: float, y: float) -> None:
        s, wide = canvas.scale, HANDLE * canvas.scale
        heights = [y + 0.0 * s, y - 0.075 * s, y - 0.03 * s]
        edges = [x, x + wide / 3, x + 2 * wide / 3, x + wide]
        canvas.page.stairs(
            heights,
            edges,
            baseline=y + 0.06 * s,
            fill=True,
            color=area,
            alpha=0.35 if dashed else 0.75,
            linewidth=0,
        )
        style = (0, (1.5, 1)) if dashed else "solid"
        canvas.page.stairs(
            heights, edges, baseline=y + 0.06 * s, color=line, linewidth=0.8 * s, linestyle=style
        )

    return draw


def _gap(canvas: Canvas, x: float, y: float) -> None:
    s, theme = canvas.scale, canvas.theme
    canvas.page.add_patch(
        Rectangle((x, y - 0.08 * s), HANDLE * s, 0.16 * s, facecolor=theme.gap, alpha=0.16)
    )
    canvas.page.add_patch(
        Rectangle(
            (x, y - 0.05 * s),
            HANDLE * s,
            0.09 * s,
            facecolor=theme.background,
            edgecolor=theme.gap,
            hatch="//////",
            linewidth=0.9 * s,
        )
    )


def _mark(marker: str, colour: str, hollow: bool) -> Draw:
    def draw(canvas: Canvas, x: float, y: float) -> None:
        face = canvas.theme.background if hollow else colour
        canvas.page.plot(
            [x + HANDLE * canvas.scale / 2],
            [y],
            marker,
            color=colour,
            markerfacecolor=face,
            markersize=5 * canvas.scale,
        )

    return draw


def _hit(canvas: Canvas, x: float, y: float) -> None:
    s, colour = canvas.scale, canvas.theme.ink
    a, b = x + 0.06 * s, x + 0.24 * s
    canvas.page.plot([a, b], [y, y], color=colour, linewidth=0.5 * s)
    for at in (a, b):
        canvas.page.plot([at, at], [y - 0.05 * s, y + 0.05 * s], color=colour, linewidth=1.2 * s)


def _line(colour: str) -> Draw:
    def draw(canvas: Canvas, x: float, y: float) -> None:
        s = canvas.scale
        middle = x + HANDLE * s / 2
        canvas.page.plot(
            [middle, middle],
            [y - 0.09 * s, y + 0.09 * s],
            color=colour,
            linewidth=1.2 * s,
            linestyle=(0, (4, 2)),
        )

    return draw


def _shade(canvas: Canvas, x: float, y: float) -> None:
    s, theme = canvas.scale, canvas.theme
    canvas.page.add_patch(
        Rectangle(
            (x, y - 0.07 * s),
            HANDLE * s,
            0.14 * s,
            facecolor=theme.shade,
            edgecolor=theme.muted,
            hatch="....",
            linewidth=0.4,
        )
    )
