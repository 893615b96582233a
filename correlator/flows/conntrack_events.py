"""Conntrack's own word on connections: their tuples on both sides of NAT, and whether they are
older than the capture.

A packet of a connection is seen under one of three pairs of endpoints, whichever tap saw it: the
original tuple (client, dialled), the reply tuple turned round (seen, server), or what FORWARD sees
(client, server)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from correlator.decode.events import DESTROY, LISTED, NEW, ConntrackEvents
from correlator.flows.conntrack import RELATED_KIND, SYN
from correlator.flows.keys import mix
from correlator.flows.labels import FRESH, OLDER_BACKWARD, OLDER_FORWARD, first_of_pairs

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools, Bytes, Ints
    from correlator.flows.pairs import Crossings

LAG_NS = 1_000_000_000
"""An event is read at most this long after the packet that made it."""
CLOSE_NS = 1_000_000
NONE = np.int64(-1)


@dataclass(frozen=True)
class Witness:
    """``events``: those that tell of a connection's existence (k rows); ``names`` uint64 (3k,):
    every pair of endpoints under which it may be seen, with ``row`` int64 (3k,), ``begun`` and
    ``ended`` (epoch ns; 0: before the capture)."""

    events: ConntrackEvents
    names: npt.NDArray[np.uint64]
    row: Ints
    begun: Ints
    ended: Ints

    def find(
        self, protocol: Ints, source: Ints, target: Ints, time: Ints, opens: Bools
    ) -> tuple[Ints, Bools]:
        """(row of ``events`` for packets seen from ``source`` to ``target`` in the original
        direction, whether it began just then); -1 where conntrack tells nothing. All (n,);
        ``opens``: the packet may open a connection."""
        asked = pd.DataFrame(
            {"name": mix(protocol, source, target), "time": time, "n": np.arange(len(time))}
        )
        asked = asked.sort_values("time", kind="stable")
        told = pd.DataFrame(
            {"name": self.names, "time": self.begun, "at": np.arange(len(self.names))}
        )
        told = told.sort_values(["time", "at"], kind="stable")
        born = told[told["time"] > 0]
        late = asked.assign(time=asked["time"] - CLOSE_NS)
        later = pd.merge_asof(
            late, born, on="time", by="name", direction="forward", tolerance=LAG_NS
        )["at"].to_numpy()
        before = pd.merge_asof(asked, told, on="time", by="name", direction="backward")[
            "at"
        ].to_numpy()
        order = asked["n"].to_numpy()
        fresh = np.full(len(time), NONE)
        fresh[order] = np.where(np.isnan(later), -1, later).astype(np.int64)
        older = np.full(len(time), NONE)
        older[order] = np.where(np.isnan(before), -1, before).astype(np.int64)
        older = np.where((older >= 0) & (self.ended[older] >= time - CLOSE_NS), older, NONE)
        first, second = np.where(opens, fresh, older), np.where(opens, older, fresh)
        at = np.where(first >= 0, first, second)
        new = (at >= 0) & (at == fresh)
        return np.where(at >= 0, self.row[at], NONE), new


def build_witness(events: ConntrackEvents) -> Witness | None:
    """What the events tell; None where they tell of no connection."""
    e = events
    tells = np.flatnonzero(e.kind != DESTROY)
    tells = tells[_unmistakable(e, tells)]
    if not len(tells):
        return None
    kept = e.take(tells)
    begun = np.where(kept.kind == NEW, kept.time, 0)
    whole = mix(e.protocol, e.client, e.dialled, e.server, e.seen)
    gone = e.kind == DESTROY
    ends = pd.DataFrame(
        {"name": whole[gone], "time": e.time[gone], "ended": e.time[gone]}
    ).sort_values("time", kind="stable")
    lives = pd.DataFrame(
        {"name": whole[tells], "time": begun, "n": np.arange(len(tells))}
    ).sort_values("time", kind="stable")
    found = pd.merge_asof(lives, ends, on="time", by="name", direction="forward")
    ended = np.full(len(tells), np.iinfo(np.int64).max)
    known = found["ended"].notna().to_numpy()
    ended[found["n"].to_numpy()[known]] = found["ended"].to_numpy()[known].astype(np.int64)
    row = np.tile(np.arange(len(tells)), 3)
    return Witness(kept, _names(kept), row, np.tile(begun, 3), np.tile(ended, 3))


def _names(e: ConntrackEvents) -> npt.NDArray[np.uint64]:
    """Every pair of endpoints under which a connection may be seen, (3k,)."""
    pairs = ((e.client, e.dialled), (e.seen, e.server), (e.client, e.server))
    return np.concatenate([mix(e.protocol, *pair) for pair in pairs])


def _unmistakable(events: ConntrackEvents, rows: Ints) -> Bools:
    """Which of these rows are the only tuples under their names, or have a time of their own. What
    is listed without its age could be either of two connections that share a pair of endpoints."""
    whole = mix(events.protocol, events.client, events.dialled, events.server, events.seen)
    names = pd.DataFrame({"name": _names(events), "whole": np.tile(whole, 3)})
    several = names.groupby("name", sort=False)["whole"].transform("nunique").to_numpy() > 1
    mistakable = several.reshape(3, -1).any(axis=0)
    result: Bools = (events.kind[rows] != LISTED) | ~mistakable[rows]
    return result


def told_openings(witness: Witness | None, crossings: Crossings) -> Bytes:
    """How conntrack says that every pair opens (FRESH, OLDER_FORWARD, OLDER_BACKWARD), int8
    (pairs,); -1 untold."""
    count = int(crossings.pair.max()) + 1 if len(crossings) else 0
    result = np.full(count, -1, dtype=np.int8)
    if witness is None or not count:
        return result
    first = first_of_pairs(crossings)
    source = np.where(crossings.entered, crossings.in_source, crossings.out_source)[first]
    target = np.where(crossings.entered, crossings.in_destination, crossings.out_destination)[first]
    protocol, time, kind = (c[first] for c in (crossings.protocol, crossings.time, crossings.kind))
    opens = (protocol != 6) | (kind == SYN)
    along, new = witness.find(protocol, source, target, time, opens)
    against, new_against = witness.find(protocol, target, source, time, opens & False)
    forward = crossings.forward[first]
    plain = kind != RELATED_KIND
    result[crossings.pair[first[(along >= 0) & new & opens & plain]]] = FRESH
    older = np.where(forward, OLDER_FORWARD, OLDER_BACKWARD)
    other = np.where(forward, OLDER_BACKWARD, OLDER_FORWARD)
    aged = witness.events.kind != LISTED
    is_older = (along >= 0) & ~new & plain & aged[along]
    is_other = (along < 0) & (against >= 0) & ~new_against & plain & aged[against]
    result[crossings.pair[first[is_older]]] = older[is_older]
    result[crossings.pair[first[is_other]]] = other[is_other]
    return result
