"""What is known of the session itself: when, what was listened to, how it was counted, what was
inferred."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from correlator.report.units import clock_line, plural

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis
    from correlator.report.summary import Summary


def bounds(analysis: Analysis) -> tuple[int, int]:
    """(first, last) moment of the session in epoch ns: of its connections, else of its ledger; (0,
    0) for neither."""
    table = analysis.connections
    if len(table):
        return int(table["first_seen"].min()), int(table["last_seen"].max())
    if len(analysis.balances):
        return int(analysis.balances["begin"].min()), int(analysis.balances["end"].max())
    return 0, 0


def facts(analysis: Analysis, summary: Summary) -> tuple[tuple[str, str], ...]:
    """(what, value) pairs, in order."""
    first, last = bounds(analysis)
    drift = analysis.clock
    pairs = [
        ("Source", analysis.source),
        ("First packet", _stamp(first) if len(analysis.connections) else "none"),
        ("Duration", _duration(last - first)),
        ("Frames", ", ".join(f"{name} {n:,}" for name, n in analysis.interfaces.items()) or "none"),
        (
            "Counter samples",
            f"{analysis.samples:,}" if analysis.samples else "none: nothing was counted",
        ),
        (
            "Rulesets",
            plural(analysis.generations, "generation")
            + (": rules changed" if analysis.generations > 1 else ""),
        ),
        ("Clocks", clock_line(analysis.clock)),
        (
            "Clock constraints",
            f"{drift.consistent:,} of {drift.constraints:,} readings agree"
            if drift.constraints
            else "",
        ),
        ("Policies not counted by the kernel yet", ", ".join(summary.uncounted)),
        (
            "Beside a reset",
            plural(summary.resets, "ledger line") + ": a lower bound only"
            if summary.resets
            else "",
        ),
        ("Inferred, as no facts were saved", "; ".join(analysis.inferred)),
        (
            "Containers",
            ", ".join(f"{name} {address}" for address, name in analysis.containers.items()),
        ),
    ]
    return tuple((what, value) for what, value in pairs if value)


def _stamp(ns: int) -> str:
    moment = datetime.fromtimestamp(ns // 1_000_000_000, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S") + f".{ns // 1_000_000 % 1000:03d} UTC"


def _duration(ns: int) -> str:
    seconds = ns / 1e9
    if seconds < 60:
        return f"{seconds:.3f} s"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours} h {minutes} min {rest:.0f} s" if hours else f"{minutes} min {rest:.1f} s"
