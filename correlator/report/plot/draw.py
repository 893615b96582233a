"""Lays the picture out from top to bottom, in inches, and has its parts drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import matplotlib
import matplotlib.style
from matplotlib.patches import Rectangle

from correlator.report.plot.axis import draw_axis
from correlator.report.plot.canvas import PAD, Canvas, make_canvas
from correlator.report.plot.draw_bands import band_height, band_width, columns, draw_bands
from correlator.report.plot.draw_rows import BASE, draw_rows, row_width
from correlator.report.plot.legend import LINE, Item, draw_legend, flow, items, uncovered
from correlator.report.plot.text import printable, width, wrap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from correlator.report.plot.model import TimelineData
    from correlator.report.plot.theme import Theme

COLUMNS = ("packets", "conn.", "peak")
SETTINGS = {
    "hatch.linewidth": 0.7, "svg.hashsalt": "correlator", "pdf.fonttype": 42, "path.simplify": True, "axes.unicode_minus": True,
}  # fmt: skip
WARNINGS, NOTES = 6, 3
"""The most warnings that are written out, and the most lines of a note."""

LEAST = 1.6
"""Inches that the words at the left have at the least."""


@dataclass(frozen=True)
class _Layout:
    """Inches from the top: where each part begins."""

    title: list[str]
    subtitle: list[str]
    left: float
    top: float
    bands: list[tuple[float, float]]
    rules: float
    headers: list[tuple[float, str]]
    rows: list[float]
    bottom: float
    legend: list[list[tuple[float, Item]]]
    below: list[tuple[str, bool]]
    height: float


def draw(data: TimelineData, theme: Theme) -> Figure:
    """The picture of ``data``."""
    with matplotlib.style.context(["default", SETTINGS]):
        plan = _plan(data, theme)
        scale = theme.size / 8.5
        canvas = make_canvas(
            theme, plan.height, plan.left, theme.width - PAD - 1.75 * scale, plan.top, plan.bottom, data.begin, data.end
        )
        _ground(canvas, data, plan)
        draw_axis(canvas, data.start)
        draw_bands(canvas, data, plan.bands)
        draw_rows(canvas, data, plan.rows, theme.row)
        _changes(canvas, data, plan)
        _resets(canvas, data, plan)
        _words(canvas, plan)
        draw_legend(canvas, plan.legend, plan.bottom + 0.36 * scale)
        return canvas.figure


def _plan(data: TimelineData, theme: Theme) -> _Layout:
    scale, room = theme.size / 8.5, theme.width - 2 * PAD
    title = wrap(printable(data.title), room, 1.5 * theme.size, 2, "bold")
    subtitle = wrap(printable(data.subtitle), room, theme.size, 2)
    y = top = PAD + 0.26 * scale * len(title) + 0.18 * scale * len(subtitle) + 0.36 * scale
    alone = all(len(band) == 1 for band in data.bands)
    strips = []
    y += 0.06 * scale
    for band in data.bands:
        tall = band_height(band, alone, theme.row, scale)
        strips.append((y, y + tall))
        y += tall
    rules = y = y + 0.06 * scale
    y += 0.2 * scale if data.changes else 0.0
    headers, rows = [], []
    for i, row in enumerate(data.rows):
        if i == 0 or (row.hook, row.table) != (data.rows[i - 1].hook, data.rows[i - 1].table):
            headers.append((y, f"{row.hook or 'not reached from a hook'}  {row.table}"))
            y += 0.92 * theme.row
        rows.append(y)
        y += theme.row
    bottom = y + 0.04 * scale
    legend = flow(items(data, theme), theme)
    below = [(line, False) for note in data.notes for line in wrap(printable(note), room, 0.92 * theme.size, NOTES)]
    below += [(line, True) for text in _warnings(data) for line in wrap(printable(text), room, 0.92 * theme.size, NOTES)]
    height = bottom + 0.42 * scale + LINE * scale * len(legend) + 0.165 * scale * len(below) + PAD
    widths = [PAD + row_width(row, theme) for row in data.rows] + [PAD + band_width(band, theme) for band in data.bands]
    left = min(max(widths, default=0.0), theme.label * theme.width)
    return _Layout(title, subtitle, max(left, LEAST), top, strips, rules, headers, rows, bottom, legend, below, height)


def _warnings(data: TimelineData) -> list[str]:
    shown = [f"Warning: {warning}" for warning in data.warnings[:WARNINGS]]
    more = len(data.warnings) - len(shown)
    return [*shown, *([f"... and {more} more warnings: correlator replay shows them"] if more > 0 else [])]


def _ground(canvas: Canvas, data: TimelineData, plan: _Layout) -> None:
    """Shades and rules behind everything."""
    theme, wide = canvas.theme, canvas.end - canvas.begin
    canvas.page.add_patch(
        Rectangle((PAD, plan.top), theme.width - 2 * PAD, plan.rules - plan.top, facecolor=theme.shade, edgecolor="none", zorder=-2)
    )
    for edge in (plan.top, plan.rules, plan.bottom):
        canvas.page.plot([PAD, theme.width - PAD], [edge, edge], color=theme.muted, linewidth=0.6)
    for begin, end in uncovered(data):
        box = Rectangle((begin, plan.rules), end - begin, plan.bottom - plan.rules, facecolor=theme.shade, edgecolor=theme.grid,
                        hatch="....", linewidth=0, zorder=0.2)  # fmt: skip
        canvas.plot.add_patch(box)
    for y, _ in plan.headers:
        canvas.plot.add_patch(Rectangle((canvas.begin, y), wide, 0.92 * theme.row, facecolor=theme.background, alpha=0.7, zorder=0.6))


def _changes(canvas: Canvas, data: TimelineData, plan: _Layout) -> None:
    """A line at every change of the rules, over the stretch in which it may have happened, and what changed."""
    theme = canvas.theme
    free = canvas.left
    for change in data.changes:
        canvas.plot.axvspan(change.begin, change.end, color=theme.change, alpha=0.1, linewidth=0, zorder=0.3)
        canvas.plot.axvline(change.middle, color=theme.change, linewidth=1.1 * canvas.scale, linestyle=(0, (4, 2)), zorder=2.6)
        text = f"rules {change.text}"
        long = width(text, 0.88 * theme.size) + 0.08 * canvas.scale
        x = min(max(canvas.x(change.middle) - long / 2, free), canvas.right - long)
        if x >= free and canvas.begin <= change.middle <= canvas.end:
            y = plan.rules + 0.1 * canvas.scale
            canvas.page.text(
                x + long / 2, y, text, fontsize=0.88 * theme.size, color=theme.change, ha="center", va="center",
                bbox={"facecolor": theme.background, "edgecolor": "none", "pad": 1.0}, zorder=5,
            )  # fmt: skip
            free = x + long + 0.06 * canvas.scale


def _resets(canvas: Canvas, data: TimelineData, plan: _Layout) -> None:
    theme = canvas.theme
    for row, top in zip(data.rows, plan.rows, strict=True):
        canvas.plot.plot(
            row.resets, [top + BASE * theme.row] * len(row.resets), "v", markersize=5 * canvas.scale, color=theme.change,
            markerfacecolor=theme.background, zorder=4.5,
        )  # fmt: skip


def _words(canvas: Canvas, plan: _Layout) -> None:
    theme, scale = canvas.theme, canvas.scale
    y = PAD + 0.11 * scale
    for line in plan.title:
        canvas.write(PAD, y, line, size=1.5, weight="bold")
        y += 0.26 * scale
    y -= 0.02 * scale
    for line in plan.subtitle:
        canvas.write(PAD, y, line, colour=theme.muted)
        y += 0.18 * scale
    canvas.write(PAD, plan.top - 0.13 * scale, "Connections", weight="bold")
    columns(canvas, plan.top - 0.13 * scale, *COLUMNS, colour=theme.muted, size=0.88)
    for top, text in plan.headers:
        canvas.write(PAD, top + 0.52 * theme.row, text, weight="bold")
    y = canvas.bottom + (0.36 + LINE * len(plan.legend)) * scale + 0.12 * scale
    for line, warning in plan.below:
        canvas.write(PAD, y, line, size=0.92, colour=theme.warning if warning else theme.muted, weight="bold" if warning else "normal")
        y += 0.165 * scale
