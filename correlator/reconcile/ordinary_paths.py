"""The ways of ordinary connections' packets, and rows by their group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.flows.conntrack import STATE_NAMES
from correlator.reconcile.analysis import PathView
from correlator.reconcile.balances import doubted_entries
from correlator.reconcile.ordinary import expand_rows
from correlator.reconcile.outcomes import COUNTED_FEWER
from correlator.reconcile.placed import COVERED, FEWER, UNCONFIRMED, placed
from correlator.reconcile.steps import steps_of
from correlator.reconcile.words import DIRECTIONS

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.reconcile.ordinary import Ordinary
    from correlator.reconcile.replay import Verdict
    from correlator.reconcile.walks import Way

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
        """Group rows by ``group`` (n,), whose values are 0 to ``most``; rows of a group stay in their order."""
        order = np.argsort(group, kind="stable")
        return Grouped(order, np.searchsorted(group[order], np.arange(most + 2)))

    def of(self, group: int) -> Ints:
        """The rows of one group."""
        return self.order[self.starts[group] : self.starts[group + 1]]

    def parts(self) -> list[Ints]:
        """The rows of every group that has any."""
        return [part for part in np.split(self.order, self.starts[1:-1]) if len(part)]


@dataclass(frozen=True)
class OrdinaryPackets:
    """Packets of ordinary connections (n,), in order of time, with what a view of them tells."""

    ordinary: Ordinary
    grouped: Grouped
    combination: npt.NDArray[np.int32]
    length: npt.NDArray[np.int32]
    came: Ints
    kind: npt.NDArray[np.uint16]
    owner: npt.NDArray[np.int32]
    flags: npt.NDArray[np.uint8]

    @staticmethod
    def of(verdict: Verdict) -> OrdinaryPackets:
        """All of a verdict that has any."""
        ordinary = verdict.ordinary
        assert ordinary is not None
        owner = ordinary.whole.owner
        combination, length = ordinary.whole.combination, ordinary.whole.length
        doubted = doubted_entries(verdict)
        sure = [n for n, way in enumerate(ordinary.way) if way is not None and not set(way.hits) <= set(doubted)]
        flags = np.where(np.isin(combination, np.array(sure, dtype=np.int32)), COVERED, 0).astype(np.uint8)
        for part in placed(verdict, doubted):
            for bit, which in ((UNCONFIRMED, ~part.good), (FEWER, part.over), (COVERED, part.interval >= 0)):
                flags[part.packet[which]] |= bit
        grouped = Grouped.by(owner, len(ordinary.folded.connections))
        return OrdinaryPackets(ordinary, grouped, combination, length, ordinary.whole.came, ordinary.whole.kind, owner, flags)

    @property
    def kinds(self) -> npt.NDArray[Any]:
        """The classes of packets."""
        return self.ordinary.folded.kinds

    def way_of(self, at: int) -> Way:
        """The one way of a packet."""
        way = self.ordinary.way[int(self.combination[at])]
        assert way is not None
        return way

    def views(self, verdict: Verdict, groups: Sequence[Ints], numbers: tuple[Ints, Ints]) -> tuple[PathView, ...]:
        """One view a group of packets that went alike."""
        first = np.array([rows[0] for rows in groups], dtype=np.int64)
        kind = self.kind[first].astype(np.int64)
        seen = expand_rows(self.ordinary.folded, self.owner[first].astype(np.int64), kind).columns
        program, found = self.ordinary.rows.program, []
        for i, rows in enumerate(groups):
            stage = int(program[self.combination[rows[0]]])
            packet = {name: int(column[i]) for name, column in seen.items()}
            one, came = self.kinds[kind[i]], self.came[rows]
            status, counted = judge(verdict, self.flags[rows])
            found.append(PathView(
                DIRECTIONS[int(one["direction"])], STATE_NAMES[int(one["state"])], len(rows), int(self.length[rows].sum()),
                int(came.min()), int(came.max()), self.ordinary.names[packet["in_code"]], self.ordinary.names[packet["out_code"]],
                steps_of(verdict, stage, self.way_of(int(rows[0])), packet, numbers),
                "rules,wire,counters" if counted else "rules,wire", status, COUNTED_FEWER if status == "ambiguous" else "",
            ))  # fmt: skip
        return tuple(found)
