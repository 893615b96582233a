"""The command ``correlator``: one thin module a command."""

from __future__ import annotations

import gc
import os
import sys

import click

from correlator.cli.capture import capture
from correlator.cli.export import export
from correlator.cli.plot import plot
from correlator.cli.replay import replay
from correlator.cli.report import report
from correlator.cli.show import show
from correlator.errors import CorrelatorError
from correlator.version import __version__


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="correlator")
def commands() -> None:
    """Which iptables rules did each connection traverse?

    Packets, rules and counters, reconciled with proof: each connection gets the exact rules it
    traversed, each counter the connections that moved it, and what cannot be explained is shown.
    """


for command in (capture, replay, show, plot, report, export):
    commands.add_command(command)


def main() -> None:
    """Run the command line; every error that correlator raises on purpose is one line and an exit
    code."""
    gc.set_threshold(100_000, 20, 20)  # imports and tables make many objects and hardly any garbage
    try:
        commands(standalone_mode=False)
        sys.stdout.flush()
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
        _let_go()
        sys.exit(141)
    except OSError as error:  # a full disk, most of the time
        _let_go()
        where = f"{error.filename}: " if error.filename else ""
        click.echo(f"correlator: {where}{error.strerror or error}", err=True)
        sys.exit(1)


def _let_go() -> None:
    """What was not written yet goes nowhere: Python would try again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run() -> None:
    """:func:`main` in a process of its own, which ends at once: nobody needs its tables taken apart
    first."""
    main()
    os._exit(0)
