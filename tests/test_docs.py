"""Docs say what the code says."""

from __future__ import annotations

import runpy

from tests.conftest import ROOT


def test_tables_page_is_made_from_the_schema() -> None:
    """docs/tables.md is what docs/make_tables.py writes."""
    render = runpy.run_path(str(ROOT / "docs" / "make_tables.py"))["render"]
    assert (ROOT / "docs" / "tables.md").read_text() == render()
