"""The notebook runs from top to bottom on a shipped capture."""

from __future__ import annotations

import nbformat
from nbclient import NotebookClient

from tests.conftest import ROOT


def test_notebook_runs() -> None:
    """Every cell of the tour runs, and the first table shows the published connections."""
    notebook = nbformat.read(ROOT / "notebooks" / "tour.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert "172.17.0.2" in first.outputs[0]["data"]["text/plain"]
