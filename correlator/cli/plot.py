"""``correlator plot``: rule hits over time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from correlator.cli.inputs import reads_input

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis


@click.command()
@reads_input
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Picture to write: png, svg or pdf.")
def plot(analyse: Callable[[], Analysis], output: Path) -> None:
    """Plot rule hits over time: what counters counted, and what packets explain."""
    from correlator.report.timeline import plot_timeline

    plot_timeline(analyse(), output)
    click.echo(f"wrote {output}")
