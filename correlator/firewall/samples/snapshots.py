"""A log of snapshots told apart by its times: what one reading printed, behind when it was read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from correlator.errors import InputError
from correlator.firewall.languages.readers import LANGUAGES, commands
from correlator.firewall.samples.stamps import LONGEST, Stamp, parse_generated, parse_stamp

_CLOCK = re.compile(r"\d:\d\d:\d\d")


@dataclass(slots=True)
class Snapshot:
    """What stands behind one time, from that ``line`` (from 1) of the log on."""

    stamp: Stamp
    line: int
    text: str


def split_log(text: str, source: str) -> list[Snapshot]:
    """The snapshots behind their time stamps."""
    if "\0" in text[:4096]:
        raise InputError(f"{source}: is not text: expected a log of {commands()} output")
    lines = text.splitlines(keepends=True)
    if not any(line.strip() for line in lines):
        raise InputError(f"{source}: is empty: expected a log of {commands()} output")
    marks = [(i, stamp) for i, line in enumerate(lines) if (stamp := stamp_of(line)) is not None]
    if not marks:
        marks = _generated_marks(lines)
    if not marks:
        if has_content(text):
            clock = next((line.strip()[:60] for line in lines if _CLOCK.search(line[:80])), "")
            raise InputError(
                f"{source}: has no times{f' (not understood: {clock!r})' if clock else ''}: put "
                f"`date +%s.%N` before each snapshot, or `# sample begin=... end=...`"
            )
        raise InputError(f"{source}: is not a counter log: expected {commands()} output")
    ends = [i for i, _ in marks[1:]] + [len(lines)]
    snapshots = [
        Snapshot(stamp, i + 1, "".join(lines[i + 1 : until]))
        for (i, stamp), until in zip(marks, ends, strict=True)
    ]
    kept = [s for s in snapshots if has_content(s.text)]
    if not kept:
        raise InputError(f"{source}: has times but no counters behind them")
    return kept


def has_content(text: str) -> bool:
    """Whether there is more than a time."""
    return any(language.begins.search(text) for language in LANGUAGES)


def stamp_of(line: str) -> Stamp | None:
    """The time that a line tells; None where it is no line of time."""
    if line[:1] in "[: \t\n" or line.startswith(("-A ", "Chain", "# Generated", "COMMIT")):
        return None
    likely = line[:1] in "#0123456789" or _CLOCK.search(line, 0, LONGEST) is not None
    return parse_stamp(line.rstrip("\n")) if likely else None


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


def cut_short(source: str, line: int) -> str:
    """The warning about a last snapshot."""
    return f"{source}: the last snapshot (line {line}) is cut short: left out"
