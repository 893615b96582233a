"""Tallies: when each way was taken, and so when each rule was hit.

Packets that hit the same rules are kept together, in order of time, instead of one row for every
packet and rule: a ruleset has few ways and a rule lies on few of them. Ordinary packets come a
block at a time, in order of time: what is asked of all hits is asked of one block after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.reconcile.times import SLACK_NS

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

Members = tuple[tuple[int, int], ...]
"""(way, how often it hits the rule) of every way that hits a rule."""


@dataclass(frozen=True)
class Tally:
    """n packets by way. ``ways`` (W,): the entries that each hits; ``offsets`` int64 (W+1,): where
    each way's packets begin in ``low``, ``high`` (int64 epoch ns: earliest and latest time of
    counting), ``bytes`` (L3) and ``packet`` (int32: number among those given), which are ordered by
    low, then high, within a way."""

    ways: tuple[tuple[int, ...], ...]
    offsets: Ints
    low: Ints
    high: Ints
    bytes: npt.NDArray[np.integer]
    packet: npt.NDArray[np.int32]

    @cached_property
    def members(self) -> dict[int, Members]:
        """entry -> the ways that hit it; of entries that any packet hit."""
        return members_of(self.ways, np.diff(self.offsets))

    def gather(self, values: npt.NDArray[Any], members: Members) -> npt.NDArray[Any]:
        """``values`` (n,) of all packets of these ways, as often as they hit."""
        parts = [
            values[self.offsets[way] : self.offsets[way + 1]]
            for way, number in members
            for _ in range(number)
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else values[:0]


def members_of(ways: Sequence[tuple[int, ...]], sizes: Ints) -> dict[int, Members]:
    """entry -> the ways (with packets: ``sizes`` (W,)) that hit it, in the order of entries."""
    found: dict[int, list[tuple[int, int]]] = {}
    for way in np.flatnonzero(sizes).tolist():
        for entry, number in Counter(ways[way]).items():
            found.setdefault(entry, []).append((way, number))
    return {entry: tuple(members) for entry, members in sorted(found.items())}


def tally(
    ways: Sequence[tuple[int, ...]],
    way: npt.NDArray[np.integer],
    low: Ints,
    high: Ints,
    size: npt.NDArray[Any],
) -> Tally:
    """Put packets (n,) together by what their ways hit: ``way`` (n,) is a number among ``ways``."""
    number: dict[tuple[int, ...], int] = {}
    table = np.array(
        [number.setdefault(tuple(hit), len(number)) for hit in ways] or [0], dtype=np.int32
    )
    code = table[way]
    order = np.argsort(
        code.astype(np.uint16) if len(number) < 1 << 16 else code, kind="stable"
    ).astype(np.int32)
    offsets = np.r_[0, np.cumsum(np.bincount(code, minlength=len(number)))].astype(np.int64)
    result = Tally(tuple(number), offsets, low[order], high[order], size[order], order)
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        _order(
            result.low[begin:end],
            result.high[begin:end],
            result.bytes[begin:end],
            result.packet[begin:end],
        )
    return result


def _order(low: Ints, high: Ints, *others: npt.NDArray[np.integer]) -> None:
    """Order one way's packets by low, then high, in place; they mostly are."""
    step = np.diff(low)
    if (step > 0).all() or ((step >= 0).all() and not ((step == 0) & (np.diff(high) < 0)).any()):
        return
    order = np.lexsort((high, low))
    for values in (low, high, *others):
        values[:] = values[order]


@dataclass(frozen=True)
class Tallies:
    """All hits of E ``entries``: of packets that were attributed one by one (``own``), and of
    ordinary ones: ``blocks`` makes their tallies in order of time, ``begins`` tells when each block
    begins, ``sizes`` int64 (W,) how many packets go each of the ``ways``. ``beside``: hits of
    another family's packets, which were attributed on their own."""

    entries: int
    own: Tally
    ways: tuple[tuple[int, ...], ...] = ()
    sizes: Ints = None  # type: ignore[assignment]
    begins: Sequence[int] = ()
    blocks: Callable[[], Iterator[Tally]] = lambda: iter(())
    beside: Tally | None = None

    @cached_property
    def members(self) -> dict[int, Members]:
        """entry -> the ways of ordinary packets that hit it."""
        return members_of(self.ways, self.sizes) if self.ways else {}

    @cached_property
    def counts(self) -> Ints:
        """Hits of every entry; int64 (E,)."""
        result = np.zeros(self.entries, dtype=np.int64)
        parts = [(np.diff(one.offsets), one.members) for one in self._apart]
        for sizes, members in (*parts, (self.sizes, self.members)):
            for entry, ways in members.items():
                result[entry] += sum(int(sizes[way]) * number for way, number in ways)
        return result

    @property
    def _apart(self) -> tuple[Tally, ...]:
        """The tallies that are no blocks."""
        return (self.own,) if self.beside is None else (self.own, self.beside)

    def alike(self, entry: int) -> tuple[Members, ...]:
        """The same for entries that the same packets hit; of ordinary ones first."""
        return (self.members.get(entry, ()), *(one.members.get(entry, ()) for one in self._apart))

    def __iter__(self) -> Iterator[Tally]:
        if len(self.own.low):
            yield self.own
        yield from self.others()

    def others(self) -> Iterator[Tally]:
        """The tallies of all packets but those that were attributed one by one."""
        if self.beside is not None:
            yield self.beside
        yield from self.blocks()

    @cached_property
    def span(self) -> tuple[int, int]:
        """(earliest, latest) time at which any packet may have been counted; (0, 0) without any."""
        ends = [(int(part.low.min()), int(part.high.max())) for part in self if len(part.low)]
        return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else (0, 0)

    def bytes_of(self, entry: int) -> int:
        """Bytes of all hits of an entry."""
        return sum(
            int(part.gather(part.bytes, part.members[entry]).sum())
            for part in self
            if entry in part.members
        )

    def times(self, wanted: Mapping[int, tuple[Ints, Ints]]) -> dict[int, tuple[Ints, Ints]]:
        """entry -> times of some of its hits: of those with these numbers in the order of earliest
        times, and of those with these numbers in the order of latest times (from 0, rising)."""
        asked = {
            entry: (_Ranked(earliest), _Ranked(latest))
            for entry, (earliest, latest) in wanted.items()
        }
        for part, until in self._in_turn():
            for entry, (earliest, latest) in asked.items():
                members = part.members.get(entry, ())
                earliest.take(
                    part.gather(part.low, members), None if until is None else until - SLACK_NS
                )
                latest.take(part.gather(part.high, members), until)
        return {
            entry: (earliest.found, latest.found) for entry, (earliest, latest) in asked.items()
        }

    def before(self, entry: int, moments: Ints) -> Ints:
        """How many hits of an entry have a latest time before each of these moments; int64 like
        ``moments``."""
        result = np.zeros(len(moments), dtype=np.int64)
        for part in self:
            result += np.searchsorted(
                np.sort(part.gather(part.high, part.members.get(entry, ()))), moments
            )
        return result

    def _in_turn(self) -> Iterator[tuple[Tally, int | None]]:
        """Every tally with the time before which nothing comes any more; None: nothing comes any
        more at all."""
        *waiting, last = self._apart
        for one in waiting:
            yield one, -(1 << 62)
        if not self.begins:
            yield last, None
            return
        yield last, -(1 << 62)
        for number, part in enumerate(self.blocks()):
            yield part, self.begins[number + 1] if number + 1 < len(self.begins) else None


class _Ranked:
    """Picks values by their number in the order of all, which come in turns."""

    def __init__(self, numbers: Ints) -> None:
        self.numbers = numbers
        self.found = np.zeros(len(numbers), dtype=np.int64)
        self.waiting: list[Ints] = []
        self.passed = self.at = 0

    def take(self, values: Ints, until: int | None) -> None:
        """Some more values; every later one is at least ``until`` (None: there is none)."""
        self.waiting.append(values)
        if until == -(1 << 62):
            return
        # runs that are in order already: a stable sort only merges them
        ordered = np.sort(
            np.concatenate(self.waiting) if len(self.waiting) > 1 else values, kind="stable"
        )
        sure = len(ordered) if until is None else int(np.searchsorted(ordered, until))
        upto = int(np.searchsorted(self.numbers, self.passed + sure))
        self.found[self.at : upto] = ordered[self.numbers[self.at : upto] - self.passed]
        self.at, self.passed = upto, self.passed + sure
        self.waiting = [ordered[sure:].copy()]  # a view would keep all of them
