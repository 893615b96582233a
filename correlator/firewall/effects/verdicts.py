"""What ends a chain, or leads to another one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """What a rule decides. ACCEPT ends its base chain, DROP the packet; RETURN goes back to the
    caller's next rule, or from a base chain to its policy."""

    ACCEPT = "accept"
    DROP = "drop"
    RETURN = "return"


@dataclass(frozen=True, slots=True)
class Reject:
    """Ends the packet and tells its sender: ``answer`` is ``tcp-reset`` or the name of the ICMP
    error, without ``icmp-``."""

    answer: str = "port-unreachable"


@dataclass(frozen=True, slots=True)
class Jump:
    """Goes on in another chain of the table; ``goto``: and comes back to where this chain was
    called, not here."""

    chain: str
    goto: bool = False


@dataclass(frozen=True, slots=True)
class OutOfSight:
    """Hands the packet to a program (a queue), or does what nobody knows: ``text`` is what was
    written."""

    text: str


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """Adds what it sees to a set, or takes it out: the set's members then change with the
    packets."""

    name: str
