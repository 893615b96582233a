"""Frames: where each one lies in a file's bytes. What the readers of files hand to the decoders of
headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

PADDING = 64
MAX_FRAME = 1 << 20
"""A record that claims more than this is damage, not a frame (libpcap's own limit is 256 KiB;
super-packets 512 KiB)."""
MOST_FRAMES = 1 << 30
"""Frames of a file that are read, where nobody says fewer."""
MOST_INTERFACES = 4096
"""Interfaces that a file may tell of."""
MOST_TIME = 1 << 62
"""Epoch ns, beyond any: the year 2116. Sums and differences of two times stay within int64."""


@dataclass(frozen=True, slots=True)
class Interface:
    """Where frames were captured. ``link_type`` as pcap numbers it; ``received`` and ``dropped`` as
    the capturing tool counted them, None where the file does not say; ``index`` the host's ifindex
    (0 unknown)."""

    name: str
    link_type: int
    snap_length: int = 0
    received: int | None = None
    dropped: int | None = None
    file: str = ""
    index: int = 0


@dataclass(frozen=True)
class Frames:
    """n frames: ``data`` uint8 with :data:`PADDING` zeros behind the file; ``start``, ``captured``
    (bytes in the file), ``wire`` (bytes on the wire), ``time`` (epoch ns), ``interface`` and
    ``direction`` (0, 1 in, 2 out) int64 (n,). ``number``: each frame's in its file, where these are
    not all of them."""

    data: npt.NDArray[np.uint8]
    start: Ints
    captured: Ints
    wire: Ints
    time: Ints
    interface: Ints
    direction: Ints
    interfaces: tuple[Interface, ...]
    warnings: tuple[str, ...]
    number: Ints | None = None

    def __len__(self) -> int:
        return len(self.start)


def padded(data: bytes) -> npt.NDArray[np.uint8]:
    """The file's bytes with zeros behind them, so that no header field can be read past the end."""
    return np.frombuffer(data + bytes(PADDING), dtype=np.uint8)


def too_many(path: str, most: int) -> InputError:
    """What is said of a file with more frames than may be read."""
    return InputError(
        f"{path}: holds more than {most:,} packets that have to be looked at one by one: replay "
        f"fewer, or allow more memory (--max-memory)"
    )


class Bytes:
    """Big-endian fields at many positions at once; positions int64 (n,), values int64 (n,)."""

    def __init__(self, data: npt.NDArray[np.uint8]) -> None:
        self.data = data
        self.last = len(data) - PADDING

    def _at(self, position: Ints) -> Ints:
        return np.clip(position, 0, self.last)

    def u8(self, position: Ints) -> Ints:
        """One byte."""
        return self.data[self._at(position)].astype(np.int64)

    def u16(self, position: Ints) -> Ints:
        """Two bytes."""
        at = self._at(position)
        return self.data[at].astype(np.int64) << 8 | self.data[at + 1]

    def u32(self, position: Ints) -> Ints:
        """Four bytes."""
        return self.u16(position) << 16 | self.u16(position + 2)

    def u48(self, position: Ints) -> Ints:
        """Six bytes (a link address)."""
        return self.u16(position) << 32 | self.u32(position + 2)

    def words(self, position: Ints, count: int) -> npt.NDArray[np.uint32]:
        """``count`` words of four bytes each, uint32 (n, count), in the machine's order."""
        windows = np.lib.stride_tricks.sliding_window_view(self.data, 4 * count)
        return np.ascontiguousarray(windows[self._at(position)]).view(np.uint32)
