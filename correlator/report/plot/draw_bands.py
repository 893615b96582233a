"""Draws connections: a line each, spans in lanes, or how many were open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.collections import LineCollection

from correlator.report.plot.bands import REFUSED
from correlator.report.plot.canvas import PAD, segments
from correlator.report.plot.text import elide, width
from correlator.report.plot.theme import HATCHES, MARKERS

if TYPE_CHECKING:
    from correlator.report.plot.canvas import Canvas
    from correlator.report.plot.model import Band, TimelineData
    from correlator.report.plot.theme import Theme

NUMBER = 0.58
"""Inches of a column of numbers, at the usual size."""

FEW = 60
"""So many refused connections are marked one by one in a density."""

PITCH = 0.085
"""Inches from lane to lane, at the usual size."""


def band_height(band: Band, alone: bool, row: float, scale: float) -> float:
    """Inches that a strip takes; ``alone``: one connection a strip."""
    if alone:
        return 0.74 * row
    if band.lane is None:
        return 1.7 * row
    return max(row, (band.lanes * PITCH + 0.1) * scale)


def band_width(band: Band, theme: Theme) -> float:
    """Inches that a strip's words take, whole."""
    return width(band.label, theme.size, weight="bold") + 0.35 * theme.size / 8.5


def draw_bands(canvas: Canvas, data: TimelineData, tops: list[tuple[float, float]]) -> None:
    """All strips; ``tops`` are (top, bottom) of each."""
    alone = all(len(band) == 1 for band in data.bands)
    for band, (top, bottom) in zip(data.bands, tops, strict=True):
        if band.lane is None:
            _density(canvas, data, band, top, bottom)
        else:
            _spans(canvas, band, top, bottom, alone)
        _words(canvas, band, top, bottom, alone)


def _spans(canvas: Canvas, band: Band, top: float, bottom: float, alone: bool) -> None:
    theme, colour = canvas.theme, canvas.theme.colour(band.outcome)
    assert band.lane is not None
    pitch = (bottom - top) / max(band.lanes, 1) if alone else PITCH * canvas.scale
    y = (top + bottom) / 2 + (band.lane - (band.lanes - 1) / 2) * pitch
    wide = (2.6 if alone else 2.2) * canvas.scale
    for doubtful, style in ((False, "solid"), (True, (0, (1, 1)))):
        some = band.ambiguous == doubtful
        if not some.any():
            continue
        lines = segments(band.begin[some], y[some], band.end[some], y[some])
        canvas.plot.add_collection(
            LineCollection(
                lines, colors=colour, linewidths=wide, linestyles=style, capstyle="butt", zorder=3
            )
        )
        size = (4.6 if alone else 3.4) * canvas.scale * (1.35 if band.outcome in REFUSED else 1)
        canvas.plot.plot(
            band.begin[some],
            y[some],
            MARKERS.get(band.outcome, "o"),
            color=colour,
            markersize=size,
            zorder=4,
            clip_on=False,
            markerfacecolor=theme.background if doubtful else colour,
            markeredgewidth=0.7,
        )
        if band.outcome in REFUSED:
            canvas.plot.plot(
                band.end[some],
                y[some],
                MARKERS[band.outcome],
                color=colour,
                markersize=size,
                zorder=4,
                markeredgewidth=0.7,
            )


def _density(canvas: Canvas, data: TimelineData, band: Band, top: float, bottom: float) -> None:
    theme, colour = canvas.theme, canvas.theme.colour(band.outcome)
    base, room = bottom - 0.05 * canvas.scale, bottom - top - 0.12 * canvas.scale
    height = base - room * band.open / max(int(band.open.max(initial=0)), 1)
    hatch = HATCHES.get(band.outcome, "") if theme.hatched else ""
    canvas.plot.stairs(
        height,
        data.edges,
        baseline=base,
        fill=True,
        facecolor=colour,
        alpha=0.55,
        edgecolor=colour,
        hatch=hatch,
        linewidth=0,
        zorder=3,
    )
    canvas.plot.stairs(height, data.edges, baseline=base, color=colour, linewidth=0.8, zorder=4)
    if band.outcome in REFUSED and len(band) <= FEW:
        canvas.plot.plot(
            band.begin,
            np.full(len(band), base),
            MARKERS[band.outcome],
            color=colour,
            markersize=3.6 * canvas.scale,
            zorder=5,
            markeredgecolor=theme.background,
            markeredgewidth=0.3,
        )


def _words(canvas: Canvas, band: Band, top: float, bottom: float, alone: bool) -> None:
    theme, middle = canvas.theme, (top + bottom) / 2
    refused = band.outcome in REFUSED
    label, room = band.label, canvas.left - PAD - 0.28 * canvas.scale
    if alone:
        label = elide(
            label, room, theme.size * 0.92, weight="bold" if refused else "normal", keep=" by "
        )
    canvas.page.plot(
        [PAD + 0.06],
        [middle],
        MARKERS.get(band.outcome, "o"),
        color=theme.colour(band.outcome),
        markersize=(5.2 if refused else 4.4) * canvas.scale,
    )
    canvas.write(
        PAD + 0.2 * canvas.scale,
        middle,
        label,
        size=0.92 if alone else 1.0,
        weight="bold" if refused else "normal",
        colour=theme.colour(band.outcome) if refused else theme.ink,
    )
    peak = "" if alone else f"{int(band.open.max(initial=0)):,}"
    columns(canvas, middle, f"{band.packets:,}", "" if alone else f"{len(band):,}", peak)


def columns(
    canvas: Canvas, y: float, *words: str, colour: str | None = None, size: float = 0.92
) -> None:
    """The numbers at the right: packets, connections, peak."""
    for i, word in enumerate(reversed(words)):
        canvas.write(
            canvas.theme.width - PAD - NUMBER * canvas.scale * i,
            y,
            word,
            ha="right",
            size=size,
            colour=colour or canvas.theme.ink,
        )
