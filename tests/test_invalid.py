"""What conntrack makes of packets that fit no connection, held against the kernel's own trace."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import correlator
from correlator.flows.fold.plan import FOLDED, UNFOLDED, Plan
from correlator.reconcile.loading import load_files
from tests.conftest import CAPTURES
from tests.truth import compare

UDP = 17
INVALID = CAPTURES / "invalid"
PROVEN = {
    "answer-without-syn": "SYN-ACKs whose SYN went another way are INVALID, and dropped as such",
    "forgotten": "FINs after conntrack forgot are INVALID, and dropped as such",
    "notrack": "what raw keeps from conntrack is not masqueraded, though its other direction is",
    "other-address": "who answers from another of the host's addresses opens a connection",
    "out-of-window": "a segment out of its window is INVALID, as sent, and reset by the host",
    "ping-to-oneself": "where both ends are the same, the type of a message tells its direction",
    "quote-cut": "an error whose quoted ports were not captured belongs to what it quotes",
    "relay-other-address": "the same of a relay, whose client refuses what it did not ask for",
    "wrong-checksum": "a SYN with a wrong checksum is INVALID: no nat, and INPUT as it was sent",
}
OPEN = {"answer-unasked": "an answer nobody asked for may be one to what the capture missed"}


@pytest.mark.parametrize("plan", [FOLDED, UNFOLDED], ids=["folded", "packet by packet"])
@pytest.mark.parametrize("name", PROVEN)
def test_each_is_what_the_kernel_traced(name: str, plan: Plan) -> None:
    """Every hit of each recording is the kernel's, and proven, folded and not."""
    hits = load_files(INVALID / name, plan=plan).hits
    found = compare(hits, INVALID / name / "truth" / "hits.csv")
    assert (found.missing, found.wrong, found.extra, found.ambiguous) == ([], [], [], 0)


@pytest.mark.parametrize("name", OPEN)
def test_what_nothing_tells_is_open(name: str) -> None:
    """Where wire and counters allow another reading, both are listed, and neither is claimed."""
    analysis = correlator.load(INVALID / name)
    found = compare(analysis.hits, INVALID / name / "truth" / "hits.csv")
    assert (found.missing, found.wrong, found.extra) == ([], [], [])
    assert set(analysis.hits["status"]) == {"ambiguous"}


def test_a_quote_that_cannot_be_completed_is_open(tmp_path: Path) -> None:
    """Where the capture lost what an error quotes, and the snap length its ports, nobody knows
    whose it is: nothing of it is exact."""
    folder = shutil.copytree(INVALID / "quote-cut", tmp_path / "case")
    for pcap in folder.glob("*.pcap"):
        data, position, kept = pcap.read_bytes(), 24, []
        while position < len(data):
            size = 16 + int.from_bytes(data[position + 8 : position + 12], "little")
            frame = data[position : position + size]
            kept += [frame] if frame[16 + 23] != UDP else []
            position += size
        pcap.write_bytes(data[:24] + b"".join(kept))
    hits = correlator.load(folder).hits
    errors = hits[(hits["sport"] == 0) & (hits["protocol"] == "udp")]
    assert len(errors)
    assert "exact" not in set(errors["status"])


def test_every_recording_has_its_test() -> None:
    """None is shipped without a claim."""
    assert {path.name for path in INVALID.iterdir()} == {*PROVEN, *OPEN}


@pytest.mark.parametrize(
    ("name", "setting"),
    [("out-of-window", "tcp_be_liberal = 1"), ("wrong-checksum", "checksum = 0")],
)
def test_settings_are_heeded(name: str, setting: str, tmp_path: Path) -> None:
    """Where the host's sysctls say that conntrack does not look, nothing is INVALID for that; these
    counters then contradict, and nothing that they contradict is exact."""
    folder = shutil.copytree(INVALID / name, tmp_path / name)
    file = folder / "sysctl.txt"
    lines = [line for line in file.read_text().splitlines() if setting.split(" ")[0] not in line]
    file.write_text("\n".join([*lines, f"net.netfilter.nf_conntrack_{setting}"]) + "\n")
    packets = correlator.load(folder).packets
    assert "INVALID" in set(correlator.load(INVALID / name).packets["state"])
    first = packets[packets["src"] == "172.31.32.1"]
    assert "INVALID" not in set(first["state"])
