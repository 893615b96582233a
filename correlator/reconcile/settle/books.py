"""The books: what was counted, what packets explain of it, and how the clocks of both relate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from correlator.reconcile.clocks import Clock
    from correlator.reconcile.intake.counters import Counters
    from correlator.reconcile.settle.ledger import Ledger
    from correlator.reconcile.tally import Tallies


@dataclass(frozen=True)
class Books:
    """``counters`` of two samples at least, against all ``hits``, balanced in a ``ledger``."""

    counters: Counters
    clock: Clock
    hits: Tallies
    ledger: Ledger

    def spans(self, entry: int) -> bool:
        """Whether all of an entry's hits lie between the first and the last reading."""
        upto = self.ledger.accounts[entry].upto
        return int(upto[0]) == 0 and int(upto[-1]) >= int(self.hits.counts[entry])
