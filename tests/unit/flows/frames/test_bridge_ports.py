"""Frames on a bridge's ports: which way they went, and which of them is whose other sight."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import pytest

from correlator.dataset.facts import Facts, InterfaceFact
from correlator.decode.capture import Capture
from correlator.decode.columns import COLUMNS
from correlator.decode.frames import Interface
from correlator.flows.frames.bridge_ports import ON_PORT, fold_ports
from correlator.flows.frames.interfaces import RECEIVED, SENT
from correlator.flows.frames.port_direction import port_directions

BRIDGE, ONE, TWO, OTHER = 0x0242AC110001, 0x0242AC110002, 0x0242AC110003, 0x0242AC110004
EVERYBODY = 0xFFFFFFFFFFFF
NAMES = ("docker0", "veth1", "veth2")
FACTS = Facts(
    {
        "docker0": InterfaceFact("docker0", 1, BRIDGE, kind="bridge"),
        "veth1": InterfaceFact("veth1", 2, 0xAA, master="docker0"),
        "veth2": InterfaceFact("veth2", 3, 0xBB, master="docker0"),
    },
    present=frozenset({"link.json"}),
)
Frame = tuple[str, int, int, int, int]
"""(tap, us, source MAC, destination MAC, IP id)."""


def capture(frames: Iterable[Frame], direction: int = 0) -> Capture:
    """TCP frames on these taps; a station's MAC stands for its address too."""
    rows = []
    for tap, time, source, target, number in frames:
        row = dict.fromkeys(COLUMNS, 0)
        row |= {"time": time * 1000, "interface": NAMES.index(tap), "direction": direction}
        row |= {"mac_src": source, "mac_dst": target, "ip_id": number, "protocol": 6, "ttl": 64}
        row |= {"src": source & 0xFFFF, "dst": target & 0xFFFF, "vlan": -1}
        rows.append(row)
    packets = pd.DataFrame(rows).astype({name: dtype for name, (dtype, _) in COLUMNS.items()})
    return Capture(tuple(Interface(name, 1) for name in NAMES), packets)


def kept(found: Capture) -> list[tuple[str, int, bool]]:
    """(tap, IP id, whether it is a port's sight) of every frame that was kept."""
    packets = found.packets
    names = [found.names[code] for code in packets["interface"]]
    return list(zip(names, packets["ip_id"].tolist(), packets[ON_PORT].tolist(), strict=True))


def test_what_passes_between_bridge_and_station_tells_where_the_station_is() -> None:
    """A frame of the bridge itself is on the port of the station that it is for, whichever way."""
    told, copies = port_directions(
        capture([("veth1", 0, ONE, BRIDGE, 1), ("veth1", 9, BRIDGE, ONE, 2)]), FACTS
    )
    assert told.tolist() == [RECEIVED, SENT]
    assert not copies.any()


def test_the_first_sight_of_a_frame_is_on_the_port_of_its_source() -> None:
    """Two stations that speak with each other only: both ports show the same addresses, and the
    port that shows a frame first is where it came in."""
    frames = [("veth1", 0, ONE, TWO, 1), ("veth2", 5, ONE, TWO, 1), ("veth2", 90, TWO, ONE, 2)]
    told, _ = port_directions(capture([*frames, ("veth1", 95, TWO, ONE, 2)]), FACTS)
    assert told.tolist() == [RECEIVED, SENT, RECEIVED, SENT]


def test_on_the_bridge_its_own_address_tells() -> None:
    """From it: sent. To it, or to everybody: received."""
    frames = [
        ("docker0", 0, BRIDGE, ONE, 1),
        ("docker0", 9, ONE, BRIDGE, 2),
        ("docker0", 20, ONE, EVERYBODY, 3),
        ("veth1", 30, BRIDGE, ONE, 4),
    ]
    assert port_directions(capture(frames), FACTS)[0].tolist() == [SENT, RECEIVED, RECEIVED, SENT]


def test_a_promiscuous_copy_is_left_out_where_ports_show_the_frame() -> None:
    """What passes from port to port is shown by the bridge's own tap in promiscuous mode, and is
    one packet all the same."""
    frames = [
        ("veth1", 0, ONE, BRIDGE, 1),
        ("docker0", 3, ONE, BRIDGE, 1),
        ("veth1", 50, ONE, TWO, 2),
        ("docker0", 53, ONE, TWO, 2),
        ("veth2", 56, ONE, TWO, 2),
    ]
    found = kept(fold_ports(capture(frames), FACTS))
    assert found == [("docker0", 1, True), ("docker0", 2, True), ("docker0", 2, True)]


def test_of_a_frame_sent_the_bridges_sight_is_kept() -> None:
    """It is behind POSTROUTING on both, and the bridge's came first; of one received the port's,
    which still shows what was dialled."""
    frames = [
        ("docker0", 0, BRIDGE, ONE, 1),
        ("veth1", 3, BRIDGE, ONE, 1),
        ("veth1", 50, ONE, BRIDGE, 2),
        ("docker0", 53, ONE, BRIDGE, 2),
    ]
    assert kept(fold_ports(capture(frames), FACTS)) == [("docker0", 1, False), ("docker0", 2, True)]


def test_what_no_station_tells_is_left_out_and_said() -> None:
    """Two stations on one port of which nothing else is known: either may be the one behind it."""
    found = fold_ports(capture([("veth1", 0, ONE, OTHER, 1)]), FACTS)
    assert len(found.packets) == 0
    assert found.warnings == (
        "veth1: 1 frames on this port of a bridge were left out: nothing tells which way they went",
    )


@pytest.mark.parametrize("direction", [RECEIVED, SENT])
def test_what_the_file_says_is_not_asked_of_stations(direction: int) -> None:
    """A recorded direction stands."""
    told, _ = port_directions(capture([("veth1", 0, ONE, BRIDGE, 1)], direction), FACTS)
    assert told.tolist() == [direction]


def test_without_ports_nothing_changes() -> None:
    """A bridge's tap alone keeps every frame, with no direction that was not recorded."""
    found = fold_ports(
        capture([("docker0", 0, ONE, TWO, 1), ("docker0", 9, BRIDGE, ONE, 2)]), FACTS
    )
    assert kept(found) == [("docker0", 1, False), ("docker0", 2, False)]
    assert found.packets["direction"].tolist() == [0, 0]
    assert np.array_equal(found.packets["time"], [0, 9000])


def test_a_port_that_nobody_names_is_left_out_and_said() -> None:
    """Without link.json a veth that shows what the bridge shows is no interface by itself: what
    comes in by it would count twice."""
    frames = [
        ("veth1", 0, ONE, BRIDGE, 1),
        ("docker0", 3, ONE, BRIDGE, 1),
        ("veth2", 50, ONE, OTHER, 2),
    ]
    found = fold_ports(capture(frames), Facts())
    assert kept(found) == [("docker0", 1, False), ("veth2", 2, False)]
    assert found.warnings == (
        "veth1: 1 frames on this port of a bridge were left out: `ip -d -j link` (link.json) would "
        "say whose port it is",
    )
