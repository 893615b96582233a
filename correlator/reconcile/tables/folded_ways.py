"""Packets of ordinary connections by what they went alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.settle.confirm import doubted_entries, placed, uncounted
from correlator.reconcile.settle.judge import Fact, add_facts
from correlator.reconcile.tables.grouped import Grouped

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools, Ints
    from correlator.reconcile.possible.decided import Block, Ordinary
    from correlator.reconcile.settle.books import Books
    from correlator.reconcile.settle.hits import Hits
    from correlator.reconcile.settle.judge import Facts

FACTS = 1 << 32
"""How many sets of facts uint32 tells apart."""


@dataclass(frozen=True)
class PacketFacts:
    """What the judge is told of packets: of each combination uint32 (rows,), and besides of each
    packet uint32 (n,), where some rule's hits are not plainly confirmed."""

    of_combination: Facts
    of_packet: Facts | None

    @staticmethod
    def of(ordinary: Ordinary, books: Books | None, others: Hits) -> PacketFacts:
        """Those of all ordinary packets of a verdict."""
        doubted, nothing = doubted_entries(books), uncounted(books)
        some = set(doubted)
        sure = [
            nothing | Fact.COVERED if way is not None and not set(way.hits) <= some else nothing
            for way in ordinary.way
        ]
        told = np.zeros(int(ordinary.taken.sum()), dtype=np.uint32) if doubted else None
        for part in placed(ordinary, books, others, doubted) if books is not None else ():
            assert told is not None
            add_facts(told, part.packet, part.facts)
        return PacketFacts(np.array(sure, dtype=np.uint32), told)

    def at(self, block: Block, which: Ints | slice) -> Facts:
        """The facts of some packets of a block."""
        facts = self.of_combination[block.combination[which]]
        return (
            facts
            if self.of_packet is None
            else facts | self.of_packet[block.first : block.first + len(block)][which]
        )


@dataclass(frozen=True)
class AlikePackets:
    """Packets that went alike: the ``combination``, ``owner`` and ``kind`` of the first one; how
    many ``packets`` and ``bytes``, when the ``first`` and the ``last`` came, and the ``facts`` of
    all."""

    combination: int
    owner: int
    kind: int
    packets: int
    bytes: int
    first: int
    last: int
    facts: int


@dataclass(frozen=True)
class OrdinaryPackets:
    """Packets (n,) of some connections, in order of time; ``wanted`` bool (c,) tells which,
    ``grouped`` by connection."""

    wanted: Bools
    grouped: Grouped
    combination: npt.NDArray[np.int32]
    length: npt.NDArray[np.int32]
    came: Ints
    kind: npt.NDArray[np.uint16]
    owner: npt.NDArray[np.int32]
    facts: Facts

    @staticmethod
    def of(ordinary: Ordinary, facts: PacketFacts, wanted: Bools) -> OrdinaryPackets:
        """Those of the connections that are ``wanted``, (c,)."""
        parts = []
        for block in ordinary.blocks():
            at = np.flatnonzero(wanted[block.owner])
            columns = (block.combination, block.length, block.came, block.kind, block.owner)
            parts.append((*(column[at] for column in columns), facts.at(block, at)))
        combination, length, came, kind, owner, told = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        return OrdinaryPackets(
            wanted, Grouped.by(owner, len(wanted)), combination, length, came, kind, owner, told
        )

    def alike(self, rows: Ints) -> AlikePackets:
        """Some that went alike."""
        at, came = int(rows[0]), self.came[rows]
        return AlikePackets(
            int(self.combination[at]),
            int(self.owner[at]),
            int(self.kind[at]),
            len(rows),
            int(self.length[rows].sum()),
            int(came.min()),
            int(came.max()),
            int(np.bitwise_or.reduce(self.facts[rows])),
        )


def all_alike(ordinary: Ordinary, facts: PacketFacts) -> list[AlikePackets]:
    """All packets, by combination and flags."""
    found: dict[int, AlikePackets] = {}
    for block in ordinary.blocks():
        told = facts.at(block, slice(None))
        code = block.combination.astype(np.int64) * FACTS + told
        groups, place, number = np.unique(code, return_inverse=True, return_counts=True)
        size = np.bincount(place, block.length)
        for at_group, group in enumerate(groups.tolist()):
            mine = place == at_group
            at = int(mine.argmax())
            first, last = (
                int(block.came[at]),
                int(block.came[len(mine) - 1 - int(mine[::-1].argmax())]),
            )  # in order of time
            one = AlikePackets(
                int(block.combination[at]),
                int(block.owner[at]),
                int(block.kind[at]),
                int(number[at_group]),
                int(size[at_group]),
                first,
                last,
                int(told[at]),
            )
            old = found.get(group)
            found[group] = (
                one
                if old is None
                else replace(
                    old,
                    packets=old.packets + one.packets,
                    bytes=old.bytes + one.bytes,
                    last=one.last,
                )
            )
    return [found[group] for group in sorted(found)]
