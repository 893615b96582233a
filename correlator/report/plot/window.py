"""The stretch of time that a picture shows, from what people write: clock times as in the reports,
or ``+3.5s``."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from correlator.errors import InputError
from correlator.report.units import moment

_CLOCK = re.compile(r"^(\d{1,2}):(\d{2})(?::(\d{2})(\.\d{1,9})?)?$")
_SINCE = re.compile(r"^\+(\d+(?:\.\d+)?)\s*(ns|us|ms|s|m|h|)$")
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "": 10**9,
}
DAY = 86_400 * 10**9


def window(begin: str | None, end: str | None, first: int, last: int) -> tuple[int, int]:
    """(begin, end) in epoch ns of ``--from`` and ``--to`` within a session from ``first`` to
    ``last`` (epoch ns).

    A time is a clock time (UTC, ``HH:MM:SS[.mmm]`` as the reports show it) or the time since
    ``first`` (``+3.5s``). Raises :class:`~correlator.errors.InputError` for a text that is no time,
    a time outside of the session, and an end that is not behind the beginning."""
    start = first if begin is None else _moment("--from", begin, first, last)
    stop = last if end is None else _moment("--to", end, first, last)
    if start >= stop and not (begin is None and end is None):
        raise InputError(
            f"--from {begin or 'the beginning'} is not before --to {end or 'the end'}: the "
            f"session is {_session(first, last)}"
        )
    return start, stop


def _moment(option: str, text: str, first: int, last: int) -> int:
    since, clock = _SINCE.match(text.strip()), _CLOCK.match(text.strip())
    if since is not None:
        found, step = first + round(float(since[1]) * _UNITS[since[2]]), 1_000_000
    elif (
        clock is not None and int(clock[1]) < 24 and int(clock[2]) < 60 and int(clock[3] or 0) < 60
    ):
        found, step = _clock(clock, first, last)
    else:
        raise InputError(
            f"{option} {text}: is no time: expected HH:MM:SS[.mmm] as the reports show it, or the "
            f"time since the start, as in +3.5s"
        )
    if found > last + step or found + step < first:
        raise InputError(
            f"{option} {text}: lies outside of the session, which is {_session(first, last)}"
        )
    return min(max(found, first), last)


def _clock(found: re.Match[str], first: int, last: int) -> tuple[int, int]:
    """(epoch ns, ns that its last digit stands for) of the clock time nearest to the session, which
    may cross midnight."""
    fraction = (found[4] or ".")[1:]
    within = (int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3] or 0)) * 10**9 + int(
        (fraction + "0" * 9)[:9]
    )
    days = range(first // DAY - 1, last // DAY + 2)
    nearest = min(
        (day * DAY + within for day in days), key=lambda t: (max(first - t, t - last, 0), t)
    )
    return nearest, 10 ** (9 - len(fraction)) if found[3] else 60 * 10**9


def _session(first: int, last: int) -> str:
    """``09:15:34.499 to 09:15:38.998 (4.5 s)``."""
    return f"{moment(first)} to {moment(last)} ({(last - first) / 1e9:.4g} s)"


def day(ns: int) -> str:
    """``2026-11-25`` (UTC)."""
    return datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%d")
