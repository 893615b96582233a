"""The command ``correlator``: one thin module a command."""

from __future__ import annotations

import os
import sys

import click

from correlator import __version__
from correlator.cli.capture import capture
from correlator.cli.export import export
from correlator.cli.plot import plot
from correlator.cli.replay import replay
from correlator.cli.report import report
from correlator.cli.show import show
from correlator.errors import CorrelatorError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="correlator")
def commands() -> None:
    """Which iptables rules did each connection traverse?

    Packets, rules and counters, reconciled with proof: each connection gets the exact rules it traversed, each counter
    the connections that moved it, and what cannot be explained is shown.
    """


for command in (capture, replay, show, plot, report, export):
    commands.add_command(command)


def main() -> None:
    """Run the command line; every error that correlator raises on purpose is one line and an exit code."""
    try:
        commands(standalone_mode=False)
    except CorrelatorError as error:
        click.echo(f"correlator: {error}", err=True)
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        click.echo("correlator: interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
