"""The fold: ordinary connections, frame after frame, in memory that grows with connections and not
with packets' headers.

What remains of a packet is its time, length, connection and class
(:data:`~correlator.flows.fold.kernel.KIND`): all that attribution and ledger need of it. Of what is
not ordinary, the pair of endpoints is marked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.decode.records import RECORD
from correlator.flows.fold import kernel
from correlator.flows.fold.folded import COLUMNS, Folded, Held, Packets, Spool, join

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
    """What rules ask of packets: ``lengths`` and ``ttls`` cut points int64, ``reads`` bits READS_*
    of the kernel."""

    lengths: Ints
    ttls: Ints
    reads: int


def reads_of(fields: Iterable[str]) -> int:
    """Bits READS_* of the fields that rules ask for."""
    bits = {
        "tos": kernel.READS_TOS,
        "tcp_flags": kernel.READS_FLAGS,
        "tcp_option_kinds": kernel.READS_OPTIONS,
        "icmp_type": kernel.READS_ICMP,
    }
    return sum(bit for name, bit in bits.items() if name in fields)


class Fold:
    """Takes records in order of time; ``behind`` (interfaces,) says whose receive taps sit behind
    PREROUTING.

    With a ``spool``, packets go there, ``block`` of them at a time; without one they stay in
    memory."""

    def __init__(self, asked: Asked, spool: Spool | None = None, block: int = 1 << 20) -> None:
        self.asked, self.spool, self.block = asked, spool, block
        self.counts = np.zeros(8, dtype=np.int64)
        self.ring = np.zeros(FIRST, dtype=kernel.WAITING)
        self.buckets = np.full(FIRST, -1, dtype=np.int64)
        self.keys, self.values = (
            np.zeros(4 * FIRST, dtype=np.uint64),
            np.zeros(4 * FIRST, dtype=np.int32),
        )
        self.pairs = np.zeros(FIRST, dtype=kernel.PAIR)
        self.connections = np.zeros(FIRST, dtype=kernel.CONNECTION)
        self.kinds = np.zeros(KINDS, dtype=kernel.KIND)
        self.table = np.full(4 * KINDS, -1, dtype=np.int32)
        self.parts: list[Packets] = []
        self.waiting = 0
        self.begun = False

    def take(self, records: Records, behind: npt.NDArray[np.bool_], last: bool = False) -> None:
        """Fold records in; ``last``: none will come. Raises :class:`TooManyKindsError`."""
        if not self.begun and len(records):
            self.counts[kernel.BEGIN], self.begun = records["time"][0], True
        start, why = 0, -1
        while why != kernel.DONE:
            room = (
                len(records) - start + int(self.counts[kernel.TAIL] - self.counts[kernel.HEAD]) + 16
            )
            out = [np.empty(room, dtype=dtype) for dtype in COLUMNS.values()]
            self.counts[kernel.WRITTEN] = 0
            asked = (self.asked.lengths, self.asked.ttls, self.asked.reads)
            start, why = kernel.fold(
                records,
                start,
                last,
                self.counts,
                self.ring,
                self.buckets,
                self.keys,
                self.values,
                self.pairs,
                self.connections,
                self.kinds,
                self.table,
                behind,
                *asked,
                *out,
            )
            written = int(self.counts[kernel.WRITTEN])
            if written:
                self.parts.append(Packets(*(part[:written].copy() for part in out)))
                self._spill(written)
            if why == kernel.TOO_MANY_KINDS:
                raise TooManyKindsError
            self._grow(why)

    def _spill(self, written: int) -> None:
        self.waiting += written
        if self.spool is None or self.waiting < self.block:
            return
        whole, full = join(self.parts), self.waiting // self.block * self.block
        for begin in range(0, full, self.block):
            self.spool.append(whole.part(begin, begin + self.block))
        self.parts, self.waiting = [whole.part(full, self.waiting)], self.waiting - full

    def _grow(self, why: int) -> None:
        if why == kernel.GROW_NAMES:
            keys, values = (
                np.zeros(2 * len(self.keys), dtype=np.uint64),
                np.zeros(2 * len(self.keys), dtype=np.int32),
            )
            kernel.move_names(self.keys, self.values, keys, values)
            self.keys, self.values = keys, values
        elif why == kernel.GROW_PAIRS:
            self.pairs = _roomier(self.pairs, int(self.counts[kernel.PAIRS]))
            self.connections = _roomier(self.connections, int(self.counts[kernel.CONNECTIONS]))
        elif why == kernel.GROW_RING:
            ring, buckets = (
                np.zeros(2 * len(self.ring), dtype=kernel.WAITING),
                np.full(2 * len(self.ring), -1, dtype=np.int64),
            )
            kernel.move_ring(self.ring, ring, buckets, self.counts)
            self.ring, self.buckets = ring, buckets

    def end(self, behind: npt.NDArray[np.bool_]) -> Folded:
        """What all of it was."""
        self.take(np.zeros(0, dtype=RECORD), behind, last=True)
        rest, self.parts = join(self.parts), []
        if self.spool is not None:
            self.spool.append(rest)
        c = self.counts
        return Folded(
            self.spool if self.spool is not None else Held(rest),
            self.connections[: c[kernel.CONNECTIONS]],
            self.kinds[: c[kernel.KINDS]],
            self.pairs[: c[kernel.PAIRS]],
            self.keys,
            self.values,
            int(c[kernel.BEGIN]),
        )


def _roomier(table: Records, used: int) -> Records:
    """The same table with more room, where little is left: a quarter more, for what it adds is
    zeroed and so takes memory, while what it holds is moved by the kernel, not copied."""
    if used + 64 >= len(table):
        table.resize(len(table) + max(len(table) // 4, FIRST), refcheck=False)
    return table
