"""The parts of `make bench-capture` run, and what they count is right. Nothing is timed here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.clients import OBSERVERS, PROCESSES, client_lab, run_clients, watched
from benchmarks.lossless import TOOLS, Tool, flood_lab, run_trial
from benchmarks.sampling import BACKENDS, sample_cost

pytestmark = pytest.mark.live
PACKETS = 500


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_every_packet_of_the_generator_is_found(tool: Tool, tmp_path: Path) -> None:
    """At a rate that all can take, each tool holds as many packets as the rule counted, and only
    the generator's."""
    with flood_lab() as lab:
        trial = run_trial(lab, tool, PACKETS, 1.0, tmp_path)
    assert (trial.counted, trial.held, trial.lost) == (PACKETS, PACKETS, 0)
    path = next(path for path in tmp_path.rglob("packets.pcap*"))
    command = ["tshark", "-r", str(path), "-T", "fields", "-e", "udp.dstport", "-e", "frame.len"]
    rows = [
        line.split()
        for line in subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.splitlines()
    ]
    assert rows == [["9", "60"]] * PACKETS


@pytest.mark.parametrize("backend", BACKENDS)
def test_samples_are_of_as_many_rules(backend: str) -> None:
    """The ruleset has as many rules as the table says, in both backends."""
    cost = sample_cost(backend, 20, 3)
    assert (cost.backend, cost.rules) == (backend, 20)
    assert min(cost.read, cost.forked, cost.late_read, cost.late_forked) > 0


@pytest.mark.parametrize("observer", OBSERVERS)
def test_clients_are_answered_whoever_watches(observer: str, tmp_path: Path) -> None:
    """Each observer starts, watches the connections, and ends well; each wrote down what it is
    there for."""
    with client_lab() as lab, watched(lab, observer, tmp_path) as pids:
        runs = [run_clients(lab, flight, 0.5, pids) for flight in (PROCESSES, 4)]
    assert min(run.rate for run in runs) > 0
    assert min(run.work for run in runs) > 0
    written = {path.name: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    for name in {
        "none": (),
        "correlator": ("packets.pcapng", "samples.jsonl", "events.pcapng"),
        "kernel tracing": ("trace.bin",),
        "correlator --no-conntrack": ("packets.pcapng", "samples.jsonl"),
        "tcpdump + iptables-save": ("eth0.pcap", "docker0.pcap", "counters.log"),
    }[observer]:
        assert written[name] > 1000
