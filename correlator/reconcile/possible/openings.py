"""How a pair of endpoints may have opened: by its first packet, or before the capture began.

Conntrack remembers a silent connection for a while (its timeouts): the first packet that was
captured need not be the first that it saw, nor need it have gone the original way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.addresses import ALL_HOSTS, is_multicast
from correlator.endpoints import address_of, port_of
from correlator.flows import conntrack
from correlator.flows.conntrack import memory_ns
from correlator.flows.labels import FRESH, OLDER_BACKWARD, OLDER_FORWARD
from correlator.flows.pairs import Crossings

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools, Ints
    from correlator.dataset.conntrack_settings import ConntrackSettings
    from correlator.reconcile.possible.scene import Scene

EPHEMERAL = (32768, 60999)
"""Linux's default net.ipv4.ip_local_port_range."""


UDP = 17
FTP_DATA = 20
"""A server that dials: active FTP (RFC 959)."""


def other_openings(
    crossings: Crossings,
    likeliest: npt.NDArray[np.int8],
    capture_begin: int,
    sequence: Ints,
    servers: frozenset[int],
    witnessed: npt.NDArray[np.int8],
    settings: ConntrackSettings,
) -> list[npt.NDArray[np.int8]]:
    """Other ways for pairs to open, one array (pairs,) each; -1 where a pair has no such other way.

    ``sequence`` (n,): the ICMP sequence number of every crossing. ping(8) counts from 1, so that
    its first packet opens; and the direction of a query is the original one, whenever it began
    (nf_conntrack_proto_icmp.c). ``servers`` are endpoints that DNAT rules lead to: who is one of
    them was dialled; so was who has no ephemeral port where the other end has one (ip-sysctl,
    ip_local_port_range). ``witnessed`` (pairs,): how conntrack says that they open (-1
    untold): such a pair has no other way. ``settings`` of conntrack: so long it remembers a silent
    connection."""
    count = len(likeliest)
    order = np.lexsort((crossings.time, crossings.pair))
    first = (
        order[np.flatnonzero(np.r_[True, np.diff(crossings.pair[order]) != 0])]
        if len(order)
        else order
    )
    protocol, kind = crossings.protocol[first], crossings.kind[first]
    age = crossings.time[first] - capture_begin
    memory = np.array([memory_ns(settings, number) for number in range(256)], dtype=np.int64)
    control = np.isin(protocol, (conntrack.ICMP, conntrack.ICMP6))
    recent = (protocol != 6) & (kind != conntrack.ASIDE) & (age < memory[protocol])
    recent &= ~control | ((kind == conntrack.QUERY) & (sequence[first] > 1))
    # who answers was asked, or what asked went another way (then the answer is INVALID)
    recent |= control & (kind == conntrack.ANSWER)
    stream = (protocol == 6) & (kind != conntrack.SYN)
    open_question = np.zeros(count, dtype=bool)
    open_question[crossings.pair[first[recent | stream]]] = True
    open_question &= witnessed < 0
    asks = np.full(count, -1, dtype=np.int8)
    asks[crossings.pair[first]] = _original_way(crossings, first, servers)
    alone = first[_one_way(crossings, count)[crossings.pair[first]] & (protocol == UDP)]
    asks[crossings.pair[alone]] = -1
    others: list[npt.NDArray[np.int8]] = []
    for way in (FRESH, OLDER_FORWARD, OLDER_BACKWARD):
        fits = (way == FRESH) | (asks < 0) | (asks == way)
        other = np.where(open_question & (likeliest != way) & fits, way, -1).astype(np.int8)
        if (other >= 0).any():
            others.append(other)
    return others


def _one_way(crossings: Crossings, count: int) -> Bools:
    """Pairs (count,) of which one direction alone was seen: nothing shows that somebody was asked,
    as where a server answers from another of its addresses."""
    seen = [
        np.bincount(crossings.pair[crossings.forward == way], minlength=count) for way in (0, 1)
    ]
    result: Bools = (seen[0] == 0) | (seen[1] == 0)
    return result


def _original_way(
    crossings: Crossings, first: Ints, servers: frozenset[int]
) -> npt.NDArray[np.int8]:
    """OLDER_FORWARD or OLDER_BACKWARD where the endpoints of a pair's first packet tell who
    dialled; else -1."""
    source = np.where(crossings.entered, crossings.in_source, crossings.out_source)[first]
    target = np.where(crossings.sent, crossings.out_destination, crossings.in_destination)[first]
    known = np.array(sorted(servers), dtype=np.int64)
    from_server, to_server = np.isin(source, known), np.isin(target, known)
    ends = [port_of(end) for end in (source, target)]
    ephemeral = [(port >= EPHEMERAL[0]) & (port <= EPHEMERAL[1]) for port in ends]
    plain = [(port < EPHEMERAL[0]) & (port != FTP_DATA) for port in ends]
    neither = ~from_server & ~to_server
    dials = (to_server & ~from_server) | (neither & ephemeral[0] & plain[1])
    answers = (from_server & ~to_server) | (neither & ephemeral[1] & plain[0])
    certain = np.isin(crossings.protocol[first], (conntrack.ICMP, conntrack.ICMP6)) | (
        is_multicast(address_of(target))
    )  # a query; nobody is answered by a multicast group
    dials, answers = dials | certain, answers & ~certain
    forward = crossings.forward[first]
    way = np.where(dials == forward, OLDER_FORWARD, OLDER_BACKWARD)
    return np.where(dials | answers, way, -1).astype(np.int8)


def for_groups(scene: Scene) -> Bools:
    """Crossings (n,) that came in for a multicast group that the host may have joined or not."""
    crossings, address = scene.crossings, address_of(scene.crossings.in_destination)
    result: Bools = (
        crossings.entered & ~crossings.sent & is_multicast(address) & (address != ALL_HOSTS)
    )
    for code, name in enumerate(scene.names):
        if scene.host.groups.get(name):
            joined = np.array(sorted(scene.host.groups[name]), dtype=np.int64)
            result &= ~((scene.in_code == code) & np.isin(address, joined))
    return result
