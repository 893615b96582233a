"""Compiled code that is kept from one run to the next."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from correlator.decode.compiled import forget_stale


@pytest.mark.parametrize(("changed", "kept"), [(50, True), (150, False)])
def test_code_older_than_what_it_was_made_from_is_forgotten(
    changed: int, kept: bool, tmp_path: Path
) -> None:
    """Numba looks at the loop's own file only; a part of it in another module may have changed
    since."""
    for folder in ("decode", "flows/__pycache__"):
        (tmp_path / folder).mkdir(parents=True)
    part, cached = (
        tmp_path / "decode" / "records.py",
        tmp_path / "flows" / "__pycache__" / "pick_kernel.pick-1.nbi",
    )
    for path, time in ((part, changed), (cached, 100)):
        path.touch()
        os.utime(path, (time, time))
    forget_stale(tmp_path, tmp_path)
    assert cached.exists() == kept


def test_a_package_that_is_not_there_is_no_matter(tmp_path: Path) -> None:
    """Where nothing can be looked at (a zip file), nothing is removed, and nothing fails."""
    forget_stale(tmp_path / "nowhere", tmp_path / "nowhere")
