"""The rule-hit timeline: a row a rule in traversal order, connections as spans above, counted
against explained.

``plot`` gives a matplotlib figure for a notebook, ``write_plot`` a file. Both draw
:class:`~correlator.report.plot.model.TimelineData`, which
:func:`~correlator.report.plot.data.timeline_data` builds from the tables and tests look at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from correlator.errors import InputError
from correlator.report.machine import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from correlator.reconcile.analysis import Analysis

FORMATS = (".png", ".svg", ".pdf")
NO_DATE: dict[str, dict[str, Any]] = {
    ".png": {"Software": "correlator"},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}
"""Metadata by ending: the same analysis gives the same file."""


def plot(
    analysis: Analysis,
    *,
    rules: Sequence[str] = (),
    client: str | None = None,
    begin: str | None = None,
    end: str | None = None,
    theme: str = "light",
) -> Figure:
    """The timeline as a figure: everything, or the ``rules`` so named (``nat/DOCKER:2``) and the
    connections that hit them, the connections of one ``client`` and what they hit, or the time from
    ``begin`` to ``end`` (``09:15:34.8`` as the reports show it, or ``+3.5s`` from the start).
    ``theme`` is light, dark or print.

    Raises :class:`~correlator.errors.InputError` for names and times that are not there.
    """
    from correlator.report.plot.data import timeline_data
    from correlator.report.plot.draw import draw
    from correlator.report.plot.selection import Choice
    from correlator.report.plot.theme import find_theme

    chosen = find_theme(theme)
    return draw(timeline_data(analysis, Choice(tuple(rules), client, begin, end)), chosen)


def check_format(path: Path) -> None:
    """Raises :class:`~correlator.errors.InputError` for an ending that is no picture's."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(
            f"{path}: unknown ending {path.suffix!r}: expected one of {', '.join(FORMATS)}"
        )


def write_plot(
    analysis: Analysis,
    path: Path,
    *,
    rules: Sequence[str] = (),
    client: str | None = None,
    begin: str | None = None,
    end: str | None = None,
    theme: str = "light",
) -> None:
    """Draw the timeline of :func:`plot` into a png, svg or pdf, whole or not at all."""
    check_format(path)
    figure = plot(analysis, rules=rules, client=client, begin=begin, end=end, theme=theme)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write a figure that :func:`plot` made; the same figure gives the same bytes."""
    import matplotlib.style

    from correlator.report.plot.draw import SETTINGS

    check_format(path)
    kind = path.suffix.lower()
    with matplotlib.style.context(["default", SETTINGS]):
        write_whole(
            path,
            lambda file: figure.savefig(
                file, format=kind[1:], metadata=NO_DATE[kind], facecolor=figure.get_facecolor()
            ),
        )
