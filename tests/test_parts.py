"""What is large is worked on in parts, and the same as when it is not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.workload import make_workload
from correlator.flows.fold.plan import FOLDED, UNFOLDED
from correlator.reconcile.analysis import Analysis
from correlator.reconcile.loading import load_files
from correlator.reconcile.tables import tables as written
from correlator.report import writers
from correlator.report.machine import export_table
from correlator.report.page.render import render_page
from correlator.report.plot import write_plot
from tests.test_fold import assert_same

FEWER = re.compile(r"^\[(\d+):(\d+)\] (-A FORWARD -i docker0 ! -o docker0 .*)$", re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workload of which the counters tell less than all: the log ends early, one rule counted
    fewer hits than there were, and is read again too late to tell in which interval."""
    folder = tmp_path_factory.mktemp("parts") / "w"
    make_workload(folder, 20_000, 1_200, seconds=30)
    log = folder / "counters.log"
    samples = log.read_text().split("# sample ")
    text = "# sample ".join(samples[: len(samples) * 2 // 3])
    log.write_text(
        FEWER.sub(lambda hit: f"[{int(hit[1]) - int(hit[1]) // 50}:{hit[2]}] {hit[3]}", text)
    )
    return folder


@pytest.fixture(scope="module")
def whole(folder: Path) -> Analysis:
    """All of it at once."""
    found = load_files(folder, plan=FOLDED)
    assert set(found.hits["status"]) == {
        "exact",
        "ambiguous",
        "unverified",
    }  # and with that, hits are put together whole
    return found


@pytest.fixture
def parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Analysis:
    """The same, 700 packets and 100 connections at a time."""
    monkeypatch.setattr(written, "PART", 100)
    found = load_files(folder, plan=replace(FOLDED, block=700))
    assert len(found.tables.verdict.ordinary.folded.packets.begins) > 10  # type: ignore[attr-defined]
    return found


def test_what_counters_doubt(folder: Path, whole: Analysis, parts: Analysis) -> None:
    """Hits that no counter confirms, or of which too few were counted, are told alike: in parts, at
    once, and one by one."""
    other = load_files(folder, plan=UNFOLDED)
    assert_same(parts, other)
    assert_same(whole, other)


@pytest.mark.parametrize("name", ["hits", "connections", "ledger"])
def test_exports(
    name: str, whole: Analysis, parts: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CSV (raw) and JSON by parts are what pandas writes of the whole table, byte for byte; Parquet
    holds the same."""
    monkeypatch.setattr(writers, "MANY", 0)
    monkeypatch.setattr(writers, "ROWS", 64)
    table = whole.table(name)
    assert len(list(parts.in_parts(name))) > 10 or name != "hits"
    for form in ("csv", "json", "parquet"):
        assert export_table(parts, name, tmp_path / f"t.{form}", raw=True) == len(table)
    assert (tmp_path / "t.csv").read_text() == table.to_csv(index=False)
    assert (tmp_path / "t.json").read_text() == table.to_json(orient="records", indent=1)
    table.to_parquet(tmp_path / "w.parquet", index=False)
    one, other = (pd.read_parquet(tmp_path / f"{which}.parquet") for which in "tw")
    assert one.dtypes.astype(str).to_dict() == other.dtypes.astype(str).to_dict()
    assert json.loads(one.to_json(orient="records")) == json.loads(other.to_json(orient="records"))


@pytest.mark.parametrize(
    "choice", [{}, {"client": "172.17.0.2"}, {"rules": ("nat/POSTROUTING:1",)}, {"begin": "+20s"}]
)
def test_pictures(
    choice: dict[str, object], whole: Analysis, parts: Analysis, tmp_path: Path
) -> None:
    """A picture shows the same."""
    for name, analysis in (("whole", whole), ("parts", parts)):
        write_plot(analysis, tmp_path / f"{name}.svg", **choice)  # type: ignore[arg-type]
    assert (tmp_path / "parts.svg").read_bytes() == (tmp_path / "whole.svg").read_bytes()


def test_pages(whole: Analysis, parts: Analysis) -> None:
    """The page is the same, byte for byte."""
    assert render_page(parts) == render_page(whole)
