"""Tables that come in parts, written to a file part by part: CSV, JSON, Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator.plain import one_line

if TYPE_CHECKING:
    import numpy.typing as npt

    Parts = Iterable[pd.DataFrame]

MANY = 20_000
"""A part of so many rows is written by compiled code, which takes a while to load."""
ROWS = 1 << 14
"""Rows that are made into text at a time."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
RULE = "rule"
"""The column that holds rules' texts."""
MARKS = ',;"\n\r\t'
"""What a cell in quotes may hold."""


def write_csv(parts: Parts, path: Path, raw: bool = False) -> int:
    """Returns the rows; there is at least one part, and the first one gives the header. Words are
    fit to be shown, and no formula to a spreadsheet (:func:`_guarded`), unless they are wanted
    ``raw``."""
    total = 0
    with path.open("wb") as file:
        for number, part in enumerate(parts):
            if number == 0:
                file.write(b",".join(_words(list(part.columns))) + b"\n")
            columns, first, words = _coded(part, raw)
            if len(part) < MANY:
                file.write(_text(columns, first.tolist(), words))
            else:
                for text in _texts(columns, first, words):
                    file.write(text)
            total += len(part)
    return total


def _text(columns: list[npt.NDArray[Any]], first: list[int], words: list[bytes]) -> bytes:
    """Rows as CSV; arguments are :func:`_coded`'s."""
    cells = [
        [b"%d" % value for value in column.tolist()]
        if begin < 0
        else [words[begin + code] if code >= 0 else b"" for code in column.tolist()]
        for column, begin in zip(columns, first, strict=True)
    ]
    return b"".join(b",".join(row) + b"\n" for row in zip(*cells, strict=True))


def _texts(
    columns: list[npt.NDArray[Any]], first: npt.NDArray[np.int64], words: list[bytes]
) -> Iterator[memoryview]:
    """The same, some rows at a time, by compiled code; each text is good until the next."""
    from correlator.report import csv_kernel

    begins = np.r_[0, np.cumsum([len(word) for word in words])].astype(np.int64)
    text, lengths = np.frombuffer(b"".join(words) or b" ", dtype=np.uint8), np.diff(begins)
    out = np.empty(0, dtype=np.uint8)
    for begin in range(0, len(columns[0]), ROWS):
        values = np.stack([column[begin : begin + ROWS].astype(np.int64) for column in columns])
        size = _size(values, first, lengths)
        out = np.empty(size + size // 4, dtype=np.uint8) if size > len(out) else out
        yield out[: csv_kernel.write(values, first, begins, text, out)].data


def _coded(
    part: pd.DataFrame, raw: bool
) -> tuple[list[npt.NDArray[Any]], npt.NDArray[np.int64], list[bytes]]:
    """(numbers or codes of words of each column; where the words of each begin among all, -1 for
    numbers; all words)."""
    columns: list[npt.NDArray[Any]] = []
    first, words = np.full(len(part.columns), -1), list[bytes]()
    for number, name in enumerate(part.columns):
        column = part[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes, found = column.cat.codes.to_numpy(), column.cat.categories.tolist()
        elif column.dtype.kind == "i":
            columns.append(column.to_numpy())
            continue
        else:
            codes, found = pd.factorize(column.to_numpy())
        columns.append(codes)
        first[number] = len(words)
        cells = [str(word) for word in found]
        words += _words(cells if raw else [_guarded(cell, name) for cell in cells])
    return columns, first, words


def _guarded(cell: str, column: str) -> str:
    """A cell that shows as it is written (:func:`~correlator.plain.one_line`) and that a
    spreadsheet takes for text (OWASP, CSV Injection): behind an apostrophe where it begins as
    formulas do; a rule's text, which begins with a dash by its nature, behind a space."""
    shown = one_line(cell)
    if not shown.startswith(FORMULA):
        return shown
    return (" " if column == RULE and shown[0] == "-" else "'") + shown


def _words(words: list[str]) -> list[bytes]:
    """Words, in quotes where they need them."""
    text = "\n".join(words)
    if text.count("\n") == len(words) - 1 and not any(mark in text for mark in MARKS):
        return _encoded(text).split(b"\n")
    return [_encoded(_word(word)) for word in words]


def _word(word: str) -> str:
    """Also what other locales separate cells by is in quotes."""
    return '"' + word.replace('"', '""') + '"' if any(mark in word for mark in MARKS) else word


def _encoded(text: str) -> bytes:
    """Names of files keep the bytes that are no UTF-8 (PEP 383)."""
    return text.encode("utf-8", "surrogateescape")


def _size(
    values: npt.NDArray[np.int64], first: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> int:
    """Bytes that hold these rows."""
    total = values.size
    for column, words in zip(values, first.tolist(), strict=True):
        total += 20 * len(column) if words < 0 else int(lengths[words:][column[column >= 0]].sum())
    return total


def write_json(parts: Parts, path: Path, raw: bool = False) -> int:
    """A list of records; returns how many."""
    total = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("[\n")
        for part in parts:
            if len(part):
                file.write(",\n" if total else "")
                text = part.to_json(orient="records", indent=1)[2:-2]
                file.write(text.replace("\x7f", "\\u007f"))
            total += len(part)
        file.write("\n]")
    return total


def write_parquet(parts: Parts, path: Path, raw: bool = False) -> int:
    """A row group a part; returns the rows. Words are of one dictionary type, however many there
    are in a part."""
    import pyarrow as pa
    from pyarrow import parquet

    total, writer, schema = 0, None, None
    try:
        for part in parts:
            rows = pa.Table.from_pandas(part, preserve_index=False)
            if writer is None:
                schema = pa.schema(
                    [_dictionary(pa, field) for field in rows.schema], metadata=rows.schema.metadata
                )
                writer = parquet.ParquetWriter(path, schema)
            writer.write_table(rows.cast(schema))
            total += len(part)
    finally:
        if writer is not None:
            writer.close()
    return total


def _dictionary(pa: Any, field: Any) -> Any:
    words = pa.types.is_dictionary(field.type)
    return field.with_type(pa.dictionary(pa.int32(), field.type.value_type)) if words else field


WRITERS: dict[str, Callable[[Parts, Path, bool], int]] = {
    "csv": write_csv,
    "json": write_json,
    "parquet": write_parquet,
}
"""By the name of their form."""
