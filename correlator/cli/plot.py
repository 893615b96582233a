"""``correlator plot``: rule hits over time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from correlator.cli.inputs import reads_input
from correlator.cli.say import say

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis


@click.command()
@reads_input
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    help="Picture to write: png, svg or pdf.",
)
@click.option(
    "--rule",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only this rule and its connections; may repeat: nat/DOCKER:2.",
)
@click.option(
    "--client", metavar="ADDR", help="Only connections of this client, and what they hit."
)
@click.option(
    "--from",
    "begin",
    metavar="TIME",
    help="From this time on: 09:15:34.8 as in the reports, or +3.5s from the start.",
)
@click.option("--to", "end", metavar="TIME", help="Up to this time.")
@click.option("--theme", default="light", metavar="NAME", help="light, dark, or print (for paper).")
def plot(
    analyse: Callable[[], Analysis],
    output: Path,
    names: tuple[str, ...],
    client: str | None,
    begin: str | None,
    end: str | None,
    theme: str,
) -> None:
    """Plot rule hits over time: connections above, rules below, counted against explained.

    Rows are the rules that moved, in the order in which packets meet them. Counted and explained
    are one line where they agree, with a red gap where they do not. A hit of few is a mark, of many
    a density."""
    from correlator.report.plot import check_format, write_plot
    from correlator.report.plot.theme import find_theme

    check_format(output)  # before the work, not after it
    find_theme(theme)
    write_plot(analyse(), output, rules=names, client=client, begin=begin, end=end, theme=theme)
    say(f"wrote {output}")
