"""Captures that are of no interface of the host whose facts were saved."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import correlator
from correlator.errors import InputError
from tests.conftest import CAPTURES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A shipped recording that may be changed."""
    return Path(shutil.copytree(CAPTURES / "gone", tmp_path / "gone"))


def test_another_hosts_capture_is_left_out_and_said(folder: Path) -> None:
    """Its packets are no connections of this host."""
    alone = correlator.load(folder)
    shutil.copy(CAPTURES / "fragments" / "eth0.pcap", folder / "eth7.pcap")
    both = correlator.load(folder)
    assert both.hits.equals(alone.hits)
    assert [line for line in both.warnings if "left out as another host's" in line]


def test_a_capture_by_another_name_is_read_and_its_interface_guessed_for_the_user(
    folder: Path,
) -> None:
    """Its frames bear the MAC address of an interface: the line to type is there."""
    (folder / "docker0.pcap").rename(folder / "inside.pcap")
    warnings = correlator.load(folder).warnings
    assert [line for line in warnings if line.endswith("say --pcap docker0=inside.pcap")]


def test_nothing_but_another_hosts_captures_is_refused(folder: Path) -> None:
    """There is nothing to attribute."""
    for path in folder.glob("*.pcap"):
        path.unlink()
    shutil.copy(CAPTURES / "fragments" / "eth0.pcap", folder / "eth7.pcap")
    with pytest.raises(InputError, match="no other pcap is there"):
        correlator.load(folder)
