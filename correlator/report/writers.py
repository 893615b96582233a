"""Tables that come in parts, written to a file part by part: CSV, JSON, Parquet, as pandas would
write them whole."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import numpy.typing as npt

    Parts = Iterable[pd.DataFrame]

MANY = 20_000
"""A part of so many rows is written by compiled code, which takes a while to load."""
ROWS = 1 << 14
"""Rows that are made into text at a time."""


def write_csv(parts: Parts, path: Path) -> int:
    """Returns the rows; there is at least one part, and the first one gives the header."""
    total = 0
    with path.open("wb") as file:
        for number, part in enumerate(parts):
            if number == 0:
                file.write(part[:0].to_csv(index=False).encode())
            if len(part) < MANY or os.linesep != "\n" or not all(map(_plain, part.dtypes)):
                file.write(part.to_csv(index=False, header=False).encode())
            else:
                for text in _texts(part):
                    file.write(text)
            total += len(part)
    return total


def _plain(dtype: Any) -> bool:
    return isinstance(dtype, pd.CategoricalDtype) or dtype.kind in "iO"


def _texts(part: pd.DataFrame) -> Iterator[memoryview]:
    """Rows as CSV, some at a time; each text is good until the next."""
    from correlator.report import csv_kernel

    columns, first, words = _coded(part)
    begins = np.r_[0, np.cumsum([len(word) for word in words])].astype(np.int64)
    text, lengths = np.frombuffer(b"".join(words) or b" ", dtype=np.uint8), np.diff(begins)
    out = np.empty(0, dtype=np.uint8)
    for begin in range(0, len(part), ROWS):
        values = np.stack([column[begin : begin + ROWS].astype(np.int64) for column in columns])
        size = _size(values, first, lengths)
        out = np.empty(size + size // 4, dtype=np.uint8) if size > len(out) else out
        yield out[: csv_kernel.write(values, first, begins, text, out)].data


def _coded(part: pd.DataFrame) -> tuple[list[npt.NDArray[Any]], npt.NDArray[np.int64], list[bytes]]:
    """(numbers or codes of words of each column; where the words of each begin among all, -1 for
    numbers; all words)."""
    columns: list[npt.NDArray[Any]] = []
    first, words = np.full(len(part.columns), -1), list[bytes]()
    for number, name in enumerate(part.columns):
        column = part[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes, found = column.cat.codes.to_numpy(), column.cat.categories.tolist()
        elif column.dtype.kind == "O":
            codes, found = pd.factorize(column.to_numpy())
        else:
            columns.append(column.to_numpy())
            continue
        columns.append(codes)
        first[number] = len(words)
        words += _words([str(word) for word in found])
    return columns, first, words


def _words(words: list[str]) -> list[bytes]:
    """Words, in quotes where they need them."""
    text = "\n".join(words)
    if text.count("\n") == len(words) - 1 and not any(mark in text for mark in ',"\r'):
        return text.encode().split(b"\n")
    return [_word(word) for word in words]


def _word(word: str) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow([word, ""])
    return line.getvalue()[:-2].encode()


def _size(
    values: npt.NDArray[np.int64], first: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> int:
    """Bytes that hold these rows."""
    total = values.size
    for column, words in zip(values, first.tolist(), strict=True):
        total += 20 * len(column) if words < 0 else int(lengths[words:][column[column >= 0]].sum())
    return total


def write_json(parts: Parts, path: Path) -> int:
    """A list of records; returns how many."""
    total = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("[\n")
        for part in parts:
            if len(part):
                file.write(",\n" if total else "")
                file.write(part.to_json(orient="records", indent=1)[2:-2])
            total += len(part)
        file.write("\n]")
    return total


def write_parquet(parts: Parts, path: Path) -> int:
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


WRITERS: dict[str, Callable[[Parts, Path], int]] = {
    "csv": write_csv,
    "json": write_json,
    "parquet": write_parquet,
}
"""By the name of their form."""
