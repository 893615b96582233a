"""What conntrack(8) printed -> the table of connections' tuples that a session's events make too.

Read are ``conntrack -E`` with or without ``-o timestamp`` and ``-o id``, dumps of ``conntrack -L``
(each behind a line with its time, or behind none) and ``/proc/net/nf_conntrack``. A line is
::

    [1795410714.471286]  [NEW] tcp 6 120 SYN_SENT src=A dst=B sport=1 dport=80 [UNREPLIED] src=...

An entry of which no ``[NEW]`` was printed, or one without a time, proves its tuples and nothing
about its age: it is ``LISTED``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from correlator.dataset.files import available, read_file
from correlator.decode.events import DESTROY, LISTED, NEW, ConntrackEvents
from correlator.decode.frames import MOST_TIME
from correlator.endpoints import pack
from correlator.errors import InputError
from correlator.firewall.values import parse_address

MARKS = {"[NEW]": NEW, "[UPDATE]": LISTED, "[DESTROY]": DESTROY}
ICMP, ICMP6, FEW_PARTS, LONG_LINE = 1, 58, 6, 4096
Tuple = tuple[int, int, int, int, int]
"""(protocol, source address, source port, destination address, destination port)."""


@dataclass(slots=True)
class _Found:
    """Rows of one family in the order read; what could not be used, counted."""

    family: int

    rows: list[tuple[int, int, int, int, int, int, int]] = field(default_factory=list)
    other_family: int = 0
    foreign: int = 0


def read_conntrack_log(
    path: Path, inside: Path | None = None, family: int = 4
) -> tuple[ConntrackEvents, tuple[str, ...]]:
    """(the connections of one family (4, 6) that a file, of the folder ``inside``, tells of, what
    is to be said of it).

    Raises :class:`~correlator.errors.InputError` where no line of it is one of conntrack's."""
    found = _Found(family)
    for line in read_file(path, inside, available()).decode("utf-8", "replace").splitlines():
        _read_line(line[:LONG_LINE], found)
    if found.foreign and not found.rows and not found.other_family:
        raise InputError(
            f"{path}: no line is one of conntrack's: expected `conntrack -E -o timestamp,id` or "
            "`conntrack -L`"
        )
    table = np.array(found.rows, dtype=np.int64).reshape(-1, 7)
    table = table[np.argsort(table[:, 0], kind="stable")]
    warnings = []
    if found.other_family and family == 4:
        warnings.append(f"{path.name}: {found.other_family} lines of IPv6 were left out")
    if found.foreign:
        warnings.append(f"{path.name}: {found.foreign} lines are none of conntrack's")
    time, kind, protocol, client, dialled, server, seen = table.T.copy()
    events = ConntrackEvents(time, kind, protocol, client, dialled, server, seen, complete=False)
    return events, tuple(warnings)


def _read_line(line: str, found: _Found) -> None:
    parts = line.split()
    time, parts = _time(parts)
    kind = MARKS.get(parts[0]) if parts else None
    parts = parts[1:] if kind is not None else parts
    if len(parts) < FEW_PARTS:
        found.foreign += bool(parts)  # a date in front of a dump, or what is no entry
        return
    if parts[0] in ("ipv4", "ipv6"):  # -o extended, /proc/net/nf_conntrack
        parts = parts[2:]
    six = any(part.startswith("src=") and ":" in part for part in parts)
    if six != (found.family == 6):
        found.other_family += 1
        return
    tuples = _tuples(parts)
    if tuples is None:
        found.foreign += 1
        return
    (protocol, client, client_port, dialled, dialled_port), back = tuples
    timed = kind in (NEW, DESTROY) and time
    found.rows.append(
        (
            time,
            kind if timed and kind is not None else LISTED,
            protocol,
            pack(client, client_port),
            pack(dialled, dialled_port),
            pack(back[1], back[2]),
            pack(back[3], back[4]),
        )
    )


def _time(parts: list[str]) -> tuple[int, list[str]]:
    """(epoch ns of a leading ``[seconds.fraction]``, 0 where there is none; the rest)."""
    if not parts or not parts[0].startswith("[") or not parts[0].endswith("]"):
        return 0, parts
    seconds, _, fraction = parts[0][1:-1].partition(".")
    if not (seconds.isdecimal() and seconds.isascii() and len(seconds) <= 11):
        return 0, parts
    digits = fraction[:9] if fraction.isdecimal() and fraction.isascii() else ""
    time = int(seconds) * 1_000_000_000 + int(digits.ljust(9, "0"))
    return (time, parts[1:]) if time < MOST_TIME else (0, parts)


def _tuples(parts: list[str]) -> tuple[Tuple, Tuple] | None:
    """The original and the reply tuple of a line; None where they are not whole."""
    if not parts[1].isdecimal() or len(parts[1]) > 3:
        return None
    protocol = int(parts[1])
    if protocol > 255:
        return None
    ends: list[dict[str, str]] = []
    for part in parts[2:]:
        name, equals, value = part.partition("=")
        if not equals:
            continue
        if name == "src":
            ends.append({})
        if ends and name not in ends[-1]:  # a second id= is conntrack's, not ICMP's
            ends[-1][name] = value
    if len(ends) != 2:
        return None
    try:
        one, other = (_ends(protocol, end) for end in ends)
    except (KeyError, ValueError, OSError):
        return None
    return one, other


def _ends(protocol: int, end: dict[str, str]) -> Tuple:
    """A tuple; queries of ICMP bear their id at both ends."""
    ports = ("id", "id") if protocol in (ICMP, ICMP6) else ("sport", "dport")
    source, target = (int(end.get(name, "0")) for name in ports)
    if not (0 <= source < 1 << 16 and 0 <= target < 1 << 16):
        raise ValueError("no port")
    return protocol, _address(end["src"]), source, _address(end["dst"]), target


def _address(text: str) -> int:
    low, high = parse_address(text)
    if low != high:
        raise ValueError("no single address")
    return low
