"""Tables and reports for machines: CSV, JSON, Parquet; written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from correlator.dataset.schema import EXPORTS
from correlator.errors import InputError
from correlator.report.findings import find
from correlator.report.summary import summarise

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis

FORMATS = ("csv", "json", "parquet", "zeek")
ENDINGS = (".csv", ".json", ".parquet")


def replay_json(analysis: Analysis) -> str:
    """The replay report as one JSON object: findings, summary, clock, warnings, and all tables but
    packets as records."""
    report: dict[str, Any] = {
        "source": analysis.source,
        "interfaces": analysis.interfaces,
        "samples": analysis.samples,
        "generations": analysis.generations,
        "summary": asdict(summarise(analysis)),
        "clock": asdict(analysis.clock),
        "findings": [asdict(finding) for finding in find(analysis)],
        "warnings": list(analysis.warnings),
        "inferred": list(analysis.inferred),
    }
    for name in ("connections", "hits", "ledger"):
        report[name] = json.loads(analysis.table(name).to_json(orient="records"))
    return json.dumps(report, indent=1, default=float).replace("\x7f", "\\u007f") + "\n"


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a file beside ``path``, and put it in its place when it is done; nothing
    half-written stays."""
    folder = path.resolve().parent
    if not folder.is_dir():
        raise InputError(f"{path}: the folder {folder} does not exist")
    if path.is_dir():
        raise InputError(f"{path}: is a folder: name a file")
    try:
        handle, name = tempfile.mkstemp(suffix=path.suffix, prefix=f".{path.stem}-", dir=folder)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    os.close(handle)
    try:
        write(Path(name))
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        Path(name).unlink(missing_ok=True)


def check_export(name: str, path: Path, form: str = "") -> str:
    """The form in which a table is to be written. Raises :class:`~correlator.errors.InputError`
    where that cannot be."""
    if name not in EXPORTS:
        raise InputError(f"{name}: is no table: expected one of {', '.join(EXPORTS)}")
    if not form and path.suffix not in ENDINGS:
        raise InputError(
            f"{path}: unknown ending {path.suffix!r}: expected one of {', '.join(ENDINGS)}, or a "
            f"--format"
        )
    form = form or path.suffix[1:]
    if form == "zeek" and name != "connections":
        raise InputError(
            f"--format zeek: is a format of connections, and {name} was asked for: expected csv, "
            f"json or parquet"
        )
    if form == "parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise InputError(
                f"{path}: Parquet needs pyarrow: pip install 'rule-correlator[parquet]'"
            ) from None
    return form


def export_table(
    analysis: Analysis, name: str, path: Path, form: str = "", raw: bool = False
) -> int:
    """Write one table in a form of :data:`FORMATS`, by the file's ending where none is named;
    returns its rows. ``raw``: words in CSV as they are, though a spreadsheet take them for
    formulas.

    Raises :class:`~correlator.errors.InputError`.
    """
    form = check_export(name, path, form)
    if form == "zeek":
        from correlator.report.zeek import write_conn_log

        write_whole(path, lambda file: write_conn_log(analysis, file))
        return len(analysis.connections)
    from correlator.report.writers import WRITERS

    rows = 0

    def write(file: Path) -> None:
        nonlocal rows
        rows = WRITERS[form](analysis.in_parts(name), file, raw)

    write_whole(path, write)
    return rows
