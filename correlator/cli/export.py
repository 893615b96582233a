"""``correlator export``: one table as csv, json or parquet."""

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
@click.argument("table", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write: csv, json or parquet.")
def export(analyse: Callable[[], Analysis], table: str, output: Path) -> None:
    """Write one table to a csv, json or parquet file: hits, connections, ledger, packets or rules.

    PATH may be left out where --pcap and --counters (or --rules) say what to replay.
    """
    from correlator.report.machine import export_table

    rows = export_table(analyse(), table, output)
    click.echo(f"wrote {rows:,} rows to {output}")
