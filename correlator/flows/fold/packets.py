"""Ordinary packets as a fold leaves them: 22 bytes each, in memory or in blocks on disk."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools, Ints

COLUMNS: dict[str, type[np.generic]] = {
    "came": np.int64,
    "span": np.int32,
    "owner": np.int32,
    "length": np.int32,
    "kind": np.uint16,
}


@dataclass(frozen=True)
class Packets:
    """Ordinary packets (n,), in order of ``came``: ``came`` int64 epoch ns, ``span`` int32 ns until
    it left, ``owner`` int32 (row of ``connections``), ``length`` int32 bytes (L3), ``kind`` uint16
    (row of ``kinds``)."""

    came: Ints
    span: npt.NDArray[np.int32]
    owner: npt.NDArray[np.int32]
    length: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.came)

    def part(self, begin: int, end: int) -> Packets:
        """Those from one number up to another."""
        names = (self.came, self.span, self.owner, self.length, self.kind)
        came, span, owner, length, kind = (column[begin:end] for column in names)
        return Packets(came, span, owner, length, kind)  # type: ignore[arg-type]

    def copy(self) -> Packets:
        """The same, without what else its columns are parts of."""
        names = (self.came, self.span, self.owner, self.length, self.kind)
        came, span, owner, length, kind = (column.copy() for column in names)
        return Packets(came, span, owner, length, kind)  # type: ignore[arg-type]

    def take(self, which: Bools) -> Packets:
        """Some of them."""
        return Packets(
            self.came[which],
            self.span[which],
            self.owner[which],
            self.length[which],
            self.kind[which],
        )


class Blocks(Protocol):
    """Packets, a block at a time; ``begins``: when the first of each block came."""

    @property
    def begins(self) -> list[int]: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Packets]: ...


def join(parts: list[Packets]) -> Packets:
    """Blocks as one; the parts are let go, column after column."""
    columns: list[Any] = []
    for name, dtype in COLUMNS.items():
        columns.append(
            np.concatenate([getattr(part, name) for part in parts] or [np.zeros(0, dtype=dtype)])
        )
        for part in parts:
            object.__setattr__(part, name, None)
    return Packets(*columns)


@dataclass(frozen=True)
class Held:
    """All packets in memory, as one block."""

    packets: Packets

    @property
    def begins(self) -> list[int]:
        """When the first one came."""
        return [int(self.packets.came[0])] if len(self.packets) else []

    def __len__(self) -> int:
        return len(self.packets)

    def __iter__(self) -> Iterator[Packets]:
        yield self.packets


@dataclass
class Spool:
    """Packets on disk, a block of which is read when it is its turn.

    The file has no name, so that nothing of it stays, however its process ends; ``path`` is that of
    the descriptor, by which another process takes it over while this one lives (proc(5))."""

    path: str
    sizes: list[int] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    descriptor: int = -1

    @property
    def begins(self) -> list[int]:
        """When the first packet of each block came."""
        return self.firsts

    @staticmethod
    def create() -> Spool:
        """An empty one, where temporary files are kept on disk (TMPDIR, else /var/tmp)."""
        folder = os.environ.get("TMPDIR") or ("/var/tmp" if os.path.isdir("/var/tmp") else None)
        descriptor, path = tempfile.mkstemp(prefix="correlator-", dir=folder)
        os.unlink(path)
        spool = Spool(f"/proc/{os.getpid()}/fd/{descriptor}", descriptor=descriptor)
        weakref.finalize(spool, os.close, descriptor)
        return spool

    def append(self, packets: Packets) -> None:
        """Write one block."""
        if not len(packets):
            return
        for name in COLUMNS:
            data = np.ascontiguousarray(getattr(packets, name)).data.cast("B")
            while len(data):
                data = data[os.write(self.descriptor, data) :]
        self.sizes.append(len(packets))
        self.firsts.append(int(packets.came[0]))

    def take(self) -> None:
        """Open the file that another process wrote."""
        self.descriptor = os.open(self.path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "sizes": self.sizes, "firsts": self.firsts, "descriptor": -1}

    def __len__(self) -> int:
        return sum(self.sizes)

    def __iter__(self) -> Iterator[Packets]:
        offset = 0
        for size in self.sizes:
            columns: list[Any] = []
            for dtype in COLUMNS.values():
                width = size * np.dtype(dtype).itemsize
                column = np.empty(size, dtype=dtype)
                if os.preadv(self.descriptor, [column.data.cast("B")], offset) != width:
                    raise OSError(f"{self.path}: shorter than it was written")
                columns.append(column)
                offset += width
            yield Packets(*columns)
