"""Ordinary connections, which were folded while they were read, handed over for the tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.reconcile.possible.folded_rows import expand_rows
from correlator.reconcile.settle.confirm import (
    NO_RESIDUAL,
    doubted_entries,
    doubts_of,
    placed,
    residual_at,
    unbalanced,
    uncounted,
)
from correlator.reconcile.settle.judge import grounds_of, open_of
from correlator.reconcile.tables.candidates import residuals_in_words
from correlator.reconcile.tables.connections import STATES, ConnectionRows
from correlator.reconcile.tables.folded_hits import add_up
from correlator.reconcile.tables.folded_ways import OrdinaryPackets, PacketFacts, all_alike
from correlator.reconcile.tables.hits import HitRows
from correlator.reconcile.tables.outcomes import UNKNOWN, Outcome, outcome_of
from correlator.reconcile.tables.paths import Alike
from correlator.reconcile.tables.rule_counts import count_connections

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from correlator.arrays import Ints
    from correlator.reconcile.possible.decided import Ordinary
    from correlator.reconcile.settle.confirm import Doubts
    from correlator.reconcile.settle.judge import Facts, Grounds
    from correlator.reconcile.tables.folded_hits import HitSums
    from correlator.reconcile.tables.folded_ways import AlikePackets
    from correlator.reconcile.tables.numbering import Numbering
    from correlator.reconcile.tables.rule_numbers import RuleNumbers
    from correlator.reconcile.verdict import Verdict

TCP = 6
ENDS = ("client", "dialled", "server", "seen")


@dataclass(frozen=True)
class _Fields:
    """Fields of some records, each copied when it is asked for: whole records would take twice as
    much."""

    records: npt.NDArray[np.void]
    at: Ints

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        return self.records[name][self.at]


@dataclass
class Folded:
    """The ``ordinary`` connections of a verdict, under the numbers of all connections."""

    verdict: Verdict
    ordinary: Ordinary
    numbering: Numbering
    numbers: RuleNumbers
    _read: OrdinaryPackets | None = field(default=None, init=False)
    """Packets that were read last, of some connections."""

    def connections(self) -> ConnectionRows:
        """All of them, in the order of their numbers."""
        at = self.numbering.owners
        c = _Fields(self.ordinary.folded.connections, at)
        packets, refusals = c["packets"].T, c["refusals"]
        state = np.select(
            [(refusals > 0) & (refusals == packets[1]), packets[1] > 0, c["protocol"] == TCP],
            [np.int8(STATES.index(name)) for name in ("refused", "established", "half-open")],
            np.int8(STATES.index("one-way")),
        )
        grounds, opened = self._judged()
        residual, residuals = self._residuals()
        return ConnectionRows(
            self.numbering.ordinary[at],
            c["protocol"],
            tuple(c[name] for name in ENDS),
            c["first"],
            c["last"],
            packets,
            c["bytes"].T,
            c["in_code"],
            c["out_code"],
            self.ordinary.names,
            self.ordinary.opening[at],
            self._outcomes(),
            state,
            np.zeros(len(at), dtype=np.int64),
            grounds[at],
            opened[at],
            {},
            residual[at],
            residuals,
        )

    def _outcomes(self) -> list[Outcome]:
        """What became of a connection whose first packet was of each combination."""
        v, watched = self.ordinary.rows.columns, self.verdict.decided.scene.watched
        program = self.ordinary.rows.program
        return [
            outcome_of(
                way,
                int(program[row]),
                True,
                tuple(int(v[name][row]) for name in ENDS),
                True,
                watched,
                self.numbers,
            )
            if way is not None
            else UNKNOWN
            for row, way in enumerate(self.ordinary.way)
        ]

    def _judged(self) -> tuple[Grounds, Facts]:
        """(the worst ground against any hit of every connection, what is open of any), both
        (c,)."""
        count, books = len(self.ordinary.kept), self.verdict.books
        grounds = np.repeat(grounds_of(np.array([uncounted(books)])), count)
        opened = np.zeros(count, dtype=np.uint32)
        if books is None:
            return grounds, opened
        wanting = [
            entry
            for entry in doubted_entries(books)
            if not books.spans(entry) or unbalanced(books, entry)
        ]
        for facts in self._doubts_of(wanting).values():
            either = facts.reshape(-1, 2)
            for side in (0, 1):
                np.minimum(grounds, grounds_of(either[:, side]), out=grounds)
                opened |= open_of(either[:, side])
        return grounds, opened

    def _residuals(self) -> tuple[Ints, list[str]]:
        """(index of each connection's first residual among its rules, -1 none; all of them, in
        words)."""
        books, register = self.verdict.books, self.verdict.stages.register
        found = np.full(len(self.ordinary.kept), NO_RESIDUAL, dtype=np.int64)
        if books is not None:
            entries = [entry for entry in doubted_entries(books) if unbalanced(books, entry)]
            others = self.verdict.others
            for part in placed(self.ordinary, books, others, entries):
                told = residual_at(books, part.entry, part.interval, part.facts)
                np.minimum.at(found, part.owner, told)
        return residuals_in_words(found, books, register)

    def _doubts_of(self, entries: list[int]) -> Doubts:
        books, others = self.verdict.books, self.verdict.others
        return doubts_of(self.ordinary, books, others, entries) if books is not None else {}

    @cached_property
    def _doubts(self) -> Doubts:
        return self._doubts_of(doubted_entries(self.verdict.books))

    @cached_property
    def _owner_numbers(self) -> Ints:
        return self.numbering.ordinary[self.numbering.owners]

    def _owners(self, connections: Ints) -> Ints:
        """The rows of some connections (numbers, of which not all need be ordinary), in order."""
        known = self._owner_numbers
        if not len(known):
            return known
        at = np.searchsorted(known, np.sort(connections))
        at = np.minimum(at, len(known) - 1)
        there = known[at] == np.sort(connections)
        owners: Ints = self.numbering.owners[at[there]]
        return owners

    def hits(self, connections: Ints) -> HitRows:
        """The hits of some connections (numbers), in their order."""
        ordinary, owners = self.ordinary, self._owners(connections)
        generation = self.numbers.generation[ordinary.rows.program]
        sums = add_up(ordinary, owners, generation, len(self.verdict.stages.register))
        c = _Fields(ordinary.folded.connections, sums.owner)
        return HitRows(
            self.numbering.ordinary[sums.owner],
            sums.direction,
            c["protocol"],
            tuple(c[name] for name in ENDS),
            sums.entry,
            self.numbers.in_generation(sums.generation, sums.entry),
            sums.packets,
            sums.bytes,
            sums.first,
            sums.last,
            self._facts(sums),
        )

    def _facts(self, sums: HitSums) -> Facts:
        """What the judge is told of these hits, (h,)."""
        facts = np.full(len(sums), uncounted(self.verdict.books), dtype=np.uint32)
        for entry, told in self._doubts.items():
            mine = np.flatnonzero(sums.entry == entry)
            facts[mine] |= told[sums.owner[mine] * 2 + sums.direction[mine]]
        return facts

    def own_numbers(self, targets: tuple[str, ...]) -> Ints:
        """Its connections, in the order of their numbers, where any hit a rule with one of these
        ``targets``."""
        entries = self.verdict.stages.register.entries
        there = any(
            entries[entry].target in targets for hits in self.ordinary.hits for entry in hits
        )
        return self._owner_numbers if there else self._owner_numbers[:0]

    def behind(self, entries: list[int]) -> Iterator[tuple[int, Ints, Ints]]:
        """(entry, interval, connection) of all hits of these entries, by its packets."""
        books, others = self.verdict.books, self.verdict.others
        for part in placed(self.ordinary, books, others, entries) if books is not None else ():
            yield part.entry, part.interval, self.numbering.ordinary[part.owner]

    def behind_rules(self) -> Ints:
        """How many of its connections hit each entry in the intervals that end in each generation
        (or at all, where nothing was counted); int64 (G, E)."""
        return count_connections(self.verdict, self.ordinary)

    @cached_property
    def _packet_facts(self) -> PacketFacts:
        return PacketFacts.of(self.ordinary, self.verdict.books, self.verdict.others)

    def prepare(self, connections: Ints) -> None:
        """Go through the packets once for the ways of all these connections (numbers)."""
        rows = self._owners(connections)
        if len(rows):
            self._packets_of(rows)

    def _packets_of(self, rows: Ints) -> OrdinaryPackets:
        """Packets of connections ``rows`` and perhaps of others: of all, where packets are at
        hand."""
        ordinary = self.ordinary
        if self._read is None or not self._read.wanted[rows].all():
            wanted = ordinary.kept.copy()
            if len(ordinary.folded.packets.begins) > 1:
                wanted[:] = False
                wanted[rows] = True
            self._read = OrdinaryPackets.of(ordinary, self._packet_facts, wanted)
        return self._read

    def ways_of(self, connection: int) -> list[Alike]:
        """Its packets of a connection, by what they went alike, in order of the first ones."""
        rows = self._owners(np.array([connection], dtype=np.int64))
        if not len(rows):
            return []
        packets, groups = self._packets_of(rows), dict[tuple[object, ...], list[int]]()
        for at in packets.grouped.of(int(rows[0])).tolist():
            way = self.ordinary.way[int(packets.combination[at])]
            one = self.ordinary.folded.kinds[int(packets.kind[at])]
            assert way is not None
            key = (int(one["direction"]), int(one["state"]), way.hits, way.path.end)
            groups.setdefault(key, []).append(at)
        return self._alike([packets.alike(np.array(rows)) for rows in groups.values()])

    def all_ways(self) -> list[Alike]:
        """All of its packets, by what they went alike."""
        return self._alike(all_alike(self.ordinary, self._packet_facts))

    def _alike(self, groups: list[AlikePackets]) -> list[Alike]:
        ordinary = self.ordinary
        owner, kind = (
            np.array([getattr(one, name) for one in groups], dtype=np.int64)
            for name in ("owner", "kind")
        )
        seen = expand_rows(ordinary.folded, owner, kind).columns
        kinds, program, found = ordinary.folded.kinds, ordinary.rows.program, []
        for i, one in enumerate(groups):
            packet = {name: int(column[i]) for name, column in seen.items()}
            found.append(
                Alike(
                    int(kinds[one.kind]["direction"]),
                    int(kinds[one.kind]["state"]),
                    int(program[one.combination]),
                    ordinary.way[one.combination],
                    packet,
                    ordinary.names[packet["in_code"]],
                    ordinary.names[packet["out_code"]],
                    one.packets,
                    one.bytes,
                    one.first,
                    one.last,
                    one.facts,
                )
            )
        return found

    def packets(self) -> int:
        """How many."""
        return int(self.ordinary.taken.sum())

    def frames(self) -> dict[str, int]:
        """How many frames on every interface: each packet came in by one and left by another."""
        found = dict.fromkeys(self.ordinary.names, 0)
        for row, amount in enumerate(self.ordinary.taken.tolist()):
            for code in ("in_code", "out_code"):
                found[self.ordinary.names[int(self.ordinary.rows.columns[code][row])]] += amount
        return {name: amount for name, amount in found.items() if amount}
