"""Findings as a block of text that reads well on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from correlator.plain import one_line
from correlator.report.units import plural

if TYPE_CHECKING:
    from correlator.report.findings import Finding

WIDTH, SHOWN, NUMBERS = 118, 12, 6
KEPT = "\N{NO-BREAK SPACE}"
ALL = "--all shows them"


def findings_block(
    findings: Sequence[Finding], everything: bool = False, more: str = ALL
) -> list[str]:
    """A heading and one wrapped paragraph a finding, with the numbers of its connections; nothing
    where there are none."""
    if not findings:
        return []
    shown = findings if everything else findings[:SHOWN]
    lines = ["Findings"]
    for finding in shown:
        backed = (
            f" ({_numbers(finding.connections)})".replace(", ", f",{KEPT}")
            if finding.connections
            else ""
        )
        wrapped = textwrap.wrap(
            one_line(finding.text) + backed,
            WIDTH,
            initial_indent="  * ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        lines += [line.replace(KEPT, " ") for line in wrapped]
    if len(shown) < len(findings):
        lines.append(f"  ... and {plural(len(findings) - len(shown), 'more finding')}: {more}")
    return lines


def _numbers(connections: Sequence[int]) -> str:
    """``#2-#7, #10``, and how many more."""
    runs: list[list[int]] = []
    for number in sorted(set(connections)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    words = [
        f"#{first}" if first == last else f"#{first}{'-' if last > first + 1 else ', '}#{last}"
        for first, last in runs
    ]
    rest = sum(last - first + 1 for first, last in runs[NUMBERS:])
    return ", ".join(words[:NUMBERS]) + (f" and {rest:,} more" if rest else "")
