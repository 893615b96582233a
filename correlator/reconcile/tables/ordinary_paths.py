"""The ways of ordinary connections' packets, and rows by their group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.flows.conntrack import STATE_NAMES
from correlator.reconcile.analysis import PathView
from correlator.reconcile.possible.folded_rows import expand_rows
from correlator.reconcile.settle.confirm import doubted_entries, placed
from correlator.reconcile.settle.judge import Fact, add_facts, evidence_in_words, judge
from correlator.reconcile.tables.columns import DIRECTIONS
from correlator.reconcile.tables.steps import steps_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools, Ints
    from correlator.reconcile.pipeline import Verdict
    from correlator.reconcile.possible.decided import Block, Ordinary
    from correlator.reconcile.settle.judge import Facts


FACTS = 1 << 16
"""How many sets of facts uint16 tells apart."""


@dataclass(frozen=True)
class Grouped:
    """Rows by the number of their group: ``order`` of the rows, ``starts`` of every group in it."""

    order: Ints
    starts: Ints

    @staticmethod
    def by(group: npt.NDArray[np.integer[Any]], most: int) -> Grouped:
        """Group rows by ``group`` (n,), whose values are 0 to ``most``; rows of a group stay in
        their order."""
        order = np.argsort(group, kind="stable")
        return Grouped(order, np.searchsorted(group[order], np.arange(most + 2)))

    def of(self, group: int) -> Ints:
        """The rows of one group."""
        return self.order[self.starts[group] : self.starts[group + 1]]

    def parts(self) -> list[Ints]:
        """The rows of every group that has any."""
        return [part for part in np.split(self.order, self.starts[1:-1]) if len(part)]


@dataclass(frozen=True)
class PacketFacts:
    """What the judge is told of packets: of each combination uint16 (rows,), and besides of each
    packet uint16 (n,), where some rule's hits are not plainly confirmed."""

    of_combination: Facts
    of_packet: Facts | None

    @staticmethod
    def of(verdict: Verdict, ordinary: Ordinary) -> PacketFacts:
        """Those of all ordinary packets of a verdict."""
        doubted = doubted_entries(verdict)
        uncounted = Fact.UNCOUNTED if verdict.ledger is None else Fact(0)
        sure = [
            uncounted | Fact.COVERED
            if way is not None and not set(way.hits) <= set(doubted)
            else uncounted
            for way in ordinary.way
        ]
        told = np.zeros(int(ordinary.taken.sum()), dtype=np.uint16) if doubted else None
        for part in placed(verdict, doubted):
            assert told is not None
            add_facts(told, part.packet, part.facts)
        return PacketFacts(np.array(sure, dtype=np.uint16), told)

    def at(self, block: Block, which: Ints | slice) -> Facts:
        """The facts of some packets of a block."""
        facts = self.of_combination[block.combination[which]]
        return (
            facts
            if self.of_packet is None
            else facts | self.of_packet[block.first : block.first + len(block)][which]
        )


@dataclass(frozen=True)
class Alike:
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

    def alike(self, rows: Ints) -> Alike:
        """Some that went alike."""
        at, came = int(rows[0]), self.came[rows]
        return Alike(
            int(self.combination[at]),
            int(self.owner[at]),
            int(self.kind[at]),
            len(rows),
            int(self.length[rows].sum()),
            int(came.min()),
            int(came.max()),
            int(np.bitwise_or.reduce(self.facts[rows])),
        )


def all_alike(ordinary: Ordinary, facts: PacketFacts) -> list[Alike]:
    """All packets, by combination and flags."""
    found: dict[int, Alike] = {}
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
            one = Alike(
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


def views(
    verdict: Verdict, ordinary: Ordinary, groups: Sequence[Alike], numbers: tuple[Ints, Ints]
) -> tuple[PathView, ...]:
    """One view a group of packets that went alike."""
    owner, kind = (
        np.array([getattr(one, name) for one in groups], dtype=np.int64)
        for name in ("owner", "kind")
    )
    seen = expand_rows(ordinary.folded, owner, kind).columns
    kinds, program, found = ordinary.folded.kinds, ordinary.rows.program, []
    for i, one in enumerate(groups):
        packet = {name: int(column[i]) for name, column in seen.items()}
        status, reason = judge(one.facts)
        way, of = ordinary.way[one.combination], kinds[one.kind]
        assert way is not None
        found.append(
            PathView(
                DIRECTIONS[int(of["direction"])],
                STATE_NAMES[int(of["state"])],
                one.packets,
                one.bytes,
                one.first,
                one.last,
                ordinary.names[packet["in_code"]],
                ordinary.names[packet["out_code"]],
                steps_of(verdict, int(program[one.combination]), way, packet, numbers),
                evidence_in_words(one.facts),
                status,
                reason if status == "ambiguous" else "",
            )
        )
    return tuple(found)
