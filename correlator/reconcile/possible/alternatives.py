"""Alternatives: what the packets of a pair may mean where they alone do not tell.

A pair of endpoints whose first packet may open its connection or continue an older one has several;
so has one whose dialled destination no tap saw (the host's own packets; what a bridge
delivers after its PREROUTING). Each is a row of :class:`Alternatives`; rules, wire and counters
choose among them later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.addresses import is_loopback
from correlator.endpoints import NOWHERE, address_of, pack, port_of
from correlator.firewall.published import Door, dnat_rules, servers
from correlator.flows.conntrack import ORIGINAL, RELATED_KIND, REPLY
from correlator.flows.labels import Labels
from correlator.flows.pairs import Crossings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import numpy.typing as npt

    from correlator.arrays import Ints
    from correlator.firewall.model import Ruleset
    from correlator.firewall.view import Host
    from correlator.reconcile.possible.ends import Ends


MAX_CANDIDATES = 12


@dataclass(frozen=True)
class Hypothesis:
    """Labels under one way of opening, with their endpoints. ``joined``: the host is taken for a
    member of the multicast groups that packets came in for."""

    labels: Labels
    ends: Ends
    joined: bool


@dataclass(frozen=True)
class Alternatives:
    """What each pair may be: arrays (k,), grouped by ``pair``; the first of a pair is the
    likeliest.

    ``hypothesis`` is the index of its :class:`Hypothesis`; ``dialled`` replaces an unknown dialled
    endpoint, ``client`` the client's, where it is another than who was seen (-1: none)."""

    pair: Ints
    hypothesis: Ints
    dialled: Ints
    client: Ints


def published_servers(rulesets: Iterable[Ruleset]) -> frozenset[int]:
    """The endpoints that DNAT rules lead to."""
    return frozenset(pack(address, port) for address, port in servers(dnat_rules(rulesets)))


def candidates(
    server: int, client: int, ways: Iterable[Door], host: Host, host_sent: bool
) -> tuple[int, ...]:
    """What the client may have dialled to reach ``server``, likeliest first; the identity is among
    them.

    Source selection tells most for the host's own packets: who dials an own address sends from it,
    or from the first one of its interface; who dials the container itself sends from the address
    that the route prefers (ip-route(8), fib_select_default)."""
    address, port = address_of(server), port_of(server)
    named = (end for door in ways for end in door.dialled((address, port), host))
    inside = is_loopback(address_of(client))  # who dials 127.0.0.0/8 sends from there, nobody else
    dialled = dict.fromkeys(
        pack(where, number) for where, number in named if is_loopback(where) == inside
    )
    if host_sent and inside:
        return (*dialled, server)[:MAX_CANDIDATES]
    if host_sent:
        own = [
            d
            for d in dialled
            if address_of(client) in (address_of(d), host.source_for(address_of(d)))
        ]
        route = host.route(address)
        direct = route is None or not route.source or route.source == address_of(client)
        plain = [d for d in dialled if not host.is_local(address_of(d))]
        fitting = [*([server] if direct else []), *own, *([] if own else [server]), *plain]
        return tuple(dict.fromkeys(fitting))[:MAX_CANDIDATES]
    return tuple(dict.fromkeys([server, *dialled]))[:MAX_CANDIDATES]


def hidden_clients(
    server: int, seen: int, ways: Iterable[Door], host: Host
) -> tuple[tuple[int, int], ...]:
    """(dialled, client) of the host's own connections to ``server`` whose source was rewritten to
    ``seen`` where no tap looked: each address that may have been dialled, from the source that the
    kernel gives to what goes there."""
    end = (address_of(server), port_of(server))
    named = [pack(*dialled) for door in ways for dialled in door.dialled(end, host)]
    found = {
        dialled: host.source_for(address_of(dialled)) for dialled in dict.fromkeys([*named, server])
    }
    return tuple(
        (dialled, pack(source, port_of(seen)))
        for dialled, source in found.items()
        if source and source != address_of(seen)
    )[:MAX_CANDIDATES]


def list_alternatives(
    crossings: Crossings,
    hypotheses: list[Hypothesis],
    asked: list[npt.NDArray[np.int8] | None],
    ways: Callable[[], list[Door]],
    host: Host,
    rewrites: bool,
) -> Alternatives:
    """Every alternative of every pair: each hypothesis that was ``asked`` for it, with each
    candidate it needs. ``ways`` finds the ways to DNAT rules, once there is a use for them;
    ``rewrites``: some rule rewrites sources."""
    pairs: list[Ints] = []
    numbers: list[Ints] = []
    doors: list[Ints] = []
    clients: list[Ints] = []
    count = int(crossings.pair.max()) + 1 if len(crossings) else 0
    for number, (hypothesis, question) in enumerate(zip(hypotheses, asked, strict=True)):
        concerned = np.ones(count, dtype=bool) if question is None else question >= 0
        needs = _undialled(crossings, hypothesis, host)
        needs = needs if needs and ways() else {}
        plain = np.flatnonzero(concerned)
        listed = np.array([p for p in plain.tolist() if p not in needs], dtype=np.int64)
        pairs.append(listed)
        doors.append(np.full(len(listed), NOWHERE, dtype=np.int64))
        clients.append(doors[-1])
        for asker, (server, client, host_sent, shown) in needs.items():
            if not concerned[asker]:
                continue
            dialled_by = candidates(server, client, ways(), host, host_sent)
            found = [(end, int(NOWHERE)) for end in dialled_by]
            if host_sent and rewrites and not shown:
                found += hidden_clients(server, client, ways(), host)
            pairs.append(np.full(len(found), asker, dtype=np.int64))
            table = np.array(found, dtype=np.int64).reshape(-1, 2)
            doors.append(table[:, 0])
            clients.append(table[:, 1])
        numbers.append(
            np.full(sum(map(len, pairs)) - sum(map(len, numbers)), number, dtype=np.int64)
        )
    order = np.argsort(np.concatenate(pairs), kind="stable")
    columns = (np.concatenate(parts)[order] for parts in (pairs, numbers, doors, clients))
    return Alternatives(*columns)


def _undialled(
    crossings: Crossings, hypothesis: Hypothesis, host: Host
) -> dict[int, tuple[int, int, bool, bool]]:
    """pair -> (server, client, sent by the host, the client was shown) where no tap saw what the
    client dialled.

    What was seen leaving only was sent by the host where it bears an address of the host's; else it
    came in unseen. Of some only answers were seen: what the host did not send on is for itself."""
    labels, ends = hypothesis.labels, hypothesis.ends
    unseen = (ends.dialled == NOWHERE) & (ends.server != NOWHERE) & (labels.direction <= REPLY)
    unseen &= (crossings.kind != RELATED_KIND) & (ends.client != NOWHERE)
    rows = np.flatnonzero(unseen)
    rows = rows[np.argsort(labels.direction[rows], kind="stable")]
    _, first = np.unique(crossings.pair[rows], return_index=True)
    own = np.where(labels.direction == ORIGINAL, ~crossings.entered, ~crossings.sent)
    return {
        int(crossings.pair[row]): (
            int(ends.server[row]),
            int(ends.client[row]),
            bool(own[row]) and host.is_local(address_of(int(ends.client[row]))),
            bool(ends.shown[row]),
        )
        for row in rows[first].tolist()
    }
