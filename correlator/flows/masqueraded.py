"""Connections that were rewritten out of sight, joined to their replies: an answer acknowledges
what was sent.

What the host sends to a container may leave as the bridge's address (MASQUERADE), while a bridge's
tap shows the answer with its destination restored already: the two share the server only. What a
container sends may be led to the host itself (REDIRECT, DNAT) ahead of the bridge's tap, while the
answer bears the address that was dialled: the two share the client only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from correlator.flows.conntrack import ICMP, ICMP6
from correlator.flows.keys import mix

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools, Ints

    Names = npt.NDArray[np.uint64]

UDP = 17


def join_masqueraded(
    packets: pd.DataFrame, shown: Ints, name: Names, server: Ints, sent: Bools, answer: Bools
) -> Names:
    """Names of pairs (n,), with those of answers replaced by the request's.

    ``sent`` marks crossings that the host sent itself, ``answer`` those that came to a bridge and
    stayed; ``server`` is the endpoint at the other side. Only pairs seen one way are asked."""
    one_way = _one_way(name, sent, answer)
    requests, answers = np.flatnonzero(sent & one_way), np.flatnonzero(answer & one_way)
    return _join(packets, shown, name, (requests, server[requests]), (answers, server[answers]))


def join_redirected(
    packets: pd.DataFrame, shown: Ints, name: Names, client: Ints, came: Bools, answer: Bools
) -> Names:
    """The same of what ``came`` to a bridge and stayed, with each ``answer`` that the host sent;
    ``client`` is the endpoint at the other side. UDP is left out: nothing in it tells an answer to
    what was led here from one that goes out from another of the host's addresses."""
    proves = packets["protocol"].to_numpy()[shown] != UDP
    one_way = proves & _one_way(name, came, answer)
    requests, answers = np.flatnonzero(came & one_way), np.flatnonzero(answer & one_way)
    return _join(packets, shown, name, (requests, client[requests]), (answers, client[answers]))


def join_looped(
    packets: pd.DataFrame, shown: Ints, name: Names, ends: tuple[Ints, Ints], up: Bools, loop: Bools
) -> Names:
    """The same on loopback, whose tap sits behind POSTROUTING: a request bears the address that
    MASQUERADE wrote, its answer the one that was there before.

    ``ends``: (source, destination) of every crossing; ``up`` tells the two directions of a pair
    apart; ``loop`` marks those on loopback. Only pairs seen one way are asked."""
    one_way = loop & _one_way(name, loop & up, loop & ~up)
    rows = np.flatnonzero(one_way)
    source, destination = (end[rows] for end in ends)
    return _join(packets, shown, name, (rows, destination), (rows, source))


def _join(
    packets: pd.DataFrame,
    shown: Ints,
    name: Names,
    asking: tuple[Ints, Ints],
    answering: tuple[Ints, Ints],
) -> Names:
    """Names with those of answers replaced by the request's; ``asking`` and ``answering`` are
    (crossings, their servers)."""
    (requests, asked_of), (answers, told_by) = asking, answering
    if not len(requests) or not len(answers):
        return name
    fields = {
        column: packets[column].to_numpy()[shown].astype(np.int64)
        for column in (
            "protocol",
            "seq",
            "ack",
            "tcp_flags",
            "payload_length",
            "payload_hash",
            "sport",
            "dport",
        )
    }
    left = pd.DataFrame({"key": _asked(fields, requests, asked_of), "request": name[requests]})
    right = pd.DataFrame({"key": _answered(fields, answers, told_by), "answer": name[answers]})
    time = packets["time"].to_numpy()[shown]
    asked = left.assign(asked=time[requests]).groupby("request")["asked"].min()
    answered = right.assign(answered=time[answers]).groupby("answer")["answered"].min()
    # what came first asked: a server that answers from another of its addresses sends what looks
    # like a request for what it was sent
    pairs = (
        left.drop_duplicates()
        .merge(right.drop_duplicates(), on="key")
        .join(asked, on="request")
        .join(answered, on="answer")
        .query("asked <= answered and request != answer")
        .groupby(["request", "answer"])
        .size()
    )
    result = name.copy()
    taken: set[np.uint64] = set()
    for request, found in pairs.sort_values(ascending=False, kind="stable").index:
        if request not in taken and found not in taken:
            taken.update((request, found))
            result[name == found] = request
    return result


def _one_way(name: Names, sent: Bools, answer: Bools) -> Bools:
    """Crossings of pairs of which nothing else was seen, nor both of these."""
    _, code = np.unique(name, return_inverse=True)
    kinds = np.where(sent, 1, np.where(answer, 2, 4))
    seen = np.zeros(int(code.max()) + 1, dtype=np.int64)
    np.bitwise_or.at(seen, code, kinds)
    result: Bools = np.isin(seen[code], (1, 2))
    return result


def _asked(f: dict[str, Ints], rows: Ints, server: Ints) -> Names:
    """What the answer to each request says: the acknowledgement (RFC 9293), the echoed query (RFC
    792), else the port."""
    protocol, flags = f["protocol"][rows], f["tcp_flags"][rows]
    following = (
        f["seq"][rows] + f["payload_length"][rows] + (flags & 1) + (flags >> 1 & 1)
    ) & 0xFFFFFFFF
    echo = mix(f["seq"][rows], f["payload_hash"][rows]).astype(np.int64)
    value = np.where(
        protocol == 6, following, np.where(np.isin(protocol, (ICMP, ICMP6)), echo, f["sport"][rows])
    )
    return mix(protocol, server, value)


def _answered(f: dict[str, Ints], rows: Ints, server: Ints) -> Names:
    protocol = f["protocol"][rows]
    echo = mix(f["seq"][rows], f["payload_hash"][rows]).astype(np.int64)
    value = np.where(
        protocol == 6,
        f["ack"][rows],
        np.where(np.isin(protocol, (ICMP, ICMP6)), echo, f["dport"][rows]),
    )
    return mix(protocol, server, value)
