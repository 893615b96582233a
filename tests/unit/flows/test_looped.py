"""Requests on loopback whose source MASQUERADE wrote, joined to their answers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from correlator.endpoints import pack
from correlator.flows.keys import pair_name
from correlator.flows.masqueraded import join_looped

SYN, SYNACK = 2, 18
BRIDGE, OWN = 0xAC110001, 0x0A000001
REQUEST = (pack(OWN, 41647), pack(BRIDGE, 80))
ANSWER = (pack(BRIDGE, 80), pack(BRIDGE, 47052))


def joined(acknowledged: int) -> bool:
    """Whether a SYN and a SYN-ACK that acknowledges that number are of one pair."""
    packets = pd.DataFrame(
        {
            "protocol": [6, 6],
            "seq": [1000, 5000],
            "ack": [0, acknowledged],
            "tcp_flags": [SYN, SYNACK],
            "payload_length": [0, 0],
            "payload_hash": np.zeros(2, dtype=np.uint64),
            "sport": [41647, 80],
            "dport": [80, 47052],
            "time": [0, 1000],
        }
    )
    source, target = (np.array(ends, dtype=np.int64) for ends in zip(REQUEST, ANSWER, strict=True))
    name = pair_name(np.full(2, 6), source, target)
    loop = np.ones(2, dtype=bool)
    found = join_looped(packets, np.arange(2), name, (source, target), source < target, loop)
    return bool(found[0] == found[1])


def test_an_answer_that_acknowledges_a_request_is_its_answer() -> None:
    """The request bears the address that MASQUERADE wrote, the answer the one that was there."""
    assert joined(acknowledged=1001)


def test_an_answer_to_something_else_stays_alone() -> None:
    """What it acknowledges was not sent."""
    assert not joined(acknowledged=77)
