"""``correlator capture``: record a session around a command, then report it."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from correlator.cli.inputs import Bar, parse_seconds
from correlator.cli.say import say
from correlator.errors import CorrelatorError, InputError
from correlator.plain import one_line
from correlator.session import LEAST_SNAP, MOST_SNAP, SHORTEST_S

if TYPE_CHECKING:
    from correlator.capturing.options import Options, Outcome, Status


@click.command(context_settings={"ignore_unknown_options": False})
@click.option(
    "-i", "interfaces", multiple=True, metavar="IF", help="Interface to listen on; may repeat."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Session folder to write; default: named by the time.",
)
@click.option(
    "--interval",
    default="100ms",
    show_default=True,
    metavar="TIME",
    help="Between two counter samples.",
)
@click.option(
    "--duration",
    metavar="TIME",
    help="Stop after this long (30s, 5m); default: at the command's end, or Ctrl-C.",
)
@click.option(
    "--filter",
    "expression",
    default="",
    metavar="BPF",
    help="Record only packets that match (pcap-filter(7)).",
)
@click.option(
    "--snaplen",
    type=int,
    metavar="N",
    help="Keep the first N bytes of every frame; default: its headers only.",
)
@click.option("--payload", is_flag=True, help="Keep frames whole, with what people say in them.")
@click.option(
    "--bridge-ports",
    is_flag=True,
    help="Listen on bridges' ports too: traffic between containers of one bridge.",
)
@click.option(
    "--no-conntrack",
    is_flag=True,
    help="Do not listen to conntrack, which makes the kernel tell of each connection.",
)
@click.option("--force", is_flag=True, help="Replace a session that is there already.")
@click.option(
    "--as-root", is_flag=True, help="Under sudo, run COMMAND as root; default: as who ran sudo."
)
@click.option(
    "--explain-privileges",
    is_flag=True,
    help="Say what each part of a recording is allowed to do, and record nothing.",
)
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
def capture(
    interfaces: tuple[str, ...],
    output: Path | None,
    interval: str,
    duration: str | None,
    expression: str,
    snaplen: int | None,
    payload: bool,
    bridge_ports: bool,
    no_conntrack: bool,
    force: bool,
    as_root: bool,
    explain_privileges: bool,
    command: tuple[str, ...],
) -> None:
    """Record packets and rule counters, around COMMAND or until Ctrl-C; then report as `correlator
    replay` does.

    Listens on the default route's interface and every Docker bridge, unless -i names others. Rules,
    counters and sysctls are left as they are. With a COMMAND, its exit status becomes this
    command's, and 125 says that recording failed.

    Under sudo the session is written, and COMMAND run, as who ran sudo."""
    _open_standard_streams()
    if explain_privileges:
        from correlator.capturing.explain import explain

        click.echo(explain(as_root), nl=False)
        return
    try:
        options = _options(
            interfaces, output, interval, duration, expression, snaplen, payload, bridge_ports,
            no_conntrack, force, as_root, command,
        )  # fmt: skip
        status = _capture(options)
    except CorrelatorError as error:
        from correlator.capturing.command import CommandError
        from correlator.capturing.options import failed_status

        if command and not isinstance(error, CommandError):
            error.exit_code = failed_status(beside_command=True)
        raise
    if status:
        sys.exit(status)


def _options(
    interfaces: tuple[str, ...],
    output: Path | None,
    interval: str,
    duration: str | None,
    expression: str,
    snaplen: int | None,
    payload: bool,
    bridge_ports: bool,
    no_conntrack: bool,
    force: bool,
    as_root: bool,
    command: tuple[str, ...],
) -> Options:
    """What was asked for. Raises :class:`~correlator.errors.InputError` for what cannot be."""
    if snaplen is not None and payload:
        raise InputError("--snaplen and --payload contradict each other: give one of them")
    if snaplen is not None and not LEAST_SNAP <= snaplen <= MOST_SNAP:
        raise InputError(f"--snaplen {snaplen}: expected {LEAST_SNAP} to {MOST_SNAP} bytes")
    seconds = parse_seconds("--interval", interval)
    if seconds < SHORTEST_S:
        raise InputError(f"--interval {interval}: is too short: the shortest is 1ms")
    limit = parse_seconds("--duration", duration) if duration is not None else None
    if limit is not None and limit <= 0:
        raise InputError(f"--duration {duration}: is no time to record in")

    from correlator.capturing.options import Options

    return Options(
        output if output is not None else Path(time.strftime("correlator-%Y%m%d-%H%M%S")),
        tuple(dict.fromkeys(interfaces)),
        round(seconds * 1e9),
        None if limit is None else round(limit * 1e9),
        expression,
        -1 if payload else snaplen or 0,
        bridge_ports,
        force,
        command,
        not no_conntrack,
        as_root,
    )


def _open_standard_streams() -> None:
    """Where one is closed, it leads nowhere: else the next file that is opened took its place, and
    what is printed went into the session."""
    for handle in range(3):
        try:
            os.fstat(handle)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # becomes this handle: the lowest that is free
            os.set_inheritable(handle, True)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def _capture(options: Options) -> int:
    """Record and report; the exit status."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a thread of its would keep privileges

    from correlator.capturing.panel import Panel
    from correlator.capturing.record import recorded

    panel = Panel(sys.stderr)

    def tell(line: str) -> None:
        with contextlib.suppress(OSError):  # nobody listens
            panel.close()
            _say(line, bool(options.command))

    try:
        with recorded(options, lambda status: panel.show(_line(status)), tell) as outcome:
            panel.close()
            return _report(outcome)
    finally:
        panel.close()


def _say(line: str, runs_command: bool) -> None:
    say(f"correlator: {line}{'' if runs_command else '; Ctrl-C ends it'}", err=True)


def _line(status: Status) -> str:
    fastest = "  ".join(f"{one_line(name)} {rate:,.0f}/s" for name, rate in status.fastest)
    dropped = f", {status.dropped:,} DROPPED" if status.dropped else ", none dropped"
    return (
        f" {status.seconds:5.1f} s  {status.packets:,} packets{dropped}  {status.samples:,} "
        f"samples  {fastest}"
    )


def _report(outcome: Outcome) -> int:
    """Print what `correlator replay` says of the session; the exit status. Neither a session that
    cannot be analysed nor a reader that has gone hides the command's status."""
    from correlator.capturing.options import failed_status
    from correlator.reconcile.loading import load_files
    from correlator.report.terminal import render_replay

    beside_command = outcome.exit_status is not None
    try:
        if outcome.problem:
            say(f"correlator: {outcome.problem}", err=True)
        with Bar() as bar:
            analysis = load_files(outcome.folder, progress=bar)
        click.echo(render_replay(analysis), nl=False)
        sys.stdout.flush()
    except CorrelatorError as error:
        with contextlib.suppress(OSError):
            say(f"correlator: {error}", err=True)
        return outcome.status or (failed_status(True) if beside_command else error.exit_code)
    except OSError:
        if not beside_command:
            raise
        _print_no_more()
    except Exception as error:
        if not outcome.exit_status:
            raise
        say(
            f"correlator: {type(error).__name__}: {error}: this is a defect of correlator", err=True
        )
    return outcome.status


def _print_no_more() -> None:
    """Nobody reads any more: what is not printed yet goes nowhere, else Python would try again at
    the end, and exit with a status of its own."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for handle in (1, 2):
        os.dup2(nowhere, handle)
