"""The solver against brute force, and what it does with sums that nothing meets."""

from __future__ import annotations

from itertools import combinations_with_replacement, product

from hypothesis import given, settings
from hypothesis import strategies as st

from correlator.reconcile.settle.solver import Group, solve

OPTION = st.dictionaries(st.integers(0, 3), st.integers(1, 3), max_size=3)
GROUP = st.builds(
    lambda size, options: Group(size, tuple(options)),
    st.integers(1, 3),
    st.lists(OPTION, min_size=1, max_size=3),
)


def splits(group: Group) -> list[tuple[int, ...]]:
    """Every way to deal the members of a group to its options."""
    count = len(group.options)
    return sorted(
        {
            tuple(pick.count(j) for j in range(count))
            for pick in combinations_with_replacement(range(count), group.size)
        }
    )


def total(groups: list[Group], solution: tuple[tuple[int, ...], ...], number: int) -> int:
    """What a solution adds up to."""
    return sum(
        option.get(number, 0) * n
        for group, split in zip(groups, solution, strict=True)
        for option, n in zip(group.options, split, strict=True)
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(GROUP, min_size=1, max_size=4), st.data())
def test_all_solutions_are_found_and_no_other(groups: list[Group], data: st.DataObject) -> None:
    """For sums that some hidden choice meets, each group's counts are exactly those of all
    solutions."""
    hidden = tuple(data.draw(st.sampled_from(splits(group))) for group in groups)
    slack = data.draw(st.integers(0, 1))
    numbers = sorted({n for group in groups for option in group.options for n in option})
    bounds = {n: (total(groups, hidden, n) - slack, total(groups, hidden, n)) for n in numbers}
    outcome = solve(groups, bounds)
    assert outcome.broken == frozenset()
    good = [
        solution
        for solution in product(*(splits(group) for group in groups))
        if all(low <= total(groups, solution, n) <= high for n, (low, high) in bounds.items())
    ]
    assert all(outcome.complete)
    for g in range(len(groups)):
        assert outcome.counts[g] == frozenset(solution[g] for solution in good)
    assert outcome.example in good


def test_a_sum_out_of_reach_is_left_out_and_named() -> None:
    """One contradiction does not hide what the other sums tell."""
    groups = [Group(1, ({0: 1}, {1: 1})), Group(1, ({2: 1}, {}))]
    outcome = solve(groups, {0: (1, 1), 2: (5, 5)})
    assert outcome.broken == frozenset({2})
    assert outcome.counts[0] == frozenset({(1, 0)})
    assert len(outcome.counts[1]) == 2
