"""Reading many iptables-save snapshots at once that differ in their counters (and times) only.

A :class:`Template` is learnt from one snapshot that was read in full: its lines, where in them the
counters stand, and every other byte. What follows is then checked against it byte by byte, in
arrays: a snapshot fits exactly, or not at all and has to be read in full."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools, Ints

    Octets = npt.NDArray[np.uint8]

_RULE = re.compile(rb"\[(\d+):(\d+)\] ")
_CHAIN = re.compile(rb"(:.*? (\S+) \[)(\d+):(\d+)\]\Z", re.DOTALL)
_BREAKS = re.compile(rb"[\r\x0b\x0c\x1c-\x1e]|\xc2\x85|\xe2\x80[\xa8\xa9]")
"""Bytes at which str.splitlines ends a line, besides the newline."""
_COMMENTS = (b"# Generated", b"# Completed")
_COMMENT = 11
_WIDTH = 18
"""Digits that surely fit into 64 bits."""


@dataclass(frozen=True)
class Template:
    """``lines`` and ``colons`` of a snapshot with its line of time; ``literal`` uint8: all bytes
    but that line, the ends of comments, and numbers. K counting places: ``line`` they stand in,
    ``first`` where in it, ``rest`` bytes behind the number; ``colon`` which of the snapshot's
    colons parts it; ``counts``: it counts (chains of users do not)."""

    lines: int
    colons: int
    literal: Octets
    line: Ints
    first: Ints
    rest: Ints
    colon: Ints
    counts: Bools
    comments: Ints
    strange: int
    size: int


def learn(snapshot: bytes) -> Template | None:
    """The template of a snapshot (its line of time and all up to the next one); None where it is
    not a plain one."""
    if not snapshot.endswith(b"\n") or _BREAKS.search(snapshot):
        return None
    lines = snapshot.split(b"\n")[:-1]
    places: list[tuple[int, int, int, int, bool]] = []
    comments: list[int] = []
    literal: list[bytes] = [b"\n"]
    colons = lines[0].count(b":")
    for row, line in enumerate(lines[1:], 1):
        rule, chain = _RULE.match(line), _CHAIN.fullmatch(line)
        if rule:
            places.append((row, 1, len(line) - rule.end(2), colons, True))
            literal.append(b"[:" + line[rule.end(2) :] + b"\n")
        elif line.startswith(b"[") or (line.startswith(b":") and line.endswith(b"]") and not chain):
            return None
        elif chain:
            places.append((row, chain.end(1), 1, colons + chain[1].count(b":"), chain[2] != b"-"))
            literal.append(chain[1] + b":]\n")
        elif line.startswith(_COMMENTS) and len(line) > _COMMENT:
            comments.append(row)
            literal.append(line[:_COMMENT] + b"\n")
        else:
            literal.append(line + b"\n")
        colons += line.count(b":")
    # the number of other bytes then tells that no time holds any
    plain = all(not _strange(np.frombuffer(lines[row], dtype=np.uint8)) for row in (0, *comments))
    if not places or not plain:
        return None
    number, first, rest, colon, counts = np.array(places, dtype=np.int64).T
    return Template(
        len(lines),
        colons,
        np.frombuffer(b"".join(literal), dtype=np.uint8),
        number,
        first,
        rest,
        colon,
        counts.astype(bool),
        np.array(comments, dtype=np.int64),
        _strange(np.frombuffer(snapshot, dtype=np.uint8)),
        len(snapshot),
    )


def _strange(data: Octets) -> int:
    """How many bytes are not printable ASCII (newlines are among them): no snapshot that fits holds
    less than its template."""
    return int(np.count_nonzero((data - np.uint8(32)) >= 95))


@dataclass(frozen=True)
class Shape:
    """One snapshot's bytes, and where in them its counting numbers stand: ``first``, ``last`` int64
    (numbers,), packets and bytes in turns. ``free`` bool: bytes that may differ in a snapshot of
    the same shape; ``digit`` bool: those of them that are digits of numbers; ``number`` int32: of
    which counting number, or -1."""

    row: Octets
    first: Ints
    last: Ints
    free: Bools
    digit: Bools
    number: npt.NDArray[np.int32]

    @cached_property
    def plain(self) -> bool:
        """Whether all that may differ and is no digit is printable, in this snapshot."""
        return bool((self.row[self.free & ~self.digit] - np.uint8(32) < 95).all())


@dataclass(frozen=True)
class Fitting:
    """n snapshots that fit: ``begin`` and ``end`` int64 (n,) of each, ``head_end`` (n,) of its line
    of time; ``values`` int64 (n, counting places that count, 2); ``first`` and ``last`` (n, places,
    2): where its numbers stand, and ``rest`` (n, comments, 2) the ends of comments."""

    begin: Ints
    head_end: Ints
    end: Ints
    values: Ints
    first: Ints
    last: Ints
    rest: Ints

    def shape(self, template: Template, data: Octets, number: int) -> Shape:
        """What the snapshot of that number looks like."""
        begin, end = int(self.begin[number]), int(self.end[number])
        first, last = (at[number].reshape(-1, 2) - begin for at in (self.first, self.last))
        digit, free = np.zeros((2, end - begin), dtype=bool)
        number_of = np.full(end - begin, -1, dtype=np.int32)
        for a, b in [
            (0, int(self.head_end[number]) - begin),
            *(self.rest[number] - begin).tolist(),
        ]:
            free[a:b] = True
        at, _ = _spread(first.ravel(), last.ravel())
        free[at] = digit[at] = True
        counting = np.repeat(template.counts, 2)
        first, last = first.ravel()[counting], last.ravel()[counting]
        at, whose = _spread(first, last)
        number_of[at] = whose
        return Shape(data[begin:end].copy(), first, last, free, digit, number_of)


def _spread(first: Ints, last: Ints) -> tuple[Ints, Ints]:
    """(every place in [first, last) of each stretch, the stretch's number); int64 (places,)."""
    width = last - first
    whose = np.repeat(np.arange(len(first)), width)
    return first[whose] + np.arange(len(whose)) - np.repeat(np.cumsum(width) - width, width), whose


@dataclass(frozen=True)
class Alike:
    """n snapshots of one shape: ``numbers`` (m,) of those that differ somewhere, their ``values``
    int64 (n, m)."""

    count: int
    numbers: Ints
    values: Ints


def alike(shape: Shape, data: Octets) -> Alike:
    """The snapshots at the beginning of ``data`` that are the shape's own but for digits and times.

    Every other byte is compared; where all snapshots have a number's digits in common it is not
    even read."""
    size = len(shape.row)
    rows = data[: len(data) // size * size].reshape(-1, size)
    row, column = np.divmod(
        np.flatnonzero(rows != shape.row), size
    )  # few, as long as most counters stand still
    other = rows[row, column]
    lets = np.where(shape.digit[column], True, shape.free[column] & (other - np.uint8(32) < 95))
    n = len(rows) if shape.plain else 0
    n = int(row[~lets].min(initial=n))
    changed = np.unique(column[row < n])
    n = _leading((rows[:n, changed[shape.digit[changed]]] - np.uint8(48) < 10).all(axis=1))
    counted = np.zeros(len(shape.first) + 1, dtype=bool)
    counted[shape.number[changed]] = True
    numbers = np.flatnonzero(counted[:-1])
    width = shape.last[numbers] - shape.first[numbers]
    start = np.cumsum(width) - width
    at, whose = _spread(shape.first[numbers], shape.last[numbers])
    power = shape.last[numbers][whose] - at - 1
    digits = (rows[:n, at] - np.uint8(48)) * 10 ** power.astype(np.int64)
    values = (
        np.add.reduceat(digits, start, axis=1) if len(numbers) else np.zeros((n, 0), dtype=np.int64)
    )
    return Alike(n, numbers, values)


def fit(template: Template, data: Octets) -> Fitting | None:
    """The snapshots at the beginning of ``data`` up to the first that does not fit, or is not
    whole."""
    s = template
    newlines = np.flatnonzero(data == 10)
    colons = np.flatnonzero(data == 58)
    n = min(len(newlines) // s.lines, len(colons) // s.colons)
    ends = newlines[: n * s.lines].reshape(n, s.lines)
    starts = np.empty_like(ends)
    starts.ravel()[1:] = ends.ravel()[:-1] + 1
    starts[:1, :1] = 0
    colon = colons[: n * s.colons].reshape(n, s.colons)[:, s.colon]
    first, last = starts[:, s.line] + s.first, ends[:, s.line] - s.rest
    width, height = colon - first, last - colon - 1
    good: Bools = (np.minimum(width, height) > 0).all(axis=1)
    good &= (np.maximum(width, height) <= _WIDTH).all(axis=1)
    good &= (ends[:, s.comments] - starts[:, s.comments] > _COMMENT).all(axis=1) & (
        ends[:, 0] > starts[:, 0]
    )
    n = _leading(good)
    n = min(n, _same(s, data, starts[:n], ends[:n], first[:n], colon[:n], last[:n]))
    if not n or _strange(data[: ends[n - 1, -1] + 1]) != n * s.strange:
        return None
    begin, end = (
        np.stack([first[:n], colon[:n] + 1], axis=2),
        np.stack([colon[:n], last[:n]], axis=2),
    )
    values, right = _numbers(data, begin.ravel(), end.ravel())
    n = _leading(np.all(right.reshape(n, -1), axis=1))
    if not n:
        return None
    rest = np.stack([starts[:n, s.comments] + _COMMENT, ends[:n, s.comments]], axis=2)
    values = values.reshape(-1, len(s.line), 2)[:n, s.counts]
    return Fitting(starts[:n, 0], ends[:n, 0], ends[:n, -1] + 1, values, begin, end, rest)


def _leading(good: npt.ArrayLike) -> int:
    """How many are True before the first that is not."""
    good = np.asarray(good)
    return len(good) if good.all() else int(np.argmin(good))


def _same(
    s: Template, data: Octets, starts: Ints, ends: Ints, first: Ints, colon: Ints, last: Ints
) -> int:
    """How many of the snapshots hold, outside of numbers and times, the template's bytes.

    Each holds as many newlines as the template, all of them literal: as long as all before were
    alike, a row of what is left is one snapshot's."""
    n = len(starts)
    if not n:
        return 0
    stop = int(ends[-1, -1]) + 1
    step = np.zeros(stop, dtype=np.int8)
    for begin, end in (
        (first, colon),
        (colon + 1, last),
        (starts[:, s.comments] + _COMMENT, ends[:, s.comments]),
        (starts[:, 0], ends[:, 0]),
    ):
        step[begin] = 1
        step[end] = -1
    left = data[:stop][np.cumsum(step, dtype=np.int8) == 0]
    rows = len(left) // len(s.literal)
    alike = (left[: rows * len(s.literal)].reshape(rows, len(s.literal)) == s.literal).all(axis=1)
    return min(n, _leading(alike))


def _numbers(data: Octets, begin: Ints, end: Ints) -> tuple[Ints, Bools]:
    """(the decimal numbers at [begin, end), which of them are digits only)."""
    digit = data[end - 1] - np.uint8(48)
    values, right = digit.astype(np.int64), digit < 10
    at, power = np.arange(len(begin)), 1
    for k in range(2, _WIDTH + 1):
        at = at[(end - begin)[at] >= k]
        if not len(at):
            break
        power *= 10
        digit = data[end[at] - k] - np.uint8(48)
        values[at] += digit.astype(np.int64) * power
        right[at] &= digit < 10
    return values, right
