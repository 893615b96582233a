"""What rules and wire left open, as units that the counters can settle."""

from __future__ import annotations

from correlator.firewall.walk.path import End
from correlator.flows.conntrack import S_INVALID, S_RELATED
from correlator.reconcile.possible.choices import Unit, find_choices
from tests.unit.reconcile.possible.made import explored_of, way

WATCHED = frozenset({"docker0"})


def test_one_way_is_settled_two_are_a_unit_none_is_a_contradiction() -> None:
    """Each crossing by itself, where its pair has one alternative; too many ways are said apart."""
    kinds = [[way(1)], [way(1), way(2)], [], []]
    rows = [(0, 0, 0), (1, 0, 1), (2, 0, 2), (3, 0, 3)]
    found = find_choices(
        explored_of(kinds, rows, [0], too_many=frozenset({3})), WATCHED, counted=True
    )
    assert found.settled.tolist() == [0]
    assert found.units == (Unit((((1, 0),), ((1, 1),))),)
    assert (found.contradicted.tolist(), found.crowded.tolist()) == ([2], [3])


def test_an_alternative_without_a_way_falls_to_one_that_has_them() -> None:
    """What was dialled is settled by the rules where only one address leads where the wire saw
    it."""
    kinds = [[way(1)], []]
    rows = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 1)]
    found = find_choices(explored_of(kinds, rows, [0, 0], dialled=[7, 8]), WATCHED, counted=True)
    assert (found.settled.tolist(), found.units) == ([0, 1], ())


def test_a_pair_is_one_unit_whose_options_are_its_alternatives() -> None:
    """Both rows of an alternative are taken together; options come in the order of likelihood."""
    kinds = [[way(1)], [way(2)]]
    rows = [(0, 0, 0), (1, 0, 0), (0, 1, 1), (1, 1, 1)]
    (unit,) = find_choices(
        explored_of(kinds, rows, [0, 0], dialled=[7, 8]), WATCHED, counted=True
    ).units
    assert unit == Unit((((0, 0), (1, 0)), ((2, 0), (3, 0))))


def test_what_nothing_reported_tells_apart_is_one_option() -> None:
    """The same hits under the same tuple and direction are no choice."""
    kinds = [[way(1)], [way(1)]]
    rows = [(0, 0, 0), (0, 1, 1)]
    (unit,) = find_choices(explored_of(kinds, rows, [0, 0]), WATCHED, counted=True).units
    assert unit.options == (((0, 0),),)


def test_whether_conntrack_followed_a_packet_is_a_choice() -> None:
    """The same hits of the same endpoints are reported apart, as one of a connection or as one of
    none: a counter cannot tell, so neither is exact."""
    kinds = [[way(1)], [way(1)]]
    rows = [(0, 0, 0), (0, 1, 1)]
    explored = explored_of(kinds, rows, [0, 0], states=[S_RELATED, S_INVALID])
    (unit,) = find_choices(explored, WATCHED, counted=True).units
    assert unit.options == (((0, 0),), ((1, 0),))


def test_what_should_have_been_seen_leaving_and_was_not_is_unlikely() -> None:
    """An alternative that ends in a drop is preferred to one that leaves by a captured interface;
    where the interface was not captured, nothing speaks against it."""
    kinds = [[way(1)], [way(2, end=End.DROPPED)]]
    explored = explored_of(kinds, [(0, 0, 0), (0, 1, 1)], [0, 0], left=False)
    assert find_choices(explored, WATCHED, counted=True).settled.tolist() == [1]
    (unit,) = find_choices(explored, frozenset(), counted=True).units
    assert len(unit.options) == 2


def test_without_counters_the_likeliest_alternative_is_taken() -> None:
    """No counter will ever choose, and no row is called exact."""
    kinds = [[way(1)], [way(2)]]
    explored = explored_of(kinds, [(0, 0, 0), (0, 1, 1)], [0, 0], dialled=[7, 8])
    found = find_choices(explored, WATCHED, counted=False)
    assert (found.settled.tolist(), found.units) == ([0], ())


def test_more_options_than_can_be_listed_are_said_to_be_capped() -> None:
    """Seven packets of two ways each make 128 options of one alternative."""
    kinds = [[way(1), way(2)]]
    rows = [(n, alternative, 0) for alternative in (0, 1) for n in range(7)]
    (unit,) = find_choices(
        explored_of(kinds, rows, [0, 0], dialled=[7, 8]), WATCHED, counted=True
    ).units
    assert unit.capped
