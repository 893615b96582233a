"""What packets of both families meet: chains of family inet, whose counters count them all.

Each family is reconciled on its own, and holds the counters against the hits of both::

    IPv4 without these counters -> IPv6 beside it -> IPv4 beside that -> ... until both agree"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.firewall.model import SHARED
from correlator.reconcile.tally import Tally, tally

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.reconcile.intake.generations import Register
    from correlator.reconcile.verdict import Verdict


@dataclass(frozen=True)
class Shared:
    """``entries`` (numbers of the register) that count the packets of both families, and the
    ``hits`` of the other one's; None where nobody knows them yet."""

    entries: Ints
    hits: Tally | None = None


def shared_entries(one: Register, other: Register) -> Ints:
    """The numbers in ``one`` of entries with counters that both registers have."""
    return np.array(
        [
            number
            for number, entry in enumerate(one.entries)
            if entry.family in SHARED and entry.counted and entry.identity in other.index
        ],
        dtype=np.int64,
    )


def hits_beside(verdict: Verdict, register: Register) -> Tally:
    """The hits of a verdict on entries that another family's ``register`` has, in its numbers."""
    own = verdict.stages.register
    place = {
        own.index[register.entries[number].identity]: number
        for number in shared_entries(register, own).tolist()
    }
    ways: list[tuple[int, ...]] = []
    way, low, high, size = ([np.zeros(0, dtype=np.int64)] for _ in range(4))
    for part in (verdict.hits.own, *verdict.hits.blocks()):
        way.append(len(ways) + np.repeat(np.arange(len(part.ways)), np.diff(part.offsets)))
        ways += [tuple(place[hit] for hit in hits if hit in place) for hits in part.ways]
        low.append(part.low)
        high.append(part.high)
        size.append(part.bytes.astype(np.int64))
    met = np.array([bool(hits) for hits in ways] or [False])
    of = np.concatenate(way)
    there = met[of]
    return tally(ways, of[there], *(np.concatenate(one)[there] for one in (low, high, size)))
