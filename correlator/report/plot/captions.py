"""The words of a picture: its title, what the counters say of it, and the lines below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from correlator.report.plot.bands import OUTCOMES
from correlator.report.plot.window import day
from correlator.report.units import clock_line, moment, plural, span

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis
    from correlator.report.plot.model import Band, Floats, Row
    from correlator.report.plot.selection import Choice


def title(strips: tuple[Band, ...], rows: tuple[Row, ...], choice: Choice) -> str:
    """``19 connections: 9 DNAT, 5 local, 4 MASQUERADE, 1 dropped``."""
    counts: dict[str, int] = {}
    for strip in strips:
        counts[strip.outcome] = counts.get(strip.outcome, 0) + len(strip)
    ordered = sorted(
        counts.items(),
        key=lambda item: (-item[1], OUTCOMES.index(item[0]) if item[0] in OUTCOMES else 99),
    )
    parts = ", ".join(f"{number:,} {word}" for word, number in ordered)
    whose = f" of {choice.client}" if choice.client is not None else ""
    hit = f" that hit {' or '.join(choice.rules)}" if choice.rules else ""
    head = f"{plural(sum(counts.values()), 'connection')}{whose}{hit}"
    off = sum(row.gaps > 0 for row in rows)
    if parts or not off:
        return f"{head}: {parts}" if parts else head
    return f"{head}; {plural(off, 'rule')} counted what no packet explains"


def subtitle(analysis: Analysis, begin: int, end: int) -> str:
    """Whose session, from when to when."""
    return f"{analysis.source}  ·  {day(begin)} {moment(begin)} to {moment(end)} UTC"


def balance(analysis: Analysis, rows: tuple[Row, ...], compared: bool) -> str:
    """Whether counters and packets agree."""
    if not compared:
        counters = analysis.samples > 1
        return (
            "hits as packets explain them (counters do not tell clients apart)"
            if counters
            else "no counters confirm these hits"
        )
    counted = sum(row.counted for row in rows)
    over, under = (
        sum(round(float(getattr(row, name).sum())) for row in rows) for name in ("over", "under")
    )
    gaps = sum(row.gaps for row in rows)
    if not gaps:
        return (
            f"{plural(counted, 'hit')} counted, every one explained by packets"
            if counted
            else "nothing was counted"
        )
    parts = [f"{over:,} not explained by any packet"] if over else []
    parts += [f"{under:,} explained but not counted"] if under else []
    return f"{plural(counted, 'hit')} counted; in red: {' and '.join(parts) or 'bytes that differ'}"


def notes(
    analysis: Analysis,
    choice: Choice,
    rows: tuple[Row, ...],
    edges: Floats,
    own: bool,
    compared: bool,
    hidden: int,
) -> tuple[str, ...]:
    """What has to be known to read the picture: the clocks, the scale, what was recorded and what
    is left out."""
    frames = ", ".join(f"{name} {number:,}" for name, number in analysis.interfaces.items())
    recorded = [f"Frames: {frames or 'none'}"]
    if analysis.samples:
        recorded.append(
            f"{plural(analysis.samples, 'counter sample')}, "
            f"{plural(analysis.generations, 'generation')} of rules"
        )
    dense = compared or any(row.marks is None for row in rows)
    lines = [
        f"Clock: {clock_line(analysis.clock)}.",
        f"{_scale(edges, own, compared) if dense else ''} {'; '.join(recorded)}.".strip(),
    ]
    if analysis.inferred:
        lines.append(f"Inferred, no facts were saved: {'; '.join(analysis.inferred)}.")
    if choice.client is not None and analysis.samples > 1:
        lines.append(
            "Counters count the packets of all clients, so they are not compared with one "
            "client's hits."
        )
    hooks = list(dict.fromkeys(hook for row in rows for hook in row.also))
    if hooks:
        lines.append(
            f"({', '.join(f'+{hook}' for hook in hooks)}): the rule's chain is reached from "
            f"there, too; its hits are of both."
        )
    if compared and (choice.begin is not None or choice.end is not None):
        lines.append(
            "Intervals between two counter samples that reach into this stretch of time are shown "
            "and counted whole."
        )
    if hidden:
        lines.append(
            f"{plural(hidden, 'rule')} more moved and balance; they are not drawn (--rule shows "
            f"any)."
        )
    return tuple(lines)


def _scale(edges: Floats, own: bool, compared: bool) -> str:
    widths = sorted((edges[1:] - edges[:-1]).tolist())
    width = span(widths[len(widths) // 2] * 1e9).lstrip("+")
    per = (
        f"interval between two counter samples (about {width})" if own and compared else f"{width}"
    )
    return f"Heights: packets per {per}, each row on its own scale (its peak is at the right)."
