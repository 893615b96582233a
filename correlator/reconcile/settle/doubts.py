"""What else may have become of packets that were decided: the facts that speak against them.

A packet was walked under one *reading*: which connection it is of, what its client dialled, what
conntrack made of the packets before it. The reading is wrong where

* a rule on the way counted otherwise than packets explain (``RESIDUAL``): whoever made the
  difference may have come instead of this packet, or this one may have gone another way;
* a rule that a rejected reading hits counted, and otherwise than is explained (``REJECTED``): the
  counters do not speak for the reading that was taken;
* labels were made for a way that was not taken in the end (``LABELS``): whether conntrack forgot a
  packet, or never saw it, says what the next one is; or an ICMP error quotes too little to tell
  whose it is;
* a rule of nat that its first packet hit counted more just when the connection was tried again:
  a firewall that nobody listed may have dropped that, and conntrack forgot it (``REOPENED``);
* a rule ahead of conntrack ended an answer, which to the kernel is of no connection (``AHEAD``);
* another packet of the connection fits no way at all, or no rule makes the translation that its
  packets show: they may be of two connections, as where a server answers from another of the
  host's addresses (``CONTRADICTED``);
* what was dialled was not seen, and nobody listed the nat that may have rewritten it
  (``NAT_UNLISTED``);
* two connections would have one original tuple at one time, which conntrack does not allow
  (``SAME_TUPLE``): packets of the one are of the other, or what was dialled was something else;
* its connection can be read in several ways, of which one was taken, and one of the above speaks
  against any of its packets (``CHOSEN``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from correlator.addresses import is_ipv6
from correlator.endpoints import NOWHERE, address_of, port_of
from correlator.firewall.published import may_lead_to, shows_as
from correlator.firewall.walk.path import End
from correlator.flows.conntrack import RELATED_KIND, REPLY, S_NEW, S_RELATED, S_UNTRACKED
from correlator.flows.pairs import UNREACHABLE
from correlator.reconcile.clocks import to_counters
from correlator.reconcile.possible.walks import NO_WAY
from correlator.reconcile.settle.judge import Fact, together, where
from correlator.reconcile.times import SLACK_NS

PROHIBITED, PROHIBITED6 = (9, 10, 13), (1, 5, 6)
"""Codes of "destination unreachable" that say "prohibited" (RFC 1812, 5.2.7.1; RFC 4443, 3.1)."""

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from correlator.arrays import Bools, Ints
    from correlator.reconcile.clocks import Clock
    from correlator.reconcile.intake.counters import Counters
    from correlator.reconcile.possible.explore import Explored
    from correlator.reconcile.settle.judge import Facts
    from correlator.reconcile.settle.ledger import Ledger
    from correlator.reconcile.verdict import Verdict


def doubts_of_packets(verdict: Verdict, row: Ints, way: Ints, connection: Ints) -> Facts:
    """What speaks against each packet (k,), which was taken for ``row`` going its ``way`` in a
    ``connection`` (numbers from 1)."""
    decided, books, (_, counted) = verdict.decided, verdict.books, verdict.placed
    explored, crossings = decided.explored, decided.scene.crossings
    residual = together(counted & np.uint32(Fact.RESIDUAL), decided.hits.row, len(explored.rows))
    crossing = explored.rows.crossing[row]
    facts = residual[row]
    if books is not None:
        intervals = Intervals(books.counters, books.clock)
        rejected = of_rejected(
            explored, row, way, crossings.time, books.ledger, books.counters, intervals
        )
        facts = facts | where(rejected[crossing], Fact.REJECTED)
        again = reopened(verdict, row, way, connection, intervals)
        facts = facts | where(again[connection], Fact.REOPENED)
    pair = crossings.pair
    facts = facts | where(chosen(explored, pair, crossing, facts)[pair[crossing]], Fact.CHOSEN)
    open_picks = [pick for unit in decided.open for option in unit.options for pick in option]
    open_row, open_way = np.array(open_picks, dtype=np.int64).reshape(-1, 2).T
    rows, ways = np.r_[row, open_row], np.r_[way, open_way]
    otherwise = labelled_otherwise(explored, rows, ways)
    unlike = np.zeros(int(pair.max(initial=-1)) + 1, dtype=bool)
    unlike[pair[explored.rows.crossing[rows[otherwise]]]] = True
    unlike |= explored.unsettled
    if crossings.quote_cut is not None:
        unlike[pair[crossings.quote_cut]] = True
    nowhere = np.zeros(int(connection.max(initial=0)) + 1, dtype=bool)
    nowhere[connection[way == NO_WAY]] = True
    nowhere |= prohibited(verdict, row, way, connection)
    if decided.scene.witness is None:
        nowhere |= untranslatable(verdict, row, connection)
    return (
        facts
        | where(unlike[pair[crossing]], Fact.LABELS)
        | where(ended_ahead(explored, row, way), Fact.AHEAD)
        | where(nowhere[connection], Fact.CONTRADICTED)
        | where(_undialled(verdict, row, connection)[connection], Fact.NAT_UNLISTED)
    )


def chosen(explored: Explored, pair: Ints, crossing: Ints, facts: Facts) -> Bools:
    """Pairs that can be read in several ways, of which a packet is in doubt: one reading was taken
    for all of its packets. Where no tap saw what was dialled there are always more ways than are
    listed, for who dials may send from any of the host's addresses. ``pair`` (n,) of every
    crossing; ``crossing`` (k,) and ``facts`` (k,) of the packets."""
    count = int(pair.max(initial=-1)) + 1
    possible = np.ones(len(explored.alternatives.pair), dtype=bool)
    possible[explored.rows.alternative[explored.walked.forks[explored.walked.kind] == 0]] = False
    several = np.bincount(explored.alternatives.pair[possible], minlength=count) > 1
    several[explored.alternatives.pair[explored.alternatives.dialled != NOWHERE]] = True
    doubted = np.zeros(count, dtype=bool)
    doubted[pair[crossing[facts & np.uint32(Fact.RESIDUAL | Fact.REJECTED) > 0]]] = True
    result: Bools = several & doubted
    return result


def twice(tuples: Sequence[Ints], time: Ints, connection: Ints) -> Bools:
    """Connections (by their numbers from 1) whose original tuple is one that others have, too, of
    which some go on at the same time.

    ``tuples``: columns (k,) that make the original tuple of each packet, ``time`` its time (ns),
    ``connection`` its number."""
    found = np.zeros(int(connection.max(initial=0)) + 1, dtype=bool)
    columns: dict[object, Ints] = dict(enumerate(tuples))
    packets = pd.DataFrame({**columns, "time": time, "number": connection})
    lives = packets.groupby([*range(len(tuples)), "number"])["time"].agg(["min", "max"])
    lives = lives.reset_index().sort_values("min", kind="stable")
    others = lives.groupby([*range(len(tuples))])
    before = others["max"].cummax().groupby(others.ngroup()).shift()
    meets = (lives["min"] <= before).groupby(others.ngroup()).transform("any")
    found[lives["number"][meets].to_numpy()] = True
    return found


def untranslatable(verdict: Verdict, row: Ints, connection: Ints) -> Bools:
    """Connections (by their numbers from 1) that no rule translates as their packets show: what was
    dialled is not who answers, or the client not who was seen."""
    found = np.zeros(int(connection.max(initial=0)) + 1, dtype=bool)
    rules = [
        rule
        for ruleset in verdict.stages.rulesets
        for rule in ruleset.rules
        if rule.nat is not None
    ]
    v = verdict.decided.explored.rows.columns
    tracked = v["state"][row] < S_RELATED
    for before, after, able in (("dialled", "server", may_lead_to), ("client", "seen", shows_as)):
        shown = tracked & (v[before][row] != v[after][row]) & (v[after][row] != NOWHERE)
        ends, number = np.unique(v[after][row[shown]], return_inverse=True)
        unable = [
            not any(able(rule, int(address_of(end)), int(port_of(end))) for rule in rules)
            for end in ends.tolist()
        ]
        found[connection[shown][np.array(unable, dtype=bool)[number]]] = True
    return found


def prohibited(verdict: Verdict, row: Ints, way: Ints, connection: Ints) -> Bools:
    """Connections (by their numbers from 1) of which the host said that they are prohibited, as
    only a rule or a route does, where no listed rule and no route turned any of them away."""
    found = np.zeros(int(connection.max(initial=0)) + 1, dtype=bool)
    scene, explored = verdict.decided.scene, verdict.decided.explored
    crossing = explored.rows.crossing[row]
    made = (scene.crossings.kind[crossing] == RELATED_KIND) & ~scene.crossings.entered[crossing]
    said = np.maximum(scene.crossings.left[crossing], 0)
    icmp = [scene.packets[name].to_numpy()[said] for name in ("icmp_type", "icmp_code")]
    six = is_ipv6(address_of(scene.crossings.out_source[crossing]))
    codes = np.where(six, np.isin(icmp[1], PROHIBITED6), np.isin(icmp[1], PROHIBITED))
    found[connection[made & (icmp[0] == np.where(six, 1, UNREACHABLE)) & codes]] = True
    walked = explored.walked
    width = max((len(ways) for ways in walked.ways), default=1) or 1
    away = np.zeros((len(walked.ways), width), dtype=bool)
    for kind, ways in enumerate(walked.ways):
        away[kind, : len(ways)] = [one.path.end not in (End.SENT, End.DELIVERED) for one in ways]
    found[connection[(way != NO_WAY) & away[walked.kind[row], np.maximum(way, 0)]]] = False
    return found


def _undialled(verdict: Verdict, row: Ints, connection: Ints) -> Bools:
    """Connections (by their numbers from 1) of which no tap saw what was dialled, where nat was not
    listed."""
    found = np.zeros(int(connection.max(initial=0)) + 1, dtype=bool)
    if any(stage.program.nat_unlisted for stage in verdict.stages.stages):
        explored = verdict.decided.explored
        crossing = explored.rows.crossing[row]
        hypothesis = explored.alternatives.hypothesis[explored.rows.alternative[row]]
        for number, one in enumerate(explored.hypotheses):
            mine = (hypothesis == number) & (one.labels.direction[crossing] <= REPLY)
            hidden = one.ends.dialled[crossing] == NOWHERE
            found[connection[mine & hidden & (one.labels.state[crossing] != S_UNTRACKED)]] = True
    return found


def labelled_otherwise(explored: Explored, row: Ints, way: Ints) -> Bools:
    """Which rows (k,) went a way that conntrack remembers otherwise than their labels, and those of
    the packets after them, take it to."""
    hints, columns = explored.hints, explored.rows.columns
    there, forgotten, untracked, ahead = _told_by_ways(explored, row, way)
    crossing = explored.rows.crossing[row]
    opened = (columns["destination_nat"][row] == 1) | (columns["state"][row] == 0)
    joined = explored.alternatives.hypothesis[explored.rows.alternative[row]] > 0
    assumed = hints.unconfirmed[crossing] & ~(joined & explored.groups[crossing])
    apart = columns["state"][row] == S_UNTRACKED
    unlike = np.where(apart, ~(untracked | ahead), untracked)
    result: Bools = there & (unlike | (opened & (forgotten != assumed)))
    return result


def ended_ahead(explored: Explored, row: Ints, way: Ints) -> Bools:
    """Which rows (k,) are of answers that ended ahead of conntrack, with no rule that says so."""
    there, _, untracked, ahead = _told_by_ways(explored, row, way)
    apart = explored.rows.columns["state"][row] == S_UNTRACKED
    result: Bools = there & ahead & ~untracked & apart
    return result


def _told_by_ways(explored: Explored, row: Ints, way: Ints) -> tuple[Bools, Bools, Bools, Bools]:
    """(there is such a way, conntrack forgot the packet on it, was told not to follow it, never saw
    it), each (k,)."""
    walked = explored.walked
    width = max((len(ways) for ways in walked.ways), default=1) or 1
    table = np.zeros((3, len(walked.ways), width), dtype=bool)
    for kind, ways in enumerate(walked.ways):
        for at, found in enumerate(ways):
            path = found.path
            table[:, kind, at] = path.end.forgotten, path.untracked, path.ahead
    there = (way >= 0) & (way < walked.forks[walked.kind[row]])
    forgotten, untracked, ahead = table[:, walked.kind[row], np.where(there, way, 0)]
    return there, forgotten, untracked, ahead


def reopened(
    verdict: Verdict, row: Ints, way: Ints, connection: Ints, intervals: Intervals
) -> Bools:
    """Connections (by their numbers from 1) that were tried again, unanswered, while a rule of nat
    that the first packet hit counted more than is explained."""
    found = np.zeros(int(connection.max(initial=0)) + 1, dtype=bool)
    explored, books = verdict.decided.explored, verdict.books
    assert books is not None
    v = explored.rows.columns
    opens = ((v["destination_nat"][row] | v["source_nat"][row]) == 1) & (way != NO_WAY)
    again = np.flatnonzero((v["state"][row] == S_NEW) & ~opens & (v["reply"][row] == 0))
    tables = frozenset[str]().union(*(one.nat_tables for one in verdict.stages.rulesets))
    excess = {
        entry: np.r_[0, np.cumsum(account.residual > 0)]
        for entry, account in books.ledger.accounts.items()
        if verdict.stages.register.entries[entry].table in tables and (account.residual > 0).any()
    }
    if not len(again) or not excess:
        return found
    times = verdict.decided.scene.crossings.time[explored.rows.crossing[row[again]]]
    first, behind = intervals.around(times)
    for entry, upto in excess.items():
        hit = _hits(explored, row, way, entry) & opens
        concerned = np.zeros(len(found), dtype=bool)
        concerned[connection[hit]] = True
        most = len(upto) - 1
        moved = upto[np.minimum(behind, most)] > upto[np.minimum(first, most)]
        found[connection[again[moved & concerned[connection[again]]]]] = True
    return found


def _hits(explored: Explored, row: Ints, way: Ints, entry: int) -> Bools:
    """Which rows (k,) hit an entry on their way."""
    walked = explored.walked
    width = max((len(ways) for ways in walked.ways), default=1) or 1
    table = np.zeros((len(walked.ways), width), dtype=bool)
    for kind, ways in enumerate(walked.ways):
        table[kind, : len(ways)] = [entry in found.hits for found in ways]
    result: Bools = (way != NO_WAY) & table[walked.kind[row], np.maximum(way, 0)]
    return result


class Intervals:
    """The counters' intervals in which a packet may have been counted."""

    def __init__(self, counters: Counters, clock: Clock) -> None:
        self.begin, self.end = counters.begin[:-1], np.maximum.accumulate(counters.end)[1:]
        self.clock = clock

    def around(self, time: Ints) -> tuple[Ints, Ints]:
        """(first, one behind the last interval) of packets seen at ``time`` (k,), epoch ns of the
        packets' clock."""
        low, high = to_counters(self.clock, time - SLACK_NS)[0], to_counters(self.clock, time)[1]
        first = np.searchsorted(self.end, low, side="left")
        behind = np.searchsorted(self.begin, high + SLACK_NS, side="right")
        return first, np.maximum(behind, first)


def of_rejected(
    explored: Explored,
    row: Ints,
    way: Ints,
    times: Ints,
    ledger: Ledger,
    counters: Counters,
    intervals: Intervals,
) -> Bools:
    """Crossings (n,) of which a reading that was not taken hits a rule whose count just then is not
    what is explained. ``times`` (n,) is when each was seen."""
    # where more is explained than counted, one that hit it may stand in the place of another
    excess = {
        entry: np.r_[0, np.cumsum(uneven & (counters.packets_of(entry)[1] > 0))]
        for entry, account in ledger.accounts.items()
        if (uneven := (account.residual != 0) | (account.residual_bytes != 0)).any()
    }
    result = np.zeros(len(times), dtype=bool)
    if not excess:
        return result
    taken = np.full(len(explored.rows), NO_WAY, dtype=np.int64)
    taken[row] = way
    for entry, rows in _rejected(explored, taken, frozenset(excess)):
        crossing = explored.rows.crossing[rows]
        first, behind = intervals.around(times[crossing])
        most = len(excess[entry]) - 1
        moved = excess[entry][np.minimum(behind, most)] > excess[entry][np.minimum(first, most)]
        result[crossing[moved]] = True
    return result


def _rejected(
    explored: Explored, taken: Ints, entries: frozenset[int]
) -> Iterator[tuple[int, Ints]]:
    """(entry, rows that hit it on a way that was not ``taken``), of these entries only."""
    walked, alternative = explored.walked, explored.rows.alternative
    forks = walked.forks[walked.kind]
    impossible = np.bincount(alternative, forks == 0, len(explored.alternatives.pair)) > 0
    possible = ~impossible[alternative]
    for kind, ways in enumerate(walked.ways):
        several = [(number, entries & set(found.hits)) for number, found in enumerate(ways)]
        if not any(hit for _, hit in several):
            continue
        rows = np.flatnonzero((walked.kind == kind) & possible)
        for number, hit in several:
            for entry in sorted(hit):
                yield entry, rows[taken[rows] != number]
