"""Crossings -> connections: who belongs to whom, across NAT, and what conntrack called each packet.

Both directions of a connection share one pair of endpoints wherever its NAT happens: the client as
it called itself and the server as it calls itself (the addresses that FORWARD sees both ways). A
crossing that was seen coming in and leaving tells that pair directly: the source it came in with
and the destination it left with. One-sided sights (local, dropped) find it through the tuples that
joined crossings have shown, or stand for themselves."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from correlator.endpoints import NOWHERE, pack, port_of
from correlator.flows import conntrack
from correlator.flows.conntrack import RELATED_KIND, Label, Tracker, tcp_kind
from correlator.flows.crossings import BRIDGED, LOOP, join, mix
from correlator.flows.frames.bridge_ports import ON_PORT
from correlator.flows.rejoin import rejoin

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.flows.host import Sight

FRESH, OLDER_FORWARD, OLDER_BACKWARD = 0, 1, 2
"""How a pair opens: by its first packet, or as a connection from before the capture (by its
original direction)."""

QUERIES = frozenset((8, 13, 15, 17))
ANSWERS = frozenset((0, 14, 16, 18))


@dataclass(frozen=True)
class Crossings:
    """One row a crossing, in order of time; all arrays have shape (n,).

    ``came_in`` and ``left`` are rows of the packet table (-1: that sight is missing). Endpoints are
    int64, -1 where there is none: ``source``/``destination`` before any
    NAT seen here (``in_*``) and after it (``out_*``). ``forward``: from the lower endpoint of its
    pair to the higher one. ``quoted_*``: the endpoints that an ICMP error quotes."""

    came_in: npt.NDArray[np.int64]
    left: npt.NDArray[np.int64]
    time: npt.NDArray[np.int64]
    protocol: npt.NDArray[np.int64]
    in_source: npt.NDArray[np.int64]
    in_destination: npt.NDArray[np.int64]
    out_source: npt.NDArray[np.int64]
    out_destination: npt.NDArray[np.int64]
    after_prerouting: npt.NDArray[np.bool_]
    loop: npt.NDArray[np.bool_]
    pair: npt.NDArray[np.int64]
    forward: npt.NDArray[np.bool_]
    kind: npt.NDArray[np.int64]
    quoted_source: npt.NDArray[np.int64]
    quoted_destination: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.time)

    @property
    def entered(self) -> npt.NDArray[np.bool_]:
        """Whether it was seen coming in."""
        return self.came_in >= 0

    @property
    def sent(self) -> npt.NDArray[np.bool_]:
        """Whether it was seen leaving."""
        return self.left >= 0


def endpoints(
    packets: pd.DataFrame, prefix: str = ""
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(source, destination) endpoints of every frame; ``prefix`` ``inner_`` for the embedded header
    of ICMP errors."""
    result = []
    for address, port in (("src", "sport"), ("dst", "dport")):
        ports = np.maximum(packets[f"{prefix}{port}"].to_numpy().astype(np.int64), 0)
        result.append(pack(packets[f"{prefix}{address}"].to_numpy().astype(np.int64), ports))
    return result[0], result[1]


def node(
    protocol: npt.NDArray[np.int64], a: npt.NDArray[np.int64], b: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    """A name for an unordered pair of endpoints of a protocol; uint64 (n,)."""
    return mix(protocol, np.minimum(a, b), np.maximum(a, b))


def cross(packets: pd.DataFrame, sight: Sight) -> Crossings:
    """Join frames into crossings and crossings into pairs of endpoints."""
    came_in, left = join(packets, sight.wire)
    source, destination = endpoints(packets)
    inner_source, inner_destination = endpoints(packets, "inner_")
    entered, sent = came_in >= 0, left >= 0
    shown = np.where(entered, came_in, left)
    interface = packets["interface"].to_numpy()
    wire = sight.wire[shown]
    on_port = packets[ON_PORT].to_numpy()[shown] if ON_PORT in packets else False
    after = entered & sight.bridge[interface[shown]] & (wire != LOOP) & ~np.asarray(on_port)
    in_source = np.where(entered, source[came_in], NOWHERE)
    in_destination = np.where(entered, destination[came_in], NOWHERE)
    out_source = np.where(sent, source[left], NOWHERE)
    out_destination = np.where(sent, destination[left], NOWHERE)
    protocol = packets["protocol"].to_numpy()[shown].astype(np.int64)
    error = packets["inner_protocol"].to_numpy()[shown] > 0
    one = np.where(entered, in_source, out_source)
    other = np.where(sent, out_destination, in_destination)
    time = packets["time"].to_numpy()[shown]

    both = entered & sent & ~error & (wire != LOOP) & (wire != BRIDGED)
    name = node(protocol, one, other)
    name_in = node(protocol, in_source, in_destination)
    name_out = node(protocol, out_source, out_destination)
    links = _links(name_in[both], name_out[both], name[both], time[both])
    alone = ~both & ~error
    name[alone] = _lookup(np.where(entered, name_in, name_out)[alone], time[alone], links)
    hosts_own = ~entered & sent & ~error
    restored = after & ~sent & ~error
    if hosts_own.any() and restored.any():
        name = rejoin(
            packets,
            shown,
            name,
            np.where(hosts_own, out_destination, in_source),
            hosts_own,
            restored,
        )
    known = ~error
    low, high, ends = _ends(name[known], one[known], other[known], both[known])

    # ICMP errors belong to the connection of the packet that they quote
    if error.any():
        quoted = shown[error]
        inner_protocol = packets["inner_protocol"].to_numpy()[quoted].astype(np.int64)
        names = node(inner_protocol, inner_source[quoted], inner_destination[quoted])
        more = _links(
            np.r_[name_in[known & entered], name[known]],
            np.r_[name_out[known & entered], name[known]],
            np.r_[name[known & entered], name[known]],
            np.r_[time[known & entered], time[known]],
        )
        more = pd.concat(
            [
                links,
                more,
                _links(
                    name_out[known & sent],
                    name_out[known & sent],
                    name[known & sent],
                    time[known & sent],
                ),
            ]
        )
        name[error] = _lookup(names, time[error], more.drop_duplicates())
        protocol[error] = inner_protocol
    pair, _ = pd.factorize(name)
    lo, hi = _pair_ends(name, low, high, ends)
    forward = np.where(entered, one == lo, other == hi)
    if error.any():
        quoted_forward = np.where(
            entered[error],
            inner_destination[quoted] == hi[error],
            inner_source[quoted] == lo[error],
        )
        forward[error] = ~quoted_forward
    kind = _kinds(packets, shown, protocol, error)
    return Crossings(
        came_in,
        left,
        time,
        protocol,
        in_source,
        in_destination,
        out_source,
        out_destination,
        after,
        wire == LOOP,
        pair.astype(np.int64),
        forward,
        kind,
        np.where(error, inner_source[shown], NOWHERE),
        np.where(error, inner_destination[shown], NOWHERE),
    )


def _links(
    name_in: npt.NDArray[np.uint64],
    name_out: npt.NDArray[np.uint64],
    name: npt.NDArray[np.uint64],
    time: npt.NDArray[np.int64],
) -> pd.DataFrame:
    """Table seen -> name, with times: the tuples under which a pair was seen on a wire."""
    return pd.DataFrame(
        {"seen": np.r_[name_in, name_out], "name": np.r_[name, name], "time": np.r_[time, time]}
    ).drop_duplicates()


def _lookup(
    seen: npt.NDArray[np.uint64], time: npt.NDArray[np.int64], links: pd.DataFrame
) -> npt.NDArray[np.uint64]:
    """The pair that was seen under that tuple last before (else first after); itself where there is
    none."""
    if not len(seen) or not len(links):
        return seen
    asked = pd.DataFrame({"seen": seen, "time": time, "row": np.arange(len(seen))}).sort_values(
        "time", kind="stable"
    )
    table = links.sort_values(["time", "name"], kind="stable", ignore_index=True)
    names = table["name"].to_numpy()
    table = table.assign(at=np.arange(len(table)))[
        ["seen", "time", "at"]
    ]  # a name does not survive a float column
    before = pd.merge_asof(asked, table, on="time", by="seen", direction="backward")[
        "at"
    ].to_numpy()
    after = pd.merge_asof(asked, table, on="time", by="seen", direction="forward")["at"].to_numpy()
    at = np.where(np.isnan(before), after, before)
    row, known = asked["row"].to_numpy(), ~np.isnan(at)
    result = np.array(seen, copy=True)
    result[row[known]] = names[at[known].astype(np.int64)]
    return result


def _ends(
    name: npt.NDArray[np.uint64],
    one: npt.NDArray[np.int64],
    other: npt.NDArray[np.int64],
    both: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """(low, high, names): the endpoints of every pair, as a joined crossing shows them (else
    any)."""
    order = np.lexsort((~both, name))
    names, first = np.unique(name[order], return_index=True)
    rows = order[first]
    return np.minimum(one[rows], other[rows]), np.maximum(one[rows], other[rows]), names


def _pair_ends(
    name: npt.NDArray[np.uint64],
    low: npt.NDArray[np.int64],
    high: npt.NDArray[np.int64],
    names: npt.NDArray[np.uint64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    if not len(names):
        return np.full(len(name), NOWHERE), np.full(len(name), NOWHERE)
    at = np.minimum(np.searchsorted(names, name), len(names) - 1)
    good = names[at] == name
    return np.where(good, low[at], NOWHERE), np.where(good, high[at], NOWHERE)


def _kinds(
    packets: pd.DataFrame,
    shown: npt.NDArray[np.int64],
    protocol: npt.NDArray[np.int64],
    error: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    flags = packets["tcp_flags"].to_numpy()[shown].astype(np.int64)
    table = np.array([tcp_kind(value) for value in range(64)])
    kind = np.where(protocol == 6, table[flags & 63], 0)
    icmp = packets["icmp_type"].to_numpy()[shown]
    query = np.isin(icmp, list(QUERIES))
    answer = np.isin(icmp, list(ANSWERS))
    kind = np.where(
        protocol == 1,
        np.where(query, conntrack.QUERY, np.where(answer, conntrack.ANSWER, conntrack.OTHER)),
        kind,
    )
    return np.where(error, RELATED_KIND, kind)


@dataclass(frozen=True)
class Labels:
    """What conntrack made of each crossing; arrays of shape (n,), ``connection`` from 0 within its
    pair."""

    connection: npt.NDArray[np.int64]
    direction: npt.NDArray[np.int64]
    state: npt.NDArray[np.int64]
    destination_nat: npt.NDArray[np.bool_]
    source_nat: npt.NDArray[np.bool_]
    seen_reply: npt.NDArray[np.bool_]
    older: npt.NDArray[np.bool_]


def track(
    crossings: Crossings,
    opening: npt.NDArray[np.int8],
    unconfirmed: npt.NDArray[np.bool_],
    untracked: npt.NDArray[np.bool_],
    only: npt.NDArray[np.bool_] | None = None,
    before: Labels | None = None,
) -> Labels:
    """Run conntrack's state machine over every pair (those in ``only`` (pairs,), where given; the
    others stay as ``before``, or 0).

    ``opening`` (pairs,): FRESH the first packet opens its connection, OLDER_FORWARD an older
    connection whose original direction is forward, OLDER_BACKWARD an older one the other way round.
    ``unconfirmed`` and ``untracked`` (n,): see :class:`Tracker`."""
    n = len(crossings)
    zero, no = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
    result = before if before is not None else Labels(zero, zero, zero, no, no, no, no)
    mine = np.flatnonzero(only[crossings.pair]) if only is not None else np.arange(n)
    order = mine[np.lexsort((crossings.time[mine], crossings.pair[mine]))]
    starts = (
        np.flatnonzero(np.r_[True, np.diff(crossings.pair[order]) != 0]) if len(order) else order
    )
    columns = [
        column[order].tolist()
        for column in (
            crossings.time,
            crossings.forward,
            crossings.kind,
            unconfirmed,
            untracked,
            ~crossings.entered,
            crossings.protocol,
            opening[crossings.pair],
        )
    ]
    labels: list[Label] = []
    for begin, end in pairwise([*starts.tolist(), len(order)]):
        how = int(columns[7][begin])
        labels += Tracker(columns[6][begin], how > 0, how == 1).run(
            *(column[begin:end] for column in columns[:6])
        )
    values = zip(*labels, strict=True) if labels else [()] * len(fields(Labels))
    columns_of = {}
    for field, column in zip(fields(Labels), values, strict=True):
        columns_of[field.name] = getattr(result, field.name).copy()
        columns_of[field.name][order] = column
    return Labels(**columns_of)


def guess_opening(crossings: Crossings, servers: frozenset[int]) -> npt.NDArray[np.int8]:
    """How every pair opens: by a packet that may open a connection, or as a connection from before
    the capture.

    ``servers`` are endpoints that DNAT rules lead to. For an older
    connection the end with such an endpoint, else the lower port, is taken for the server."""
    count = int(crossings.pair.max()) + 1 if len(crossings) else 0
    opening = np.zeros(count, dtype=np.int8)
    order = np.lexsort((crossings.time, crossings.pair))
    first = (
        order[np.flatnonzero(np.r_[True, np.diff(crossings.pair[order]) != 0])]
        if len(order)
        else order
    )
    for row in first.tolist():
        protocol, kind = int(crossings.protocol[row]), int(crossings.kind[row])
        if kind == RELATED_KIND:
            continue
        if protocol == 6:
            fresh = kind == conntrack.SYN
        elif protocol == 1:
            fresh = kind != conntrack.ANSWER
        else:
            fresh = True
        if fresh:
            continue
        source = (
            crossings.in_source[row] if crossings.came_in[row] >= 0 else crossings.out_source[row]
        )
        target = (
            crossings.out_destination[row]
            if crossings.left[row] >= 0
            else crossings.in_destination[row]
        )
        if protocol == 1 or kind == conntrack.SYNACK or int(source) in servers:
            to_server = False
        elif int(target) in servers:
            to_server = True
        else:
            to_server = port_of(target) <= port_of(source)
        original_forward = bool(crossings.forward[row]) == to_server
        opening[crossings.pair[row]] = 1 if original_forward else 2
    return opening
