"""The ways of ordinary connections' packets, and rows by their group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.flows.conntrack import STATE_NAMES
from correlator.reconcile.analysis import PathView
from correlator.reconcile.possible.decided import expand_rows
from correlator.reconcile.settle.confirm import COVERED, FEWER, UNCONFIRMED, placed
from correlator.reconcile.tables.columns import DIRECTIONS
from correlator.reconcile.tables.connections import COUNTED_FEWER
from correlator.reconcile.tables.ledger import doubted_entries
from correlator.reconcile.tables.steps import steps_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.pipeline import Verdict
    from correlator.reconcile.possible.decided import Block, Ordinary

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]


def judge(verdict: Verdict, flags: npt.NDArray[np.uint8]) -> tuple[str, bool]:
    """(status of packets with these flags, whether counters confirm every hit of theirs)."""
    if verdict.ledger is None:
        return "unverified", False
    confirmed = not (flags & UNCONFIRMED).any()
    covered = confirmed or bool((flags & COVERED).any())
    return "ambiguous" if (flags & FEWER).any() else "exact" if covered else "unverified", confirmed


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
class Flags:
    """What counters say of packets' hits (bits of UNCONFIRMED, FEWER, COVERED): of each combination
    uint8 (rows,), and besides of each packet uint8 (n,), where some rule's hits are not plainly
    confirmed."""

    of_combination: npt.NDArray[np.uint8]
    of_packet: npt.NDArray[np.uint8] | None

    @staticmethod
    def of(verdict: Verdict, ordinary: Ordinary) -> Flags:
        """Those of all ordinary packets of a verdict."""
        doubted = doubted_entries(verdict)
        sure = [
            COVERED if way is not None and not set(way.hits) <= set(doubted) else 0
            for way in ordinary.way
        ]
        told = np.zeros(int(ordinary.taken.sum()), dtype=np.uint8) if doubted else None
        for part in placed(verdict, doubted):
            assert told is not None
            for bit, which in (
                (UNCONFIRMED, ~part.good),
                (FEWER, part.over),
                (COVERED, part.interval >= 0),
            ):
                told[part.packet[which]] |= bit
        return Flags(np.array(sure, dtype=np.uint8), told)

    def at(self, block: Block, which: Ints | slice) -> npt.NDArray[np.uint8]:
        """The flags of some packets of a block."""
        flags = self.of_combination[block.combination[which]]
        return (
            flags
            if self.of_packet is None
            else flags | self.of_packet[block.first : block.first + len(block)][which]
        )


@dataclass(frozen=True)
class Alike:
    """Packets that went alike: the ``combination``, ``owner`` and ``kind`` of the first one; how
    many ``packets`` and ``bytes``, when the ``first`` and the ``last`` came, and the ``flags`` of
    all."""

    combination: int
    owner: int
    kind: int
    packets: int
    bytes: int
    first: int
    last: int
    flags: npt.NDArray[np.uint8]


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
    flags: npt.NDArray[np.uint8]

    @staticmethod
    def of(ordinary: Ordinary, flags: Flags, wanted: Bools) -> OrdinaryPackets:
        """Those of the connections that are ``wanted``, (c,)."""
        parts = []
        for block in ordinary.blocks():
            at = np.flatnonzero(wanted[block.owner])
            columns = (block.combination, block.length, block.came, block.kind, block.owner)
            parts.append((*(column[at] for column in columns), flags.at(block, at)))
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
            self.flags[rows],
        )


def all_alike(ordinary: Ordinary, flags: Flags) -> list[Alike]:
    """All packets, by combination and flags."""
    found: dict[int, Alike] = {}
    for block in ordinary.blocks():
        told = flags.at(block, slice(None))
        code = block.combination.astype(np.int64) * 8 + told
        number, size = np.bincount(code), np.bincount(code, block.length)
        for group in np.flatnonzero(number).tolist():
            mine = code == group
            at = int(mine.argmax())
            first, last = (
                int(block.came[at]),
                int(block.came[len(mine) - 1 - int(mine[::-1].argmax())]),
            )  # in order of time
            one = Alike(
                int(block.combination[at]),
                int(block.owner[at]),
                int(block.kind[at]),
                int(number[group]),
                int(size[group]),
                first,
                last,
                told[at : at + 1],
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
        status, counted = judge(verdict, one.flags)
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
                "rules,wire,counters" if counted else "rules,wire",
                status,
                COUNTED_FEWER if status == "ambiguous" else "",
            )
        )
    return tuple(found)
