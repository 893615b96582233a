"""Rows stand in the order in which packets meet the rules."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from correlator.report.plot.data import timeline_data
from correlator.report.plot.order import BASES, Book
from tests.unit.report.sessions import load

RULES = ["generation", "table", "chain", "rule_number", "rule", "target"]


def rules(*rows: tuple[int, str, str, int, str, str]) -> pd.DataFrame:
    """A ``rules`` table of these rows, in the order of a ruleset: a chain's policy behind its
    rules."""
    return pd.DataFrame(rows, columns=RULES)


@pytest.mark.parametrize("name", ["published", "replaced", "balance", "user", "ttl", "older"])
def test_every_way_goes_downwards(name: str) -> None:
    """Each way that a packet took (as `show` prints it) meets the rows of a hook from above to
    below."""
    analysis = load(name)
    rows = timeline_data(analysis).rows
    place = {(row.hook, row.name): i for i, row in enumerate(rows)}
    ways = [
        path
        for number in analysis.connections["connection"]
        for path in analysis.paths(int(number))
    ]
    checked = 0
    for way in ways:
        names = [
            (s.hook, f"{s.table}/{s.chain}:{s.rule_number or 'policy'}")
            for s in way.steps
            if s.kind in ("rule", "policy")
        ]
        met = [place[key] for key in names if key in place]
        assert met == sorted(met)
        checked += len(met)
    assert checked > 50


@pytest.mark.parametrize("name", ["published", "user"])
def test_every_rule_that_moved_has_one_row(name: str) -> None:
    """Rows are exactly the rules that counted or explain something."""
    analysis = load(name)
    moved = analysis.rules[
        (analysis.rules["counted_packets"] > 0) | (analysis.rules["explained_packets"] > 0)
    ]
    names = [f"{r.table}/{r.chain}:{r.rule_number or 'policy'}" for r in moved.itertuples()]
    rows = [row.name for row in timeline_data(analysis).rows]
    assert len(rows) == len(set(rows))
    assert set(rows) == set(names)


def test_hooks_and_tables_are_grouped() -> None:
    """A hook and table come once, in netfilter's order: INPUT's nat behind its filter."""
    groups = [(row.hook, row.table) for row in timeline_data(load("published")).rows]
    order = list(BASES)
    assert groups == sorted(groups, key=order.index)
    assert groups.index(("INPUT", "filter")) < groups.index(("INPUT", "nat"))


def test_a_chain_stands_where_the_jump_that_moved_leads_to_it() -> None:
    """DOCKER is jumped to from PREROUTING and OUTPUT: it stands under the hook whose jump was
    taken, and names the other."""
    book = Book(
        rules(
            (0, "nat", "PREROUTING", 1, "-j DOCKER", "DOCKER"),
            (0, "nat", "PREROUTING", 0, "policy", "ACCEPT"),
            (0, "nat", "OUTPUT", 1, "-j DOCKER", "DOCKER"),
            (0, "nat", "OUTPUT", 0, "policy", "ACCEPT"),
            (0, "nat", "DOCKER", 1, "-p tcp -j DNAT", "DNAT"),
        )
    )
    every = set(range(5))
    assert [(p.line, p.hook, p.depth, p.also) for p in book.traverse({2, 4}, every)] == [
        (0, "PREROUTING", 0, ()),
        (1, "PREROUTING", 0, ()),
        (2, "OUTPUT", 0, ()),
        (4, "OUTPUT", 1, ()),
        (3, "OUTPUT", 0, ()),
    ]
    both = {p.line: p for p in book.traverse({0, 2, 4}, every)}
    assert (both[4].hook, both[4].also) == ("PREROUTING", ("OUTPUT",))


def test_a_chain_that_nothing_reaches_comes_last() -> None:
    """A chain without a jump, and one whose jumps form a ring, are not lost and not endless."""
    book = Book(
        rules(
            (0, "filter", "ALONE", 1, "-j ACCEPT", "ACCEPT"),
            (0, "filter", "FORWARD", 1, "-j RING", "RING"),
            (0, "filter", "FORWARD", 0, "policy", "DROP"),
            (0, "filter", "RING", 1, "-j FORWARD2", "FORWARD2"),
            (0, "filter", "FORWARD2", 1, "-j RING", "RING"),
        )
    )
    places = book.traverse({1, 3, 4}, set(range(5)))
    assert [p.line for p in places] == [1, 3, 4, 2, 0]
    assert places[-1].hook == ""


def test_a_rule_stays_itself_when_numbers_shift() -> None:
    """A rule put before others shifts their numbers: rows go by text and occurrence, equals are
    told apart, and rows of the ledger (which know their generation) find theirs."""
    first = [
        (0, "filter", "FORWARD", 1, "-j A", "A"),
        (0, "filter", "FORWARD", 2, "-j A", "A"),
        (0, "filter", "FORWARD", 0, "policy", "DROP"),
    ]
    then = [
        (1, "filter", "FORWARD", 1, "-j NEW", "NEW"),
        (1, "filter", "FORWARD", 2, "-j A", "A"),
        (1, "filter", "FORWARD", 3, "-j A", "A"),
        (1, "filter", "FORWARD", 0, "policy", "DROP"),
    ]
    book = Book(rules(*first, *then))
    assert [(line.text, line.occurrence, line.numbers) for line in book.lines] == [
        ("-j A", 0, {0: 1, 1: 2}),
        ("-j A", 1, {0: 2, 1: 3}),
        ("policy", 0, {0: 0, 1: 0}),
        ("-j NEW", 0, {1: 1}),
    ]
    ledger = rules(then[1], first[1], then[0])
    assert book.lines_of(ledger).tolist() == [0, 1, 3]
    assert book.named("filter", "FORWARD", 2) == (0, 1)
    assert [p.line for p in book.traverse(set(), {0, 1, 2, 3})] == [3, 0, 1, 2]


def test_rows_of_no_rule_have_no_line() -> None:
    """What the rules table does not know has no row, rather than another's."""
    book = Book(rules((0, "nat", "DOCKER", 1, "-j RETURN", "RETURN")))
    hits = rules(
        (0, "nat", "DOCKER", 1, "-j DNAT", "DNAT"), (0, "nat", "DOCKER", 1, "-j RETURN", "RETURN")
    ).drop(columns="generation")
    assert np.array_equal(book.lines_of(hits), [-1, 0])
    assert len(book.lines_of(hits.iloc[:0])) == 0
