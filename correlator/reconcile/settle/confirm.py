"""What the counters say of each hit: in which interval it was counted, and whether that interval
balances. Hits are told in order of time, a block of packets at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.reconcile.intake.counters import UNBOUNDED
from correlator.reconcile.settle.judge import Fact, add_facts, where
from correlator.reconcile.times import SLACK_NS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from correlator.arrays import Bools, Ints
    from correlator.reconcile.intake.counters import Counters
    from correlator.reconcile.possible.decided import Block, Ordinary
    from correlator.reconcile.settle.books import Books
    from correlator.reconcile.settle.hits import Hits
    from correlator.reconcile.settle.judge import Facts
    from correlator.reconcile.settle.ledger import Account
    from correlator.reconcile.tally import Members, Tallies, Tally

Doubts = dict[int, "Facts"]
"""entry -> facts by connection and direction (row of the fold's connections * 2 + direction); 0
where there is no hit."""


@dataclass(frozen=True)
class Placed:
    """Some hits of an ``entry`` (h,): ``packet`` its number among ordinary ones, ``owner`` row of
    the fold's connections, ``combination``; ``interval`` (-1: outside of all samples) and ``facts``
    as :func:`place_hits` tells them."""

    entry: int
    packet: Ints
    owner: Ints
    combination: Ints
    interval: Ints
    facts: Facts


def place_own(hits: Hits, every: Tallies, books: Books | None) -> tuple[Ints, Facts]:
    """(interval, facts) of each of ``hits``, some of ``every``, as :func:`place_hits` tells
    them."""
    interval = np.full(len(hits), -1, dtype=np.int64)
    facts = np.full(len(hits), Fact.UNCONFIRMED, dtype=np.uint32)
    if books is None:
        return interval, facts | np.uint32(Fact.UNCOUNTED)
    places = {
        entry: np.searchsorted(hits.entry, [entry, entry + 1]).tolist()
        for entry in books.ledger.accounts
    }
    ranks = {entry: np.arange(end - start) for entry, (start, end) in places.items() if start < end}
    for part in every.others() if ranks else ():
        for entry, rank in ranks.items():
            others = np.sort(part.gather(part.low, part.members.get(entry, ())), kind="stable")
            rank += np.searchsorted(others, hits.low[slice(*places[entry])], side="left")
    for entry, rank in ranks.items():
        at = slice(*places[entry])
        interval[at], facts[at] = place_hits(books, entry, rank)
    return interval, facts


def place_hits(books: Books, entry: int, rank: Ints) -> tuple[Ints, Facts]:
    """(interval, -1 outside of all samples; what the counter says) of one entry's hits, by their
    number in order of time among all of its hits; both (h,)."""
    account, counters = books.ledger.accounts[entry], books.counters
    interval = np.searchsorted(account.upto, rank, side="right") - 1
    interval = np.where(interval >= counters.samples - 1, -1, interval)
    said = np.r_[facts_of_intervals(account, counters, entry), np.uint32(Fact.UNCONFIRMED)]
    return interval, said[interval]


def facts_of_intervals(account: Account, counters: Counters, entry: int) -> Facts:
    """What an entry's counter says of the hits that fall into each interval, (S-1,)."""
    return (
        np.uint32(Fact.COVERED)
        | where(~confirmed(account, counters, entry), Fact.UNCONFIRMED)
        | where(account.residual < 0, Fact.FEWER)
        | where((account.residual != 0) | (account.residual_bytes != 0), Fact.RESIDUAL)
        | np.uint32(Fact.COUNTERLESS if counters.counterless[entry] else 0)
    )


def confirmed(account: Account, counters: Counters, entry: int) -> Bools:
    """The intervals in which an entry's counter confirms all hits that fall into them, bool
    (S-1,)."""
    moved, most = counters.packets_of(entry)
    met = account.explained == moved  # a policy may start to count in mid-interval
    balanced: Bools = (
        (account.residual == 0) & (account.residual_bytes == 0) & (~account.open_ended | met)
    )
    return balanced & counters.known_of(entry) & (most < UNBOUNDED)


def uncounted(books: Books | None) -> np.uint32:
    """What the judge is told of everything where there are no books."""
    return np.uint32(Fact.UNCOUNTED if books is None else 0)


def doubted_entries(books: Books | None) -> list[int]:
    """Entries of which some hit is not plainly confirmed."""
    if books is None:
        return []
    return [
        entry
        for entry, account in books.ledger.accounts.items()
        if not books.spans(entry)
        or (account.explained[~confirmed(account, books.counters, entry)] > 0).any()
    ]


def placed(
    ordinary: Ordinary, books: Books, others: Hits, entries: Sequence[int]
) -> Iterator[Placed]:
    """All hits of these entries by ordinary connections; ``others``: those of all else."""
    if not entries:
        return
    begins = ordinary.folded.packets.begins
    alike: dict[Members, list[int]] = {}
    for entry in entries:
        alike.setdefault(books.hits.alike(entry)[0], []).append(entry)
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
                    *place_hits(books, entry, _ranks(others, entry, low, passed)),
                )


def doubts_of(ordinary: Ordinary, books: Books, others: Hits, entries: Sequence[int]) -> Doubts:
    """What counters say of these entries' hits by ordinary connections. A residual of one entry is
    a doubt about all that the same packets hit, so that others come in besides."""
    beside = {
        combination: tuple(dict.fromkeys(hits))
        for combination, hits in enumerate(ordinary.hits)
        if any(entry in hits and unbalanced(books, entry) for entry in entries)
    }
    every = dict.fromkeys([*entries, *(entry for hits in beside.values() for entry in hits)])
    found = {entry: np.zeros(2 * len(ordinary.kept), dtype=np.uint32) for entry in every}
    for part in placed(ordinary, books, others, entries):
        side = part.owner * 2 + ordinary.reply[part.combination]
        add_facts(found[part.entry], side, part.facts)
        residual = part.facts & np.uint32(Fact.RESIDUAL) > 0
        for combination in np.unique(part.combination[residual]).tolist():
            doubted = side[residual & (part.combination == combination)]
            for entry in beside[combination]:
                found[entry][doubted] |= np.uint32(Fact.RESIDUAL)
    return found


NO_RESIDUAL = 1 << 62


def residual_at(books: Books, entry: int | Ints, interval: Ints, facts: Facts) -> Ints:
    """A number for the residual that each hit's interval has, :data:`NO_RESIDUAL` where it has
    none, so that the least of several is that of the first entry; (h,)."""
    number = np.asarray(entry) * books.counters.samples + interval
    return np.where(facts & np.uint32(Fact.RESIDUAL) > 0, number, NO_RESIDUAL)


def residual_in_words(books: Books, number: int, name: Callable[[int], str]) -> str:
    """Such a residual: the rule's ``name``, and how much it counted beside what is explained."""
    entry, interval = divmod(number, books.counters.samples)
    account = books.ledger.accounts[entry]
    packets, size = int(account.residual[interval]), int(account.residual_bytes[interval])
    much, what = (packets, "") if packets else (size, " bytes")
    return f"{name(entry)} counted {abs(much)}{what} {'more' if much > 0 else 'fewer'}"


def unbalanced(books: Books, entry: int) -> bool:
    """Whether an entry has a residual in any interval."""
    account = books.ledger.accounts[entry]
    return bool(account.residual.any() or account.residual_bytes.any())


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


def _ranks(others: Hits, entry: int, low: Ints, passed: dict[int, int]) -> Ints:
    """The number of each of these hits among all of the entry's, in order of time; as many more
    have ``passed``."""
    start, end = np.searchsorted(others.entry, [entry, entry + 1])
    ranks: Ints = (
        passed[entry]
        + np.arange(len(low))
        + np.searchsorted(others.low[start:end], low, side="right")
    )
    passed[entry] += len(low)
    return ranks
