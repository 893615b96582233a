"""The samples of a session -> :class:`~correlator.firewall.samples.log.CounterLog`.

A line of samples.jsonl either names a ruleset::

    {"ruleset": 1, "backend": "nft", "file": "rulesets/nft-1.rules", "uncounted": [3],
     "six": "rulesets/nft-1.rules6", "native": "rulesets/nft-1.nft"}

or is a sample of the ruleset of its backend that was named last: its times in epoch ns, how late it
was (ns, where it was), and (counting line, packets, bytes) of every counter that differs from the
sample before (from zero, in a ruleset's first sample)::

    {"backend": "nft", "begin": 0, "end": 0, "counters": [0, 10, 840]}

Counting lines are numbered from 0 as they stand in the files: policies of base chains, rules, and
counters of nft's listing.

Lines as the recorder writes them are read many at once. Where any other line is found, all are read
one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.dataset.files import TEXT, open_file
from correlator.dataset.session import SAMPLES, read_record, read_records
from correlator.errors import InputError
from correlator.firewall.samples.log import CounterLog
from correlator.firewall.samples.ruleset_files import Texts, read_ruleset, read_texts
from correlator.firewall.samples.series import Layers, Series, compact, concat

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.firewall.model import Ruleset

BLOCK = 1 << 20
"""Bytes of the file that are looked at in one step."""
_NUMBER = rb"(0|[1-9]\d{0,17}|[1-8]\d{18})"
_SAMPLE = re.compile(
    rb'\{"backend":"([^"\\\x00-\x1f]*)","begin":'
    + _NUMBER
    + rb',"end":'
    + _NUMBER
    + rb'(,"late":'
    + _NUMBER
    + rb')?,"counters":\[([\d,]*)\]\}'
)
_MOST = np.iinfo(np.int64).max


class _UncommonError(Exception):
    """The lines are to be read one by one."""


@dataclass
class _Builder:
    """Samples of one backend, in the order in which they were written."""

    family: str = "ip"
    rulesets: list[Ruleset] = field(default_factory=list)
    orders: list[Ints] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    uncounted: list[frozenset[int]] = field(default_factory=list)
    begin: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    generation: list[int] = field(default_factory=list)
    parts: list[list[Layers]] = field(default_factory=list)
    waiting: list[bytes] = field(default_factory=list)
    state: Ints | None = None
    late: int = 0

    def add_ruleset(self, texts: Texts, uncounted: list[int]) -> None:
        self.read_waiting()
        ruleset, order, count = read_ruleset(texts, self.family)
        where = {line: entry for entry, line in enumerate(order.tolist())}
        if any(line >= count for line in uncounted):
            raise ValueError(f"line {max(uncounted)} of {count}")
        self.rulesets.append(ruleset)
        self.orders.append(order)
        self.lines.append(count + 1)
        self.uncounted.append(frozenset(where[line] for line in uncounted if line in where))
        self.parts.append([])
        self.state = None

    def add_sample(self, record: dict[str, Any]) -> None:
        """One sample, its line parsed."""
        order = self.orders[-1]
        changed = np.array(record["counters"], dtype=np.int64).reshape(-1, 3)
        self.state = values = self._state().copy()
        if (changed[:, 0] >= len(values) - 1).any():
            raise IndexError(f"line {changed[:, 0].max()} of {len(values) - 1}")
        values[changed[:, 0]] = changed[:, 1:]
        self.parts[-1].append(compact((values[None, order, 0], values[None, order, 1])))
        self._add_times(
            int(np.int64(int(record["begin"]))), int(np.int64(int(record["end"]))), "late" in record
        )

    def add_line(self, found: re.Match[bytes]) -> None:
        """One sample as the recorder writes it; its numbers are read later, with others."""
        if not self.rulesets:
            raise _UncommonError
        self.waiting.append(found[6])
        self._add_times(int(found[2]), int(found[3]), found[4] is not None)

    def _add_times(self, begin: int, end: int, late: bool) -> None:
        self.begin.append(begin)
        self.end.append(end)
        self.generation.append(len(self.rulesets) - 1)
        self.late += late

    def read_waiting(self) -> None:
        """Read the numbers of the lines that wait."""
        if self.waiting:
            order, state = self.orders[-1], self._state()
            row, changed = _numbers(self.waiting, len(state) - 1)
            layers, self.state = _follow(state, row, changed, len(self.waiting), order)
            self.parts[-1].append(layers)
            self.waiting = []

    def _state(self) -> Ints:
        """What every counting line stands at, int64 (lines + 1, 2); the last never counts."""
        if self.state is None:
            return np.zeros((self.lines[-1], 2), dtype=np.int64)
        return self.state

    def build(self, form: str, warnings: list[str]) -> CounterLog:
        """The log; a ruleset that no sample was taken of is left out."""
        used = [i for i, part in enumerate(self.parts) if part]
        place = np.zeros(len(self.parts), dtype=np.int32)
        place[used] = np.arange(len(used))
        joined = [concat(self.parts[i]) for i in used]
        packets, size = tuple(layers[0] for layers in joined), tuple(layers[1] for layers in joined)
        if self.late:
            warnings = [
                *warnings,
                f"{self.late} counter samples were taken late: the machine was busy",
            ]
        return CounterLog(
            tuple(self.rulesets[i] for i in used),
            np.array(self.begin, dtype=np.int64),
            np.array(self.end, dtype=np.int64),
            place[np.array(self.generation, dtype=np.int64)],
            packets,
            packets,
            size,
            size,
            form,
            tuple(warnings),
            tuple(self.uncounted[i] for i in used) if form == "session" else (),
        )


def _numbers(texts: list[bytes], lines: int) -> tuple[Ints, Ints]:
    """(row (n,), counting line and its two numbers (n, 3)) of all that the samples list, in their
    order."""
    counts = np.array([text.count(b",") + 1 if text else 0 for text in texts], dtype=np.int64)
    joined = b",".join(filter(None, texts))
    if not joined:
        return np.zeros(0, dtype=np.int64), np.zeros((0, 3), dtype=np.int64)
    data = np.frombuffer(b"," + joined + b",", dtype=np.uint8)
    digit = data != 44
    broken = (
        not (digit[:-1] | digit[1:]).all() or (~digit[:-2] & (data[1:-1] == 48) & digit[2:]).any()
    )
    if broken or (counts % 3).any():
        raise _UncommonError
    changed = np.fromstring(joined, dtype=np.int64, sep=",").reshape(-1, 3)
    if (
        int(changed.max()) == _MOST or int(changed[:, 0].max()) >= lines
    ):  # what is too large is read as the most there is
        raise _UncommonError
    return np.repeat(np.arange(len(texts)), counts // 3), changed


def _follow(state: Ints, row: Ints, changed: Ints, rows: int, order: Ints) -> tuple[Layers, Ints]:
    """(packets and bytes of the ruleset's entries, the state at the end), for ``rows`` samples that
    change ``state``."""
    state, mine = state.copy(), np.zeros(len(state), dtype=bool)
    mine[order] = True  # the other lines are another family's
    row, changed = row[mine[changed[:, 0]]], changed[mine[changed[:, 0]]]
    at_once = int(np.searchsorted(row, 1))
    state[changed[:at_once, 0]] = changed[:at_once, 1:]
    row, changed = row[at_once:], changed[at_once:]
    touched = np.flatnonzero(np.bincount(changed[:, 0], minlength=len(state)))
    place = np.full(len(state), -1, dtype=np.int64)
    place[touched] = np.arange(len(touched))
    # every value lasts until the next of its line; the state is the first
    line = np.r_[place[touched], place[changed[:, 0]]].astype(np.min_scalar_type(len(touched)))
    sequence = np.argsort(line, kind="stable")
    begin = (
        line[sequence].astype(np.int64) * rows
        + np.r_[np.zeros(len(touched), dtype=np.int64), row][sequence]
    )
    lasts = np.diff(begin, append=len(touched) * rows)
    column = place[order]
    layers, after = [], state.copy()
    for i in range(2):
        values = np.r_[state[touched, i], changed[:, 1 + i]][sequence]
        moving = np.repeat(values, lasts).reshape(len(touched), rows)
        after[touched, i] = moving[:, -1]
        layers.append(Series(state[order, i], column, moving.T))
    return tuple(layers), after


def read_sample_logs(folder: Path, direct: bool, family: str = "ip") -> dict[str, CounterLog]:
    """backend -> its samples, for every backend that any were taken of, of the rules that packets
    of a ``family`` meet (``ip``, ``ip6``).

    ``direct``: they were read from the kernel, not printed by iptables-save.

    Raises :class:`~correlator.errors.InputError` where a line or a ruleset is damaged.
    """
    try:
        builders, cut = _read_many(folder, family)
    except _UncommonError:
        builders, cut = _read_each(folder, family)
    warnings = [f"{folder / SAMPLES}: the last line is cut short: left out"] if cut else []
    return {
        backend: builder.build("session" if direct else "save", warnings)
        for backend, builder in builders.items()
        if builder.begin
    }


def _read_many(folder: Path, family: str) -> tuple[dict[str, _Builder], bool]:
    """(builders, whether the last line is cut short), for a file as the recorder writes it."""
    builders: dict[str, _Builder] = {}
    cut = False
    try:
        for lines, rest in _blocks(folder):
            for line in lines:
                found = _SAMPLE.fullmatch(line)
                if found is not None:
                    builders.setdefault(found[1].decode(), _Builder(family)).add_line(found)
                else:
                    record = read_record(line, "")
                    if "ruleset" not in record:
                        raise _UncommonError
                    texts = read_texts(record, folder)
                    if texts is None:
                        raise _UncommonError
                    builder = builders.setdefault(record["backend"], _Builder(family))
                    builder.add_ruleset(texts, record.get("uncounted", []))
            for builder in builders.values():
                builder.read_waiting()
            cut = bool(rest)
    except (InputError, LookupError, ValueError, OSError):
        raise _UncommonError from None
    return builders, cut


def _blocks(folder: Path) -> Iterator[tuple[list[bytes], bytes]]:
    """The lines of the samples, a block of them at a time, and what of a line stands behind
    them."""
    rest = b""
    with open_file(folder / SAMPLES, folder) as file:
        while block := file.read(BLOCK):
            *lines, rest = (rest + block).split(b"\n")
            if len(rest) > TEXT:
                raise _UncommonError
            yield lines, rest


def _read_each(folder: Path, family: str) -> tuple[dict[str, _Builder], bool]:
    """The same, line by line, with what is wrong said."""
    records, cut = read_records(folder)
    builders: dict[str, _Builder] = {}
    for number, record in enumerate(records, 1):
        try:
            builder = builders.setdefault(record["backend"], _Builder(family))
            if "ruleset" in record:
                texts = read_texts(record, folder)
                if texts is None and number == len(records):
                    break  # the recording ended between the line and the file
                if texts is None:
                    raise InputError(f"{folder / record['file']}: no such file")
                builder.add_ruleset(texts, record.get("uncounted", []))
            else:
                builder.add_sample(record)
        except (LookupError, ValueError) as error:
            raise InputError(f"{folder / SAMPLES}: line {number} is damaged: {error}") from None
    return builders, cut
