"""How many ordinary connections hit each rule, in each generation of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.clocks import to_counters
from correlator.reconcile.settle.confirm import placed

if TYPE_CHECKING:
    from correlator.arrays import Bools, Ints
    from correlator.reconcile.possible.decided import Ordinary
    from correlator.reconcile.tally import Members
    from correlator.reconcile.verdict import Verdict


def count_connections(verdict: Verdict, ordinary: Ordinary) -> Ints:
    """How many ordinary connections hit each entry in the intervals that end in each generation (or
    at all, where nothing was counted); int64 (G, E)."""
    register, books = verdict.stages.register, verdict.books
    result = np.zeros((len(verdict.stages.rulesets), len(register)), dtype=np.int64)
    whose, beyond = _Whose(verdict, ordinary), list[int]()
    by_passage = whose.settled()
    for entry, members in verdict.hits.members.items():
        near: tuple[Ints, Ints] | None = whose.nothing
        if books is not None:
            upto = books.ledger.accounts[entry].upto
            spans = books.spans(entry)
            near = whose.near_hits(entry, members, upto[whose.changes - 1]) if spans else None
        if near is None:
            beyond.append(entry)
            continue
        result[whose.generation, entry] = by_passage.get(entry, 0) + whose.distinct(members, near)
    if books is None:
        return result
    found = {entry: np.zeros(0, dtype=np.int64) for entry in beyond}
    for part in placed(ordinary, books, verdict.others, beyond):
        inside = part.interval >= 0
        generation = books.counters.generation[part.interval[inside] + 1]
        code = generation * len(ordinary.kept) + part.owner[inside]
        found[part.entry] = np.union1d(found[part.entry], code)
    for entry, codes in found.items():
        result[:, entry] = np.bincount(codes // len(ordinary.kept), minlength=len(result))
    return result


class _Whose:
    """Counts connections behind entries, by how many changes of rules a packet was counted after.
    ``changes`` int64 (C,): the samples with which generations begin, but the first; ``generation``
    (C+1,) which they are.

    ``before``, ``after`` and ``amid`` bool (C, rows): where the packets of each combination stand
    to each change. Connections with packets ``amid`` any are few, and told one by one."""

    def __init__(self, verdict: Verdict, ordinary: Ordinary) -> None:
        self.verdict, self.ordinary = verdict, ordinary
        counters, several = verdict.counters, len(verdict.stages.rulesets) > 1
        generation = (
            counters.generation if counters is not None and several else np.zeros(1, dtype=np.int64)
        )
        self.changes = np.flatnonzero(np.diff(generation)) + 1
        self.generation = np.r_[generation[:1], generation[self.changes]]
        stages = [verdict.stages.stages[number] for number in ordinary.rows.program.tolist()]
        first, last = (
            np.array([getattr(one, name) for one in stages], dtype=np.int64)
            for name in ("first", "last")
        )
        self.before = last[None, :] < self.generation[1:, None]
        self.after = first[None, :] >= self.generation[1:, None]
        self.amid = ~(self.before | self.after)
        self.unsure = self.amid.any(axis=0)
        self.place = self.after.sum(axis=0)
        self.low, self.owner, self.combination = _packets_of(ordinary, self.unsure)
        self.pairs = (
            _pairs_of(ordinary, self.owner) if len(self.owner) else (self.owner, self.combination)
        )

    @property
    def nothing(self) -> tuple[Ints, Ints]:
        """No hits amid changes."""
        return self.owner[:0], self.owner[:0]

    def settled(self) -> dict[int, Ints]:
        """entry -> connections without a packet amid any change, by place; int64 (C+1,)."""
        result: dict[int, Ints] = {}
        for number, combinations in self.ordinary.patterns:
            if self.unsure[combinations].any():
                continue
            hit = {
                (entry, int(self.place[one]))
                for one in combinations.tolist()
                for entry in self.ordinary.hits[one]
            }
            for entry, place in hit:
                result.setdefault(entry, np.zeros(len(self.generation), dtype=np.int64))[place] += (
                    number
                )
        return result

    def near_hits(self, entry: int, members: Members, cut: Ints) -> tuple[Ints, Ints] | None:
        """(owner, place) of an entry's hits amid changes, by their number in order of time: ``cut``
        (C,) hits were counted before each change. None where the counters saw a change elsewhere
        than the packets' stages do."""
        if not len(cut):
            return self.nothing
        times = np.zeros(len(self.ordinary.way), dtype=np.int64)
        for way, number in members:
            times[way] = number
        low, owner, combination = (
            np.repeat(part, times[self.combination])
            for part in (self.low, self.owner, self.combination)
        )
        start, end = np.searchsorted(self.verdict.others.entry, [entry, entry + 1])
        own = self.verdict.others.low[start:end]
        early, late = to_counters(self.verdict.clock, own)
        timetable, hits = self.ordinary.timetable, self.ordinary.taken * times
        place = np.zeros(len(low), dtype=np.int64)
        for change, number in enumerate(cut.tolist()):
            before, after, amid = self.before[change], self.after[change], self.amid[change]
            sure, there = int(hits[before].sum()), int(hits[amid].sum())
            latest = sure - 1 + int((early < timetable.until[change]).sum())
            earliest = sure + there + int((late <= timetable.since[change]).sum())
            if (sure and latest >= number) or (hits[after].any() and earliest < number):
                return None
            near = np.flatnonzero(amid[combination])
            rank = sure + np.arange(len(near)) + np.searchsorted(own, low[near], side="right")
            place[near] += rank >= number
            place[after[combination]] += 1
        return owner, place

    def distinct(self, members: Members, near: tuple[Ints, Ints]) -> Ints:
        """Connections with packets amid changes that hit an entry, by place: with these hits, or
        with others of theirs."""
        width = len(self.generation)
        if not len(self.owner):
            return np.zeros(width, dtype=np.int64)
        hit = np.zeros(len(self.ordinary.way), dtype=bool)
        hit[[way for way, _ in members]] = True
        owner, combination = self.pairs
        mine = hit[combination] & ~self.unsure[combination]
        codes = np.unique(
            np.r_[owner[mine] * width + self.place[combination[mine]], near[0] * width + near[1]]
        )
        return np.bincount(codes % width, minlength=width)


def _packets_of(ordinary: Ordinary, wanted: Bools) -> tuple[Ints, Ints, Ints]:
    """(low, owner, combination) of packets of combinations that are ``wanted`` (rows,), in order of
    time."""
    parts, first = [np.zeros((4, 0), dtype=np.int64)], 0
    for block in ordinary.blocks() if wanted.any() else ():
        at = np.flatnonzero(wanted[block.combination])
        parts.append(
            np.stack(
                [block.moments[0][at], block.owner[at], block.combination[at], at + first]
            ).astype(np.int64)
        )
        first += len(block)
    low, owner, combination, packet = np.concatenate(parts, axis=1)
    order = np.lexsort((packet, low))
    return low[order], owner[order], combination[order]


def _pairs_of(ordinary: Ordinary, owners: Ints) -> tuple[Ints, Ints]:
    """(owner, combination) that occur, of some connections."""
    wanted = np.zeros(len(ordinary.kept), dtype=bool)
    wanted[owners] = True
    found, width = np.zeros(0, dtype=np.int64), len(ordinary.way)
    for block in ordinary.blocks():
        at = np.flatnonzero(wanted[block.owner])
        found = np.union1d(found, block.owner[at].astype(np.int64) * width + block.combination[at])
    return found // width, found % width
