"""The answer in a sentence, in phrases that can be set in bold, in red, or as a link to a rule."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from correlator.report.units import plural

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis
    from correlator.report.summary import Summary

BAD = {
    "dropped": "dropped",
    "rejected": "rejected",
    "expired": "dropped because their time to live ran out",
    "lost": "lost (came in and never left, with no rule to blame)",
}
"""Outcomes of packets that did not get where they went, worst first."""
GOOD = {
    "DNAT": "reached a container through DNAT",
    "REDIRECT": "were redirected to this host",
    "docker-proxy": "were carried by docker-proxy",
    "MASQUERADE": "left with this host's address (MASQUERADE)",
    "SNAT": "left with another source (SNAT)",
    "forwarded": "were forwarded without NAT",
    "local": "were to or from this host",
    "untracked": "were untracked or INVALID to conntrack",
    "unknown": "fit no way through the rules",
}
RULES_NAMED = 2


@dataclass(frozen=True, slots=True)
class Phrase:
    """A piece of a sentence. ``tone``: empty, ``strong``, ``bad``, ``doubt`` or ``code``; ``rule``
    names the rule it links to."""

    text: str
    tone: str = ""
    rule: str = ""


def headline(analysis: Analysis) -> tuple[Phrase, ...]:
    """What became of the connections: first what did not get through, and by which rule."""
    table = analysis.connections
    if not len(table):
        return (Phrase("No connection was seen", "strong"), Phrase(f" in {analysis.source}."))
    bad = [part for outcome in BAD if (part := _bad(analysis, outcome))]
    total = plural(len(table), "connection")
    if not bad:
        return (
            Phrase(
                f"None of {total} was dropped" if len(table) > 1 else f"{total}, not dropped",
                "strong",
            ),
            Phrase("."),
        )
    phrases: list[Phrase] = []
    for i, part in enumerate(bad):
        first, *rest = part
        lead = "" if i == 0 else " and " if i == len(bad) - 1 else ", "
        of = f" of {total}" if i == 0 else ""
        number, _, verb = first.text.partition(" ")
        phrases += [Phrase(lead), Phrase(f"{number}{of} {verb}", "bad"), *rest]
    return (*phrases, Phrase("."))


def _bad(analysis: Analysis, outcome: str) -> tuple[Phrase, ...]:
    """``16 were dropped``, `` by ``, the rules; nothing where no connection ended so."""
    table = analysis.connections
    mine = table[table["outcome"] == outcome]
    if not len(mine):
        return ()
    words = BAD[outcome] if len(mine) > 1 else BAD[outcome].replace("their", "its")
    phrases = [Phrase(f"{len(mine):,} {'was' if len(mine) == 1 else 'were'} {words}")]
    rules = [str(name) for name in mine["rule"].value_counts().index if name]
    for i, name in enumerate(rules[:RULES_NAMED]):
        phrases += [
            Phrase(" by " if i == 0 else ", " if len(rules) > RULES_NAMED else " and "),
            Phrase(name, "", name),
        ]
    if len(rules) > RULES_NAMED:
        phrases.append(Phrase(f" and {plural(len(rules) - RULES_NAMED, 'other rule')}"))
    return tuple(phrases)


def rest_of_it(analysis: Analysis) -> str:
    """What the other connections did: one sentence, most first; empty where there are none."""
    counts = analysis.connections["outcome"].astype(str).value_counts()
    parts = [
        f"{int(n):,} {_one(GOOD.get(str(what), str(what)), int(n))}"
        for what, n in counts.items()
        if what not in BAD
    ]
    return _listed(parts) + "." if parts else ""


def _one(words: str, number: int) -> str:
    return words.replace("were ", "was ", 1) if number == 1 else words


def _listed(parts: Sequence[str]) -> str:
    return (
        parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
    )


def spelled(text: str, rules: Sequence[str]) -> tuple[Phrase, ...]:
    """A finding's sentence in phrases: names of its rules are links, what stands between backticks
    is ``code``."""
    names = "|".join(re.escape(name) for name in sorted(rules, key=len, reverse=True))
    found = re.compile(
        r"`([^`]+)`" + (rf"|(?<![\w/:.-])({names})(?![\w:-])" if names else "|(?!)()")
    )
    phrases: list[Phrase] = []
    at = 0
    for match in found.finditer(text):
        phrases.append(Phrase(text[at : match.start()]))
        phrases.append(Phrase(match[1], "code") if match[1] else Phrase(match[2], "", match[2]))
        at = match.end()
    return tuple(phrase for phrase in (*phrases, Phrase(text[at:])) if phrase.text)


@dataclass(frozen=True, slots=True)
class Proof:
    """One of the proofs beside the answer; ``tone``: good, doubt, bad, or empty where there is
    nothing to prove it by."""

    label: str
    value: str
    note: str
    tone: str


def proofs(analysis: Analysis, summary: Summary, clock: str) -> tuple[Proof, ...]:
    """How sure the answer is: rows that are exact, hits that are explained, residuals, clocks."""
    total, exact = len(analysis.connections), summary.statuses.get("exact", 0)
    unsure = ", ".join(
        f"{n:,} {word}" for word, n in summary.statuses.items() if word != "exact" and n
    )
    rows = Proof(
        "Connections exact",
        f"{exact:,} of {total:,}",
        unsure or "each one's rules are proven",
        "good" if exact == total and total else "doubt" if total else "",
    )
    if not analysis.samples:
        return rows, Proof("Counters", "none", "nothing was counted: no row is verified", "doubt")
    share = (
        "100 %"
        if summary.counted == summary.explained and not summary.residuals
        else _share(summary)
    )
    whole = not summary.residuals
    hits = Proof(
        "Counted hits explained",
        share,
        f"{summary.explained:,} of {summary.counted:,} by packets",
        "good" if whole else "bad",
    )
    lines = Proof(
        "Residuals",
        f"{summary.residuals:,}",
        f"in {plural(summary.lines, 'ledger line')}",
        "good" if whole else "bad",
    )
    return (
        rows,
        hits,
        lines,
        Proof(
            "Clocks",
            _clocks(analysis),
            clock,
            "doubt" if analysis.clock.source == "unknown" else "good",
        ),
    )


def _share(summary: Summary) -> str:
    part = (
        100.0 * min(summary.explained, summary.counted) / summary.counted
        if summary.counted
        else 0.0
    )
    return f"{min(part, 99.99) if summary.residuals else part:.4g} %"


def _clocks(analysis: Analysis) -> str:
    words = {
        "same clock": "agree",
        "one clock": "one clock",
        "given": "as given",
        "estimated": "aligned",
        "unknown": "unknown",
    }
    return words.get(analysis.clock.source, analysis.clock.source)
