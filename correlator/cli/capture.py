"""``correlator capture``: record a session around a command, then report it."""

from __future__ import annotations

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
    from correlator.capturing.record import Outcome, Status


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
    command: tuple[str, ...],
) -> None:
    """Record packets and rule counters, around COMMAND or until Ctrl-C; then report as `correlator
    replay` does.

    Listens on the default route's interface and every Docker bridge, unless -i names others. Rules,
    counters and sysctls are left as they are. With a COMMAND, its exit status becomes this
    command's."""
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

    from correlator.capturing.panel import Panel
    from correlator.capturing.record import Options, record

    options = Options(
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
    )
    panel = Panel(sys.stderr)
    try:
        outcome = record(
            options,
            lambda status: panel.show(_line(status)),
            lambda line: _say(line, bool(command)),
        )
    finally:
        panel.close()
    _report(outcome)
    if outcome.exit_status:
        sys.exit(outcome.exit_status)


def _say(line: str, runs_command: bool) -> None:
    say(f"correlator: {line}{'' if runs_command else '; Ctrl-C ends it'}", err=True)


def _line(status: Status) -> str:
    fastest = "  ".join(f"{one_line(name)} {rate:,.0f}/s" for name, rate in status.fastest)
    dropped = f", {status.dropped:,} DROPPED" if status.dropped else ", none dropped"
    return (
        f" {status.seconds:5.1f} s  {status.packets:,} packets{dropped}  {status.samples:,} "
        f"samples  {fastest}"
    )


def _report(outcome: Outcome) -> None:
    """What `correlator replay` says of the session. A session that cannot be analysed does not hide
    the command's status."""
    from correlator.reconcile.loading import load_files
    from correlator.report.terminal import render_replay

    if outcome.problem:
        say(f"correlator: {outcome.problem}", err=True)
    try:
        with Bar() as bar:
            analysis = load_files(outcome.folder, progress=bar)
        click.echo(render_replay(analysis), nl=False)
    except CorrelatorError as error:
        say(f"correlator: {error}", err=True)
        if not outcome.exit_status:
            sys.exit(error.exit_code)
    if outcome.problem and not outcome.exit_status:
        sys.exit(1)
