"""Whether a TCP segment lies in the windows that conntrack keeps (``tcp_in_window`` of
net/netfilter/nf_conntrack_proto_tcp.c, Linux 5.18 and later).

Of each direction it keeps what its sender has sent and may send, as both ends' segments show::

          sent               may be sent (what the receiver acknowledged + its window)
    ----- end -------------- maxend ------>
      receiver acknowledges up to end; maxwin: the largest window it offered

A segment beyond ``maxend``, or one that acknowledges what was never sent, is INVALID; one that is
below all windows is let through and changes nothing. Selective acknowledgements are not looked at:
they widen what is let through no further than a sender goes.

Numbers are sequence numbers modulo 2**32, kept as they come; an entry is one of
:class:`correlator.flows.conntrack.Entry`, a direction 0 or 1. Python runs these functions, and the
fold compiles them (:mod:`correlator.flows.conntrack`)."""

from __future__ import annotations

from typing import Any

PASSES, IGNORED, OUTSIDE = range(3)
"""What becomes of a segment: it is let through and counts; it is let through; it is INVALID."""
SCALED, MAXACK, UNACKNOWLEDGED = 1, 2, 4
"""Bits of a direction's ``flags``: it offered window scaling; it acknowledged anything; it sent
what nobody acknowledged yet."""

_MASK, _HALF = 0xFFFFFFFF, 0x80000000
_MAXACKWINDOW = 66_000
"""An acknowledgement may be so late at most, unless the window is larger (MAXACKWINCONST)."""


def after(a: Any, b: Any) -> Any:
    """Whether a sequence number comes behind another one."""
    return ((b - a) & _MASK) >= _HALF


def same(a: Any, b: Any) -> Any:
    """Whether two sequence numbers are the same."""
    return (b - a) & _MASK == 0


def begin_window(e: Any, d: Any, end: Any, window: Any, scale: Any) -> Any:
    """Begin a direction with its SYN or SYN-ACK (``tcp_init_sender``)."""
    e.end[d] = e.maxend[d] = end
    e.maxwin[d] = window if window > 0 else 1
    e.maxack[d] = 0
    e.flags[d] = SCALED if scale >= 0 else 0
    e.scale[d] = scale if scale >= 0 else 0
    if d == 1 and not (e.flags[0] & SCALED and e.flags[1] & SCALED):
        e.scale[0] = e.scale[1] = 0  # both offer it, or neither uses it (RFC 7323)


def place(
    e: Any,
    d: Any,
    syn: Any,
    opening: Any,
    reset: Any,
    seq: Any,
    end: Any,
    ack: Any,
    window: Any,
    scale: Any,
) -> Any:
    """What becomes of a segment of direction ``d``: PASSES, IGNORED or OUTSIDE.

    ``syn``: it is a SYN or a SYN-ACK; ``opening``: the connection is still being opened; ``reset``:
    it is a RST. ``end``: its sequence number and all that it takes up; ``ack`` -1: it acknowledges
    nothing; ``scale`` -1: it offers none."""
    o, acknowledges = 1 - d, ack >= 0
    if e.maxwin[d] == 0:
        if syn:
            begin_window(e, d, end, window, scale)
            if not acknowledges:
                return PASSES  # both ends open at once
        else:
            e.end[d] = end
            e.maxwin[d] = max(window << e.scale[d], 1)
            e.maxend[d] = end + e.maxwin[d]
            if e.maxwin[o] == 0 and acknowledges:
                e.end[o] = e.maxend[o] = ack
            elif same(e.end[o] + 1, ack):
                e.end[o] = ack  # it answers a keepalive
    elif syn and opening and after(end, e.end[d]):
        begin_window(e, d, end, window, scale)
        if d == 1 and not acknowledges:
            return PASSES
    if not acknowledges or (reset and ack == 0):
        ack = e.end[o] + 0
    if reset and opening and seq == 0:
        seq = end = e.end[d] + 0
    lateness = max(e.maxwin[d], _MAXACKWINDOW)
    within = after(end, e.end[d] - e.maxwin[o] - 1)
    timely = after(ack, e.end[o] - lateness - 1)
    if after(seq, e.maxend[d]):
        over = (end - e.maxend[d] + 1) & _MASK
        if within and timely and 0 < over <= e.maxwin[o] and not after(ack, e.end[o]):
            e.end[d] = end  # more than the window, by little: it may be acknowledged all the same
            e.flags[d] = e.flags[d] | UNACKNOWLEDGED
            return IGNORED
        return OUTSIDE
    if after(ack, e.end[o]):
        return OUTSIDE
    if (e.maxwin[o] != 0 and not within) or not timely:
        return IGNORED
    if not syn:
        window = window << e.scale[d]
    if e.maxwin[d] < window:
        e.maxwin[d] = window
    if after(end, e.end[d]):
        e.end[d] = end
        e.flags[d] = e.flags[d] | UNACKNOWLEDGED
    if acknowledges and (not e.flags[d] & MAXACK or after(ack, e.maxack[d])):
        e.maxack[d] = ack
        e.flags[d] = e.flags[d] | MAXACK
    if e.maxwin[o] != 0 and after(end, e.maxend[d]):
        e.maxwin[o] = e.maxwin[o] + ((end - e.maxend[d]) & _MASK)
    if not after(e.maxend[o], ack + window):
        e.maxend[o] = ack + window + (1 if window == 0 else 0)
    if same(e.end[o], ack):
        e.flags[o] = e.flags[o] & ~UNACKNOWLEDGED
    return PASSES
