"""What a fold leaves: ordinary connections, their packets, and what was marked as out of the
ordinary."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from correlator.flows.fold.packets import Blocks, Held, Packets, Spool, join

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools

    Records = npt.NDArray[np.void]

DOUBTS = np.dtype([("tainted", "u1"), ("question", "u1")])
"""What is asked of a pair once all is folded."""


@dataclass(frozen=True)
class Folded:
    """Ordinary ``packets`` and what they belong to: ``connections``, ``kinds`` and ``pairs`` as
    :mod:`correlator.flows.fold.tables` declares them. ``keys`` uint64 and ``values`` int32: its
    table of names, which tells the pair of any frame. Where another process keeps that, it is
    empty, and of pairs there are :data:`DOUBTS` only. ``begin``: the time of the first packet."""

    packets: Blocks
    connections: Records
    kinds: Records
    pairs: Records
    keys: npt.NDArray[np.uint64]
    values: npt.NDArray[np.int32]
    begin: int

    def handed_over(self) -> Folded:
        """What another process is given of it."""
        doubts = np.zeros(len(self.pairs), dtype=DOUBTS)
        for name in DOUBTS.names or ():
            doubts[name] = self.pairs[name]
        return replace(self, pairs=doubts, keys=self.keys[:0], values=self.values[:0])

    def names_only(self) -> Folded:
        """What tells the pair of any frame; packets on disk stay there."""
        packets = self.packets if isinstance(self.packets, Spool) else Held(join([]))
        return replace(
            self,
            packets=packets,
            connections=self.connections[:0].copy(),
            pairs=self.pairs[:0].copy(),
        )

    @cached_property
    def whole(self) -> Packets:
        """All packets in memory, for who asks of single ones."""
        parts = list(self.packets)
        return parts[0] if len(parts) == 1 else join(parts)


def likely_rest(folded: Folded) -> Bools:
    """The pairs that will be asked for, as far as the fold can tell, (pairs,)."""
    result = np.ones(len(folded.pairs), dtype=bool)
    known = folded.connections["dialled"] >= 0
    result[folded.connections["pair"]] = False
    result[folded.connections["pair"][~known]] = True
    result |= folded.pairs["tainted"].astype(bool) | folded.pairs["question"].astype(bool)
    return result
