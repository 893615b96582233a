"""Connections that were decided while they were folded: what became of all their packets.

Which packet is of which combination of classes is worked out a block at a time, from what the fold
kept of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.possible.cells import Cells, cells_of, patterns_of
from correlator.reconcile.tally import Tally, tally
from correlator.reconcile.times import widen

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from correlator.arrays import Bools, Ints
    from correlator.flows.fold.folded import Folded
    from correlator.flows.fold.packets import Packets
    from correlator.reconcile.intake.timetable import Timetable
    from correlator.reconcile.possible.rows import Rows
    from correlator.reconcile.possible.walks import Walked, Way


@dataclass(frozen=True)
class Block:
    """Packets of ordinary connections (n,), in order of ``came`` (epoch ns): numbered from
    ``first``; ``owner`` row of ``folded.connections``, ``kind`` row of ``folded.kinds``,
    ``combination`` row of the ordinary's ``rows``, ``span`` ns until it left, ``length`` bytes
    (L3)."""

    first: int
    owner: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint16]
    combination: npt.NDArray[np.int32]
    came: Ints
    span: npt.NDArray[np.int32]
    length: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def moments(self) -> tuple[Ints, Ints]:
        """The earliest and the latest time at which each was counted."""
        return widen(self.came, self.came + self.span)


@dataclass(frozen=True)
class Ordinary:
    """Connections that are decided. ``folded`` holds them among others; arrays over its connections
    (c,): ``kept`` bool, ``group`` int32 (class of endpoints). ``timetable`` tells the stage that a
    packet met, and ``combination``, int32 (groups, kinds) of each stage, the row of ``rows`` and
    ``walked`` that stands for it (-1: it does not occur). ``way`` (rows,): the one way of each;
    None where it is left to others. ``names``: interfaces by code."""

    folded: Folded
    kept: Bools
    group: npt.NDArray[np.int32]
    timetable: Timetable
    combination: dict[int, npt.NDArray[np.int32]]
    rows: Rows
    walked: Walked
    way: tuple[Way | None, ...]
    names: tuple[str, ...]

    def blocks(self) -> Iterator[Block]:
        """The packets of these connections, in order of time, a block at a time."""
        if len(self.folded.packets.begins) == 1:
            yield self.whole
            return
        first = 0
        for packets in self.folded.packets:
            block = self._block(packets, first)
            yield block
            first += len(block.owner)

    def blocks_of(self, wanted: Bools) -> Iterator[Block]:
        """The packets of those ``wanted`` (c,), which are among these connections, in the same
        order; without their numbers."""
        for packets in self.folded.packets:
            yield self._block(packets.take(wanted[packets.owner]), 0)

    def _block(self, packets: Packets, first: int) -> Block:
        if not self.kept.all():
            packets = packets.take(self.kept[packets.owner])
        combination = np.empty(len(packets), dtype=np.int32)
        for which, stage in self.timetable.stretches(packets.came, packets.span):
            combination[which] = self.combination[stage][
                self.group[packets.owner[which]], packets.kind[which]
            ]
        return Block(
            first,
            packets.owner,
            packets.kind,
            combination,
            packets.came,
            packets.span,
            packets.length,
        )

    @cached_property
    def hits(self) -> tuple[tuple[int, ...], ...]:
        """What the way of each combination hits."""
        return tuple(way.hits if way is not None else () for way in self.way)

    @cached_property
    def tally(self) -> Tally | None:
        """The only block's packets by way; None where there are more blocks."""
        return self._tally(self.whole) if len(self.folded.packets.begins) == 1 else None

    def tallies(self) -> Iterator[Tally]:
        """Every block's packets by way."""
        for _, part in self.parts():
            yield part

    def parts(self) -> Iterator[tuple[Block, Tally]]:
        """Every block with its packets by way: put together once where there is one block, else
        whenever they are read."""
        for block in self.blocks():
            yield block, self.tally if self.tally is not None else self._tally(block)

    def _tally(self, block: Block) -> Tally:
        return tally(self.hits, block.combination, *block.moments, block.length)

    @cached_property
    def whole(self) -> Block:
        """All of them in memory, for who asks of single ones."""
        return self._block(self.folded.whole, 0)

    @cached_property
    def reply(self) -> npt.NDArray[np.uint8]:
        """0 original, 1 reply, of each combination."""
        return self.rows.columns["reply"].astype(np.uint8)

    @cached_property
    def group_of(self) -> Ints:
        """The class of endpoints of each combination; int64 (rows,)."""
        result = np.zeros(len(self.way), dtype=np.int64)
        for combination in self.combination.values():
            group, kind = np.nonzero(combination >= 0)
            result[combination[group, kind]] = group
        return result

    @cached_property
    def cells(self) -> Cells:
        """A cell for every combination that packets of each connection can be of."""
        return cells_of(self.group, self.group_of, self.kept)

    @cached_property
    def patterns(self) -> tuple[tuple[int, Ints], ...]:
        """How many connections have packets of just these combinations, of each set of them that
        occurs."""
        packets = ((block.owner, block.combination) for block in self.blocks())
        return patterns_of(self.cells, self.group, self.kept, packets)

    @cached_property
    def opening(self) -> npt.NDArray[np.int32]:
        """The combination of every connection's first packet, int32 (c,); of those that are not
        kept it means nothing."""
        kind = self.folded.connections["kind"]
        if len(self.combination) == 1:
            only: npt.NDArray[np.int32] = next(iter(self.combination.values()))[self.group, kind]
            return only
        result = np.full(len(self.kept), -1, dtype=np.int32)
        for block in self.blocks():
            fresh = np.flatnonzero(result[block.owner] < 0)[
                ::-1
            ]  # of several values for one place, the last one stays
            result[block.owner[fresh]] = block.combination[fresh]
        return result

    @cached_property
    def taken(self) -> Ints:
        """How many packets are of each combination; int64 (rows,)."""
        result = np.zeros(len(self.way), dtype=np.int64)
        for block in self.blocks():
            result += np.bincount(block.combination, minlength=len(self.way))
        return result
