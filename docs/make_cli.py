"""Writes docs/cli.md from the commands themselves: ``python docs/make_cli.py``; a test holds the
file against it."""

from __future__ import annotations

import inspect
from pathlib import Path

import click

from correlator.capturing.command import FAILED, KILLED, NOT_EXECUTABLE, NOT_FOUND
from correlator.cli import DEFECT, commands
from correlator.errors import CorrelatorError, InputError

EXIT_CODES = f"""\
## Exit status

| status | |
| --- | --- |
| 0 | it did what it was told |
| {CorrelatorError.exit_code} | recording failed, or an output cannot be written |
| {InputError.exit_code} | input or a command line that cannot be used |
| {DEFECT} | a defect of correlator |
| 130 | Ctrl-C |
| 141 | nobody reads the output any more |

`capture -- COMMAND` has the command's own. Where that has none, or is 0, it may be one of these,
as with `env` and `timeout`:

| status | |
| --- | --- |
| {FAILED} | recording failed, or could not begin, or the session cannot be analysed |
| {NOT_EXECUTABLE} | the command cannot be run: nothing was recorded |
| {NOT_FOUND} | there is no such command: nothing was recorded |
| {KILLED} + N | signal N killed the command |

Where recording and command both failed, it is the command's; a line on stderr tells of the
recording. One line on stderr says what is wrong, where, and what to do; `correlator --debug
COMMAND`, or CORRELATOR_DEBUG=1, prints the traceback before it. Output files are written whole or
not at all.
"""


def render() -> str:
    """Every command with its usage, what it does and its options, as Markdown."""
    top = click.Context(commands, info_name="correlator", **commands.context_settings)
    lines = [
        "# Command line",
        "",
        "Made from the code by `docs/make_cli.py`. `correlator COMMAND --help` says the same.",
        "",
    ]
    lines += [*_prose(commands), "", "| command | |", "| --- | --- |"]
    names = commands.list_commands(top)
    found = [(name, commands.get_command(top, name)) for name in names]
    lines += [
        f"| [`{name}`](#{name}) | {command.get_short_help_str(200)} |"
        for name, command in found
        if command is not None
    ]
    for name, command in found:
        if command is not None:
            lines += ["", *_section(click.Context(command, info_name=name, parent=top))]
    return "\n".join(lines) + "\n\n" + EXIT_CODES


def _section(context: click.Context) -> list[str]:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    lines = [
        f"## {context.info_name}",
        "",
        "```",
        usage,
        "```",
        "",
        *_prose(command),
        "",
        "| option | |",
        "| --- | --- |",
    ]
    options = [param for param in command.get_params(context) if isinstance(param, click.Option)]
    records = [option.get_help_record(context) for option in options]
    return lines + [
        f"| `{_cell(option)}` | {_cell(text)} |" for option, text in filter(None, records)
    ]


def _prose(command: click.Command) -> list[str]:
    return inspect.cleandoc(command.help or "").splitlines()


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    Path(__file__).with_name("cli.md").write_text(render())
