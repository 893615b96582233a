"""``correlator report``: everything on one self-contained page."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from correlator.cli.inputs import reads_input
from correlator.cli.say import say

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis


@click.command()
@reads_input
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Page to write: html."
)
def report(analyse: Callable[[], Analysis], output: Path) -> None:
    """Write one HTML page: the answer, the packet flow, the timeline, connections to search and
    open, the ledger, the rules.

    The page needs no network and no server: it opens from the disk, prints, and can be mailed.
    """
    from correlator.report.page.render import ENDINGS, write_page

    _refuse_ending(output, ENDINGS)
    write_page(analyse(), output)
    say(f"wrote {output}")


def _refuse_ending(output: Path, endings: tuple[str, ...]) -> None:
    """Before a long replay, not after it."""
    from correlator.errors import InputError

    if output.suffix not in endings:
        raise InputError(
            f"{output}: unknown ending {output.suffix!r}: expected {' or '.join(endings)}"
        )
