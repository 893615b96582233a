"""A verdict that a map holds for what a packet shows (nftables' vmap)."""

from __future__ import annotations

from dataclasses import dataclass

from correlator.firewall.conditions.keyed import Key, Row, met
from correlator.firewall.effects.verdicts import Jump, Verdict
from correlator.firewall.view import Host, View

Choice = Verdict | Jump | None
"""What an element says; None: ``continue``."""


@dataclass(frozen=True, slots=True)
class Dispatch:
    """Does what the row says that the packet's ``keys`` meet. That they meet one is a condition of
    the rule."""

    keys: tuple[Key, ...]
    rows: tuple[Row, ...]
    choices: tuple[Choice, ...]

    def possible(self, view: View, host: Host) -> list[Choice]:
        """What may be done, each thing once."""
        found = [self.choices[at] for at, _ in met(self.keys, self.rows, view, host)]
        return list(dict.fromkeys(found))
