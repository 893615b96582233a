"""The fold: ordinary connections, frame after frame, in memory that grows with connections and not
with packets' headers.

What remains of a packet is its time, length, connection and class
(:data:`~correlator.flows.fold.tables.KIND`): all that attribution and ledger need of it. Of what is
not ordinary, the pair of endpoints is marked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from correlator.decode.records import RECORD
from correlator.flows.fold import kernel, tables
from correlator.flows.fold.folded import Folded
from correlator.flows.fold.names_kernel import move_names
from correlator.flows.fold.packets import COLUMNS, Held, Packets, Spool, join
from correlator.flows.fold.tables import Asked, Tables, Written
from correlator.flows.fold.waiting_kernel import move_ring

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools

    Records = npt.NDArray[np.void]

KINDS = 4096
FIRST = 1 << 14
"""Rows of a table to begin with."""


class TooManyKindsError(Exception):
    """The packets differ in more ways than a fold is for."""


def reads_of(fields: Iterable[str]) -> int:
    """Bits READS_* of the fields that rules ask for."""
    bits = {
        "tos": tables.READS_TOS,
        "tcp_flags": tables.READS_FLAGS,
        "tcp_option_kinds": tables.READS_OPTIONS,
        "icmp_type": tables.READS_ICMP,
    }
    return sum(bit for name, bit in bits.items() if name in fields)


class Fold:
    """Takes records in order of time; ``behind`` (interfaces,) says whose receive taps sit behind
    PREROUTING.

    With a ``spool``, packets go there, ``block`` of them at a time; without one they stay in
    memory."""

    def __init__(self, asked: Asked, spool: Spool | None = None, block: int = 1 << 20) -> None:
        self.asked, self.spool, self.block = asked, spool, block
        self.tables = Tables(
            counts=np.zeros(8, dtype=np.int64),
            ring=np.zeros(FIRST, dtype=tables.WAITING),
            buckets=np.full(FIRST, -1, dtype=np.int64),
            keys=np.zeros(4 * FIRST, dtype=np.uint64),
            values=np.zeros(4 * FIRST, dtype=np.int32),
            pairs=np.zeros(FIRST, dtype=tables.PAIR),
            connections=np.zeros(FIRST, dtype=tables.CONNECTION),
            kinds=np.zeros(KINDS, dtype=tables.KIND),
            slots=np.full(4 * KINDS, -1, dtype=np.int32),
        )
        self.parts: list[Packets] = []
        self.waiting = 0
        self.begun = False

    def take(self, records: Records, behind: Bools, last: bool = False) -> None:
        """Fold records in; ``last``: none will come. Raises :class:`TooManyKindsError`."""
        counts = self.tables.counts
        if not self.begun and len(records):
            counts[tables.BEGIN], self.begun = records["time"][0], True
        start, why = 0, -1
        while why != kernel.DONE:
            room = len(records) - start + int(counts[tables.TAIL] - counts[tables.HEAD]) + 16
            out = Written(*(np.empty(room, dtype=dtype) for dtype in COLUMNS.values()))
            counts[tables.WRITTEN] = 0
            start, why = kernel.fold(records, start, last, self.tables, self.asked, out, behind)
            written = int(counts[tables.WRITTEN])
            if written:
                self.parts.append(Packets(*out).part(0, written).copy())
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
        t = self.tables
        if why == kernel.GROW_NAMES:
            keys = np.zeros(2 * len(t.keys), dtype=np.uint64)
            values = np.zeros(2 * len(t.keys), dtype=np.int32)
            move_names(t.keys, t.values, keys, values)
            self.tables = t._replace(keys=keys, values=values)
        elif why == kernel.GROW_PAIRS:
            _make_room(t.pairs, int(t.counts[tables.PAIRS]))
            _make_room(t.connections, int(t.counts[tables.CONNECTIONS]))
        elif why == kernel.GROW_RING:
            ring = np.zeros(2 * len(t.ring), dtype=tables.WAITING)
            buckets = np.full(2 * len(t.ring), -1, dtype=np.int64)
            move_ring(t.ring, ring, buckets, t.counts)
            self.tables = t._replace(ring=ring, buckets=buckets)

    def end(self, behind: Bools) -> Folded:
        """What all of it was."""
        self.take(np.zeros(0, dtype=RECORD), behind, last=True)
        rest, self.parts = join(self.parts), []
        if self.spool is not None:
            self.spool.append(rest)
        t, c = self.tables, self.tables.counts
        return Folded(
            self.spool if self.spool is not None else Held(rest),
            t.connections[: c[tables.CONNECTIONS]],
            t.kinds[: c[tables.KINDS]],
            t.pairs[: c[tables.PAIRS]],
            t.keys,
            t.values,
            int(c[tables.BEGIN]),
        )


def _make_room(table: Records, used: int) -> None:
    """Make a table longer, where little is left: a quarter more, for what it adds is zeroed and so
    takes memory, while what it holds is moved by the kernel, not copied."""
    if used + 64 >= len(table):
        table.resize(len(table) + max(len(table) // 4, FIRST), refcheck=False)
