"""conntrack's state machine, by the cases that the kernel's documentation and trace show."""

from __future__ import annotations

import pytest

from correlator.flows.conntrack import (
    ACK,
    FIN,
    NONE,
    ORIGINAL,
    QUERY,
    RELATED_KIND,
    REPLY,
    RST,
    S_ESTABLISHED,
    S_INVALID,
    S_NEW,
    S_RELATED,
    SYN,
    SYNACK,
    UNTRACKED,
    tcp_kind,
)
from correlator.flows.labels import Label, Tracker

MS = 1_000_000


def run(
    packets: list[tuple[int, bool, int]],
    protocol: int = 6,
    dropped: tuple[int, ...] = (),
    older: bool = False,
    complete: bool = False,
    by_host: tuple[int, ...] = (),
) -> list[Label]:
    """Labels of (milliseconds, forward, kind); ``dropped`` are those that never reached the end of
    their way, ``by_host`` those that the host sent itself."""
    tracker = Tracker(protocol, older, True, complete=complete)
    count = len(packets)
    return tracker.run(
        [t * MS for t, _, _ in packets],
        [f for _, f, _ in packets],
        [k for _, _, k in packets],
        [i in dropped for i in range(count)],
        [False] * count,
        [int(i in by_host) for i in range(count)],
        [(0, 0, 0, 0, -1)] * count,
        [False] * count,
        [False] * count,
    )


def test_a_handshake_is_new_until_answered() -> None:
    """NEW lasts until a reply is seen; only the first packet walks nat."""
    labels = run([(0, True, SYN), (1, False, SYNACK), (2, True, ACK)])
    assert [label.state for label in labels] == [S_NEW, S_ESTABLISHED, S_ESTABLISHED]
    assert [label.direction for label in labels] == [ORIGINAL, REPLY, ORIGINAL]
    assert [label.destination_nat for label in labels] == [True, False, False]


def test_a_dropped_syn_is_forgotten() -> None:
    """Each retransmit of a SYN that was dropped walks nat again, as one connection to the user."""
    labels = run([(0, True, SYN), (1000, True, SYN), (3000, True, SYN)], dropped=(0, 1))
    assert [label.destination_nat for label in labels] == [True, True, True]
    assert {label.connection for label in labels} == {0}


def test_a_retransmitted_syn_is_not_walked_again() -> None:
    """A SYN that got through and is sent again is NEW, but conntrack remembers its NAT."""
    labels = run([(0, True, SYN), (1000, True, SYN)])
    assert [label.state for label in labels] == [S_NEW, S_NEW]
    assert [label.destination_nat for label in labels] == [True, False]


def test_a_syn_on_time_wait_is_another_connection() -> None:
    """After both ends closed, a SYN of the same tuple is NEW and walks nat."""
    closed = [
        (0, True, SYN),
        (1, False, SYNACK),
        (2, True, ACK),
        (3, True, FIN),
        (4, False, FIN),
        (5, True, ACK),
    ]
    labels = run([*closed, (500, True, SYN)])
    assert labels[-1].state == S_NEW
    assert labels[-1].destination_nat
    assert labels[-1].connection == 1


def test_a_reset_answers_a_closed_port() -> None:
    """A reset to a SYN is a reply of the same connection; a SYN after it is NEW."""
    labels = run([(0, True, SYN), (1, False, RST), (500, True, SYN)])
    assert [label.direction for label in labels] == [ORIGINAL, REPLY, ORIGINAL]
    assert labels[2].destination_nat


def test_a_stray_answer_is_invalid() -> None:
    """A SYN-ACK that nobody asked for belongs to no connection."""
    assert run([(0, True, SYNACK)])[0].state == S_INVALID
    assert run([(0, True, SYNACK)])[0].direction == UNTRACKED


def test_an_older_connection_walks_no_nat() -> None:
    """What began before the capture is ESTABLISHED from its first packet on."""
    labels = run([(0, False, ACK), (1, True, ACK)], older=True)
    assert [label.state for label in labels] == [S_ESTABLISHED, S_ESTABLISHED]
    assert not any(label.destination_nat for label in labels)
    assert [label.direction for label in labels] == [REPLY, ORIGINAL]


def test_a_lost_answer_costs_nothing_else() -> None:
    """An ACK behind a SYN whose SYN-ACK the capture lost is not INVALID: the host saw it."""
    labels = run([(0, True, SYN), (2, True, ACK), (3, False, ACK)])
    assert [label.state for label in labels] == [S_NEW, S_ESTABLISHED, S_ESTABLISHED]


@pytest.mark.parametrize(
    ("before", "dropped", "by_host", "state"),
    [
        ([], (), (), S_INVALID),
        ([], (), (0,), S_INVALID),
        ([(0, True, SYN)], (), (), S_RELATED),
        ([(0, True, SYN)], (0,), (), S_INVALID),
        ([(0, True, SYN)], (0,), (1,), S_RELATED),
        ([(-121_000, True, SYN)], (), (), S_INVALID),
    ],
)
def test_an_error_about_what_conntrack_does_not_know_is_invalid(
    before: list[tuple[int, bool, int]],
    dropped: tuple[int, ...],
    by_host: tuple[int, ...],
    state: int,
) -> None:
    """nf_conntrack_inet_error looks the quoted tuple up: nothing is there of what never came, of
    what was dropped, or of what is older than its timeout (SYN_SENT: 120 s). The host's own error
    about a packet that it rejects shares that packet's entry (nf_ct_attach)."""
    packets = [*before, (1, False, RELATED_KIND)]
    label = run(packets, dropped=dropped, complete=True, by_host=by_host)[-1]
    assert label.state == state
    assert label.direction == (UNTRACKED if state == S_INVALID else REPLY)


def test_an_error_may_be_about_a_connection_from_before_the_capture() -> None:
    """Where the capture may have missed it, the error is taken to be RELATED to it."""
    (label,) = run([(0, False, RELATED_KIND)])
    assert (label.state, label.direction) == (S_RELATED, REPLY)


def test_the_hosts_error_about_what_was_invalid_is_of_no_connection() -> None:
    """A FIN of no connection whose time to live runs out: icmp_send has no entry to share
    (nf_ct_attach), and none is found (traced: the error walks OUTPUT as INVALID)."""
    fin, error = run([(0, True, FIN), (1, False, RELATED_KIND)], by_host=(1,))
    assert (fin.state, error.state, error.direction) == (S_INVALID, S_INVALID, UNTRACKED)


def test_silence_ends_a_udp_flow() -> None:
    """After 30 silent seconds the same endpoints are another connection; after 120 where it had
    lasted for two."""
    asked = [(0, True, QUERY), (10, False, QUERY)]
    assert [label.connection for label in run([*asked, (40_000, True, QUERY)], protocol=17)] == [
        0,
        0,
        1,
    ]
    stream = [*asked, (5_000, True, QUERY), (100_000, True, QUERY), (230_000, True, QUERY)]
    assert [label.connection for label in run(stream, protocol=17)] == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        (0x02, SYN),
        (0x12, SYNACK),
        (0x11, FIN),
        (0x10, ACK),
        (0x18, ACK),
        (0x14, RST),
        (0xC2, SYN),
        (0x06, NONE),
        (0x03, NONE),
        (0x01, NONE),
        (0x00, NONE),
        (0x29, NONE),
    ],
)
def test_kinds_of_segments(flags: int, kind: int) -> None:
    """PSH, ECE and CWR say nothing; SYN and RST together, a FIN that acknowledges nothing, no
    flags, and a Christmas tree are none (tcp_valid_flags)."""
    assert tcp_kind(flags) == kind
