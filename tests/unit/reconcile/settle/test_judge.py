"""The judge: what each fact means alone and beside others."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from correlator.reconcile.settle.judge import (
    FIELDS,
    GROUNDS,
    STATUSES,
    Fact,
    evidence_in_words,
    grounds_of,
    judge,
    open_in_words,
    open_of,
    statuses_of,
    together,
    worst,
)

facts = st.integers(0, sum(Fact))
DOUBT = (Fact.FEWER, Fact.UNCOUNTED, Fact.DIFFERS, Fact.CAPPED, Fact.NO_WAY, Fact.CROWDED)


def test_what_a_counter_confirms_is_exact() -> None:
    """Of a hit in a balanced interval nothing is doubted, whether or not the wire shows its end."""
    assert judge(Fact.COVERED) == ("exact", "")
    assert judge(Fact.COVERED | Fact.UNSHOWN) == ("exact", "")


def test_outside_of_the_log_nothing_is_verified() -> None:
    """A hit that lies between no two readings is unverified; one that does, of a rule whose
    counter is not known there, is not for that alone."""
    assert judge(Fact.UNCONFIRMED) == ("unverified", "outside of the counter log")
    assert judge(Fact.UNCONFIRMED | Fact.COVERED)[0] == "exact"


def test_one_side_needs_a_counter() -> None:
    """What was seen on one side of the host only is ambiguous unless counters confirm it."""
    assert judge(Fact.ONE_SIDED | Fact.COVERED)[0] == "exact"
    assert judge(Fact.ONE_SIDED | Fact.COVERED | Fact.UNCONFIRMED)[0] == "ambiguous"


def test_candidates_are_named() -> None:
    """What is left to choose from is the reason, where somebody can name it."""
    assert judge(Fact.DIFFERS | Fact.COVERED, "a or b") == ("ambiguous", "a or b")


@given(facts, st.sampled_from(DOUBT))
def test_a_doubt_is_never_outweighed(known: int, doubt: Fact) -> None:
    """Whatever else is known, what is a doubt by itself makes nothing exact."""
    assert judge(known | doubt)[0] != "exact"


@given(facts)
def test_ambiguous_outweighs_unverified(known: int) -> None:
    """What no counter was read for is unverified, unless it is ambiguous besides."""
    alone, uncounted = judge(known & ~Fact.UNCOUNTED), judge(known | Fact.UNCOUNTED)
    assert uncounted[0] == ("ambiguous" if alone[0] == "ambiguous" else "unverified")


@given(st.lists(st.tuples(facts, st.integers(0, 3)), max_size=30))
def test_several_bear_the_facts_of_each(parts: list[tuple[int, int]]) -> None:
    """The facts of an owner are the union of its parts', its worst ground the first that any part
    has; who owns nothing has neither."""
    known = np.array([fact for fact, _ in parts], dtype=np.uint32)
    owner = np.array([number for _, number in parts], dtype=np.int64)
    found, doubts = together(known, owner, 4), worst(grounds_of(known), owner, 4)
    for number in range(4):
        mine = [fact for fact, of in parts if of == number]
        assert found[number] == np.bitwise_or.reduce(np.array(mine, dtype=np.int64), initial=0)
        ranks = [int(grounds_of(np.array([fact], dtype=np.uint32))[0]) for fact in mine]
        assert doubts[number] == min(ranks, default=len(GROUNDS))


def test_every_ground_can_be_the_reason() -> None:
    """Of its own facts alone each ground is the one that holds: none hides another."""
    needs = np.array([int(ground.needs) for ground in GROUNDS], dtype=np.uint32)
    assert grounds_of(needs).tolist() == list(range(len(GROUNDS)))
    assert [STATUSES[code] for code in statuses_of(grounds_of(needs))] == [
        STATUSES[ground.status] for ground in GROUNDS
    ]


def test_evidence_needs_all_hits() -> None:
    """Wire and counters bear witness only where they do so for all of it."""
    assert evidence_in_words(Fact.COVERED) == "rules,wire,counters"
    assert evidence_in_words(Fact.COVERED | Fact.UNSHOWN) == "rules,counters"
    assert evidence_in_words(Fact.COVERED | Fact.UNCONFIRMED) == "rules,wire"
    assert evidence_in_words(Fact.UNCOUNTED | Fact.UNSHOWN) == "rules"


def test_what_is_open_is_named_field_by_field() -> None:
    """Where only what was dialled is open, nothing else is; a doubt about the way leaves the rule
    open, and what no counter was read for leaves nothing open."""
    known = np.array(
        [
            Fact.DIFFERS | Fact.DST_OPEN,
            Fact.DIFFERS | Fact.DST_OPEN | Fact.RULE_OPEN,
            Fact.RESIDUAL,
            Fact.LABELS | Fact.DST_OPEN,
            Fact.UNCOUNTED,
            Fact.COVERED,
        ],
        dtype=np.uint32,
    )
    assert [open_in_words(fact) for fact in open_of(known).tolist()] == [
        "dst",
        "rule,dst",
        "rule",
        "rule,direction,dst",
        "",
        "",
    ]


@given(facts)
def test_what_is_exact_has_nothing_open(known: int) -> None:
    """Unless facts that never come without a doubt are put together by hand, nothing exact or
    unverified is open, and of what is ambiguous something always is."""
    named = known | (Fact.DIFFERS if known & sum(FIELDS.values()) else 0)
    named |= Fact.RULE_OPEN if named & Fact.DIFFERS else 0
    status, _ = judge(named)
    opened = open_in_words(int(open_of(np.array([named], dtype=np.uint32))[0]))
    assert bool(opened) == (status == "ambiguous")
