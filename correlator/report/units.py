"""Numbers as people read them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from correlator.reconcile.clocks import Clock


def moment(ns: int) -> str:
    """``10:04:31.482`` (UTC) of epoch nanoseconds."""
    return (
        datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%H:%M:%S")
        + f".{ns // 1_000_000 % 1000:03d}"
    )


def span(ns: float) -> str:
    """A signed duration: ``+3.217 s``, ``-7.5 ms``, ``0``."""
    size = abs(ns)
    if size == 0:
        return "0"
    for unit, name in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if size >= unit:
            return (
                f"{ns / unit:+.4g} {name}" if size < 10_000 * unit else f"{ns / unit:+.6f} {name}"
            )
    return f"{ns:+.0f} ns"


def clock_line(clock: Clock) -> str:
    """What is known of the counters' clock against the packets'."""
    if clock.source == "unknown":
        return "nothing to tell the clocks' offset from"
    if clock.source == "one clock":
        return "counters and packets were recorded on one clock"
    if clock.source == "given":
        return f"counters {span(clock.offset)} against packets, as given"
    if clock.low is None or clock.high is None:
        return f"no offset agrees with all counters; nearest {span(clock.offset)}"
    bounds = f"between {span(clock.low)} and {span(clock.high)}"
    if clock.source == "same clock":
        return f"counters and packets agree (offset 0; {bounds} would)"
    drift = f", drift {clock.drift_ppm:+.1f} ppm" if clock.drift_ppm else ""
    return f"counters {span(clock.offset)} against packets, {bounds}{drift}"


def brief(number: int) -> str:
    """``54,910``, ``328k``, ``1.09M``: as few letters as tell it."""
    if number < 100_000:
        return f"{number:,}"
    if number < 999_500:
        return f"{number / 1e3:.0f}k"
    return f"{number / 1e6:.3g}M" if number < 999_500_000 else f"{number / 1e9:.3g}G"


def plural(number: int, word: str) -> str:
    """``1 connection``, ``2,000 connections``."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"
