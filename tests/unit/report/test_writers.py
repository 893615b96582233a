"""Tables as text."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from correlator.report import writers

ODD = ['say "no"', "a, b", "", "two\nlines", "größer", "tail ", "x" * 300]


@pytest.mark.parametrize("words", [ODD, ["plain", "words/with:marks"], [""]])
def test_csv_is_what_pandas_writes(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands in words, and with numbers of any size, compiled code writes the same
    bytes, where words are wanted raw."""
    monkeypatch.setattr(writers, "MANY", 0)
    monkeypatch.setattr(writers, "ROWS", 3)
    n = len(words)
    numbers = [0, -1, 9, 10, -(2**63) + 1, 2**63 - 1, 1790000000000000000, 100]
    table = pd.DataFrame(
        {
            "number": pd.Series(numbers[:n], dtype="int64"),
            "small": pd.Series(range(n), dtype="int32"),
            "word": pd.Series(words, dtype=object),
            "kind": pd.Categorical([None, *words[1:]], categories=sorted(set(words))),
        }
    )
    assert writers.write_csv([table, table[:0], table], tmp_path / "t.csv", raw=True) == 2 * n
    assert (tmp_path / "t.csv").read_bytes() == pd.concat([table, table]).to_csv(
        index=False
    ).encode()


def test_nothing(tmp_path: Path) -> None:
    """A table without rows is a header, an empty list, a file without rows."""
    empty = pd.DataFrame({"number": pd.Series([], dtype="int64"), "kind": pd.Categorical([])})
    for form, write in writers.WRITERS.items():
        assert write([empty], tmp_path / f"t.{form}", False) == 0
    assert (tmp_path / "t.csv").read_text() == "number,kind\n"
    assert (tmp_path / "t.json").read_text() == empty.to_json(orient="records", indent=1)
    assert len(pd.read_parquet(tmp_path / "t.parquet")) == 0
