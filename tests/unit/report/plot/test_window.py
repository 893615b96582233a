"""Times of --from and --to, as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from correlator.errors import InputError
from correlator.report.plot.window import window

SECOND = 10**9
FIRST = int(datetime(2026, 11, 24, 23, 59, 50, tzinfo=UTC).timestamp()) * SECOND + 250_400_000
LAST = FIRST + 30 * SECOND


def test_everything_by_default() -> None:
    """Without times, the session from end to end."""
    assert window(None, None, FIRST, LAST) == (FIRST, LAST)


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("+3.5s", 3.5),
        ("+1500ms", 1.5),
        ("+0.1m", 6.0),
        ("+2", 2.0),
        ("23:59:55.250", 4.9996),
        ("00:00:05", 14.7496),
        ("23:59:50.250", 0.0),
        ("23:59", 0.0),
    ],
)
def test_clock_times_and_times_since_the_start(text: str, after: float) -> None:
    """The clock of the reports (which cut milliseconds off), also past midnight, or the time since
    the start."""
    begin, _ = window(text, None, FIRST, LAST)
    assert begin - FIRST == pytest.approx(after * SECOND, abs=1)


@pytest.mark.parametrize(
    ("begin", "end", "says"),
    [
        ("soon", None, "--from soon: is no time: expected HH:MM:SS"),
        ("25:00:00", None, "is no time"),
        ("12:60", None, "is no time"),
        ("-3s", None, "is no time"),
        (
            None,
            "+31s",
            "--to +31s: lies outside of the session, which is 23:59:50.250 to 00:00:20.250 (30 s)",
        ),
        ("12:00:00", None, "--from 12:00:00: lies outside of the session"),
        ("+20s", "+10s", "--from +20s is not before --to +10s"),
        ("+5s", "+5s", "is not before"),
        ("+30s", None, "--from +30s is not before --to the end"),
    ],
)
def test_bad_times_are_refused(begin: str | None, end: str | None, says: str) -> None:
    """What is no time, what lies outside, and what is the wrong way round, each in one line."""
    with pytest.raises(InputError) as refused:
        window(begin, end, FIRST, LAST)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
