"""A small exact solver for counts: which options did the members of each group take, so that all
sums come out?

It knows nothing of packets or rules. Terminology: a *group* of ``size`` members that are alike;
each member takes one *option*; an option adds amounts to *sums*; every sum has bounds. A *solution*
says how many members of each group took each option. Sums that cannot be met whatever is chosen are
left out and reported (``broken``), so that one contradiction does not hide the rest.

How it cuts. A *box* holds a lower and an upper bound for every count. For a sum within
[want_low, want_high], each group can add at least ``least`` and at most ``most`` of it; what all
others add at least leaves this one no more than the rest::

    3 members, options +1 or +0; others add 4..5; wanted 6
    so this group adds 6 - 5 = 1 at least and 6 - 4 = 2 at most: 1 <= count(+1) <= 2

Every cut may tighten other sums of the same group, so these wait in a queue until nothing changes.
Then groups that share no undecided sum are apart (*components*), and each is searched by itself:
fix the count with the fewest values left, cut, go on. All solutions are listed, since "settled"
means that there is no second one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_NODES = 4000
"""Boxes that a component's search looks at: what takes more was never settled in a recording."""
MAX_SOLUTIONS = 512
"""More than a report could list; the group is then as open as its bounds leave it."""
MAX_EFFORT = 3_000_000
"""Options looked at while tightening bounds, in all and again for the search: a second or two of
work."""
INFINITE = 1 << 62


@dataclass(frozen=True, slots=True)
class Group:
    """``options[j]`` maps a sum's number to what one member that takes option j adds to it."""

    size: int
    options: tuple[dict[int, int], ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """``counts[g]`` is the set of ways in which group g can be split (tuples of counts per option).

    ``complete[g]`` is False where the search gave up: ``counts[g]`` is then only what bounds left
    possible. ``example[g]`` is group g's part of one solution of all groups together (where the
    search found any)."""

    counts: tuple[frozenset[tuple[int, ...]], ...]
    complete: tuple[bool, ...]
    broken: frozenset[int]
    example: tuple[tuple[int, ...], ...]


class _ContradictionError(Exception):
    """A box became empty: ``number`` is the sum that cannot be met."""

    def __init__(self, number: int) -> None:
        super().__init__(f"sum {number} cannot be met")
        self.number = number


@dataclass(slots=True)
class _Box:
    """Bounds on every count: low[g][j] <= count <= high[g][j]."""

    low: list[list[int]]
    high: list[list[int]]

    def copy(self, groups: list[int] | None = None) -> _Box:
        """A copy in which ``groups`` (all, where not given) can be changed on their own."""
        low, high = list(self.low), list(self.high)
        for g in range(len(low)) if groups is None else groups:
            low[g], high[g] = list(low[g]), list(high[g])
        return _Box(low, high)


class _Term(NamedTuple):
    """What a group adds to a sum: by option (``values``), and the options from the least to the
    most (``rising``)."""

    group: int
    size: int
    values: tuple[int, ...]
    rising: tuple[int, ...]

    @staticmethod
    def of(g: int, group: Group, number: int) -> _Term:
        values = tuple(option.get(number, 0) for option in group.options)
        return _Term(
            g, group.size, values, tuple(sorted(range(len(values)), key=values.__getitem__))
        )


@dataclass(slots=True)
class _Problem:
    groups: list[Group]
    bounds: dict[int, tuple[int, int]]
    members: dict[int, list[_Term]] = field(default_factory=dict)
    effort: int = 0

    def __post_init__(self) -> None:
        members: dict[int, set[int]] = defaultdict(set)
        for g, group in enumerate(self.groups):
            for option in group.options:
                for number in option:
                    if number in self.bounds:
                        members[number].add(g)
        self.members = {
            number: [_Term.of(g, self.groups[g], number) for g in sorted(found)]
            for number, found in members.items()
        }


def solve(groups: list[Group], bounds: dict[int, tuple[int, int]]) -> Outcome:
    """Every way to meet the sums' ``bounds`` (inclusive)."""
    problem = _Problem(groups, dict(bounds))
    box = _Box([[0] * len(g.options) for g in groups], [[g.size] * len(g.options) for g in groups])
    broken = _drop_broken(problem, box)
    counts: list[frozenset[tuple[int, ...]]] = [frozenset() for _ in groups]
    complete = [True] * len(groups)
    example: list[tuple[int, ...]] = [() for _ in groups]
    while True:
        trial = box.copy()
        try:
            _propagate(problem, trial, list(problem.members))
            break
        except _ContradictionError as reason:
            broken.add(reason.number)
            problem.members.pop(reason.number, None)
    box = trial
    problem.effort = 0
    for component in _components(problem, box):
        solutions, done = _search(problem, box, component)
        for i, g in enumerate(component):
            found = frozenset(solution[i] for solution in solutions)
            counts[g], complete[g] = (found, True) if done and found else (_corners(box, g), False)
            example[g] = min(solutions)[i] if solutions else _some(box, g, groups[g].size)
    return Outcome(tuple(counts), tuple(complete), frozenset(broken), tuple(example))


def _drop_broken(problem: _Problem, box: _Box) -> set[int]:
    """Sums out of reach whatever is chosen."""
    broken = set()
    for number in list(problem.members):
        low, high = _reach(problem, box, number)
        if low > problem.bounds[number][1] or high < problem.bounds[number][0]:
            broken.add(number)
            del problem.members[number]
    return broken


def _extremes(term: _Term, low: list[int], high: list[int]) -> tuple[int, int]:
    """Least and most that a group can add to a sum within its box: who is free to choose takes what
    adds least, or most."""
    values = term.values
    base, free = 0, term.size
    for value, taken in zip(values, low, strict=True):
        base += value * taken
        free -= taken
    if not free:
        return base, base
    return (
        base + _filled(values, term.rising, low, high, free),
        base + _filled(values, term.rising[::-1], low, high, free),
    )


def _filled(
    values: tuple[int, ...], order: tuple[int, ...], low: list[int], high: list[int], free: int
) -> int:
    """What so many free members add who take the options in this order, as far as there is room."""
    total = 0
    for j in order:
        room = high[j] - low[j]
        if room >= free:
            return total + values[j] * free
        total += values[j] * room
        free -= room
    return total


def _reach(problem: _Problem, box: _Box, number: int) -> tuple[int, int]:
    least = most = 0
    for term in problem.members[number]:
        low, high = _extremes(term, box.low[term.group], box.high[term.group])
        least, most = least + low, most + high
    return least, most


def _propagate(problem: _Problem, box: _Box, queue: list[int]) -> None:
    """Tighten the box until nothing changes (or the effort is spent: it is then only less tight);
    raises with the sum's number where it becomes empty."""
    waiting = set(queue)
    while waiting and problem.effort < MAX_EFFORT:
        number = min(waiting)
        waiting.discard(number)
        if number not in problem.members:
            continue
        for g in _tighten(problem, box, number):
            for option in problem.groups[g].options:
                waiting.update(n for n in option if n in problem.members)


def _tighten(problem: _Problem, box: _Box, number: int) -> list[int]:
    want_low, want_high = problem.bounds[number]
    terms = problem.members[number]
    problem.effort += sum(len(term.values) for term in terms)
    extremes = [_extremes(term, box.low[term.group], box.high[term.group]) for term in terms]
    least, most = sum(low for low, _ in extremes), sum(high for _, high in extremes)
    if least > want_high or most < want_low:
        raise _ContradictionError(number)
    changed: list[int] = []
    if most <= want_high and least >= want_low:
        return changed
    for (g, size, values, _), (low, high) in zip(terms, extremes, strict=True):
        if low == high:
            continue
        before = (tuple(box.low[g]), tuple(box.high[g]))
        smallest, largest = _span(values, box.high[g])
        for j, value in enumerate(values):
            if value > smallest:
                room = want_high - (least - low) - size * smallest
                box.high[g][j] = min(box.high[g][j], room // (value - smallest))
            if value < largest:
                room = (most - high) + size * largest - want_low
                box.high[g][j] = min(box.high[g][j], room // (largest - value))
        _balance(box, g, size, number)
        if before != (tuple(box.low[g]), tuple(box.high[g])):
            changed.append(g)
    return changed


def _span(values: tuple[int, ...], high: list[int]) -> tuple[int, int]:
    possible = [v for v, h in zip(values, high, strict=True) if h > 0]
    return min(possible), max(possible)


def _balance(box: _Box, g: int, size: int, number: int) -> None:
    """All members take some option: what the others cannot take, this one must."""
    total = sum(box.high[g])
    if total < size or min(box.high[g]) < 0:
        raise _ContradictionError(number)
    for j, high in enumerate(box.high[g]):
        box.low[g][j] = max(box.low[g][j], size - (total - high))


def _components(problem: _Problem, box: _Box) -> list[list[int]]:
    """Groups that share a sum that is not decided yet, together; decided groups alone."""
    parent = list(range(len(problem.groups)))

    def find(x: int) -> int:
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    for terms in problem.members.values():
        undecided = [term.group for term in terms if box.low[term.group] != box.high[term.group]]
        for g in undecided[1:]:
            parent[find(g)] = find(undecided[0])
    together: dict[int, list[int]] = defaultdict(list)
    for g in range(len(problem.groups)):
        together[find(g)].append(g)
    return list(together.values())


def _search(
    problem: _Problem, box: _Box, component: list[int]
) -> tuple[set[tuple[tuple[int, ...], ...]], bool]:
    """All solutions of a component, and whether the search went through."""
    solutions: set[tuple[tuple[int, ...], ...]] = set()
    stack, nodes = [box.copy(component)], 0
    while stack:
        current = stack.pop()
        nodes += 1
        if nodes > MAX_NODES or len(solutions) > MAX_SOLUTIONS or problem.effort >= MAX_EFFORT:
            return solutions, False
        choice = _undecided(current, component)
        if choice is None:
            solutions.add(tuple(tuple(current.low[g]) for g in component))
            continue
        g, j = choice
        for value in range(current.low[g][j], current.high[g][j] + 1):
            branch = current.copy(component)
            branch.low[g][j] = branch.high[g][j] = value
            try:
                _balance(branch, g, problem.groups[g].size, 0)
                if sum(branch.low[g]) > problem.groups[g].size:
                    continue
                touched = {
                    n
                    for option in problem.groups[g].options
                    for n in option
                    if n in problem.members
                }
                _propagate(problem, branch, list(touched))
            except _ContradictionError:
                continue
            stack.append(branch)
    return solutions, True


def _undecided(box: _Box, component: list[int]) -> tuple[int, int] | None:
    """The count with the fewest values left."""
    best, room = None, INFINITE
    for g in component:
        for j, (low, high) in enumerate(zip(box.low[g], box.high[g], strict=True)):
            if 0 < high - low < room:
                best, room = (g, j), high - low
    return best


def _some(box: _Box, g: int, size: int) -> tuple[int, ...]:
    """A split within the bounds: the first options take what they can."""
    split, left = list(box.low[g]), size - sum(box.low[g])
    for j, high in enumerate(box.high[g]):
        more = min(left, high - split[j])
        split[j] += more
        left -= more
    return tuple(split)


def _corners(box: _Box, g: int) -> frozenset[tuple[int, ...]]:
    """What the bounds leave, as the two ends of the box."""
    return frozenset((tuple(box.low[g]), tuple(box.high[g])))
