"""Draws rules: what was counted and explained as one line, red where they differ, and hits as marks
where they are few."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.patches import Rectangle

from correlator.report.plot.canvas import PAD, segments
from correlator.report.plot.draw_bands import NUMBER, columns
from correlator.report.plot.model import MINUS
from correlator.report.plot.text import elide, width
from correlator.report.plot.theme import MARKERS

if TYPE_CHECKING:
    from correlator.report.plot.canvas import Canvas
    from correlator.report.plot.model import Floats, Row, TimelineData
    from correlator.report.plot.theme import Theme

BASE, ROOM = 0.74, 0.62
"""Where a row's baseline lies, and how high its peak stands, as parts of its height."""

NAME_GAP = 0.12
"""Inches between a rule's name and its text, at the usual size."""


def draw_rows(canvas: Canvas, data: TimelineData, tops: list[float], height: float) -> None:
    """All rules; ``tops`` are the inches at which each begins."""
    for row, top in zip(data.rows, tops, strict=True):
        base = top + BASE * height
        _presence(canvas, data, row, base)
        if data.dense(row):
            _density(canvas, data, row, base, ROOM * height)
        if data.compared:
            _gaps(canvas, data, row, base, ROOM * height)
        if row.marks is not None:
            _marks(canvas, row, base, height, data.compared)
        _words(canvas, row, top + 0.5 * height, _peak(row) if data.dense(row) else "")


def _presence(canvas: Canvas, data: TimelineData, row: Row, base: float) -> None:
    """A baseline where the rule was there, dots where it was not."""
    theme = canvas.theme
    canvas.plot.plot(
        [data.begin, data.end],
        [base, base],
        color=theme.muted,
        linewidth=0.6,
        linestyle=(0, (1, 4)),
        zorder=1,
    )
    for begin, end in row.there:
        begin, end = max(begin, data.begin), min(end, data.end)
        if begin < end:
            canvas.plot.plot(
                [begin, end],
                [base, base],
                color=theme.background,
                linewidth=1.4,
                zorder=1.1,
                solid_capstyle="butt",
            )
            canvas.plot.plot(
                [begin, end],
                [base, base],
                color=theme.muted,
                linewidth=0.6,
                zorder=1.2,
                solid_capstyle="butt",
            )


def _density(canvas: Canvas, data: TimelineData, row: Row, base: float, room: float) -> None:
    theme, peak = canvas.theme, max(row.peak, 1e-9)
    area = theme.colour("dropped") if row.drops else theme.area if data.own else theme.dense
    line = theme.colour("dropped") if row.drops else theme.line

    def level(values: Floats) -> Floats:
        result: Floats = base - room * values / peak
        return result

    if row.unconfirmed.any():
        whole = level(row.explained + row.unconfirmed)
        canvas.plot.stairs(
            whole,
            data.edges,
            baseline=base,
            fill=True,
            color=theme.loose,
            alpha=0.35,
            linewidth=0,
            zorder=2,
        )
        shown = np.where(row.unconfirmed > 0, whole, np.nan)
        canvas.plot.stairs(
            shown,
            data.edges,
            baseline=base,
            color=line,
            linewidth=0.7,
            linestyle=(0, (1.5, 1)),
            zorder=2.2,
        )
    if row.explained.any():
        canvas.plot.stairs(
            level(row.explained),
            data.edges,
            baseline=base,
            fill=True,
            color=area,
            alpha=0.75 if data.own else 1.0,
            linewidth=0,
            zorder=2.1,
        )
    if row.explained.any() and data.own:
        shown = np.where(row.explained > 0, level(row.explained), np.nan)
        canvas.plot.stairs(
            shown, data.edges, baseline=base, color=line, linewidth=0.8 * canvas.scale, zorder=2.3
        )


def _gaps(canvas: Canvas, data: TimelineData, row: Row, base: float, room: float) -> None:
    """The difference of counted and explained, red and hatched, over a red shade as high as the
    row."""
    theme, peak = canvas.theme, max(row.peak, 1e-9)
    least, thin = 0.05 * canvas.scale, canvas.seconds(0.025 * canvas.scale)
    shades, boxes = [], []
    for i in np.flatnonzero((row.over > 0) | (row.under > 0)).tolist():
        begin, end = data.edges[i], data.edges[i + 1]
        begin, long = (
            (begin, end - begin) if end - begin >= thin else ((begin + end - thin) / 2, thin)
        )
        low, high = row.explained[i] - row.under[i], row.explained[i] + row.over[i]
        tall = max(room * (high - low) / peak, least)
        boxes.append(Rectangle((begin, base - room * low / peak - tall), long, tall))
        shades.append(Rectangle((begin, base - 1.1 * room), long, 1.1 * room))
    if not boxes:
        if len(row.bytes_off):
            _bytes_off(canvas, row, base)
        return
    canvas.plot.add_collection(
        PatchCollection(shades, facecolor=theme.gap, edgecolor="none", alpha=0.16, zorder=2.4)
    )
    canvas.plot.add_collection(
        PatchCollection(
            boxes,
            facecolor=theme.background,
            edgecolor=theme.gap,
            hatch="//////",
            linewidth=0.9 * canvas.scale,
            zorder=2.5,
        )
    )
    _bytes_off(canvas, row, base)


def _bytes_off(canvas: Canvas, row: Row, base: float) -> None:
    if len(row.bytes_off):
        canvas.plot.plot(
            row.bytes_off,
            np.full(len(row.bytes_off), base),
            "D",
            markersize=4 * canvas.scale,
            color=canvas.theme.gap,
            markerfacecolor=canvas.theme.background,
            zorder=5,
        )


def _marks(canvas: Canvas, row: Row, base: float, height: float, below: bool) -> None:
    """A tick where each hit of a connection was first and last seen, joined; below the line where
    counters stand on it."""
    assert row.marks is not None
    theme, marks = canvas.theme, row.marks
    top, bottom = (
        (base + 0.04 * height, base + 0.22 * height)
        if below
        else (base - 0.5 * height, base + 0.1 * height)
    )
    colours = [theme.colour(word) for word in marks.outcome]
    several = marks.packets > 1
    styles = ["dotted" if doubt else "solid" for doubt in marks.ambiguous.tolist()]
    high, low, middle = (np.full(len(colours), y) for y in (top, bottom, (top + bottom) / 2))
    for times in (marks.begin, marks.end):
        ticks = segments(times, high, times, low)
        canvas.plot.add_collection(
            LineCollection(
                ticks, colors=colours, linewidths=1.2 * canvas.scale, linestyles=styles, zorder=4
            )
        )
    joined = segments(marks.begin, middle, marks.end, middle)
    canvas.plot.add_collection(
        LineCollection(joined, colors=colours, linewidths=0.5 * canvas.scale, zorder=3.5)
    )
    if row.drops:
        times = np.unique(np.concatenate([marks.begin, marks.end[several]]))
        canvas.plot.plot(
            times,
            np.full(len(times), (top + bottom) / 2),
            MARKERS["dropped"],
            color=theme.colour("dropped"),
            markersize=6 * canvas.scale,
            markeredgecolor=theme.background,
            markeredgewidth=0.4,
            zorder=5,
        )


def row_width(row: Row, theme: Theme) -> float:
    """Inches that a row's words take, whole."""
    name = width(_name(row), theme.size, weight="bold" if _stands_out(row) else "normal")
    return (
        _indent(theme, row)
        + name
        + (NAME_GAP + 0.1) * theme.size / 8.5
        + width(_text(row), 0.88 * theme.size)
    )


def _stands_out(row: Row) -> bool:
    return row.drops and max(row.packets, row.counted) > 0


def _text(row: Row) -> str:
    return row.label + (f" (+{', '.join(row.also)})" if row.also else "")


def _words(canvas: Canvas, row: Row, middle: float, peak: str) -> None:
    theme = canvas.theme
    stands_out = _stands_out(row)
    colour, weight = (theme.colour("dropped"), "bold") if stands_out else (theme.ink, "normal")
    x = PAD + _indent(theme, row)
    name = elide(_name(row), 0.6 * (canvas.left - x), theme.size, weight=weight)
    canvas.write(x, middle, name, colour=colour, weight=weight)
    at = x + width(name, theme.size, weight=weight) + NAME_GAP * canvas.scale
    text = elide(_text(row), canvas.left - at - 0.1 * canvas.scale, 0.88 * theme.size, keep="→")
    canvas.write(at, middle, text, size=0.88, colour=colour if stands_out else theme.muted)
    total = f"{'~' if row.about else ''}{row.packets:,}"
    columns(canvas, middle, total, f"{row.connections:,}", peak)
    if row.residual or row.gaps:
        word = (
            f"{row.residual:+,}".replace("-", MINUS)
            if row.residual
            else "bytes"
            if len(row.bytes_off)
            else "±"
        )
        canvas.write(
            theme.width - PAD - 3 * NUMBER * canvas.scale,
            middle,
            word,
            size=0.92,
            weight="bold",
            colour=theme.gap,
            ha="right",
        )


def _peak(row: Row) -> str:
    return (
        f"{row.peak:,.0f}" if row.peak >= 10 or row.peak == round(row.peak) else f"{row.peak:.2g}"
    )


def _name(row: Row) -> str:
    return row.name.partition("/")[2]


def _indent(theme: Theme, row: Row) -> float:
    return (0.1 + 0.11 * row.depth) * theme.size / 8.5
