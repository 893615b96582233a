"""The fold: ordinary connections, frame after frame, in memory that grows with connections and not with packets' headers.

What remains of a packet is its time, length, connection and class (:data:`~correlator.flows.fold_kernel.KIND`): all that
attribution and ledger need of it. What is not ordinary is only marked here, file by file and frame by frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.decode.records import RECORD
from correlator.flows import fold_kernel as kernel
from correlator.flows.folded import Folded

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Records = npt.NDArray[np.void]

KINDS = 4096
FIRST = 1 << 14


class TooManyKindsError(Exception):
    """The packets differ in more ways than a fold is for."""


@dataclass(frozen=True)
class Asked:
    """What rules ask of packets: ``lengths`` and ``ttls`` cut points int64, ``reads`` bits READS_* of the kernel."""

    lengths: Ints
    ttls: Ints
    reads: int


def reads_of(fields: Iterable[str]) -> int:
    """Bits READS_* of the fields that rules ask for."""
    bits = {
        "tos": kernel.READS_TOS, "tcp_flags": kernel.READS_FLAGS, "tcp_option_kinds": kernel.READS_OPTIONS,
        "icmp_type": kernel.READS_ICMP,
    }  # fmt: skip
    return sum(bit for name, bit in bits.items() if name in fields)


class Fold:
    """Takes records in order of time; ``behind`` (interfaces,) says whose receive taps sit behind PREROUTING.

    ``capacities`` (files,): at least as many as each file holds frames.
    """

    def __init__(self, asked: Asked, capacities: Sequence[int]) -> None:
        self.asked = asked
        self.counts = np.zeros(9, dtype=np.int64)
        self.ring = np.zeros(FIRST, dtype=kernel.WAITING)
        self.buckets = np.full(FIRST, -1, dtype=np.int64)
        self.keys, self.values = np.zeros(4 * FIRST, dtype=np.uint64), np.zeros(4 * FIRST, dtype=np.int32)
        self.pairs = np.zeros(FIRST, dtype=kernel.PAIR)
        self.connections = np.zeros(FIRST, dtype=kernel.CONNECTION)
        self.kinds = np.zeros(KINDS, dtype=kernel.KIND)
        self.table = np.full(4 * KINDS, -1, dtype=np.int32)
        self.bases = np.cumsum([0, *capacities])[:-1].astype(np.int64)
        self.frames = np.zeros(int(sum(capacities)) + 2, dtype=np.int32)
        self.parts: list[tuple[npt.NDArray[np.generic], ...]] = []
        self.begun = False

    def take(self, records: Records, behind: npt.NDArray[np.bool_], last: bool = False) -> None:
        """Fold records in; ``last``: none will come. Raises :class:`TooManyKindsError`."""
        if not self.begun and len(records):
            self.counts[kernel.BEGIN], self.begun = records["time"][0], True
        start, why = 0, -1
        while why != kernel.DONE:
            room = len(records) - start + int(self.counts[kernel.TAIL] - self.counts[kernel.HEAD]) + 16
            out = (
                np.empty(room, dtype=np.int64), np.empty(room, dtype=np.int32), np.empty(room, dtype=np.int32),
                np.empty(room, dtype=np.int32), np.empty(room, dtype=np.uint16),
            )  # fmt: skip
            self.counts[kernel.WRITTEN] = 0
            asked = (self.asked.lengths, self.asked.ttls, self.asked.reads)
            start, why = kernel.fold(
                records, start, last, self.counts, self.ring, self.buckets, self.keys, self.values, self.pairs, self.connections,
                self.kinds, self.table, behind, *asked, self.frames, self.bases, *out,
            )  # fmt: skip
            written = int(self.counts[kernel.WRITTEN])
            if written:
                self.parts.append(tuple(part[:written].copy() for part in out))
            if why == kernel.TOO_MANY_KINDS:
                raise TooManyKindsError
            self._grow(why)

    def _column(self, i: int) -> npt.NDArray[Any]:
        """One column of all parts; what was joined is let go."""
        dtype = (np.int64, np.int32, np.int32, np.int32, np.uint16)[i]
        whole = np.concatenate([part[i] for part in self.parts]) if self.parts else np.zeros(0, dtype=dtype)
        self.parts = [(*part[:i], part[i][:0], *part[i + 1 :]) for part in self.parts]
        return whole

    def _grow(self, why: int) -> None:
        if why == kernel.GROW_NAMES:
            self.keys, self.values = kernel.grown_names(self.keys, self.values, 2 * len(self.keys))
        elif why == kernel.GROW_PAIRS:
            self.pairs = _roomier(self.pairs, int(self.counts[kernel.PAIRS]))
            self.connections = _roomier(self.connections, int(self.counts[kernel.CONNECTIONS]))
        elif why == kernel.GROW_RING:
            ring = np.zeros(2 * len(self.ring), dtype=kernel.WAITING)
            self.buckets = kernel.grown_ring(self.ring, self.buckets, ring, self.counts)
            self.ring = ring

    def end(self, behind: npt.NDArray[np.bool_]) -> Folded:
        """What all of it was."""
        self.take(np.zeros(0, dtype=RECORD), behind, last=True)
        came, span, owner, length, kind = (self._column(i) for i in range(5))
        c = self.counts
        return Folded(
            came, span, owner, length, kind, self.connections[: c[kernel.CONNECTIONS]], self.kinds[: c[kernel.KINDS]],
            self.pairs[: c[kernel.PAIRS]], self.frames, self.bases, int(c[kernel.BEGIN]),
        )  # fmt: skip


def _roomier(table: Records, used: int) -> Records:
    """The same table with room for as many again, where little is left."""
    if used + 64 < len(table):
        return table
    wider = np.zeros(2 * len(table), dtype=table.dtype)
    wider[:used] = table[:used]
    return wider

