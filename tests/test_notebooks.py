"""The notebooks run from top to bottom on shipped captures, and show what they showed when they
were committed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MOST = 250_000
"""Bytes of a notebook with its outputs: pictures in it are small."""


def shown(cell: Any) -> str:
    """What a cell printed and showed, but for pictures and the size that they say they have."""
    text = "".join(output.get("text", "") for output in cell.outputs)
    data = [output.get("data", {}) for output in cell.outputs]
    return text + "".join(one.get("text/plain", "") for one in data if "image/png" not in one)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_it_showed(path: Path) -> None:
    """Every cell runs, and prints what is committed with it; a picture is where one was. Execute it
    again where this fails."""
    committed, notebook = nbformat.read(path, as_version=4), nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    cells = [
        pair
        for pair in zip(committed.cells, notebook.cells, strict=True)
        if pair[0].cell_type == "code"
    ]
    assert len(cells) >= 6
    for old, new in cells:
        assert shown(new) == shown(old), old.source
        assert [
            "image/png" in output.get("data", {})
            for output in new.outputs
            if output.output_type != "stream"
        ] == [
            "image/png" in output.get("data", {})
            for output in old.outputs
            if output.output_type != "stream"
        ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_small_and_tells_no_paths(path: Path) -> None:
    """Outputs are kept small, and none of them names a folder of whoever ran it."""
    assert path.stat().st_size < MOST
    assert str(ROOT) not in path.read_text()
    assert "/home/" not in path.read_text()


def test_the_tour_shows_what_it_promises() -> None:
    """The tour's committed outputs hold the published connections, the rule that dropped one, and
    intervals around 0 and 3 s."""
    notebook = nbformat.read(ROOT / "notebooks" / "tour.ipynb", as_version=4)
    text = "".join(shown(cell) for cell in notebook.cells if cell.cell_type == "code")
    for wanted in (
        "172.17.0.2",
        "filter/DOCKER-USER:1",
        "--dport 80 -j DROP",
        "1:HEU1r2EQmm1TCfCParn7ROwNlOE=",
        "3 s late",
    ):
        assert wanted in text
