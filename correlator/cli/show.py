"""``correlator show``: one connection hook by hook, or the connections of a client or a rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from correlator.cli.inputs import reads_input
from correlator.errors import InputError

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis


@click.command()
@reads_input
@click.option(
    "--connection", type=int, metavar="N", help="The connection with this number in the report."
)
@click.option("--client", metavar="ADDR", help="All connections of this client.")
@click.option(
    "--rule", metavar="NAME", help="The connections that hit this rule, as in nat/DOCKER:2."
)
def show(
    analyse: Callable[[], Analysis], connection: int | None, client: str | None, rule: str | None
) -> None:
    """Show one connection hook by hook, with each rule's text, what NAT did, and the evidence for
    it."""
    if sum(option is not None for option in (connection, client, rule)) != 1:
        raise InputError("show: name one of --connection N, --client ADDR or --rule NAME")
    from correlator.report.show import render_client, render_connection, render_rule

    analysis = analyse()
    if connection is not None:
        text = render_connection(analysis, connection)
    elif client is not None:
        text = render_client(analysis, client)
    else:
        assert rule is not None
        text = render_rule(analysis, rule)
    click.echo(text, nl=False)
