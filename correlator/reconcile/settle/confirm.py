"""Hits of ordinary packets against what counters counted of their rule, told in order of time, a
block of packets at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.possible.moments import SLACK_NS
from correlator.reconcile.tables.hits import place_hits

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from correlator.reconcile.pipeline import Verdict
    from correlator.reconcile.possible.decided import Block
    from correlator.reconcile.tally import Members, Tally

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]


UNCONFIRMED, FEWER, COVERED = 1, 2, 4
"""What counters say of some hits of one rule: some is not confirmed; its rule counted fewer than
that; some lies between samples."""
Doubts = dict[int, "npt.NDArray[np.uint8]"]
"""entry -> these bits by connection and direction (row of the fold's connections * 2 + direction);
0 where there is no hit."""


@dataclass(frozen=True)
class Placed:
    """Some hits of an ``entry`` (h,): ``packet`` its number among ordinary ones, ``owner`` row of
    the fold's connections, ``combination``; ``interval`` (-1: outside of all samples), ``good`` and
    ``over`` as :func:`place_hits` tells them."""

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
    alike: dict[Members, list[int]] = {}
    for entry in entries:
        alike.setdefault(verdict.tallies.alike(entry)[1], []).append(entry)
    waiting = {members: np.zeros((4, 0), dtype=np.int64) for members in alike}
    passed = dict.fromkeys(entries, 0)
    for number, (block, part) in enumerate(ordinary.parts()):
        until = (
            begins[number + 1] - SLACK_NS if number + 1 < len(begins) else None
        )  # later blocks' hits are not before that
        for members, same in alike.items():
            rows = _in_order(
                np.concatenate([waiting[members], _hits(block, part, same[0])], axis=1)
            )
            sure = rows.shape[1] if until is None else int(np.searchsorted(rows[0], until))
            waiting[members] = rows[:, sure:].copy()
            low, packet, owner, combination = rows[:, :sure]
            for entry in same if sure else ():
                yield Placed(
                    entry,
                    packet,
                    owner,
                    combination,
                    *place_hits(verdict, entry, _ranks(verdict, entry, low, passed)),
                )


def doubts_of(verdict: Verdict, entries: Sequence[int]) -> Doubts:
    """What counters say of these entries' hits by ordinary connections."""
    ordinary = verdict.ordinary
    found = (
        {entry: np.zeros(2 * len(ordinary.kept), dtype=np.uint8) for entry in entries}
        if ordinary is not None
        else {}
    )
    for part in placed(verdict, entries):
        assert ordinary is not None
        side = part.owner * 2 + ordinary.reply[part.combination]
        for bit, which in (
            (UNCONFIRMED, ~part.good),
            (FEWER, part.over),
            (COVERED, part.interval >= 0),
        ):
            found[part.entry][side[which]] |= np.uint8(bit)
    return found


def _hits(block: Block, part: Tally, entry: int) -> Ints:
    """(time, packet, owner, combination) of an entry's hits in a block, int64 (4, h)."""
    members = part.members.get(entry, ())
    packet = part.gather(part.packet, members)
    return np.stack(
        [
            part.gather(part.low, members),
            packet.astype(np.int64) + block.first,
            block.owner[packet].astype(np.int64),
            block.combination[packet].astype(np.int64),
        ]
    )


def _in_order(rows: Ints) -> Ints:
    """Hits by time, then packet; the order of packets mostly is that of times."""
    rows = rows[:, np.argsort(rows[1], kind="stable")]
    return (
        rows if (rows[0, 1:] >= rows[0, :-1]).all() else rows[:, np.argsort(rows[0], kind="stable")]
    )


def _ranks(verdict: Verdict, entry: int, low: Ints, passed: dict[int, int]) -> Ints:
    """The number of each of these hits among all of the entry's, in order of time; as many more
    have ``passed``."""
    start, end = np.searchsorted(verdict.hits.entry, [entry, entry + 1])
    ranks: Ints = (
        passed[entry]
        + np.arange(len(low))
        + np.searchsorted(verdict.hits.low[start:end], low, side="right")
    )
    passed[entry] += len(low)
    return ranks
