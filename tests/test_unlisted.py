"""Not listed is not absent: of tables and chains that nobody listed nothing is claimed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import correlator
from tests.conftest import CAPTURES

ROW = ["table", "chain", "rule", "protocol", "src", "sport", "dst", "dport", "direction"]
NAT_CHAINS = 5
"""Chains of nat in each snapshot of the recording's listings; filter's come behind."""


def replayed(folder: Path, listed: Callable[[int, str], bool]) -> correlator.Analysis:
    """A recording with those chains of each listing that are wanted, by place and name."""
    folder.mkdir()
    for file in (CAPTURES / "published").iterdir():
        if file.is_file() and file.name != "counters.log":
            shutil.copyfile(file, folder / file.name)
    log = folder / "listing.log"
    kept = []
    for snapshot in re.split(r"(?m)^(?=\d{4}-)", log.read_text())[1:]:
        time, *chains = re.split(r"(?m)^(?=Chain )", snapshot)
        wanted = (c for i, c in enumerate(chains) if listed(i, c.split()[1]))
        kept.append(time + "".join(wanted))
    log.write_text("".join(kept))
    return correlator.load(folder)


def exact_rows(analysis: correlator.Analysis) -> set[tuple[object, ...]]:
    """The exact hits, by what the kernel's truth would name them."""
    hits = analysis.hits[analysis.hits["status"] == "exact"]
    return set(hits[ROW].itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("missing", "listed"),
    [
        ("nat", lambda place, _name: place >= NAT_CHAINS),
        ("filter", lambda place, _name: place < NAT_CHAINS),
        ("filter/DOCKER-ISOLATION-STAGE-2", lambda _place, name: not name.endswith("STAGE-2")),
        ("filter/FORWARD", lambda _place, name: name != "FORWARD"),
        ("nat/DOCKER", lambda place, name: name != "DOCKER" or place >= NAT_CHAINS),
    ],
)
def test_no_exact_row_becomes_wrong_where_less_is_listed(
    tmp_path: Path, missing: str, listed: Callable[[int, str], bool]
) -> None:
    """What is exact with a part of the chains is exact with all of them, and what is missing is
    named."""
    part = replayed(tmp_path / "part", listed)
    whole = replayed(tmp_path / "whole", lambda _place, _name: True)
    assert exact_rows(part) <= exact_rows(whole)
    assert any(missing in warning and "not listed" in warning for warning in part.warnings)
    assert not any("not listed" in warning for warning in whole.warnings)


def test_a_drop_is_found_without_the_table_of_nat(tmp_path: Path) -> None:
    """Who was led to a container by a nat that nobody listed, and dropped, is not said to have
    reached the host: the rule that counted it is named."""
    part = replayed(tmp_path / "part", lambda place, _name: place >= NAT_CHAINS)
    row = part.connections[part.connections["src"] == "172.31.40.9"].iloc[0]
    assert (row["outcome"], row["rule"]) == ("dropped", "filter/DOCKER-USER:1")


def test_one_chain_alone_says_what_is_missing(tmp_path: Path) -> None:
    """A chain that nothing listed leads to can be hit by anyone."""
    with pytest.raises(correlator.InputError, match="lists DOCKER-USER alone"):
        replayed(tmp_path / "part", lambda _place, name: name == "DOCKER-USER")
