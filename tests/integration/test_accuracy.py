"""The lab that measures accuracy: its truth is the kernel's, and it cleans up after itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.lab.accuracy.batch import Wanted, is_harsh, record, run
from tests.lab.accuracy.network import PREFIX
from tests.lab.accuracy.score import read_kernel

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recorded case with crafted packets."""
    folder = tmp_path_factory.mktemp("accuracy") / "case"
    assert is_harsh(1)
    assert record(1, folder) == ""
    return folder


def test_the_truth_adds_up_to_the_counters(case: Path) -> None:
    """Recording a case again where its trace and its counters differ leaves only cases in which
    each rule's counter moved by exactly the packets that were traced on it."""
    kernel = read_kernel(case / "truth" / "hits.csv")
    assert len(kernel) > 50
    assert all(row.packets > 0 for row in kernel.values())
    assert (case / "counters.log").read_text().count("# sample") > 20


def test_a_run_scores_what_it_recorded_and_leaves_no_namespace(tmp_path: Path) -> None:
    """Each case is scored in the variations that were asked for, and nothing stays behind."""
    result = run(Wanted([2], 1, ("full", "rules"), tmp_path, False))
    assert [*result.scored, *result.discarded] == [2]
    for counts in result.totals.counts.values():
        assert counts["cases"] == 1
        assert counts["failed"] == 0
        assert counts["rows"] >= counts["right"] + counts["open_with"]
    spaces = subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout
    assert f"{PREFIX}{os.getpid()}_" not in spaces
    assert not list(tmp_path.iterdir())
