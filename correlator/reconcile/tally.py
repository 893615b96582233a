"""Tally: when each way was taken, and so when each rule was hit.

Packets that hit the same rules are kept together, in order of time, instead of one row for every packet and rule: a
ruleset has few ways and a rule lies on few of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

SAMPLE = 1 << 16
Members = tuple[tuple[int, int], ...]
"""(way, how often it hits the rule) of every way that hits a rule."""


@dataclass(frozen=True)
class Series:
    """All hits of one rule: the ``earliest`` times at which they may have been counted, in order, and the ``latest``
    ones, in order; int64 (h,) epoch ns on the packets' clock."""

    earliest: Ints
    latest: Ints


@dataclass(frozen=True)
class Tally:
    """n packets by way. ``ways`` (W,): the entries that each hits; ``offsets`` int64 (W+1,): where each way's packets
    begin in ``low``, ``high`` (int64 epoch ns: earliest and latest time of counting), ``bytes`` (L3) and ``packet`` (int32:
    number among the ordinary packets, -1 for others), which are ordered by low, then high, within a way."""

    ways: tuple[tuple[int, ...], ...]
    offsets: Ints
    low: Ints
    high: Ints
    bytes: npt.NDArray[np.integer]
    packet: npt.NDArray[np.int32]
    entries: int

    @cached_property
    def members(self) -> dict[int, Members]:
        """entry -> the ways that hit it; of entries that any packet hit."""
        found: dict[int, list[tuple[int, int]]] = {}
        for way, entries in enumerate(self.ways):
            if self.offsets[way + 1] > self.offsets[way]:
                for entry, number in Counter(entries).items():
                    found.setdefault(entry, []).append((way, number))
        return {entry: tuple(members) for entry, members in sorted(found.items())}

    @cached_property
    def counts(self) -> Ints:
        """Hits of every entry; int64 (E,)."""
        result = np.zeros(self.entries, dtype=np.int64)
        sizes = np.diff(self.offsets)
        for entry, members in self.members.items():
            result[entry] = sum(int(sizes[way]) * number for way, number in members)
        return result

    @property
    def reference(self) -> int:
        """The time of the middle hit, or near it where there are very many; 0 without any."""
        if not len(self.low):
            return 0
        weights = np.repeat([len(entries) for entries in self.ways], np.diff(self.offsets))
        step = max(1, len(self.low) // SAMPLE)
        low, weight = self.low[::step], weights[::step]
        order = np.argsort(low, kind="stable")
        total = np.cumsum(weight[order])
        return int(low[order][np.searchsorted(total, (total[-1] + 1) // 2)])

    def at(self, members: Members) -> list[slice]:
        """Where the packets of these ways are, as often as they hit."""
        return [slice(int(self.offsets[way]), int(self.offsets[way + 1])) for way, number in members for _ in range(number)]

    def gather(self, values: npt.NDArray[Any], members: Members) -> npt.NDArray[Any]:
        """``values`` (n,) of all packets of these ways."""
        parts = [values[part] for part in self.at(members)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def series(self, entry: int) -> Series:
        """The hits of one entry."""
        members = self.members.get(entry, ())
        if not members:
            none = np.zeros(0, dtype=np.int64)
            return Series(none, none)
        return Series(np.sort(self.gather(self.low, members)), np.sort(self.gather(self.high, members)))


@dataclass(frozen=True)
class Part:
    """Packets and their ways: ``ways`` what each hits, ``way`` (n,) which of them each packet took; the rest as in
    :class:`Tally`."""

    ways: Sequence[tuple[int, ...]]
    way: npt.NDArray[np.integer]
    low: Ints
    high: Ints
    bytes: npt.NDArray[np.integer]
    packet: npt.NDArray[np.int32]


def tally(parts: Sequence[Part], entries: int) -> Tally:
    """Put packets together by way."""
    number: dict[tuple[int, ...], int] = {}
    codes: list[npt.NDArray[np.int32]] = []
    for part in parts:
        table = np.array([number.setdefault(tuple(hit), len(number)) for hit in part.ways] or [0], dtype=np.int32)
        codes.append(table[part.way])
    code = _joined(codes)
    low, high, size, packet = (_joined([getattr(part, name) for part in parts]) for name in ("low", "high", "bytes", "packet"))
    order = np.argsort(code.astype(np.uint16) if len(number) < 1 << 16 else code, kind="stable")
    offsets = np.r_[0, np.cumsum(np.bincount(code, minlength=len(number)))].astype(np.int64)
    low, high, size, packet = low[order], high[order], size[order], packet[order]
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        _order(low[begin:end], high[begin:end], size[begin:end], packet[begin:end])
    return Tally(tuple(number), offsets, low, high, size, packet, entries)


def _joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return np.concatenate(parts) if len(parts) != 1 else parts[0]


def _order(low: Ints, high: Ints, *others: npt.NDArray[np.integer]) -> None:
    """Order one way's packets by low, then high, in place; they mostly are."""
    step = np.diff(low)
    if (step > 0).all() or ((step >= 0).all() and not ((step == 0) & (np.diff(high) < 0)).any()):
        return
    order = np.lexsort((high, low))
    for values in (low, high, *others):
        values[:] = values[order]
