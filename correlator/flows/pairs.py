"""Crossings -> pairs of endpoints: who belongs to whom, across NAT.

Both directions of a connection share one pair of endpoints wherever its NAT happens: the client as
it called itself and the server as it calls itself (the addresses that FORWARD sees both ways). A
crossing that was seen coming in and leaving tells that pair directly: the source it came in with
and the destination it left with. One-sided sights (local, dropped) find it through the tuples that
joined crossings have shown, or stand for themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from correlator.endpoints import NOWHERE, pack
from correlator.flows import conntrack
from correlator.flows.conntrack import ASIDE, ICMP, ICMP6, RELATED_KIND, tcp_kind
from correlator.flows.crossings import join
from correlator.flows.cut_quotes import complete_quotes
from correlator.flows.frames.bridge_ports import ON_PORT
from correlator.flows.frames.direction import BRIDGED, LOOP
from correlator.flows.keys import pair_name
from correlator.flows.masqueraded import join_looped, join_masqueraded, join_redirected

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools, Ints
    from correlator.flows.frames.direction import Sight

QUERIES = frozenset((8, 13, 15, 17))
ANSWERS = frozenset((0, 14, 16, 18))
QUERIES6, ANSWERS6 = frozenset((128, 139)), frozenset((129, 140))
UNTRACKED6 = frozenset((*range(130, 137), 143))
"""MLD and neighbour discovery but redirects (nf_conntrack_icmpv6_error's list)."""
UNREACHABLE = 3
"""The type of ICMP errors that say "destination unreachable" (RFC 792)."""
REFUSED, REFUSED6 = UNREACHABLE << 8 | 3, 1 << 8 | 4
"""Type and code of "port unreachable" (RFC 792; RFC 4443, 3.1)."""


@dataclass(frozen=True)
class Crossings:
    """One row a crossing, in order of time; all arrays have shape (n,).

    ``came_in`` and ``left`` are rows of the packet table (-1: that sight is missing). Endpoints are
    int64, -1 where there is none: ``source``/``destination`` before any
    NAT seen here (``in_*``) and after it (``out_*``). ``midway``: it was seen as br_netfilter
    sent it on behind PREROUTING, ahead of FORWARD. ``forward``: from the lower endpoint of its
    pair to the higher one. ``quoted_*``: the endpoints that an ICMP error quotes;
    ``segment`` (n, 5): sequence numbers
    and windows. ``broken``: it came in with a wrong
    checksum (None: none did). ``quote_cut``: quoted ports were not captured (None: of none).
    ``malformed``: conntrack refuses its transport header, wherever it looks (None: of none)."""

    came_in: Ints
    left: Ints
    time: Ints
    protocol: Ints
    in_source: Ints
    in_destination: Ints
    out_source: Ints
    out_destination: Ints
    after_prerouting: Bools
    midway: Bools
    loop: Bools
    pair: Ints
    forward: Bools
    kind: Ints
    quoted_source: Ints
    quoted_destination: Ints
    segment: Ints
    broken: Bools | None = None
    quote_cut: Bools | None = None
    malformed: Bools | None = None

    def __len__(self) -> int:
        return len(self.time)

    @property
    def entered(self) -> Bools:
        """Whether it was seen coming in."""
        return self.came_in >= 0

    @property
    def sent(self) -> Bools:
        """Whether it was seen leaving."""
        return self.left >= 0


def endpoints(packets: pd.DataFrame, prefix: str = "") -> tuple[Ints, Ints]:
    """(source, destination) endpoints of every frame; ``prefix`` ``inner_`` for the embedded header
    of ICMP errors."""
    result = []
    for address, port in (("src", "sport"), ("dst", "dport")):
        ports = np.maximum(packets[f"{prefix}{port}"].to_numpy().astype(np.int64), 0)
        result.append(pack(packets[f"{prefix}{address}"].to_numpy().astype(np.int64), ports))
    return result[0], result[1]


def cross(packets: pd.DataFrame, sight: Sight) -> Crossings:
    """Join frames into crossings and crossings into pairs of endpoints."""
    came_in, left = join(packets, sight.wire)
    source, destination = endpoints(packets)
    inner_source, inner_destination, cut = complete_quotes(
        packets, source, destination, endpoints(packets, "inner_")
    )
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
    name = pair_name(protocol, one, other)
    name_in = pair_name(protocol, in_source, in_destination)
    name_out = pair_name(protocol, out_source, out_destination)
    links = _links(name_in[both], name_out[both], name[both], time[both])
    alone = ~both & ~error
    name[alone] = _lookup(np.where(entered, name_in, name_out)[alone], time[alone], links)
    hosts_own = ~entered & sent & ~error
    restored = after & ~sent & ~error
    if hosts_own.any() and restored.any():
        far = np.where(hosts_own, out_destination, in_source)
        name = join_masqueraded(packets, shown, name, far, hosts_own, restored)
        name = join_redirected(packets, shown, name, far, restored, hosts_own)
    kind = _kinds(packets, shown, protocol, error)
    loop = wire == LOOP
    query = np.isin(protocol, (ICMP, ICMP6))
    looped = loop & ~error
    up = np.where(query, kind == conntrack.QUERY, out_source < out_destination)
    if looped.any():
        name = join_looped(packets, shown, name, (out_source, out_destination), up, looped)
    known = ~error
    low, high, ends = _ends(name[known], one[known], other[known], both[known])

    # ICMP errors belong to the connection of the packet that they quote
    if error.any():
        quoted = shown[error]
        inner_protocol = packets["inner_protocol"].to_numpy()[quoted].astype(np.int64)
        names = pair_name(inner_protocol, inner_source[quoted], inner_destination[quoted])
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
    forward = np.where(looped, np.where(query, up, (one == lo) | (other == hi)), forward)
    if error.any():
        quoted_forward = np.where(
            entered[error],
            inner_destination[quoted] == hi[error],
            inner_source[quoted] == lo[error],
        )
        forward[error] = ~quoted_forward
    # of who talks to itself, both directions have the same endpoints: the type tells them apart
    forward = np.where((lo == hi) & query & ~error, kind == conntrack.QUERY, forward)
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
        ~entered & sent & sight.within[shown],
        wire == LOOP,
        pair.astype(np.int64),
        forward,
        kind,
        np.where(error, inner_source[shown], NOWHERE),
        np.where(error, inner_destination[shown], NOWHERE),
        _segments(packets, shown),
        packets["bad_checksum"].to_numpy()[shown] & entered & (wire != LOOP),
        cut[shown],
        packets["malformed"].to_numpy()[shown],
    )


def _links(
    name_in: npt.NDArray[np.uint64],
    name_out: npt.NDArray[np.uint64],
    name: npt.NDArray[np.uint64],
    time: Ints,
) -> pd.DataFrame:
    """Table seen -> name, with times: the tuples under which a pair was seen on a wire."""
    return pd.DataFrame(
        {"seen": np.r_[name_in, name_out], "name": np.r_[name, name], "time": np.r_[time, time]}
    ).drop_duplicates()


def _lookup(
    seen: npt.NDArray[np.uint64], time: Ints, links: pd.DataFrame
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
    name: npt.NDArray[np.uint64], one: Ints, other: Ints, both: Bools
) -> tuple[Ints, Ints, npt.NDArray[np.uint64]]:
    """(low, high, names): the endpoints of every pair, as a joined crossing shows them (else
    any)."""
    order = np.lexsort((~both, name))
    names, first = np.unique(name[order], return_index=True)
    rows = order[first]
    return np.minimum(one[rows], other[rows]), np.maximum(one[rows], other[rows]), names


def _pair_ends(
    name: npt.NDArray[np.uint64], low: Ints, high: Ints, names: npt.NDArray[np.uint64]
) -> tuple[Ints, Ints]:
    if not len(names):
        return np.full(len(name), NOWHERE), np.full(len(name), NOWHERE)
    at = np.minimum(np.searchsorted(names, name), len(names) - 1)
    good = names[at] == name
    return np.where(good, low[at], NOWHERE), np.where(good, high[at], NOWHERE)


def _segments(packets: pd.DataFrame, shown: Ints) -> Ints:
    """What conntrack's windows go by, int64 (n, 5), as
    :func:`correlator.flows.conntrack.judge` takes it."""
    names = ("seq", "ack", "window", "window_scale", "payload_length", "tcp_flags")
    seq, ack, window, scale, size, flags = (
        packets[name].to_numpy()[shown].astype(np.int64) for name in names
    )
    end = (seq + size + (flags & 1) + (flags >> 1 & 1)) & 0xFFFFFFFF
    return np.stack([seq, end, np.where(flags & 16, ack, -1), window, scale], axis=1)


def _kinds(packets: pd.DataFrame, shown: Ints, protocol: Ints, error: Bools) -> Ints:
    flags = packets["tcp_flags"].to_numpy()[shown].astype(np.int64)
    table = np.array([tcp_kind(value) for value in range(64)])
    kind = np.where(protocol == 6, table[flags & 63], 0)
    icmp = packets["icmp_type"].to_numpy()[shown]
    for number, queries, answers in ((ICMP, QUERIES, ANSWERS), (ICMP6, QUERIES6, ANSWERS6)):
        query, answer = np.isin(icmp, list(queries)), np.isin(icmp, list(answers))
        told = np.where(query, conntrack.QUERY, np.where(answer, conntrack.ANSWER, conntrack.OTHER))
        kind = np.where(protocol == number, told, kind)
    kind = np.where((protocol == ICMP6) & np.isin(icmp, list(UNTRACKED6)), ASIDE, kind)
    return np.where(error, RELATED_KIND, kind)
