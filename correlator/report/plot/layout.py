"""Where everything goes, in inches from the top: worked out before anything is drawn, so that
nothing overlaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from correlator.report.plot.canvas import PAD
from correlator.report.plot.draw_bands import NUMBER, band_height, band_width
from correlator.report.plot.draw_rows import row_width
from correlator.report.plot.legend import LINE, Item, flow, items
from correlator.report.plot.text import printable, width, wrap

if TYPE_CHECKING:
    from correlator.report.plot.model import TimelineData
    from correlator.report.plot.theme import Theme

WARNINGS, NOTES = 6, 3
"""The most warnings that are written out, and the most lines of a note."""

LEAST = 1.6
"""Inches that the words at the left have at the least."""

GAP = 0.3
"""Inches between two texts of one line, at the usual size."""


@dataclass(frozen=True)
class Layout:
    """Inches from the top: where each part begins."""

    title: list[str]
    subtitle: list[list[tuple[str, bool]]]
    left: float
    numbers: float
    top: float
    bands: list[tuple[float, float]]
    rules: float
    headers: list[tuple[float, str]]
    rows: list[float]
    bottom: float
    legend: list[list[tuple[float, Item]]]
    below: list[tuple[str, bool]]
    height: float


def lay_out(data: TimelineData, theme: Theme) -> Layout:
    """The layout of a picture in a theme."""
    scale, room = theme.size / 8.5, theme.width - 2 * PAD
    title = wrap(printable(data.title), room, 1.5 * theme.size, 2, "bold")
    subtitle = _subtitle(data, theme, room)
    top = PAD + 0.26 * scale * len(title) + 0.18 * scale * len(subtitle) + 0.36 * scale
    strips = _strips(data, theme, top + 0.06 * scale)
    rules = (strips[-1][1] if strips else top + 0.06 * scale) + 0.06 * scale
    headers, rows, bottom = _rows(data, theme, rules + (0.2 * scale if data.changes else 0.0))
    bottom += 0.04 * scale
    legend = flow(items(data, theme), theme)
    below = [
        (line, False)
        for note in data.notes
        for line in wrap(printable(note), room, 0.92 * theme.size, NOTES)
    ]
    below += [
        (line, True)
        for text in _warnings(data)
        for line in wrap(printable(text), room, 0.92 * theme.size, NOTES, "bold")
    ]
    height = bottom + 0.42 * scale + LINE * scale * len(legend) + 0.165 * scale * len(below) + PAD
    widths = [PAD + row_width(row, theme) for row in data.rows] + [
        PAD + band_width(band, theme) for band in data.bands
    ]
    left = max(min(max(widths, default=0.0), theme.label * theme.width), LEAST)
    numbers = (NUMBER * (3 + data.gaps) + 0.24) * scale
    return Layout(
        title=title,
        subtitle=subtitle,
        left=left,
        numbers=numbers,
        top=top,
        bands=strips,
        rules=rules,
        headers=headers,
        rows=rows,
        bottom=bottom,
        legend=legend,
        below=below,
        height=height,
    )


def _strips(data: TimelineData, theme: Theme, y: float) -> list[tuple[float, float]]:
    """(top, bottom) of each band."""
    alone = all(len(band) == 1 for band in data.bands)
    found = []
    for band in data.bands:
        tall = band_height(band, alone, theme.row, theme.size / 8.5)
        found.append((y, y + tall))
        y += tall
    return found


def _rows(
    data: TimelineData, theme: Theme, y: float
) -> tuple[list[tuple[float, str]], list[float], float]:
    """(headers, rows, where they end): a header wherever hook or table change."""
    headers, rows = [], []
    for i, row in enumerate(data.rows):
        if i == 0 or (row.hook, row.table) != (data.rows[i - 1].hook, data.rows[i - 1].table):
            headers.append((y, f"{row.hook or 'not reached from a hook'}  {row.table}"))
            y += 0.92 * theme.row
        rows.append(y)
        y += theme.row
    return headers, rows, y


def _subtitle(data: TimelineData, theme: Theme, room: float) -> list[list[tuple[str, bool]]]:
    """Lines of (text, whether it is red): what the counters say stands behind whose session it is,
    or below it."""
    session, balance = printable(data.subtitle), printable(data.balance)
    red = data.gaps
    if (
        width(session, theme.size)
        + GAP * theme.size / 8.5
        + width(balance, theme.size, weight="bold")
        <= room
    ):
        return [[(session, False), (balance, red)]]
    lines = [[(line, False)] for line in wrap(session, room, theme.size, 2)]
    return lines + [[(line, red)] for line in wrap(balance, room, theme.size, 2, "bold")]


def _warnings(data: TimelineData) -> list[str]:
    shown = [f"Warning: {warning}" for warning in data.warnings[:WARNINGS]]
    more = len(data.warnings) - len(shown)
    return [
        *shown,
        *([f"... and {more} more warnings: correlator replay shows them"] if more > 0 else []),
    ]
