"""Hits of ordinary packets against what counters counted of their rule, told in order of time, a block of packets at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.moments import SLACK_NS
from correlator.reconcile.tables import place_hits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from correlator.reconcile.ordinary import Block
    from correlator.reconcile.replay import Verdict
    from correlator.reconcile.tally import Tally

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Placed:
    """Some hits of an ``entry`` (h,): ``packet`` its number among ordinary ones, ``owner`` row of the fold's connections,
    ``combination``; ``interval`` (-1: outside of all samples), ``good`` and ``over`` as :func:`place_hits` tells them."""

    entry: int
    packet: Ints
    owner: Ints
    combination: Ints
    interval: Ints
    good: Bools
    over: Bools


def placed(verdict: Verdict, entries: Sequence[int]) -> Iterator[Placed]:
    """All hits of these entries by ordinary connections."""
    ordinary = verdict.ordinary
    if ordinary is None or not entries:
        return
    begins = ordinary.folded.packets.begins
    waiting = {entry: np.zeros((4, 0), dtype=np.int64) for entry in entries}
    passed = dict.fromkeys(entries, 0)
    for number, (block, part) in enumerate(ordinary.parts()):
        until = begins[number + 1] - SLACK_NS if number + 1 < len(begins) else None  # later blocks' hits are not before that
        for entry in entries:
            rows = np.concatenate([waiting[entry], _hits(block, part, entry)], axis=1)
            rows = rows[:, np.lexsort((rows[1], rows[0]))]
            sure = rows.shape[1] if until is None else int(np.searchsorted(rows[0], until))
            waiting[entry] = rows[:, sure:].copy()
            if sure:
                low, packet, owner, combination = rows[:, :sure]
                yield Placed(entry, packet, owner, combination, *place_hits(verdict, entry, _ranks(verdict, entry, low, passed)))


def _hits(block: Block, part: Tally, entry: int) -> Ints:
    """(time, packet, owner, combination) of an entry's hits in a block, int64 (4, h)."""
    members = part.members.get(entry, ())
    packet = part.gather(part.packet, members)
    return np.stack([
        part.gather(part.low, members), packet.astype(np.int64) + block.first, block.owner[packet].astype(np.int64),
        block.combination[packet].astype(np.int64),
    ])  # fmt: skip


def _ranks(verdict: Verdict, entry: int, low: Ints, passed: dict[int, int]) -> Ints:
    """The number of each of these hits among all of the entry's, in order of time; as many more have ``passed``."""
    start, end = np.searchsorted(verdict.hits.entry, [entry, entry + 1])
    ranks: Ints = passed[entry] + np.arange(len(low)) + np.searchsorted(verdict.hits.low[start:end], low, side="right")
    passed[entry] += len(low)
    return ranks
