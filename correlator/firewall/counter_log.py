"""A stream of counter snapshots -> one :class:`CounterLog`: generations of rulesets, and arrays of counters.

A snapshot is what one reading printed: ``iptables-save -c`` output or ``iptables -L -n -v`` listings, behind its time.
Snapshots that differ in numbers only share their parsed ruleset, so a long log costs little more than reading its
numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.errors import InputError
from correlator.firewall.listing import looks_like_listing, parse_listing
from correlator.firewall.model import TABLES, Chain, Ruleset
from correlator.firewall.save import parse_iptables_save
from correlator.firewall.times import SECOND, Stamp, parse_generated, parse_stamp

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CounterLog:
    """Counters over time. S samples in G generations.

    ``begin``/``end`` int64 (S,) epoch ns: the reading happened between them; ``generation`` int32 (S,). The tuples
    hold one array per generation, int64 (samples of it, entries of its ruleset) in the order of ``Ruleset.entries``:
    ``packets``/``bytes`` and, where the log rounds them, their upper bounds (``*_high``; else the same array).
    ``form`` is ``save``, ``listing`` or ``session``. A session's log was read from the kernel itself, on the packets' own
    clock: it lists no chain that does not exist, and ``uncounted`` (one set of entries a generation) names the policies
    that the kernel does not count.
    """

    rulesets: tuple[Ruleset, ...]
    begin: Ints
    end: Ints
    generation: npt.NDArray[np.int32]
    packets: tuple[Ints, ...]
    packets_high: tuple[Ints, ...]
    bytes: tuple[Ints, ...]
    bytes_high: tuple[Ints, ...]
    form: str
    warnings: tuple[str, ...] = ()
    uncounted: tuple[frozenset[int], ...] = ()


@dataclass(slots=True)
class _Snapshot:
    stamp: Stamp
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class _Reading:
    """One snapshot parsed: ``values`` int64 (entries, 4): packets, its upper bound, bytes, its upper bound."""

    ruleset: Ruleset
    values: Ints


def parse_counter_log(text: str, source: str = "counters") -> CounterLog:
    """All snapshots of a log.

    Raises :class:`~correlator.errors.InputError` where there is no snapshot, no time, or no counter in it. A last
    snapshot that is cut short is left out, with a warning.
    """
    snapshots, warnings = _split(text, source)
    listing = looks_like_listing(snapshots[0].text)
    reader = _ListingReader(source) if listing else _SaveReader(source)
    readings: list[_Reading] = []
    for number, snapshot in enumerate(snapshots):
        try:
            reading = reader.read(snapshot)
        except InputError:
            if number == len(snapshots) - 1 and number:
                reading = None
            else:
                raise
        if number == len(snapshots) - 1 and number and (reading is None or _is_cut(reading, readings[-1], snapshot, listing)):
            warnings.append(f"{source}: the last snapshot (line {snapshot.line}) is cut short: left out")
            snapshots = snapshots[:-1]
            break
        assert reading is not None
        readings.append(reading)
    warnings += reader.warnings
    order = np.argsort([s.stamp.begin for s in snapshots], kind="stable")
    if (np.diff(order) < 0).any():
        warnings.append(f"{source}: snapshots are not in order of time: sorted")
    stamps = [snapshots[i].stamp for i in order.tolist()]
    if not all(stamp.certain for stamp in stamps):
        warnings.append(f"{source}: its times name no time zone: taken as UTC (the clock offset tells the rest)")
    begin, end = _times(stamps)
    return _assemble([readings[i] for i in order.tolist()], begin, end, "listing" if listing else "save", warnings)


def _split(text: str, source: str) -> tuple[list[_Snapshot], list[str]]:
    """The snapshots behind their time stamps."""
    if "\0" in text[:4096]:
        raise InputError(f"{source}: is not text: expected a log of iptables-save -c or iptables -L -n -v output")
    lines = text.splitlines(keepends=True)
    if not any(line.strip() for line in lines):
        raise InputError(f"{source}: is empty: expected a log of iptables-save -c or iptables -L -n -v output")
    marks = [(i, stamp) for i, line in enumerate(lines) if (stamp := _stamp_of(line)) is not None]
    if not marks:
        marks = _generated_marks(lines)
    if not marks:
        if any(line.startswith(("*", "Chain ")) for line in lines):
            raise InputError(f"{source}: has no times: put `date +%s.%N` before each snapshot, or `# sample begin=... end=...`")
        raise InputError(f"{source}: is not a counter log: expected iptables-save -c or iptables -L -n -v output")
    ends = [i for i, _ in marks[1:]] + [len(lines)]
    snapshots = [_Snapshot(stamp, i + 1, "".join(lines[i + 1 : until])) for (i, stamp), until in zip(marks, ends, strict=True)]
    kept = [s for s in snapshots if _has_content(s.text)]
    if not kept:
        raise InputError(f"{source}: has times but no counters behind them")
    return kept, []


def _has_content(text: str) -> bool:
    return re.search(r"^(\*|Chain )", text, re.MULTILINE) is not None


def _stamp_of(line: str) -> Stamp | None:
    first = line[:1]
    if first in "#0123456789" or (first.isupper() and line[3:4] in (" ", ",") and not line.startswith("Chain")):
        return parse_stamp(line.rstrip("\n")) if not line.startswith("# Generated") else None
    return None


def _generated_marks(lines: list[str]) -> list[tuple[int, Stamp]]:
    """iptables-save prints one line a table: a snapshot begins where a table comes that the last one has already."""
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
    """(begin, end) of every reading; where only one time is known, it ended before the next one began."""
    begin = np.array([s.begin for s in stamps], dtype=np.int64)
    spacing = int(np.median(np.diff(begin))) if len(begin) > 1 else SECOND
    following = np.r_[begin[1:], begin[-1:] + max(spacing, SECOND)]
    end = np.array(
        [
            s.end if s.end is not None else max(int(after) + s.resolution - 1, s.begin + s.resolution - 1)
            for s, after in zip(stamps, following, strict=True)
        ],
        dtype=np.int64,
    )
    return begin, end


class _SaveReader:
    """Snapshots of iptables-save -c; parses each skeleton (all but the numbers) once."""

    _NUMBERS = re.compile(r"\[(\d+):(\d+)\]")
    _TIMES = re.compile(r"^#.*\n?", re.MULTILINE)

    def __init__(self, source: str) -> None:
        self.source = source
        self.known: dict[str, tuple[Ruleset, Ints]] = {}
        self.warnings: list[str] = []

    def read(self, snapshot: _Snapshot) -> _Reading:
        body = self._TIMES.sub("", snapshot.text)
        # counters stand at the start of a rule and at the end of a chain: a comment may hold the like elsewhere
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
        try:
            values = np.array(numbers, dtype=np.int64).reshape(-1, 2)
        except ValueError:
            raise InputError(f"{self.source}: the snapshot at line {snapshot.line} holds broken counters") from None
        if len(values) != len(order):
            raise InputError(
                f"{self.source}: the snapshot at line {snapshot.line} has rules without counters: use iptables-save -c"
            )
        values = values[order]
        return _Reading(ruleset, values[:, (0, 0, 1, 1)])

    def _learn(self, skeleton: str, snapshot: _Snapshot) -> tuple[Ruleset, Ints]:
        """(ruleset with its tables in the usual order, for each entry the position of its numbers in the text)."""
        ruleset = normalise(parse_iptables_save(skeleton, f"{self.source}, snapshot at line {snapshot.line}"))
        return ruleset, positions(skeleton, ruleset)


class _ListingReader:
    """Snapshots of iptables -L -n -v; parses each skeleton (all but the numbers) once."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.known: dict[tuple[Chain, ...], Ruleset] = {}
        self.warnings: list[str] = []

    def read(self, snapshot: _Snapshot) -> _Reading:
        listed = parse_listing(snapshot.text, f"{self.source}, snapshot at line {snapshot.line}")
        for warning in listed.warnings:
            if warning not in self.warnings:
                self.warnings.append(warning)
        ruleset = normalise(listed.ruleset)
        ruleset = self.known.setdefault(ruleset.chains, ruleset)
        counts = {(e.table, e.chain, e.number): c for e, c in zip(listed.ruleset.entries, listed.counts, strict=True)}
        values = [counts[e.table, e.chain, e.number] for e in ruleset.entries]
        return _Reading(ruleset, np.array(values, dtype=np.int64).reshape(-1, 4))


def positions(text: str, ruleset: Ruleset) -> Ints:
    """For each entry of a ruleset its counting line in the iptables-save text that it was read from, int64 (entries,).

    Counting lines are the policies of base chains, and the rules; numbered from 0 as they stand there.
    """
    position: dict[tuple[str, str, int], int] = {}
    table = ""
    counts: dict[tuple[str, str], int] = {}
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            if policy != "-":
                position[table, name, 0] = len(position)
        elif line.startswith("-A"):
            name = line.split(None, 2)[1]
            counts[table, name] = counts.get((table, name), 0) + 1
            position[table, name, counts[table, name]] = len(position)
    return np.array([position[entry.table, entry.chain, entry.number] for entry in ruleset.entries], dtype=np.int64)


def normalise(ruleset: Ruleset) -> Ruleset:
    """The same with its tables in the order of their priorities."""
    rank = {name: i for i, name in enumerate(TABLES)}
    return Ruleset(tuple(sorted(ruleset.chains, key=lambda c: rank.get(c.table, len(rank)))))


def dumped_phantoms(text: str, ruleset: Ruleset) -> frozenset[tuple[str, str]]:
    """Base chains of an iptables-save dump that may not exist in the kernel: no rule, and a policy that counted nothing.

    iptables-save of nft 1.8.9 prints such chains. A file that no iptables-save wrote (no comment of its, all counters
    zero) is one to load, and its chains exist once it is loaded.
    """
    counters = {(found[1], found[2]) for found in re.finditer(r"^(?::\S+ \S+ )?\[(\d+):(\d+)\]", text, re.MULTILINE)}
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
        if chain.policy is not None and not chain.rules and policies.get((chain.table, chain.name)) == "[0:0]"
    )


def _is_cut(reading: _Reading, before: _Reading, snapshot: _Snapshot, listing: bool) -> bool:
    """Whether the end of the log lacks what the snapshot before had."""
    if not listing and not snapshot.text.rstrip().endswith(("COMMIT",)) and "# Completed" not in snapshot.text[-200:]:
        return True
    if not snapshot.text.endswith("\n") and not snapshot.text.endswith("COMMIT"):
        return True
    had = {(c.table, c.name) for c in before.ruleset.chains}
    has = {(c.table, c.name) for c in reading.ruleset.chains}
    return listing and not had <= has


def _assemble(readings: list[_Reading], begin: Ints, end: Ints, form: str, warnings: list[str]) -> CounterLog:
    """Successive snapshots of one ruleset are a generation."""
    rulesets: list[Ruleset] = []
    values: list[list[Ints]] = []
    generation = np.zeros(len(readings), dtype=np.int32)
    for number, reading in enumerate(readings):
        if not rulesets or (rulesets[-1] is not reading.ruleset and rulesets[-1] != reading.ruleset):
            rulesets.append(reading.ruleset)
            values.append([])
        values[-1].append(reading.values)
        generation[number] = len(rulesets) - 1
    stacked = [np.stack(many) for many in values]
    exact = all((v[:, :, 0] == v[:, :, 1]).all() and (v[:, :, 2] == v[:, :, 3]).all() for v in stacked)
    packets, size = tuple(v[:, :, 0] for v in stacked), tuple(v[:, :, 2] for v in stacked)
    high = packets if exact else tuple(v[:, :, 1] for v in stacked)
    high_size = size if exact else tuple(v[:, :, 3] for v in stacked)
    return CounterLog(tuple(rulesets), begin, end, generation, packets, high, size, high_size, form, tuple(dict.fromkeys(warnings)))
