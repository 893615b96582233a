"""Options that say what to replay, shared by all commands."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from correlator.errors import InputError
from correlator.plain import one_line

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis

_OFFSET = re.compile(r"^([+-]?\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|h|)$")
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*(?:([kKmMgG])(?:i?[bB])?)?$")
_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
BAR = 28
PCAPNG = "pcapng"
"""What export is told instead of a table for packets with comments."""


def reads_input(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command PATH and the options beside it; it is called with ``analyse``, which loads on
    demand."""

    @click.argument("path", type=click.Path(path_type=Path), required=False)
    @click.option(
        "--pcap",
        "pcaps",
        multiple=True,
        metavar="[IF=]FILE",
        help="Packets of an interface; may repeat.",
    )
    @click.option(
        "--counters",
        type=click.Path(path_type=Path),
        help="Counter log: iptables-save -c or -L -n -v snapshots.",
    )
    @click.option(
        "--rules",
        type=click.Path(path_type=Path),
        help="iptables-save output, where nothing was counted.",
    )
    @click.option(
        "--facts",
        type=click.Path(path_type=Path),
        help="Folder of addr.json, link.json, route.json, sysctl.txt.",
    )
    @click.option(
        "--clock-offset",
        metavar="TIME",
        help="Counters' clock minus packets' (3.2s, -15ms); default: estimated.",
    )
    @click.option(
        "--max-memory",
        metavar="SIZE",
        help="Memory to take (500M, 2G); default: half of what is free.",
    )
    @wraps(command)
    def wrapper(
        path: Path | None,
        pcaps: tuple[str, ...],
        counters: Path | None,
        rules: Path | None,
        facts: Path | None,
        clock_offset: str | None,
        max_memory: str | None,
        **rest: Any,
    ) -> Any:
        if "table" in rest:
            path, rest["table"] = _table_alone(path, rest["table"], rest.get("form", ""))

        def analyse() -> Analysis:
            from correlator.reconcile.intake.inputs import split_pcap
            from correlator.reconcile.loading import load_files

            if path is None and not pcaps:
                raise InputError("nothing to replay: name a folder, or pcaps with --pcap IF=FILE")
            with Bar() as bar:
                return load_files(
                    path,
                    pcaps=[split_pcap(p) for p in pcaps],
                    counters=counters,
                    rules=rules,
                    facts=facts,
                    clock_offset=parse_offset(clock_offset),
                    progress=bar,
                    max_memory=parse_size(max_memory),
                    meanwhile=prepare_report,
                )

        return command(analyse, **rest)

    return wrapper


def prepare_report() -> None:
    """Import what will show packets, while another process reads them."""
    import correlator.report.terminal  # noqa: F401


def _table_alone(path: Path | None, table: str | None, form: str) -> tuple[Path | None, str]:
    """`correlator export --pcap ... hits` names a table and no PATH, and `--format zeek` names the
    table itself."""
    from correlator.dataset.schema import TABLES

    if table is None and form == "zeek" and str(path) not in TABLES:
        table = "connections"
    if table is None:
        path, table = None, str(path or "")
    if table not in (*TABLES, PCAPNG):
        raise InputError(f"export: name a table: one of {', '.join(TABLES)}; or {PCAPNG}")
    return path, table


def parse_offset(text: str | None) -> float | None:
    """``3.2s``, ``-15ms`` or ``0.5`` in seconds."""
    return None if text is None else parse_seconds("--clock-offset", text)


def parse_seconds(option: str, text: str) -> float:
    """A time with its unit (ns, us, ms, s, m, h; seconds without one) in seconds."""
    found = _OFFSET.match(text.strip())
    if found is None:
        raise InputError(
            f"{option} {text}: is no time: expected a number with ns, us, ms, s, m or h, as in "
            f"3.2s or -15ms"
        )
    return float(found[1]) * _UNITS[found[2]]


def parse_size(text: str | None) -> int | None:
    """``500M`` or ``2GiB`` in bytes; a number alone is bytes."""
    if text is None:
        return None
    found = _SIZE.match(text.strip())
    if found is None or not float(found[1]):
        raise InputError(
            f"--max-memory {text}: is no size: expected a number with K, M or G, as in 500M or 2G"
        )
    return int(
        float(found[1]) * 1024 ** "KMG".index(found[2].upper()) * 1024
        if found[2]
        else float(found[1])
    )


class Bar:
    """A progress bar on a terminal, once something takes longer than a second; silent elsewhere."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.drawn = False

    def __enter__(self) -> Bar:
        return self

    def __call__(self, what: str, part: float) -> None:
        if not sys.stderr.isatty() or time.monotonic() - self.begun < 1.0:
            return
        done = round(BAR * min(max(part, 0.0), 1.0))
        sys.stderr.write(f"\r\033[K[{'#' * done}{'.' * (BAR - done)}] {one_line(what)}")
        sys.stderr.flush()
        self.drawn = True

    def __exit__(self, *_: object) -> None:
        if self.drawn:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
