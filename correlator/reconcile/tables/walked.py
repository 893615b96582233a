"""Packets that were looked at one by one, handed over for the tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from correlator.flows.conntrack import ORIGINAL, RELATED_KIND, REPLY, UNTRACKED
from correlator.flows.keys import mix
from correlator.reconcile.possible.walks import NO_WAY
from correlator.reconcile.settle.confirm import NO_RESIDUAL, residual_at
from correlator.reconcile.settle.judge import UNDECIDED, grounds_of, open_of, together, worst
from correlator.reconcile.tables.attribution import facts_of_packets
from correlator.reconcile.tables.candidates import candidates_in_words, residuals_in_words
from correlator.reconcile.tables.connections import STATES, ConnectionRows
from correlator.reconcile.tables.grouped import Grouped
from correlator.reconcile.tables.hits import HitRows
from correlator.reconcile.tables.outcomes import UNKNOWN, Outcome, outcome_of
from correlator.reconcile.tables.outcomes import UNTRACKED as NOT_TRACKED
from correlator.reconcile.tables.paths import Alike
from correlator.reconcile.tables.proxied import Locals, link_halves, published
from correlator.reconcile.tables.walked_hits import add_up_hits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from correlator.arrays import Bools, Ints
    from correlator.reconcile.possible.walks import Way
    from correlator.reconcile.settle.judge import Facts, Grounds
    from correlator.reconcile.tables.attribution import Attribution
    from correlator.reconcile.tables.numbering import Numbering
    from correlator.reconcile.tables.rule_numbers import RuleNumbers
    from correlator.reconcile.verdict import Verdict

RST = 4
TCP, ICMP_ERROR_KIND = 6, RELATED_KIND


@dataclass(frozen=True)
class Walked:
    """The connections of an ``attribution``, under the numbers of all connections."""

    verdict: Verdict
    attribution: Attribution
    numbering: Numbering
    numbers: RuleNumbers

    @cached_property
    def count(self) -> int:
        """How many connections."""
        return int(self.attribution.connection.max(initial=0))

    @cached_property
    def hit_rows(self) -> HitRows:
        """All hits, in the order of connections."""
        return add_up_hits(self.verdict, self.attribution, self.numbering, self.numbers)

    def hits(self, connections: Ints) -> HitRows:
        """The hits of some connections (numbers)."""
        rows = self.hit_rows
        if len(connections) == self.numbering.total:
            return rows
        return rows.take(np.isin(rows.connection, connections))

    def own_numbers(self, targets: tuple[str, ...]) -> Ints:
        """Its connections, in the order of their numbers, where any hit a rule with one of these
        ``targets``."""
        entries = self.verdict.stages.register.entries
        hit = np.unique(self.hit_rows.entry).tolist()
        there = any(entries[entry].target in targets for entry in hit)
        return self.numbering.attributed[1:] if there else self.numbering.attributed[:0]

    def connections(self) -> ConnectionRows:
        """All of its connections, in order of their first packet."""
        a, decided, count = self.attribution, self.verdict.decided, self.count
        number, first = a.connection - 1, first_of(a, count)
        length = decided.explored.rows.columns["length"][a.row]
        sums = np.array(
            [
                [
                    np.bincount(number[pick], weights[pick], minlength=count)
                    for pick in (a.direction == ORIGINAL, a.direction == REPLY)
                ]
                for weights in (np.ones(len(number)), length)
            ]
        ).astype(np.int64)
        outcomes: dict[Outcome, int] = {}
        outcome = np.array(
            [outcomes.setdefault(self._outcome(at), len(outcomes)) for at in first.tolist()],
            dtype=np.int64,
        )
        linked = self._linked(first, outcome == outcomes.get(("local", ""), -1))
        outcome[linked > 0] = outcomes.setdefault(("docker-proxy", ""), len(outcomes))
        begin = np.full(count, np.iinfo(np.int64).max)
        end = np.zeros(count, dtype=np.int64)
        np.minimum.at(begin, number, a.time)
        np.maximum.at(end, number, a.time)
        numbers = self.numbering.attributed
        return ConnectionRows(
            numbers[1:],
            a.protocol[first],
            tuple(getattr(a, name)[first] for name in ("client", "dialled", "server", "seen")),
            begin,
            end,
            sums[0],
            sums[1],
            self._codes("in_code", "out_code"),
            self._codes("out_code", "in_code"),
            decided.scene.names,
            outcome,
            list(outcomes),
            self._states(),
            numbers[linked],
            *self._judged(),
            {number - 1: text for number, text in self._candidates.items()},
            *self._residuals(),
        )

    @cached_property
    def _candidates(self) -> dict[int, str]:
        return candidates_in_words(
            self.verdict.decided, self.verdict.stages.register, self.attribution
        )

    def _judged(self) -> tuple[Grounds, Facts]:
        """(the worst ground against any hit of each connection, or against what is open of its
        packets; what is open of any)."""
        rows, of_number = self.hit_rows, np.zeros(self.numbering.total + 1, dtype=np.int64)
        of_number[self.numbering.attributed[1:]] = np.arange(self.count)
        owner, packet_owner = of_number[rows.connection], self.attribution.connection - 1
        undecided = self.attribution.facts & np.uint32(UNDECIDED)
        packets = together(undecided, packet_owner, self.count)
        grounds = np.minimum(worst(grounds_of(rows.facts), owner, self.count), grounds_of(packets))
        return grounds, open_of(packets) | together(open_of(rows.facts), owner, self.count)

    def _residuals(self) -> tuple[Ints, list[str]]:
        """(index of each connection's first residual among its rules, -1 none; all of them, in
        words)."""
        decided, books = self.verdict.decided, self.verdict.books
        found = np.full(self.count, NO_RESIDUAL, dtype=np.int64)
        if books is not None:
            interval, facts = self.verdict.placed
            of_number = np.zeros(self.numbering.total + 1, dtype=np.int64)
            of_number[self.numbering.attributed[1:]] = np.arange(self.count)
            owner = of_number[self.numbering.of_rows[decided.hits.row]]
            np.minimum.at(found, owner, residual_at(books, decided.hits.entry, interval, facts))
        return residuals_in_words(found, books, self.verdict.stages.register)

    def way_at(self, at: int) -> Way | None:
        """The way of a row of the attribution; None where it has none."""
        way, walked = int(self.attribution.way[at]), self.verdict.decided.explored.walked
        return (
            None if way == NO_WAY else walked.ways[int(walked.kind[self.attribution.row[at]])][way]
        )

    def _outcome(self, at: int) -> Outcome:
        """What became of a connection, by the packet that stands for it."""
        a, decided, way = self.attribution, self.verdict.decided, self.way_at(at)
        if a.direction[at] == UNTRACKED:
            return NOT_TRACKED
        if way is None:
            return UNKNOWN
        row = a.row[at]
        return outcome_of(
            way,
            int(decided.explored.rows.program[row]),
            bool(decided.scene.crossings.sent[a.crossing[at]]),
            tuple(int(end[at]) for end in (a.client, a.dialled, a.server, a.seen)),
            bool(decided.explored.rows.columns["enters"][row]),
            decided.scene.watched,
            self.numbers,
        )

    def _linked(self, first: Ints, local: Bools) -> Ints:
        """docker-proxy's other half of each, in the attribution's numbers; 0 where it has none."""
        a, decided = self.attribution, self.verdict.decided
        own = decided.explored.rows.columns["enters"][a.row[first]] == 0
        ends = (a.protocol[first], a.client[first], a.server[first], a.time[first])
        doors = published(self.verdict.stages.rulesets)
        return link_halves(Locals(local, own, *ends), doors, decided.scene.host)

    def _codes(self, name: str, other: str) -> Ints:
        """Where the original direction comes in or leaves; the reply direction tells the same the
        other way round. Numbers of interfaces, -1 where nothing tells."""
        a, columns = self.attribution, self.verdict.decided.explored.rows.columns
        found = np.full(self.count, -1, dtype=np.int64)
        for direction, column in ((REPLY, other), (ORIGINAL, name)):
            pick = np.flatnonzero(a.direction == direction)
            code = columns[column][a.row[pick]]
            # of several values for one place, the last one stays
            at = np.flatnonzero(code >= 0)[::-1]
            found[a.connection[pick][at] - 1] = code[at]
        return found

    def _states(self) -> Ints:
        """Numbers in :data:`STATES`."""
        a, decided, count = self.attribution, self.verdict.decided, self.count
        explored, number = decided.explored, a.connection - 1
        reading = explored.alternatives.hypothesis[explored.rows.alternative[a.row]]
        older = np.stack([r.labels.older for r in explored.hypotheses])[reading, a.crossing]
        replies = np.bincount(number[a.direction == REPLY], minlength=count)
        error = decided.scene.crossings.kind[a.crossing] == RELATED_KIND
        reset = (explored.rows.columns["tcp_flags"][a.row] & RST != 0) & (a.protocol == TCP)
        refusals = np.bincount(number[(a.direction == REPLY) & (error | reset)], minlength=count)
        tracked = np.bincount(number[a.direction != UNTRACKED], minlength=count) > 0
        found = {
            "untracked": ~tracked,
            "older": np.bincount(number[older], minlength=count) > 0,
            "refused": (refusals > 0) & (refusals == replies),
            "established": replies > 0,
            "half-open": np.bincount(number[a.protocol == TCP], minlength=count) > 0,
        }
        codes = [STATES.index(state) for state in found]
        return np.select(list(found.values()), codes, STATES.index("one-way"))

    def behind(self, entries: list[int]) -> Iterator[tuple[int, Ints, Ints]]:
        """(entry, interval, connection) of all hits of each of these entries, by its packets."""
        hits, (interval, _) = self.verdict.decided.hits, self.verdict.placed
        for entry in entries:
            mine = slice(*np.searchsorted(hits.entry, [entry, entry + 1]).tolist())
            yield entry, interval[mine], self.numbering.of_rows[hits.row[mine]]

    def behind_rules(self) -> Ints:
        """How many of its connections hit each entry in the intervals that end in each generation
        (or at all, where nothing was counted); int64 (G, E)."""
        hits, (interval, _), books = (
            self.verdict.decided.hits,
            self.verdict.placed,
            self.verdict.books,
        )
        shape, total = self.numbers.numbers.shape, self.numbering.total + 1
        code = hits.entry * total + self.numbering.of_rows[hits.row]
        result = np.zeros(shape, dtype=np.int64)
        for generation in range(shape[0]):
            mine = np.ones(len(code), dtype=bool)
            if books is not None:
                ends = books.counters.generation[1:] == generation
                mine = (interval >= 0) & ends[np.maximum(interval, 0)]
            result[generation] = np.bincount(np.unique(code[mine]) // total, minlength=shape[1])
        return result

    @cached_property
    def _facts(self) -> Facts:
        return facts_of_packets(self.verdict, self.attribution)

    @cached_property
    def _order(self) -> Grouped:
        return Grouped.by(self.attribution.connection, self.count)

    @cached_property
    def _own_of(self) -> Ints:
        """The attribution's number of each connection, 0 where it has none; (total + 1,)."""
        found = np.zeros(self.numbering.total + 1, dtype=np.int64)
        found[self.numbering.attributed] = np.arange(len(self.numbering.attributed))
        found[0] = 0
        return found

    def prepare(self, connections: Ints) -> None:
        """Nothing has to be read for the ways of these connections."""

    def ways_of(self, connection: int) -> list[Alike]:
        """Its packets of a connection, by what they went alike, in order of the first ones."""
        own = int(self._own_of[connection])
        groups: dict[tuple[object, ...], list[int]] = {}
        for at in self._order.of(own).tolist() if own else ():
            way = self.way_at(at)
            hits, end = (way.hits, way.path.end) if way is not None else ((), "")
            key = (int(self.attribution.direction[at]), int(self.attribution.state[at]), hits, end)
            groups.setdefault(key, []).append(at)
        candidates = self._candidates.get(own, "") if groups else ""
        return [self._alike(np.array(rows), candidates) for rows in groups.values()]

    def all_ways(self) -> list[Alike]:
        """All of its packets, by what they went alike."""
        a, explored = self.attribution, self.verdict.decided.explored
        if not len(a):
            return []
        v, row = explored.rows.columns, a.row
        keys = (
            a.direction,
            a.state,
            explored.walked.kind[row],
            a.way,
            a.open,
            v["in_code"][row],
            v["out_code"][row],
            v["enters"][row],
            self._facts,
        )
        _, group = np.unique(
            mix(*(np.asarray(key, dtype=np.int64) for key in keys)), return_inverse=True
        )
        return [self._alike(rows, "") for rows in Grouped.by(group, int(group.max())).parts()]

    def _alike(self, rows: Ints, candidates: str) -> Alike:
        a, decided, at = self.attribution, self.verdict.decided, int(rows[0])
        v, row, way = decided.explored.rows.columns, int(a.row[at]), self.way_at(at)
        packet = {name: int(column[row]) for name, column in v.items()}
        names, came, gone = decided.scene.names, packet["in_code"], packet["out_code"]
        times = a.time[rows]
        return Alike(
            int(a.direction[at]),
            int(a.state[at]),
            int(decided.explored.rows.program[row]),
            way,
            packet,
            names[came] if packet["enters"] and came >= 0 else "",
            names[gone] if gone >= 0 else way.path.out_interface if way else "",
            len(rows),
            int(v["length"][a.row[rows]].sum()),
            int(times.min()),
            int(times.max()),
            int(np.bitwise_or.reduce(self._facts[rows])),
            candidates,
        )

    def packets(self) -> int:
        """How many."""
        return len(self.attribution)

    def frames(self) -> dict[str, int]:
        """How many frames on every interface that was captured."""
        scene = self.verdict.decided.scene
        codes = scene.packets["interface"].to_numpy()
        return {
            name: int((codes == code).sum())
            for code, name in enumerate(scene.names)
            if name in scene.watched
        }


def first_of(attribution: Attribution, count: int) -> Ints:
    """The row that stands for each connection: its first one of the original direction, else of
    any."""
    rank = np.where(
        attribution.direction == ORIGINAL, 0, np.where(attribution.direction == REPLY, 1, 2)
    )
    rank = rank + 3 * (attribution.way == NO_WAY)
    order = np.lexsort((np.arange(len(attribution)), rank, attribution.connection))
    _, at = np.unique(attribution.connection[order], return_index=True)
    result: Ints = order[at]
    return result
