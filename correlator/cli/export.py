"""``correlator export``: one table as csv, json, parquet or a Zeek log, or the packets with
comments as pcapng."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from correlator.cli.inputs import PCAPNG, reads_input
from correlator.cli.say import say
from correlator.errors import InputError

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis


@click.command()
@reads_input
@click.argument("table", required=False)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write."
)
@click.option(
    "--format",
    "form",
    metavar="FORMAT",
    default="",
    help="csv, json or parquet (default: by the file's ending); zeek: connections as a conn.log.",
)
@click.option(
    "--coloring-rules",
    "--colouring-rules",
    "coloring",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="With pcapng: also write coloring rules for Wireshark.",
)
@click.option(
    "--raw",
    is_flag=True,
    help="CSV: words as they are, also such as a spreadsheet takes for formulas.",
)
def export(
    analyse: Callable[[], Analysis],
    table: str,
    output: Path,
    form: str,
    coloring: Path | None,
    raw: bool,
) -> None:
    """Write one table to a file: hits, connections, ledger, packets or rules; or, with pcapng for a
    table, the packets with the rules that each traversed as its packet comment, for Wireshark.

    PATH may be left out where --pcap and --counters (or --rules) say what to replay.
    """
    from correlator.report.machine import FORMATS

    if form and form not in FORMATS and (form != PCAPNG or table != PCAPNG):
        raise InputError(f"--format {form}: is no format: expected one of {', '.join(FORMATS)}")
    if table == PCAPNG:
        if raw:
            raise InputError(f"--raw: goes with csv: leave it out for {PCAPNG}")
        _export_packets(analyse, output, form, coloring)
        return
    if coloring is not None:
        raise InputError(f"--coloring-rules {coloring}: goes with packets: export {PCAPNG}")
    from correlator.report.machine import check_export, export_table

    form = check_export(table, output, form)
    if raw and form != "csv":
        raise InputError(f"--raw: goes with csv, and {form} is written: leave it out")
    say(f"wrote {export_table(analyse(), table, output, form, raw):,} rows to {output}")


def _export_packets(
    analyse: Callable[[], Analysis], output: Path, form: str, coloring: Path | None
) -> None:
    from correlator.report.annotated import check_ending, export_pcapng
    from correlator.report.coloring import write_rules
    from correlator.report.machine import write_whole

    if form not in ("", PCAPNG):
        raise InputError(f"--format {form}: is a format of tables: leave it out for {PCAPNG}")
    check_ending(output)
    frames, commented = export_pcapng(analyse(), output)
    say(f"wrote {frames:,} packets to {output}, {commented:,} with the rules that they traversed")
    if coloring is not None:
        write_whole(coloring, write_rules)
        say(f"wrote coloring rules to {coloring}: in Wireshark, View > Coloring Rules > Import")
