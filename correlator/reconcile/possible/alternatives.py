"""Readings: what the packets may mean where they alone do not tell.

A pair of endpoints whose first packet may open its connection or continue an older one has several
readings; so has one whose dialled destination no tap saw (the host's own packets; what a bridge
delivers after its PREROUTING). Each is a row of :class:`Alternatives`; rules, wire and counters
choose among them later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.addresses import ALL_HOSTS, is_multicast
from correlator.endpoints import NOWHERE, address_of, pack, port_of
from correlator.firewall.published import Door, dnat_rules, servers
from correlator.flows import conntrack
from correlator.flows.conntrack import (
    MEMORY_NS,
    ORIGINAL,
    OTHER_MEMORY_NS,
    RELATED_KIND,
    REPLY,
    S_RELATED,
)
from correlator.flows.pairs import FRESH, OLDER_BACKWARD, OLDER_FORWARD, Crossings, Labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from correlator.firewall.model import Ruleset
    from correlator.firewall.view import Host
    from correlator.flows.conntrack_events import Witness

    Ints = npt.NDArray[np.int64]

MAX_CANDIDATES = 12
EPHEMERAL = (32768, 60999)
"""Linux's default net.ipv4.ip_local_port_range."""
FTP_DATA = 20
"""A server that dials: active FTP (RFC 959)."""


@dataclass(frozen=True)
class Ends:
    """A connection's endpoints, one row a crossing (n,), -1 unknown.

    ``client`` dialled ``dialled``; the ``server`` was reached and saw the client as ``seen``: the
    original tuple is client -> dialled, the reply tuple server -> seen. ``in_code``/``out_code``:
    interface by which this direction of the connection comes in and leaves, as any of its crossings
    shows (-1 none)."""

    client: Ints
    dialled: Ints
    seen: Ints
    server: Ints
    in_code: Ints
    out_code: Ints


def first_known(owner: Ints, values: Ints, count: int) -> Ints:
    """The first value that is not -1 of every owner; int64 (count,)."""
    good = values != NOWHERE
    result = np.full(count, NOWHERE, dtype=np.int64)
    result[owner[good][::-1]] = values[good][::-1]
    return result


def connection_codes(crossings: Crossings, labels: Labels) -> Ints:
    """A number for every (pair, connection within it), per crossing."""
    return crossings.pair << 20 | labels.connection


def find_ends(
    crossings: Crossings,
    labels: Labels,
    in_codes: Ints,
    out_codes: Ints,
    told: Ints,
    witness: Witness | None,
) -> Ends:
    """The endpoints of every crossing's connection, as all its crossings together show them, and
    conntrack where it tells.

    ``told`` (n,): the server that a walk found out where no tap saw it (-1 none).
    """
    _, owner = np.unique(connection_codes(crossings, labels), return_inverse=True)
    count = int(owner.max()) + 1 if len(owner) else 0
    plain = (
        (labels.state != S_RELATED) & (crossings.kind != RELATED_KIND) & (labels.direction <= REPLY)
    )
    original = plain & (labels.direction == ORIGINAL)
    reply = plain & (labels.direction == REPLY)
    # a tap on loopback and one on transmit sit behind POSTROUTING, one on a bridge's receive behind
    # PREROUTING
    before = crossings.entered & ~crossings.loop & ~crossings.after_prerouting
    after = crossings.entered & ~crossings.loop & crossings.after_prerouting
    received = crossings.entered & ~crossings.loop
    sent = crossings.sent

    def gather(*seen: tuple[npt.NDArray[np.bool_], Ints]) -> Ints:
        best = np.full(count, NOWHERE, dtype=np.int64)
        for where, values in seen:
            found = first_known(owner, np.where(where, values, NOWHERE), count)
            best = np.where(best == NOWHERE, found, best)
        return best[owner] if count else best

    client = gather(
        (original & received, crossings.in_source),
        (reply & sent, crossings.out_destination),
        (reply & after, crossings.in_destination),
    )
    dialled = gather(
        (original & before, crossings.in_destination), (reply & sent, crossings.out_source)
    )
    seen = gather(
        (original & sent, crossings.out_source), (reply & before, crossings.in_destination)
    )
    server = gather(
        (original & sent, crossings.out_destination),
        (original & after, crossings.in_destination),
        (reply & received, crossings.in_source),
        (original, told),
    )
    way = owner * 3 + np.minimum(labels.direction, 2)
    in_code = first_known(way, in_codes, count * 3)[way] if count else in_codes
    out_code = first_known(way, out_codes, count * 3)[way] if count else out_codes
    if witness is not None and count:
        client, dialled, seen, server = _ask(
            witness, crossings, owner, plain, client, dialled, seen, server
        )
    client = np.where(client == NOWHERE, seen, client)
    lost = client == NOWHERE  # all that was seen of it is an ICMP error, which quotes it
    client = np.where(lost, gather((~plain, crossings.quoted_source)), client)
    dialled = np.where(lost, gather((~plain, crossings.quoted_destination)), dialled)
    return Ends(client, dialled, seen, server, in_code, out_code)


def _ask(
    witness: Witness,
    crossings: Crossings,
    owner: Ints,
    plain: npt.NDArray[np.bool_],
    client: Ints,
    dialled: Ints,
    seen: Ints,
    server: Ints,
) -> tuple[Ints, Ints, Ints, Ints]:
    """The endpoints with what conntrack knows of connections that the taps do not show whole."""
    order = np.lexsort((crossings.time, ~plain, owner))
    first = order[np.flatnonzero(np.r_[True, np.diff(owner[order]) != 0])]
    open_ends = [known[first] == NOWHERE for known in (client, dialled, seen, server)]
    first = first[np.any(open_ends, axis=0) & plain[first]]
    row = np.full(len(first), NOWHERE)
    opens = (crossings.protocol[first] != 6) | (crossings.kind[first] == conntrack.SYN)
    for source, target in ((client, dialled), (seen, server), (client, server)):
        asking = np.flatnonzero(
            (row == NOWHERE) & (source[first] != NOWHERE) & (target[first] != NOWHERE)
        )
        at = first[asking]
        found, _ = witness.find(
            crossings.protocol[at], source[at], target[at], crossings.time[at], opens[asking]
        )
        row[asking] = found
    known = np.full(int(owner.max()) + 1, NOWHERE)
    known[owner[first]] = row
    each, e = known[owner], witness.events
    result = []
    for have, told in (
        (client, e.client),
        (dialled, e.dialled),
        (seen, e.seen),
        (server, e.server),
    ):
        result.append(np.where((have == NOWHERE) & (each != NOWHERE), told[each], have))
    return result[0], result[1], result[2], result[3]


@dataclass(frozen=True)
class Reading:
    """Labels under one way of opening, with their endpoints. ``joined``: the host is taken for a
    member of the multicast groups that packets came in for."""

    labels: Labels
    ends: Ends
    joined: bool


@dataclass(frozen=True)
class Alternatives:
    """What each pair may be: arrays (k,), grouped by ``pair``; the first of a pair is the
    likeliest.

    ``reading`` is the index of its :class:`Reading`; ``dialled`` replaces an unknown dialled
    endpoint (-1: none)."""

    pair: Ints
    reading: Ints
    dialled: Ints


def openings(
    crossings: Crossings,
    guess: npt.NDArray[np.int8],
    capture_begin: int,
    sequence: Ints,
    servers: frozenset[int],
    told: npt.NDArray[np.int8],
) -> list[npt.NDArray[np.int8]]:
    """Other ways for pairs to open, one array (pairs,) each; -1 where a pair has no such other way.

    ``sequence`` (n,): the ICMP sequence number of every crossing. ping(8) counts from 1, so that
    its first packet opens; and the direction of a query is the original one, whenever it began
    (nf_conntrack_proto_icmp.c). ``servers`` are endpoints that DNAT rules lead to: who is one of
    them was dialled; so was who has no ephemeral port where the other end has one (ip-sysctl,
    ip_local_port_range). ``told`` (pairs,): how conntrack says that they open (-1 untold): such a
    pair has no other way."""
    count = len(guess)
    order = np.lexsort((crossings.time, crossings.pair))
    first = (
        order[np.flatnonzero(np.r_[True, np.diff(crossings.pair[order]) != 0])]
        if len(order)
        else order
    )
    protocol, kind = crossings.protocol[first], crossings.kind[first]
    age = crossings.time[first] - capture_begin
    recent = ~np.isin(protocol, (1, 6, 17)) & (age < OTHER_MEMORY_NS)
    for number, memory in MEMORY_NS.items():
        recent |= (protocol == number) & (age < memory)
    recent &= (protocol != 1) | ((kind == conntrack.QUERY) & (sequence[first] > 1))
    # who answers a SYN was sent one: a capture that lost it is likelier than a host that never saw
    # it
    stream = (protocol == 6) & (kind != conntrack.SYN) & (kind != conntrack.SYNACK)
    open_question = np.zeros(count, dtype=bool)
    open_question[crossings.pair[first[recent | stream]]] = True
    open_question &= told < 0
    asks = np.full(count, -1, dtype=np.int8)
    asks[crossings.pair[first]] = _original_way(crossings, first, servers)
    others: list[npt.NDArray[np.int8]] = []
    for way in (FRESH, OLDER_FORWARD, OLDER_BACKWARD):
        fits = (way == FRESH) | (asks < 0) | (asks == way)
        other = np.where(open_question & (guess != way) & fits, way, -1).astype(np.int8)
        if (other >= 0).any():
            others.append(other)
    return others


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
    certain = (crossings.protocol[first] == 1) | (
        is_multicast(address_of(target))
    )  # a query; nobody is answered by a multicast group
    dials, answers = dials | certain, answers & ~certain
    forward = crossings.forward[first]
    way = np.where(dials == forward, OLDER_FORWARD, OLDER_BACKWARD)
    return np.where(dials | answers, way, -1).astype(np.int8)


def of_groups(crossings: Crossings) -> npt.NDArray[np.bool_]:
    """Crossings (n,) that came in for a multicast group that the host may have joined or not."""
    address = address_of(crossings.in_destination)
    result: npt.NDArray[np.bool_] = (
        crossings.entered & ~crossings.sent & is_multicast(address) & (address != ALL_HOSTS)
    )
    return result


def published_servers(rulesets: Iterable[Ruleset]) -> frozenset[int]:
    """The endpoints that DNAT rules lead to."""
    return frozenset(pack(address, port) for address, port in servers(dnat_rules(rulesets)))


def candidates(
    server: int, client: int, ways: Iterable[Door], host: Host, host_sent: bool
) -> tuple[int, ...]:
    """What the client may have dialled to reach ``server``, likeliest first; the identity is among
    them.

    Source selection tells most for the host's own packets: who dials an own address sends from it,
    who dials the container itself sends from the address that the route prefers (ip-route(8),
    fib_select_default)."""
    address, port = address_of(server), port_of(server)
    named = (end for door in ways for end in door.dialled((address, port), host))
    dialled = dict.fromkeys(pack(where, number) for where, number in named)
    if host_sent:
        own = [d for d in dialled if address_of(d) == address_of(client)]
        route = host.route(address)
        direct = route is None or not route.source or route.source == address_of(client)
        plain = [d for d in dialled if not host.is_local(address_of(d))]
        fitting = [*([server] if direct else []), *own, *([] if own else [server]), *plain]
        return tuple(dict.fromkeys(fitting))[:MAX_CANDIDATES]
    return tuple(dict.fromkeys([server, *dialled]))[:MAX_CANDIDATES]


def list_alternatives(
    crossings: Crossings,
    readings: list[Reading],
    asked: list[npt.NDArray[np.int8] | None],
    ways: Callable[[], list[Door]],
    host: Host,
) -> Alternatives:
    """Every alternative of every pair: each reading that was ``asked`` for it, with each candidate
    it needs. ``ways`` finds the ways to DNAT rules, once there is a use for them."""
    pairs: list[Ints] = []
    numbers: list[Ints] = []
    doors: list[Ints] = []
    count = int(crossings.pair.max()) + 1 if len(crossings) else 0
    for number, (reading, question) in enumerate(zip(readings, asked, strict=True)):
        concerned = np.ones(count, dtype=bool) if question is None else question >= 0
        needs = _undialled(crossings, reading, host)
        needs = needs if needs and ways() else {}
        plain = np.flatnonzero(concerned)
        listed = np.array([p for p in plain.tolist() if p not in needs], dtype=np.int64)
        pairs.append(listed)
        doors.append(np.full(len(listed), NOWHERE, dtype=np.int64))
        for asker, (server, client, host_sent) in needs.items():
            if not concerned[asker]:
                continue
            found = candidates(server, client, ways(), host, host_sent)
            pairs.append(np.full(len(found), asker, dtype=np.int64))
            doors.append(np.array(found, dtype=np.int64))
        numbers.append(
            np.full(sum(map(len, pairs)) - sum(map(len, numbers)), number, dtype=np.int64)
        )
    pair, dialled = np.concatenate(pairs), np.concatenate(doors)
    order = np.argsort(pair, kind="stable")
    return Alternatives(pair[order], np.concatenate(numbers)[order], dialled[order])


def _undialled(
    crossings: Crossings, reading: Reading, host: Host
) -> dict[int, tuple[int, int, bool]]:
    """pair -> (server, client, sent by the host) where no tap saw what the client dialled.

    What was seen leaving only was sent by the host where it bears an address of the host's; else it
    came in unseen."""
    labels, ends = reading.labels, reading.ends
    unseen = (ends.dialled == NOWHERE) & (ends.server != NOWHERE) & (labels.direction == ORIGINAL)
    unseen &= crossings.kind != RELATED_KIND
    rows = np.flatnonzero(unseen)
    _, first = np.unique(crossings.pair[rows], return_index=True)
    return {
        int(crossings.pair[row]): (
            int(ends.server[row]),
            int(ends.client[row]),
            not bool(crossings.entered[row]) and host.is_local(address_of(int(ends.client[row]))),
        )
        for row in rows[first].tolist()
    }
