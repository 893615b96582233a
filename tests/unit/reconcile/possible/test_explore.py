"""Labels and walks refined together, on the shipped recordings."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from correlator.reconcile.intake.inputs import read_inputs
from correlator.reconcile.intake.packets import PacketReader
from correlator.reconcile.pipeline import reconcile
from tests.conftest import CAPTURES


def test_labels_and_walks_agree(recorded: Path) -> None:
    """In every recording the rounds end because nothing new is learned: each packet's label rests
    on the ways that the packets before it took."""
    inputs = read_inputs(recorded)
    assert reconcile(inputs, PacketReader(inputs).result()).decided.explored.agreed


def test_dropped_packets_are_forgotten() -> None:
    """A SYN that DOCKER-USER drops leaves no entry in conntrack (nf_conntrack_confirm is never
    reached): as many packets as the kernel's trace counts on that rule."""
    folder = CAPTURES / "user"
    with (folder / "truth" / "hits.csv").open() as file:
        dropped = sum(
            int(row["packets"])
            for row in csv.DictReader(file)
            if row["chain"] == "DOCKER-USER" and row["rule"].rstrip().endswith("-j DROP")
        )
    inputs = read_inputs(folder)
    explored = reconcile(inputs, PacketReader(inputs).result()).decided.explored
    stopped = [bool(ways) and ways[0].path.end.by_rule for ways in explored.walked.ways]
    crossing = explored.rows.crossing[np.array(stopped)[explored.walked.kind]]
    assert dropped > 0
    assert int(explored.hints.unconfirmed[crossing].sum()) >= dropped
