"""One line to the terminal, whatever names it mentions."""

from __future__ import annotations

import click

from correlator.plain import one_line


def say(line: str, err: bool = False) -> None:
    """Print the line, to stderr where it is none of the answer."""
    click.echo(one_line(line), err=err)
