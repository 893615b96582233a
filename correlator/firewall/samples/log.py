"""A stream of counter snapshots -> one :class:`CounterLog`: generations of rulesets, and arrays of
counters.

A snapshot is what one reading printed: ``iptables-save -c`` output or ``iptables -L -n -v``
listings, behind its time. Snapshots that differ in numbers only share their parsed ruleset. This
reader goes line by line and is the reference: :mod:`~correlator.firewall.samples.many` reads the
same, many snapshots at once, and comes here for what is out of the ordinary."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.errors import InputError
from correlator.firewall.languages.iptables_listing import looks_like_listing, parse_listing
from correlator.firewall.languages.iptables_save import APPEND, COUNTERS, parse_iptables_save
from correlator.firewall.model import TABLES, Chain, Ruleset
from correlator.firewall.samples.series import Layers, Series, compact, concat
from correlator.firewall.samples.stamps import SECOND, Stamp, parse_generated, parse_stamp

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Matrix = Ints | Series


@dataclass(frozen=True)
class CounterLog:
    """Counters over time. S samples in G generations.

    ``begin``/``end`` int64 (S,) epoch ns: the reading happened between them; ``generation`` int32
    (S,). The tuples hold one matrix per generation, int64 (samples of it, entries of its ruleset)
    in the order of ``Ruleset.entries``: ``packets``/``bytes`` and, where the log rounds them, their
    upper bounds (``*_high``; else the same object). Readers make
    :class:`~correlator.firewall.samples.series.Series`, which hold what moves only. ``form`` is
    ``save``, ``listing`` or ``session``. A session's log was read from the kernel itself, on the
    packets' own clock: it lists no chain that does not exist, and ``uncounted`` (one set of entries
    a generation) names the policies that the kernel does not count."""

    rulesets: tuple[Ruleset, ...]
    begin: Ints
    end: Ints
    generation: npt.NDArray[np.int32]
    packets: tuple[Matrix, ...]
    packets_high: tuple[Matrix, ...]
    bytes: tuple[Matrix, ...]
    bytes_high: tuple[Matrix, ...]
    form: str
    warnings: tuple[str, ...] = ()
    uncounted: tuple[frozenset[int], ...] = ()


@dataclass(slots=True)
class Snapshot:
    stamp: Stamp
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One snapshot parsed: ``values`` int64 (entries, 4): packets, its upper bound, bytes, its
    upper bound."""

    ruleset: Ruleset
    values: Ints


@dataclass(frozen=True, slots=True)
class Stretch:
    """Successive snapshots of one ruleset; ``layers``: packets, their upper bounds, bytes, and
    theirs."""

    ruleset: Ruleset
    layers: Layers


def parse_counter_log(log: str | bytes, source: str = "counters") -> CounterLog:
    """All snapshots of a log. Give bytes (UTF-8) where it is long: they are read many snapshots at
    once.

    Raises :class:`~correlator.errors.InputError` where there is no snapshot, no time, or no counter
    in it. A last snapshot that is cut short is left out, with a warning."""
    if isinstance(log, bytes):
        from correlator.firewall.samples.many import parse_quickly

        found = parse_quickly(log, source)
        return found if found is not None else _parse(log.decode("utf-8", "replace"), source)
    return _parse(log, source)


def _parse(text: str, source: str) -> CounterLog:
    """Line by line."""
    snapshots, warnings = _split(text, source)
    listing = looks_like_listing(snapshots[0].text)
    reader = _ListingReader(source) if listing else SaveReader(source)
    readings: list[Reading] = []
    for number, snapshot in enumerate(snapshots):
        try:
            reading = reader.read(snapshot)
        except InputError:
            if number == len(snapshots) - 1 and number:
                reading = None
            else:
                raise
        if (
            number == len(snapshots) - 1
            and number
            and (reading is None or _is_cut(reading, readings[-1], snapshot, listing))
        ):
            warnings.append(cut_short(source, snapshot.line))
            snapshots = snapshots[:-1]
            break
        assert reading is not None
        readings.append(reading)
    warnings += reader.warnings
    stretches = [Stretch(ruleset, _layers(values)) for ruleset, values in _runs(readings)]
    return assemble(
        [s.stamp for s in snapshots], stretches, "listing" if listing else "save", warnings, source
    )


def cut_short(source: str, line: int) -> str:
    """The warning about a last snapshot."""
    return f"{source}: the last snapshot (line {line}) is cut short: left out"


def broken(source: str, line: int) -> str:
    """What is wrong where counters are no numbers of 64 bits."""
    return f"{source}: the snapshot at line {line} holds broken counters"


def _runs(readings: list[Reading]) -> list[tuple[Ruleset, Ints]]:
    """Successive readings of one ruleset, stacked."""
    runs: list[tuple[Ruleset, list[Ints]]] = []
    for reading in readings:
        if not runs or runs[-1][0] is not reading.ruleset:
            runs.append((reading.ruleset, []))
        runs[-1][1].append(reading.values)
    return [(ruleset, np.stack(values)) for ruleset, values in runs]


def _layers(values: Ints) -> Layers:
    packets, high, size, high_size = (values[:, :, i] for i in range(4))
    exact = (packets == high).all() and (size == high_size).all()
    return compact((packets, packets, size, size) if exact else (packets, high, size, high_size))


def _split(text: str, source: str) -> tuple[list[Snapshot], list[str]]:
    """The snapshots behind their time stamps."""
    if "\0" in text[:4096]:
        raise InputError(
            f"{source}: is not text: expected a log of iptables-save -c or iptables -L -n -v output"
        )
    lines = text.splitlines(keepends=True)
    if not any(line.strip() for line in lines):
        raise InputError(
            f"{source}: is empty: expected a log of iptables-save -c or iptables -L -n -v output"
        )
    marks = [(i, stamp) for i, line in enumerate(lines) if (stamp := stamp_of(line)) is not None]
    if not marks:
        marks = _generated_marks(lines)
    if not marks:
        if any(line.startswith(("*", "Chain ")) for line in lines):
            raise InputError(
                f"{source}: has no times: put `date +%s.%N` before each snapshot, or `# sample "
                f"begin=... end=...`"
            )
        raise InputError(
            f"{source}: is not a counter log: expected iptables-save -c or iptables -L -n -v output"
        )
    ends = [i for i, _ in marks[1:]] + [len(lines)]
    snapshots = [
        Snapshot(stamp, i + 1, "".join(lines[i + 1 : until]))
        for (i, stamp), until in zip(marks, ends, strict=True)
    ]
    kept = [s for s in snapshots if has_content(s.text)]
    if not kept:
        raise InputError(f"{source}: has times but no counters behind them")
    return kept, []


def has_content(text: str) -> bool:
    return re.search(r"^(\*|Chain )", text, re.MULTILINE) is not None


def stamp_of(line: str) -> Stamp | None:
    first = line[:1]
    if first in "#0123456789" or (
        first.isupper() and line[3:4] in (" ", ",") and not line.startswith("Chain")
    ):
        return parse_stamp(line.rstrip("\n")) if not line.startswith("# Generated") else None
    return None


def _generated_marks(lines: list[str]) -> list[tuple[int, Stamp]]:
    """iptables-save prints one line a table: a snapshot begins where a table comes that the last
    one has already."""
    marks: list[tuple[int, Stamp]] = []
    tables: set[str] = set()
    waiting: tuple[int, Stamp] | None = None
    for i, line in enumerate(lines):
        if line.startswith("# Generated"):
            stamp = parse_generated(line.rstrip("\n"))
            waiting = (i, stamp) if stamp is not None else waiting
        elif line.startswith("*"):
            table = line.strip()
            if (not marks or table in tables) and waiting is not None:
                marks.append(waiting)
                tables = set()
            tables.add(table)
    return marks


def _times(stamps: list[Stamp]) -> tuple[Ints, Ints]:
    """(begin, end) of every reading; where only one time is known, it ended before the next one
    began."""
    begin = np.array([s.begin for s in stamps], dtype=np.int64)
    spacing = int(np.median(np.diff(begin))) if len(begin) > 1 else SECOND
    following = np.r_[begin[1:], begin[-1:] + max(spacing, SECOND)]
    end = np.array(
        [
            s.end
            if s.end is not None
            else max(int(after) + s.resolution - 1, s.begin + s.resolution - 1)
            for s, after in zip(stamps, following, strict=True)
        ],
        dtype=np.int64,
    )
    return begin, end


class SaveReader:
    """Snapshots of iptables-save -c; parses each skeleton (all but the numbers) once.

    ``order``: for each entry of the last one read, which of its counting lines it is.
    """

    _NUMBERS = re.compile(r"\[(\d+):(\d+)\]")
    _TIMES = re.compile(r"^#.*\n?", re.MULTILINE)

    def __init__(self, source: str) -> None:
        self.source = source
        self.known: dict[str, tuple[Ruleset, Ints]] = {}
        self.order: Ints = np.zeros(0, dtype=np.int64)
        self.warnings: list[str] = []

    def read(self, snapshot: Snapshot) -> Reading:
        body = self._TIMES.sub("", snapshot.text)
        # counters stand at the start of a rule and at the end of a chain: a comment may hold the
        # like elsewhere
        numbers: list[str] = []
        pieces = []
        for line in body.splitlines():
            if line.startswith("["):
                head, _, rest = line[1:].partition("] ")
                packets, _, size = head.partition(":")
                numbers += (packets, size)
                pieces.append(rest)
            elif line.startswith(":") and line.endswith("]"):
                rest, _, head = line[:-1].rpartition(" [")
                packets, _, size = head.partition(":")
                if not rest.endswith(" -"):
                    numbers += (packets, size)
                pieces.append(rest)
            else:
                pieces.append(line)
        skeleton = "\n".join(pieces)
        found = self.known.get(skeleton)
        if found is None:
            found = self.known[skeleton] = self._learn(skeleton, snapshot)
        ruleset, order = found
        self.order = order
        try:
            values = np.array(numbers, dtype=np.int64).reshape(-1, 2)
        except (ValueError, OverflowError):
            raise InputError(broken(self.source, snapshot.line)) from None
        if len(values) != len(order):
            raise InputError(
                f"{self.source}: the snapshot at line {snapshot.line} has rules without counters: "
                f"use iptables-save -c"
            )
        values = values[order]
        return Reading(ruleset, values[:, (0, 0, 1, 1)])

    def _learn(self, skeleton: str, snapshot: Snapshot) -> tuple[Ruleset, Ints]:
        """(ruleset with its tables in the usual order, for each entry the position of its numbers
        in the text)."""
        ruleset = normalise(
            parse_iptables_save(skeleton, f"{self.source}, snapshot at line {snapshot.line}")
        )
        return ruleset, positions(skeleton, ruleset)


class _ListingReader:
    """Snapshots of iptables -L -n -v; parses each skeleton (all but the numbers) once."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.known: dict[tuple[Chain, ...], Ruleset] = {}
        self.warnings: list[str] = []

    def read(self, snapshot: Snapshot) -> Reading:
        listed = parse_listing(snapshot.text, f"{self.source}, snapshot at line {snapshot.line}")
        for warning in listed.warnings:
            if warning not in self.warnings:
                self.warnings.append(warning)
        ruleset = normalise(listed.ruleset)
        ruleset = self.known.setdefault(ruleset.chains, ruleset)
        counts = {
            (e.table, e.chain, e.number): c
            for e, c in zip(listed.ruleset.entries, listed.counts, strict=True)
        }
        values = [counts[e.table, e.chain, e.number] for e in ruleset.entries]
        try:
            return Reading(ruleset, np.array(values, dtype=np.int64).reshape(-1, 4))
        except OverflowError:
            raise InputError(broken(self.source, snapshot.line)) from None


def positions(text: str, ruleset: Ruleset) -> Ints:
    """For each entry of a ruleset its counting line in the iptables-save text that it was read
    from, int64 (entries,).

    Counting lines are the policies of base chains, and the rules; numbered from 0 as they stand
    there."""
    position: dict[tuple[str, str, int], int] = {}
    table = ""
    counts: dict[tuple[str, str], int] = {}
    for raw in text.splitlines():
        line = COUNTERS.sub(
            "", raw.strip()
        )  # counters that stand there yet were damaged, or behind a space
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            if policy != "-":
                position[table, name, 0] = len(position)
        elif rule := APPEND.match(line):
            counts[table, rule[1]] = counts.get((table, rule[1]), 0) + 1
            position[table, rule[1], counts[table, rule[1]]] = len(position)
    return np.array(
        [position[entry.table, entry.chain, entry.number] for entry in ruleset.entries],
        dtype=np.int64,
    )


def normalise(ruleset: Ruleset) -> Ruleset:
    """The same with its tables in the order of their priorities."""
    rank = {name: i for i, name in enumerate(TABLES)}
    return Ruleset(tuple(sorted(ruleset.chains, key=lambda c: rank.get(c.table, len(rank)))))


def dumped_phantoms(text: str, ruleset: Ruleset) -> frozenset[tuple[str, str]]:
    """Base chains of an iptables-save dump that may not exist in the kernel: no rule, and a policy
    that counted nothing.

    iptables-save of nft 1.8.9 prints such chains. A file that no iptables-save wrote (no comment of
    its, all counters zero) is one to load, and its chains exist once it is loaded."""
    counters = {
        (found[1], found[2])
        for found in re.finditer(r"^(?::\S+ \S+ )?\[(\d+):(\d+)\]", text, re.MULTILINE)
    }
    if "# Generated by" not in text and counters <= {("0", "0")}:
        return frozenset()
    policies: dict[tuple[str, str], str] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            words = line[1:].split()
            policies[table, words[0]] = words[2] if len(words) > 2 else "[0:0]"
    return frozenset(
        (chain.table, chain.name)
        for chain in ruleset.chains
        if chain.policy is not None
        and not chain.rules
        and policies.get((chain.table, chain.name)) == "[0:0]"
    )


def _is_cut(reading: Reading, before: Reading, snapshot: Snapshot, listing: bool) -> bool:
    """Whether the end of the log lacks what the snapshot before had."""
    had = {(c.table, c.name) for c in before.ruleset.chains}
    has = {(c.table, c.name) for c in reading.ruleset.chains}
    return ends_short(snapshot.text, listing) or (listing and not had <= has)


def ends_short(text: str, listing: bool = False) -> bool:
    """Whether a snapshot does not end as iptables ends its output."""
    if not listing and not text.rstrip().endswith("COMMIT") and "# Completed" not in text[-200:]:
        return True
    return not text.endswith(("\n", "COMMIT"))


def assemble(
    stamps: list[Stamp], stretches: list[Stretch], form: str, warnings: list[str], source: str
) -> CounterLog:
    """The log of successive stretches, with the times of their snapshots; those of one ruleset are
    a generation."""
    order = np.argsort([stamp.begin for stamp in stamps], kind="stable")
    if (np.diff(order) < 0).any():
        warnings.append(f"{source}: snapshots are not in order of time: sorted")
        stamps = [stamps[i] for i in order.tolist()]
        stretches = _sorted(stretches, order)
    if not all(stamp.certain for stamp in stamps):
        warnings.append(
            f"{source}: its times name no time zone: taken as UTC (the clock offset tells the rest)"
        )
    begin, end = _times(stamps)
    rulesets: list[Ruleset] = []
    parts: list[list[Layers]] = []
    for stretch in stretches:
        if not rulesets or (
            rulesets[-1] is not stretch.ruleset and rulesets[-1] != stretch.ruleset
        ):
            rulesets.append(stretch.ruleset)
            parts.append([])
        parts[-1].append(stretch.layers)
    exact = all(
        layers[0] is layers[1] and layers[2] is layers[3] for part in parts for layers in part
    )
    joined = [concat(part) for part in parts]
    lengths = [len(layers[0]) for layers in joined]
    packets, high, size, high_size = (tuple(layers[i] for layers in joined) for i in range(4))
    return CounterLog(
        tuple(rulesets),
        begin,
        end,
        np.repeat(np.arange(len(rulesets), dtype=np.int32), lengths),
        packets,
        packets if exact else high,
        size,
        size if exact else high_size,
        form,
        tuple(dict.fromkeys(warnings)),
    )


def _sorted(stretches: list[Stretch], order: Ints) -> list[Stretch]:
    """One stretch a snapshot, in another order."""
    ones = [
        Stretch(s.ruleset, compact(_at(s.layers, row)))
        for s in stretches
        for row in range(len(s.layers[0]))
    ]
    return [ones[i] for i in order.tolist()]


def _at(layers: Layers, row: int) -> list[Ints]:
    made = {id(layer): layer[row : row + 1] for layer in layers}
    return [made[id(layer)] for layer in layers]
