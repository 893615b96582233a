"""``correlator replay``: the report of a recorded session."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from correlator.cli.inputs import reads_input

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis


@click.command()
@reads_input
@click.option("--all", "everything", is_flag=True, help="Show every connection and every rule.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of the report.")
def replay(analyse: Callable[[], Analysis], everything: bool, as_json: bool) -> None:
    """Say which rules each connection traversed, and prove it against the counters.

    PATH is a folder with <interface>.pcap files and counters.log (or listing.log, nft-json.log,
    nft.log, or rules.v4); addr.json, link.json, route.json and sysctl.txt are used where they are
    there."""
    analysis = analyse()
    if as_json:
        from correlator.report.machine import replay_json

        click.echo(replay_json(analysis), nl=False)
        return
    from correlator.report.terminal import render_replay

    click.echo(render_replay(analysis, everything), nl=False)
