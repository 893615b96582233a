"""The table that a run ends with."""

from __future__ import annotations

from collections import Counter, defaultdict

from tests.lab.accuracy.scorer import Answer

COLUMNS = {
    "cases": "cases scored",
    "rows": "rows that the kernel counted",
    "seen": "of them by packets that some tap saw",
    "right": "named exactly, and right",
    "right_seen": "of those that a tap saw, named exactly and right (%)",
    "open_with": "called ambiguous, the truth among what is shown",
    "open_without": "called ambiguous, the truth not among it",
    "exact_wrong": "rows that claim exact and are wrong",
    "clean_wrong": "cases with such rows and no residual in the ledger",
    "refused": "recordings that were refused",
    "failed": "recordings that could not be loaded",
}
"""Column -> what it counts."""


class Totals:
    """Sums by variation."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = defaultdict(Counter)

    def add(self, variation: str, answer: Answer) -> None:
        """One case's answer."""
        counts = self.counts[variation]
        counts["cases"] += 1
        counts.update(answer.get("counts", {}))
        counts["refused"] += "refused" in answer
        counts["failed"] += "failed" in answer

    @property
    def exact_wrong(self) -> int:
        """Rows that claim to be exact and are wrong, of all variations."""
        return sum(counts["exact_wrong"] for counts in self.counts.values())

    def table(self) -> str:
        """In Markdown, one line a variation."""
        heads = [
            "variation",
            "cases",
            "rows",
            "seen",
            "right",
            "right of seen",
            "ambiguous, truth shown",
            "ambiguous, not shown",
            "exact but wrong",
            "clean ledger, wrong",
            "refused",
            "failed",
        ]
        lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
        for variation, c in self.counts.items():
            share = f"{100 * c['right_seen'] / c['seen']:.1f}%" if c["seen"] else "-"
            cells = [share if name == "right_seen" else f"{c[name]:,}" for name in COLUMNS]
            lines.append("| " + " | ".join([variation, *cells]) + " |")
        return "\n".join(lines)
