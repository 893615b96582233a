"""The command ``correlator``: one thin module a command."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from typing import NoReturn

import click

from correlator import plain
from correlator.cli.capture import capture
from correlator.cli.export import export
from correlator.cli.plot import plot
from correlator.cli.replay import replay
from correlator.cli.report import report
from correlator.cli.say import say
from correlator.cli.show import show
from correlator.errors import CorrelatorError
from correlator.version import __version__

DEBUG = "CORRELATOR_DEBUG"
DEFECT = 70
"""The exit status of a defect (EX_SOFTWARE of sysexits.h)."""
LONGEST = 200
"""Characters of an error that nobody thought of."""


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="correlator")
@click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=lambda _context, _option, value: _debug(value),
    help="Also print the traceback of an error (as CORRELATOR_DEBUG=1 does).",
)
def commands() -> None:
    """Which iptables rules did each connection traverse?

    Packets, rules and counters, reconciled with proof: each connection gets the exact rules it
    traversed, each counter the connections that moved it, and what cannot be explained is shown.
    """


for command in (capture, replay, show, plot, report, export):
    commands.add_command(command)


def _debug(wanted: bool) -> None:
    if wanted:
        os.environ[DEBUG] = "1"


def main() -> None:
    """Run the command line; every error is one line and an exit status: what correlator raises on
    purpose its own, what nobody thought of that of a defect."""
    gc.set_threshold(100_000, 20, 20)  # imports and tables make many objects and hardly any garbage
    try:
        commands(standalone_mode=False)
        sys.stdout.flush()
    except CorrelatorError as error:
        _end(str(error), error.exit_code)
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
        _end(f"{where}{error.strerror or error}", 1)
    except MemoryError:
        _end("too little memory: replay fewer packets, or take less with --max-memory", 1)
    except Exception as error:
        told = f"{type(error).__name__}: {str(error)[:LONGEST]}"
        _end(
            f"{told}: this is a defect of correlator: please report it with what {DEBUG}=1 in "
            f"front of the same command prints",
            DEFECT,
        )


def _end(line: str, status: int) -> NoReturn:
    """Say what went wrong, behind the traceback where it was asked for."""
    if os.environ.get(DEBUG, "") not in ("", "0"):
        click.echo(plain.lines(traceback.format_exc().splitlines()), err=True)
    say(f"correlator: {line}", err=True)
    sys.exit(status)


def _let_go() -> None:
    """What was not written yet goes nowhere: Python would try again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run() -> None:
    """:func:`main` in a process of its own, which ends at once: nobody needs its tables taken apart
    first."""
    main()
    os._exit(0)
