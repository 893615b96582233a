"""Sentences that answer what people ask, each backed by connections and rules that can be opened.

Each check is a pure function over the tables of an analysis that claims nothing but what exact rows
support, says what is only possible as such, and says nothing where it does not apply."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from correlator.reconcile.both import named6
from correlator.report.findings.backends import both_backends
from correlator.report.findings.blocked import dropped, dropped_later, rejected
from correlator.report.findings.finding import Finding
from correlator.report.findings.gone import expired, lost
from correlator.report.findings.hairpin import hairpin
from correlator.report.findings.hidden import client_hidden
from correlator.report.findings.older import older_than_recording, older_than_rule
from correlator.report.findings.past_input import past_input
from correlator.report.findings.proxied import through_proxy
from correlator.report.findings.too_big import too_big
from correlator.report.findings.unsent import unsent
from correlator.report.findings.unserved import refused, unanswered
from correlator.report.findings.untranslated import past_conntrack, untranslated

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis

__all__ = ["CHECKS", "Finding", "about", "find"]

CHECKS: tuple[Callable[[Analysis], list[Finding]], ...] = (
    dropped,
    rejected,
    unsent,
    lost,
    too_big,
    refused,
    untranslated,
    past_conntrack,
    unanswered,
    dropped_later,
    expired,
    older_than_rule,
    past_input,
    through_proxy,
    client_hidden,
    hairpin,
    older_than_recording,
    both_backends,
)


def find(analysis: Analysis) -> tuple[Finding, ...]:
    """Everything that is worth saying of a session, most important first; checks that do not apply
    say nothing."""
    if analysis.four is None or analysis.six is None:
        return tuple(finding for check in CHECKS for finding in check(analysis))
    with analysis.six.read() as six:
        of_six = [behind(one, len(analysis.four.connections)) for one in _checked(six)]
    return (*find(analysis.four), *of_six)


CHECKS6 = (dropped, rejected, unsent)
"""What is said of IPv6; the other checks know IPv4's settings and words."""


def _checked(six: Analysis) -> list[Finding]:
    return [finding for check in CHECKS6 for finding in check(six)]


def behind(finding: Finding, first: int) -> Finding:
    """A finding about IPv6 among those of both: its connections are numbered behind the ``first``,
    IPv4's; its rules are named with their family."""
    text = finding.text
    for rule in finding.rules:
        text = text.replace(rule, named6(rule))
    return Finding(
        finding.kind,
        text,
        tuple(number + first for number in finding.connections),
        tuple(map(named6, finding.rules)),
    )


def about(
    findings: Iterable[Finding], connections: Iterable[int] = (), rule: str = ""
) -> tuple[Finding, ...]:
    """Those that concern one of these connections, or a rule of that name."""
    wanted = set(connections)
    return tuple(
        f for f in findings if (rule and rule in f.rules) or not wanted.isdisjoint(f.connections)
    )
