"""The endpoints of every connection, gathered from all its packets.

Each sight of a packet shows some of the four endpoints, by where its tap sits::

                    before NAT                       after NAT
    original   client -> dialled  | DNAT, SNAT |  seen -> server
    reply      client <- dialled  | undone     |  seen <- server

``client`` dialled ``dialled``; ``server`` answered who it saw as ``seen``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.endpoints import NOWHERE
from correlator.flows import conntrack
from correlator.flows.conntrack import ORIGINAL, RELATED_KIND, REPLY, S_RELATED

if TYPE_CHECKING:
    from correlator.arrays import Bools, Ints
    from correlator.flows.conntrack_events import Witness
    from correlator.flows.labels import Labels
    from correlator.flows.pairs import Crossings


@dataclass(frozen=True)
class Ends:
    """A connection's endpoints, one row a crossing (n,), -1 unknown.

    ``client`` dialled ``dialled``; the ``server`` was reached and saw the client as ``seen``: the
    original tuple is client -> dialled, the reply tuple server -> seen. ``in_code``/``out_code``:
    interface by which this direction of the connection comes in and leaves, as any of its crossings
    shows (-1 none). ``shown`` bool: a tap or conntrack showed the client; else it is taken for who
    the server saw, which source NAT may have made of it."""

    client: Ints
    dialled: Ints
    seen: Ints
    server: Ints
    in_code: Ints
    out_code: Ints
    shown: Bools


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
    # PREROUTING, as does its transmit of frames that are bridged to whom DNAT leads
    before = crossings.entered & ~crossings.loop & ~crossings.after_prerouting
    after = crossings.entered & ~crossings.loop & crossings.after_prerouting
    received = crossings.entered & ~crossings.loop
    midway = crossings.midway
    sent = crossings.sent & ~midway

    def gather(*seen: tuple[Bools, Ints]) -> Ints:
        best = np.full(count, NOWHERE, dtype=np.int64)
        for where, values in seen:
            found = first_known(owner, np.where(where, values, NOWHERE), count)
            best = np.where(best == NOWHERE, found, best)
        return best[owner] if count else best

    client = gather(
        (original & received, crossings.in_source),
        (reply & sent, crossings.out_destination),
        (reply & after, crossings.in_destination),
        (original & midway, crossings.out_source),
        (reply & midway, crossings.out_destination),
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
        (original & midway, crossings.out_destination),
        (reply & midway, crossings.out_source),
        (original, told),
    )
    way = owner * 3 + np.minimum(labels.direction, 2)
    in_code = first_known(way, in_codes, count * 3)[way] if count else in_codes
    out_code = first_known(way, out_codes, count * 3)[way] if count else out_codes
    if witness is not None and count:
        client, dialled, seen, server = _ask(
            witness, crossings, owner, plain, client, dialled, seen, server
        )
    shown = client != NOWHERE
    client = np.where(client == NOWHERE, seen, client)
    lost = client == NOWHERE  # all that was seen of it is an ICMP error, which quotes it
    client = np.where(lost, gather((~plain, crossings.quoted_source)), client)
    dialled = np.where(lost, gather((~plain, crossings.quoted_destination)), dialled)
    return Ends(client, dialled, seen, server, in_code, out_code, shown)


def _ask(
    witness: Witness,
    crossings: Crossings,
    owner: Ints,
    plain: Bools,
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
