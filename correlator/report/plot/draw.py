"""Has the parts of a picture drawn where the layout puts them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib.style
from matplotlib.patches import Rectangle

from correlator.report.plot.axis import draw_axis
from correlator.report.plot.canvas import PAD, Canvas, make_canvas
from correlator.report.plot.draw_bands import NUMBER, columns, draw_bands
from correlator.report.plot.draw_rows import BASE, draw_rows
from correlator.report.plot.layout import GAP, Layout, lay_out
from correlator.report.plot.legend import LINE, draw_legend, uncovered
from correlator.report.plot.text import SANS, width

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from correlator.report.plot.model import TimelineData
    from correlator.report.plot.theme import Theme

COLUMNS = ("packets", "conn.", "peak")
SETTINGS = {
    "hatch.linewidth": 0.7,
    "svg.hashsalt": "correlator",
    "pdf.fonttype": 42,
    "path.simplify": True,
    "axes.unicode_minus": True,
}
MARGIN = 0.008
"""What is left free before and after the window, as a part of it."""


def draw(data: TimelineData, theme: Theme) -> Figure:
    """The picture of ``data``."""
    with matplotlib.style.context(["default", SETTINGS]):
        plan = lay_out(data, theme)
        scale, margin = theme.size / 8.5, MARGIN * (data.end - data.begin)
        canvas = make_canvas(
            theme,
            plan.height,
            plan.left,
            theme.width - PAD - plan.numbers,
            plan.top,
            plan.bottom,
            data.begin - margin,
            data.end + margin,
        )
        _ground(canvas, data, plan)
        draw_axis(canvas, data.start)
        draw_bands(canvas, data, plan.bands)
        draw_rows(canvas, data, plan.rows, theme.row)
        _changes(canvas, data, plan)
        _resets(canvas, data, plan)
        _words(canvas, data, plan)
        draw_legend(canvas, plan.legend, plan.bottom + 0.36 * scale)
        return canvas.figure


def _ground(canvas: Canvas, data: TimelineData, plan: Layout) -> None:
    """Shades and rules behind everything."""
    theme = canvas.theme
    canvas.page.add_patch(
        Rectangle(
            (PAD, plan.top),
            theme.width - 2 * PAD,
            plan.rules - plan.top,
            facecolor=theme.shade,
            edgecolor="none",
            zorder=-2,
        )
    )
    for edge in (plan.top, plan.rules, plan.bottom):
        canvas.page.plot([PAD, theme.width - PAD], [edge, edge], color=theme.muted, linewidth=0.6)
    for begin, end in uncovered(data):
        box = Rectangle(
            (begin, plan.rules),
            end - begin,
            plan.bottom - plan.rules,
            facecolor=theme.shade,
            edgecolor=theme.grid,
            hatch="....",
            linewidth=0,
            zorder=0.2,
        )
        canvas.plot.add_patch(box)


def _changes(canvas: Canvas, data: TimelineData, plan: Layout) -> None:
    """A line at every change of the rules, over the stretch in which it may have happened, and what
    changed."""
    theme = canvas.theme
    free = canvas.left
    for change in data.changes:
        canvas.plot.axvspan(
            change.begin, change.end, color=theme.change, alpha=0.1, linewidth=0, zorder=0.3
        )
        canvas.plot.axvline(
            change.middle,
            color=theme.change,
            linewidth=1.1 * canvas.scale,
            linestyle=(0, (4, 2)),
            zorder=2.6,
        )
        text = f"rules {change.text}"
        long = width(text, 0.88 * theme.size) + 0.08 * canvas.scale
        x = min(max(canvas.x(change.middle) - long / 2, free), canvas.right - long)
        if x >= free and canvas.begin <= change.middle <= canvas.end:
            y = plan.rules + 0.1 * canvas.scale
            at = canvas.begin + canvas.seconds(x + long / 2 - canvas.left)
            box = {"facecolor": theme.background, "edgecolor": "none", "pad": 1.0}
            canvas.plot.text(
                at,
                y,
                text,
                fontsize=0.88 * theme.size,
                color=theme.change,
                ha="center",
                va="center",
                bbox=box,
                zorder=5,
                family=SANS,
            )
            free = x + long + 0.06 * canvas.scale


def _resets(canvas: Canvas, data: TimelineData, plan: Layout) -> None:
    theme = canvas.theme
    for row, top in zip(data.rows, plan.rows, strict=True):
        canvas.plot.plot(
            row.resets,
            [top + BASE * theme.row] * len(row.resets),
            "v",
            markersize=5 * canvas.scale,
            color=theme.change,
            markerfacecolor=theme.background,
            zorder=4.5,
        )


def _words(canvas: Canvas, data: TimelineData, plan: Layout) -> None:
    theme, scale = canvas.theme, canvas.scale
    y = PAD + 0.11 * scale
    for words in plan.title:
        canvas.write(PAD, y, words, size=1.5, weight="bold")
        y += 0.26 * scale
    y -= 0.02 * scale
    for line in plan.subtitle:
        x = PAD
        for text, red in line:
            canvas.write(
                x,
                y,
                text,
                colour=theme.gap if red else theme.muted,
                weight="bold" if red else "normal",
            )
            x += width(text, theme.size) + GAP * scale
        y += 0.18 * scale
    canvas.write(PAD, plan.top - 0.13 * scale, "Connections", weight="bold")
    columns(canvas, plan.top - 0.13 * scale, *COLUMNS, colour=theme.muted, size=0.88)
    if data.gaps:
        x = theme.width - PAD - len(COLUMNS) * NUMBER * scale
        canvas.write(
            x, plan.top - 0.13 * scale, "residual", colour=theme.gap, size=0.88, ha="right"
        )
    for top, text in plan.headers:
        canvas.write(PAD, top + 0.52 * theme.row, text, weight="bold")
    y = canvas.bottom + (0.36 + LINE * len(plan.legend)) * scale + 0.12 * scale
    for below, warning in plan.below:
        canvas.write(
            PAD,
            y,
            below,
            size=0.92,
            colour=theme.warning if warning else theme.muted,
            weight="bold" if warning else "normal",
        )
        y += 0.165 * scale
