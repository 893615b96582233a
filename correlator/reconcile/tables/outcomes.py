"""What became of a connection, by the path of its first packet, and the rule that decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from correlator.firewall.walk.path import End

if TYPE_CHECKING:
    from correlator.firewall.walk.path import Path
    from correlator.reconcile.possible.walks import Way
    from correlator.reconcile.tables.rule_numbers import RuleNumbers

UNTRACKED, UNKNOWN = ("untracked", ""), ("unknown", "")
Outcome = tuple[str, str]
"""(what became of it, the name of the rule that decided; empty where none did)."""


def outcome_of(
    way: Way,
    stage: int,
    left: bool,
    ends: tuple[int, ...],
    enters: bool,
    watched: frozenset[str],
    numbers: RuleNumbers,
) -> Outcome:
    """What became of a connection whose first packet met the rules of a ``stage`` and went this
    ``way``.

    ``left``: it was seen leaving; ``ends``: client, dialled, server, seen; ``enters``: it came from
    outside of the host; ``watched``: interfaces that were captured."""
    word, place = _decided(way.path, left, ends, enters, watched)
    entries = numbers.stages.stages[stage].program.ruleset.entries
    rule = numbers.name(stage, place) if place >= 0 else ""
    return word or entries[place].target, rule


def _decided(
    path: Path, left: bool, ends: tuple[int, ...], enters: bool, watched: frozenset[str]
) -> tuple[str, int]:
    """(what became of it, empty where the rule's target says so; the place of that rule or -1)."""
    if path.end.by_rule:
        return path.end.value, path.decider
    if path.end in (End.UNKNOWN_TARGET, End.UNLISTED):
        return "unknown", path.decider
    if path.end is End.TTL:
        return "expired", -1
    if path.end.by_routing:
        return "lost", -1
    if path.end is End.SENT and not left and path.out_interface in watched:
        return "unknown" if path.unseen else "lost", -1
    for entry in (path.dnat_entry, path.snat_entry):
        if entry >= 0:
            return "", entry
    client, dialled, server, seen = ends
    if server != dialled:
        return "DNAT", -1
    if client != seen:
        return "MASQUERADE", -1
    if path.end is End.SENT and enters:
        return "forwarded", -1
    return ("local" if path.end in (End.SENT, End.DELIVERED) else "lost"), -1
