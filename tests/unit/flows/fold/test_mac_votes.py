"""Votes on own MAC addresses, frame by frame."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from correlator.decode.records import IN, KEYLESS, OUT, RECORD, bare
from correlator.flows.fold.mac_votes import MacVotes
from correlator.flows.fold.mac_votes_kernel import AGREE, OPPOSE, UNKNOWN

NOBODY = np.zeros(256, dtype=bool)


def records(*frames: tuple[int, int, int, int, int], odd: int = 0) -> np.ndarray:
    """Frames as (ms, name of the packet, interface, wire, ttl)."""
    result = np.zeros(len(frames), dtype=RECORD)
    for row, (time, name, interface, wire, ttl) in zip(result, frames, strict=True):
        row["time"], row["interface"], row["wire"], row["ttl"], row["odd"] = (
            time * 1_000_000,
            interface,
            wire,
            ttl,
            odd,
        )
        row["key"] = keyed(name, ttl + (wire == OUT))
    return result


def keyed(name: int, ttl: int) -> int:
    """A packet's name with a TTL mixed in, as records have it."""
    total = (name ^ ttl) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
    return total ^ total >> 31


@njit
def unmixed(key, ttl):  # type: ignore[no-untyped-def]
    """A way in for Python, which parts of loops do not have."""
    return bare(key, ttl)


@given(name=st.integers(0, (1 << 64) - 1), ttl=st.integers(0, 256))
def test_the_ttl_comes_out_of_a_key(name: int, ttl: int) -> None:
    """A key without its TTL is the packet's name."""
    assert int(unmixed(np.uint64(keyed(name, ttl)), ttl)) == name


def counted(*frames: tuple[int, int, int, int, int], odd: int = 0) -> np.ndarray:
    """The tally of these frames, taken one at a time: a ring that is as full as it gets."""
    votes = MacVotes()
    votes.ring, votes.buckets = votes.ring[:1].copy(), votes.buckets[:1].copy()
    for frame in records(*frames, odd=odd):
        votes.take(np.array([frame], dtype=RECORD), NOBODY)
    return votes.tally


def test_a_forwarded_packet_votes_on_both_interfaces() -> None:
    """In on one, out of the other with its TTL one less: a vote for each; seen the other way round,
    a vote against each."""
    tally = counted((0, 7, 0, IN, 64), (1, 7, 1, OUT, 63))
    assert tally[:2, AGREE].tolist() == [1, 1]
    tally = counted((0, 7, 0, OUT, 64), (1, 7, 1, IN, 63))
    assert tally[:2, OPPOSE].tolist() == [1, 1]


def test_only_neighbours_in_time_vote() -> None:
    """Another packet, the same TTL, one too late, or a third sight between: no vote."""
    for second in ((1, 8, 1, OUT, 63), (1, 7, 1, OUT, 64), (300, 7, 1, OUT, 63)):
        assert not counted((0, 7, 0, IN, 64), second)[:, AGREE : OPPOSE + 1].any()
    tally = counted((0, 7, 0, IN, 64), (1, 7, 2, OUT, 40), (2, 7, 1, OUT, 63))
    assert not tally[:, AGREE : OPPOSE + 1].any()


def test_frames_that_may_vote_are_unknown() -> None:
    """Of frames of which only id and protocol are known, two that may be one packet are counted on
    both interfaces, others are not."""
    assert counted((0, 7, 0, IN, 64), (1, 7, 1, OUT, 63), odd=KEYLESS)[:2, UNKNOWN].tolist() == [
        1,
        1,
    ]
    assert not counted((0, 7, 0, IN, 64), (1, 7, 1, OUT, 64), odd=KEYLESS)[:, UNKNOWN].any()
