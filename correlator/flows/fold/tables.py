"""The tables that a fold keeps between the stretches of records that it is handed.

What stays of a packet is a row of :data:`~correlator.flows.fold.packets.COLUMNS`; everything else
is kept once a thing, so that memory grows with what there is of it:

    frame that came in --> WAITING, until it is seen leaving or 200 ms are over
    two endpoints      --> PAIR, what conntrack knows of them
    tuple              --> names (keys, values): its PAIR, whichever side of NAT it is from
    connection         --> CONNECTION, several a pair one after the other
    what rules can ask --> KIND, a class of packet, a few hundred for any number of packets

A pair of which anything was seen that the fold is not for is *tainted*: its frames are read again,
and weighed one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from correlator.decode.records import RECORD

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Ints

    Records = npt.NDArray[np.void]

WAITING = np.dtype(
    [
        *[(name, RECORD[name]) for name in RECORD.names or ()],
        ("chain", "i8"),
        ("out_time", "i8"),
        ("out_src", "u4"),
        ("out_dst", "u4"),
        ("out_sport", "u2"),
        ("out_dport", "u2"),
        ("out_interface", "u1"),
        ("matched", "u1"),
    ]
)
"""A frame that came in and waits for its other sight; ``chain``: the one before it in its
bucket."""
PAIR = np.dtype(
    [
        ("name", "u8"),
        ("low", "i8"),
        ("expires", "i8"),
        ("begun", "i8"),
        ("connection", "i4"),
        ("protocol", "u1"),
        ("tainted", "u1"),
        ("question", "u1"),
        ("state", "u1"),
        ("exists", "u1"),
        ("original_forward", "u1"),
        ("seen_reply", "u1"),
        ("closing", "u1"),
        ("last_kind", "i1"),
        ("last_forward", "u1"),
        ("forgotten", "u1"),
        ("astray", "u1"),
        ("liberal", "u1"),
        ("last_end", "i4"),
        ("end", "i4", 2),
        ("maxend", "i4", 2),
        ("maxwin", "i4", 2),
        ("maxack", "i4", 2),
        ("scale", "i1", 2),
        ("flags", "u1", 2),
    ]
)
"""Two endpoints, the lower one ``low``, and what conntrack knows of them
(:class:`correlator.flows.conntrack.Entry`). ``question``: it may have known them before the
capture."""
CONNECTION = np.dtype(
    [
        ("client", "i8"),
        ("dialled", "i8"),
        ("server", "i8"),
        ("seen", "i8"),
        ("first", "i8"),
        ("last", "i8"),
        ("packets", "i8", 2),
        ("bytes", "i8", 2),
        ("pair", "i4"),
        ("refusals", "i4"),
        ("frame", "u4"),
        ("kind", "u2"),
        ("in_code", "u1"),
        ("out_code", "u1"),
        ("reply_in", "u1"),
        ("reply_out", "u1"),
        ("protocol", "u1"),
    ]
)
"""One connection; ``packets`` and ``bytes`` by direction, ``kind`` the class of its first packet,
codes of interfaces (255: not seen yet)."""
KIND = np.dtype(
    [
        ("key", "u8"),
        ("length", "i4"),
        ("option_kinds", "u4"),
        ("flags", "u2"),
        ("protocol", "u1"),
        ("direction", "u1"),
        ("state", "u1"),
        ("nat", "u1"),
        ("seen_reply", "u1"),
        ("in_code", "u1"),
        ("out_code", "u1"),
        ("ttl", "u1"),
        ("tos", "u1"),
        ("icmp_type", "u1"),
    ]
)
"""A class of packet: what rules can ask of it beside its connection's endpoints, with one packet's
values."""

NOWHERE, UNSEEN = -1, 255
"""An endpoint, and an interface, that nothing has shown yet."""
HEAD, TAIL, PAIRS, CONNECTIONS, KINDS, NAMES, BEGIN, WRITTEN = range(8)
"""Places in the counters: frames that wait stand from HEAD to TAIL; how much of each table is used;
the time of the first packet; packets written in this call."""
READS_TOS, READS_FLAGS, READS_OPTIONS, READS_ICMP = 1, 2, 4, 8
"""Fields that rules ask for, of those that not all do."""


class Tables(NamedTuple):
    """All of them. ``ring`` (WAITING) and its ``buckets``: frames that wait; ``keys`` uint64 and
    ``values`` int32: names of ``pairs``; ``slots`` int32: where ``kinds`` are found (-1: empty)."""

    counts: Ints
    ring: Records
    buckets: Ints
    keys: npt.NDArray[np.uint64]
    values: npt.NDArray[np.int32]
    pairs: Records
    connections: Records
    kinds: Records
    slots: npt.NDArray[np.int32]


class Asked(NamedTuple):
    """What rules ask of packets: ``lengths`` and ``ttls`` cut points int64, ``reads`` bits READS_*;
    and what conntrack goes by: its ``limits`` int64
    (:func:`correlator.flows.conntrack.limits_of`)."""

    lengths: Ints
    ttls: Ints
    reads: int
    limits: Ints


class Written(NamedTuple):
    """Room for packets, a column each (:data:`correlator.flows.fold.packets.COLUMNS`)."""

    came: Ints
    span: npt.NDArray[np.int32]
    owner: npt.NDArray[np.int32]
    length: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint16]
