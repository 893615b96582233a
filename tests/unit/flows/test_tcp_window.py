"""TCP windows as conntrack keeps them, by RFC 9293's arithmetic."""

from __future__ import annotations

import pytest

from correlator.flows.conntrack import ACK, FIN, RST, S_ESTABLISHED, S_INVALID, SYN, SYNACK
from correlator.flows.labels import Label, Tracker

CLIENT, SERVER = 4_294_967_000, 5_000
"""Initial sequence numbers; the client's wraps after 296 bytes."""


class Talk:
    """A handshake, and what comes behind it: (forward, kind, segment)."""

    def __init__(self, scale: int = -1, window: int = 1_000) -> None:
        self.packets = [
            (1, SYN, (CLIENT, CLIENT + 1, -1, window, scale)),
            (0, SYNACK, (SERVER, SERVER + 1, CLIENT + 1, window, scale)),
            (1, ACK, (CLIENT + 1, CLIENT + 1, SERVER + 1, window, -1)),
        ]
        self.window = window

    def say(self, forward: int, kind: int, at: int, size: int, ack: int) -> None:
        """One segment, by offsets behind the handshake."""
        mine, other = (CLIENT, SERVER) if forward else (SERVER, CLIENT)
        seq = (mine + 1 + at) % 2**32
        end = (seq + size + (kind == FIN)) % 2**32
        acknowledged = (other + 1 + ack) % 2**32
        self.packets.append((forward, kind, (seq, end, acknowledged, self.window, -1)))

    def heard(self) -> list[Label]:
        """What conntrack calls each."""
        count = len(self.packets)
        no = [False] * count
        forward, kinds, segments = zip(*self.packets, strict=True)
        times = [1_000_000 * i for i in range(count)]
        return Tracker(6, False, True).run(
            times, forward, kinds, no, no, [0] * count, segments, no, no
        )


@pytest.mark.parametrize(
    ("at", "size", "ack", "state"),
    [
        (0, 500, 0, S_ESTABLISHED),
        (0, 1_000, 0, S_ESTABLISHED),
        (1_001, 10, 0, S_ESTABLISHED),
        (2_100, 10, 0, S_INVALID),
        (2**31, 10, 0, S_INVALID),
        (0, 10, 1, S_INVALID),
        (-1, 1, 0, S_ESTABLISHED),
    ],
    ids=[
        "within",
        "fills it",
        "beyond it by less than a window",
        "beyond it",
        "far off",
        "acknowledges nothing sent",
        "keepalive",
    ],
)
def test_a_segment_is_held_against_its_window(at: int, size: int, ack: int, state: int) -> None:
    """What the receiver offered may be sent, also where numbers wrap; what was sent may be
    acknowledged."""
    talk = Talk()
    talk.say(1, ACK, at, size, ack)
    assert talk.heard()[-1].state == state


@pytest.mark.parametrize(("scale", "state"), [(-1, S_INVALID), (4, S_ESTABLISHED)])
def test_windows_scale_where_both_ends_offer_it(scale: int, state: int) -> None:
    """A window of 1,000 shifted by four takes 10,000 bytes (RFC 7323)."""
    talk = Talk(scale)
    talk.say(0, ACK, 0, 0, 0)
    talk.say(1, ACK, 10_000, 100, 0)
    assert talk.heard()[-1].state == state


@pytest.mark.parametrize(("at", "state"), [(0, S_ESTABLISHED), (-50, S_INVALID)])
def test_a_reset_stands_where_its_peer_is(at: int, state: int) -> None:
    """One behind what its peer has acknowledged is a stranger's (RFC 5961)."""
    talk = Talk()
    talk.say(0, RST, at, 0, 0)
    assert talk.heard()[-1].state == state


def test_an_invalid_segment_changes_nothing() -> None:
    """What follows one is judged as if it had not been."""
    talk = Talk()
    talk.say(1, ACK, 2**30, 10, 0)
    talk.say(1, ACK, 0, 10, 0)
    talk.say(0, ACK, 0, 0, 10)
    assert [label.state for label in talk.heard()[3:]] == [S_INVALID, S_ESTABLISHED, S_ESTABLISHED]
