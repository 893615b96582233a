"""Packets with comments from recordings in which taps show one packet several times: `-i any`, and
a bridge's ports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import correlator
from correlator.report.annotated import export_pcapng
from tests.lab.cases import client, hairpin_rules, make_case, serve
from tests.lab.net import HOST, OUTSIDE, ROOT, Lab
from tests.test_wireshark import assert_sights_are_one_packet, counted, told, tshark

pytestmark = pytest.mark.live


def _assert_all_told(folder: Path, path: Path) -> None:
    """Comments add up to the hits, each IPv4 frame has one, and frames of one packet id are sights
    of one packet."""
    analysis = correlator.load(folder)
    export_pcapng(analysis, path)
    assert told(path) == counted(analysis.hits)
    assert not tshark(path, "frame.number", where="ip.version == 4 && !frame.comment")
    assert_sights_are_one_packet(path)
    assert len(analysis.frames()) > len(analysis.packets)


@pytest.mark.parametrize("name", ["everywhere", "everywhere_v1"])
def test_any_shows_packets_up_to_three_times(name: str, tmp_path: Path) -> None:
    """In a capture of `any` every sight of a packet carries its way, and its hits count once."""
    _assert_all_told(make_case(name, tmp_path / "case"), tmp_path / "x.pcapng")


def test_bridge_ports_carry_what_their_bridge_does(tmp_path: Path) -> None:
    """A session with a bridge's ports: of a packet that port and bridge show, both frames carry its
    way."""
    with Lab({"docker0": 3}) as lab:
        lab.rules(hairpin_rules())
        lab.run("host", "ip", "link", "set", "vc1", "type", "bridge_slave", "hairpin", "on")
        serve(lab, "c1", "tcp:80", "udp:53")
        words = (
            "-o",
            str(tmp_path / "s"),
            "-i",
            "eth0",
            "-i",
            "docker0",
            "-i",
            "lo",
            "--bridge-ports",
        )
        command = [
            "ip",
            "netns",
            "exec",
            lab.space("host"),
            sys.executable,
            "-m",
            "correlator",
            "capture",
            *words,
        ]
        process = subprocess.Popen(
            command, cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        process.stderr.readline()
        assert client(lab, "out", "tcp", HOST, 80, source=OUTSIDE[0], count=2) == 2
        assert client(lab, "c2", "tcp", HOST, 80, count=2) == 2
        assert client(lab, "c1", "tcp", HOST, 80, count=2) == 2
        assert client(lab, "c2", "udp", "172.17.0.2", 53, count=2) == 2
        process.terminate()
        assert process.wait(60) == 0
    path = tmp_path / "x.pcapng"
    _assert_all_told(tmp_path / "s", path)
    sights: dict[str, set[str]] = {}
    for name, packet in tshark(path, "frame.interface_name", "frame.packet_id", where="tcp"):
        sights.setdefault(packet, set()).add(name)
    assert {"eth0", "docker0", "vc1"} in sights.values()
    assert {"vc1", "vc2"} in [names - {"docker0"} for names in sights.values()]
