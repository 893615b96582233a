"""What counters say of each hit, by the interval that it was counted in."""

from __future__ import annotations

import numpy as np
import pytest

from correlator.reconcile.clocks import Clock
from correlator.reconcile.settle.books import Books
from correlator.reconcile.settle.confirm import doubted_entries, place_hits, place_own
from correlator.reconcile.settle.hits import Hits
from correlator.reconcile.settle.judge import Fact
from correlator.reconcile.settle.ledger import keep_ledger
from tests.unit.reconcile.settle.made import RULE, SIZE, START, STEP, counters_of, tallies_of

POLICIES = np.array([False, True])
NONE = np.zeros(0, dtype=np.int64)
TIMES = START + np.arange(1, 9, dtype=np.int64) * STEP + STEP // 2
"""One packet in the middle of every interval but the first."""


def books_of(seen: np.ndarray, counted: np.ndarray) -> Books:
    """The rule's packets that were seen against those that it counted."""
    counters, hits = counters_of(counted, NONE), tallies_of(seen, seen, np.zeros_like(seen))
    return Books(counters, Clock(), hits, keep_ledger(hits, counters, Clock(), POLICIES))


def test_balanced_hits_are_confirmed() -> None:
    """Every hit that its rule counted lies in its interval and is confirmed: the rule is not
    doubted."""
    books = books_of(TIMES, TIMES)
    interval, facts = place_hits(books, RULE, np.arange(len(TIMES)))
    assert interval.tolist() == list(range(1, 9))
    assert set(facts.tolist()) == {int(Fact.COVERED)}
    assert doubted_entries(books) == []


@pytest.mark.parametrize("lost", [0, 3, 7])
def test_what_was_not_seen_leaves_the_rest_confirmed(lost: int) -> None:
    """A packet that was counted and not seen is a residual of its own interval; hits of all others
    are confirmed."""
    books = books_of(np.delete(TIMES, lost), TIMES)
    interval, facts = place_hits(books, RULE, np.arange(len(TIMES) - 1))
    assert interval.tolist() == [at for at in range(1, 9) if at != lost + 1]
    assert set(facts.tolist()) == {int(Fact.COVERED)}


def test_what_was_never_counted_is_fewer() -> None:
    """A hit that its rule did not count is in doubt, and says why."""
    books = books_of(TIMES, np.delete(TIMES, 3))
    _, facts = place_hits(books, RULE, np.arange(len(TIMES)))
    doubt = Fact.UNCONFIRMED | Fact.FEWER | Fact.RESIDUAL
    assert int(facts[3]) == Fact.COVERED | doubt
    assert (np.delete(facts, 3) == Fact.COVERED).all()
    assert doubted_entries(books) == [RULE]


def test_outside_of_all_readings_nothing_is_said() -> None:
    """What came before the first reading or after the last one lies in no interval."""
    early, late = START - STEP, START + 30 * STEP
    seen = np.array([early, *TIMES.tolist(), late], dtype=np.int64)
    counters = counters_of(np.array([early, *TIMES.tolist()]), NONE)
    hits = tallies_of(seen, seen, np.zeros_like(seen))
    books = Books(counters, Clock(), hits, keep_ledger(hits, counters, Clock(), POLICIES))
    interval, facts = place_hits(books, RULE, np.arange(len(seen)))
    assert interval[[0, -1]].tolist() == [-1, -1]
    assert facts[[0, -1]].tolist() == [int(Fact.UNCONFIRMED)] * 2
    assert not books.spans(RULE)


def test_without_books_all_is_uncounted() -> None:
    """Where no counters were read, every hit says so."""
    size = np.full(len(TIMES), SIZE)
    hits = Hits(np.zeros_like(TIMES), np.arange(len(TIMES)), TIMES, TIMES, size)
    interval, facts = place_own(hits, tallies_of(TIMES, TIMES, np.zeros_like(TIMES)), None)
    assert set(interval.tolist()) == {-1}
    assert set(facts.tolist()) == {int(Fact.UNCONFIRMED | Fact.UNCOUNTED)}
