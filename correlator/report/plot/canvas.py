"""The sheet that a picture is drawn on: one axes for what lies on the time axis, one over all of
the figure for words.

Both measure y in inches from the top, so that nothing overlaps that was laid out not to. Figures
are made without pyplot: nothing global changes, and a notebook shows what is returned."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from correlator.report.plot.text import SANS, printable
from correlator.report.plot.theme import Theme

if TYPE_CHECKING:
    from correlator.report.plot.model import Floats

PAD = 0.16
"""Inches that are left free around everything."""

SHOWN_DPI = 150
"""The most that a notebook shows: more only makes it large."""


class Timeline(Figure):
    """A figure that a notebook shows as it is, whether pyplot is there or not."""

    def _repr_png_(self) -> bytes:
        data = BytesIO()
        self.savefig(
            data, format="png", dpi=min(self.dpi, SHOWN_DPI), facecolor=self.get_facecolor()
        )
        return data.getvalue()


@dataclass(frozen=True)
class Canvas:
    """``left`` to ``right`` and ``top`` to ``bottom`` (inches) is the plot, over which times
    ``begin`` to ``end`` lie."""

    figure: Figure
    plot: Any
    page: Any
    theme: Theme
    left: float
    right: float
    top: float
    bottom: float
    begin: float
    end: float

    @property
    def scale(self) -> float:
        """Lengths that go with the font's size: 1 at 8.5 points."""
        return self.theme.size / 8.5

    def x(self, time: float) -> float:
        """Inches from the left of a time."""
        return self.left + (time - self.begin) / (self.end - self.begin) * (self.right - self.left)

    def seconds(self, inches: float) -> float:
        """How long ``inches`` of the plot are."""
        return inches / (self.right - self.left) * (self.end - self.begin)

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 1.0,
        colour: str | None = None,
        weight: str = "normal",
        ha: str = "left",
        va: str = "center",
    ) -> None:
        """One line of words; ``size`` as a multiple of the theme's."""
        self.page.text(
            x,
            y,
            printable(text),
            fontsize=self.theme.size * size,
            color=colour or self.theme.ink,
            fontweight=weight,
            ha=ha,
            va=va,
            family=SANS,
            parse_math=False,
        )


def segments(x0: Floats, y0: Floats, x1: Floats, y1: Floats) -> list[Floats]:
    """Lines from (x0, y0) to (x1, y1), all (n,), as a LineCollection takes them."""
    return list(np.stack([np.stack([x0, y0], 1), np.stack([x1, y1], 1)], 1))


def make_canvas(
    theme: Theme,
    height: float,
    left: float,
    right: float,
    top: float,
    bottom: float,
    begin: float,
    end: float,
) -> Canvas:
    """A sheet of the theme's width and ``height`` inches."""
    figure = Timeline(figsize=(theme.width, height), dpi=theme.dpi, facecolor=theme.background)
    wide = theme.width
    plot = figure.add_axes(
        (left / wide, 1 - bottom / height, (right - left) / wide, (bottom - top) / height)
    )
    page = figure.add_axes((0, 0, 1, 1))
    for axes, x, y in ((plot, (begin, end), (bottom, top)), (page, (0, wide), (height, 0))):
        axes.set_xlim(*x)
        axes.set_ylim(*y)
        axes.axis("off")
    page.set_zorder(plot.get_zorder() - 1)  # shades lie below what is plotted
    return Canvas(figure, plot, page, theme, left, right, top, bottom, begin, end)
