"""Sentences that answer what people ask, each backed by connections and rules that can be opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis


@dataclass(frozen=True, slots=True)
class Finding:
    """``kind`` names the check (``dropped``, ``docker-proxy``, ...); ``text`` is one or two sentences.

    ``connections`` are numbers in the connections table and ``rules`` names (``table/chain:number``) that back it.
    """

    kind: str
    text: str
    connections: tuple[int, ...] = ()
    rules: tuple[str, ...] = ()


CHECKS: tuple[Callable[[Analysis], list[Finding]], ...] = ()


def find(analysis: Analysis) -> tuple[Finding, ...]:
    """Everything that is worth saying of a session, most important first; checks that do not apply say nothing."""
    return tuple(finding for check in CHECKS for finding in check(analysis))
