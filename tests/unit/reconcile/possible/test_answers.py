"""Errors that the host sends about packets that conntrack did not track."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from correlator.addresses import value
from correlator.endpoints import NOWHERE, pack
from correlator.flows.conntrack import RELATED_KIND, REPLY, S_INVALID, S_RELATED, UNTRACKED
from correlator.flows.labels import Labels
from correlator.flows.pairs import Crossings
from correlator.reconcile.possible.answers import about_untracked, without_connection

PEER, HOST = pack(value("192.0.2.7"), 5353), pack(value("192.0.2.1"), 40000)


def datagram_and_error(error_came_in: bool = False) -> Crossings:
    """A datagram that came in, and an error that quotes it: which the host sent, or which came in
    too."""
    none, no = np.full(2, NOWHERE), np.zeros(2, dtype=bool)
    return Crossings(
        came_in=np.array([0, 1 if error_came_in else -1]),
        left=np.array([-1, -1 if error_came_in else 1]),
        time=np.array([0, 10]),
        protocol=np.array([17, 17]),
        in_source=np.array([PEER, NOWHERE]),
        in_destination=np.array([HOST, NOWHERE]),
        out_source=none,
        out_destination=none,
        after_prerouting=no,
        midway=no,
        loop=no,
        pair=np.array([0, 0]),
        forward=np.array([True, False]),
        kind=np.array([0, RELATED_KIND]),
        quoted_source=np.array([NOWHERE, PEER]),
        quoted_destination=np.array([NOWHERE, HOST]),
        segment=np.zeros((2, 5), dtype=np.int64),
    )


def packets(quoted: int) -> pd.DataFrame:
    """The datagram has IP id 77."""
    return pd.DataFrame({"ip_id": [77, 5], "inner_ip_id": [0, quoted]})


@pytest.mark.parametrize(
    ("quoted", "tracked", "came_in", "found"),
    [
        (77, False, False, [False, True]),
        (77, True, False, [False, False]),
        (78, False, False, [False, False]),
        (77, False, True, [False, False]),
    ],
)
def test_an_error_is_about_the_packet_that_it_quotes(
    quoted: int, tracked: bool, came_in: bool, found: list[bool]
) -> None:
    """By endpoints and identification; only the host's own errors share what the packet had."""
    crossings, untracked = datagram_and_error(came_in), np.array([not tracked, False])
    assert about_untracked(crossings, packets(quoted), untracked).tolist() == found


def test_such_an_error_is_invalid_and_of_no_connection() -> None:
    """The others keep what conntrack made of them."""
    yes = np.array([True, True])
    labels = Labels(
        connection=np.array([0, 0]),
        direction=np.array([REPLY, REPLY]),
        state=np.array([S_RELATED, S_RELATED]),
        destination_nat=yes,
        source_nat=yes,
        seen_reply=yes,
        older=~yes,
    )
    found = without_connection(labels, np.array([False, True]))
    assert found.direction.tolist() == [REPLY, UNTRACKED]
    assert found.state.tolist() == [S_RELATED, S_INVALID]
    assert found.destination_nat.tolist() == found.source_nat.tolist() == [True, False]
