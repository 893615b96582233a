"""Which frames are two sights of one packet."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from correlator.flows.crossings import join
from correlator.flows.frames.direction import BRIDGED, IN, LOOP, OUT
from correlator.flows.keys import WINDOW_NS

CLIENT, HOST, SERVER, OTHER = 1, 2, 3, 4
SAME = {
    "protocol": 17,
    "ip_id": 7,
    "seq": 0,
    "ack": 0,
    "tcp_flags": 0,
    "payload_length": 20,
    "payload_hash": 9,
    "icmp_type": -1,
    "icmp_code": -1,
    "inner_protocol": 0,
    "inner_ip_id": 0,
    "fragment_offset": 0,
}


def joined(*frames: tuple[int, int, int, int, int]) -> list[tuple[int, int]]:
    """(frame that came in, frame that left) of (time, wire, source, destination, TTL) frames of
    packets that look alike."""
    columns = ("time", "wire", "src", "dst", "ttl")
    table = pd.DataFrame(dict(zip(columns, np.array(frames).T, strict=True)), dtype=np.int64)
    table = table.assign(
        **SAME, src=table["src"].astype("uint64"), dst=table["dst"].astype("uint64")
    )
    came_in, left = join(table, table["wire"].to_numpy().astype(np.int8))
    return list(zip(came_in.tolist(), left.tolist(), strict=True))


def test_nat_between_two_sights_does_not_part_them() -> None:
    """DNAT rewrites the destination; what NAT leaves alone names the packet."""
    assert joined((0, IN, CLIENT, HOST, 64), (9, OUT, CLIENT, SERVER, 63)) == [(0, 1)]


def test_a_packet_sent_again_is_another_one() -> None:
    """Each sight coming in goes with one that leaves, in their order."""
    frames = [(0, IN, CLIENT, HOST, 64), (5, OUT, CLIENT, SERVER, 63)]
    again = [(time + 1_000, *rest) for time, *rest in frames]
    assert joined(*frames, *again) == [(0, 1), (2, 3)]


def test_a_lost_sight_is_missing() -> None:
    """What only came in, and what only left, are crossings with one side each."""
    assert joined((0, IN, CLIENT, HOST, 64)) == [(0, -1)]
    assert joined((0, OUT, HOST, CLIENT, 64)) == [(-1, 0)]


@pytest.mark.parametrize(("gap", "pairs"), [(WINDOW_NS, [(0, 1)]), (WINDOW_NS + 1, 2)])
def test_no_packet_takes_long(gap: int, pairs: object) -> None:
    """After 200 ms what looks the same is another packet."""
    found = joined((0, IN, CLIENT, HOST, 64), (gap, OUT, CLIENT, SERVER, 63))
    assert found == pairs or len(found) == pairs


def test_an_answer_that_looks_alike_is_none() -> None:
    """A packet's own mirror image is not its other sight."""
    assert len(joined((0, IN, CLIENT, SERVER, 64), (9, OUT, SERVER, CLIENT, 63))) == 2


def test_of_several_the_ones_that_share_an_address_are_joined() -> None:
    """Two clients' packets that look alike cross at once: the address that NAT left tells."""
    frames = [
        (0, IN, CLIENT, HOST, 64),
        (1, IN, OTHER, HOST, 64),
        (2, OUT, OTHER, SERVER, 63),
        (3, OUT, CLIENT, SERVER, 63),
    ]
    assert sorted(joined(*frames)) == [(0, 3), (1, 2)]


@pytest.mark.parametrize("wire", [LOOP, BRIDGED])
def test_what_stays_inside_is_seen_once(wire: int) -> None:
    """A frame on loopback, or between two ports of a bridge, is both of its sights."""
    assert joined((0, wire, HOST, HOST, 64)) == [(0, 0)]
