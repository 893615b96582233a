"""What a reader of a rule language makes of one snapshot, and what every such reader is."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.firewall.model import Ruleset


@dataclass(frozen=True, slots=True)
class Counted:
    """One snapshot parsed: ``values`` int64 (entries, 4): packets, its upper bound, bytes, its
    upper bound. Snapshots that differ in numbers only share one ruleset object."""

    ruleset: Ruleset
    values: Ints


class SnapshotReader(Protocol):
    """Reads the snapshots of one log in turn; what they say more than once is parsed once."""

    warnings: list[str]

    def read(self, text: str, line: int) -> Counted:
        """One snapshot, which began at that line of the log. Raises
        :class:`~correlator.errors.InputError` where it is none of this language."""
        ...


@dataclass(frozen=True, slots=True)
class Language:
    """``form`` names it in a log, ``command`` is what prints it; a line of its snapshots ``begins``
    like that; ``ends_short(text)``: a snapshot does not end as the command ends its output;
    ``names_chains``: a snapshot lists all its chains first, so that none can be cut off unseen."""

    form: str
    command: str
    begins: re.Pattern[str]
    reader: Callable[[str], SnapshotReader]
    ends_short: Callable[[str], bool]
    names_chains: bool


def broken(source: str, line: int) -> str:
    """What is wrong where counters are no numbers of 64 bits."""
    return f"{source}: the snapshot at line {line} holds broken counters"
