"""What a source of counters returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from correlator.errors import CorrelatorError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class ChangingError(CorrelatorError):
    """The rules never stood still long enough to be read."""


@dataclass(frozen=True, slots=True)
class Learned:
    """One ruleset: its text (iptables-save, without counters), the indexes of its counting lines
    that the kernel does not count (policies of iptables-nft before the first -P or -Z), and what
    has to be said about it. ``six``: the text of ip6tables-save, ``native``: what nft lists of its
    own tables; their counting lines come behind, in this order. ``native_names``: what to call each
    counter of the latter."""

    text: str
    uncounted: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()
    six: str = ""
    native: str = ""
    native_names: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, str, str]:
        """All that tells one ruleset from another."""
        return self.text, self.six, self.native


@dataclass(frozen=True, slots=True)
class Reading:
    """One sample: read between ``begin`` and ``end`` (epoch ns); ``values`` int64 (counting lines,
    2), packets and bytes."""

    begin: int
    end: int
    learned: Learned
    values: npt.NDArray[np.int64]


class Source(Protocol):
    """Where counters are read: ``backend`` names it."""

    backend: str

    def read(self) -> Reading:
        """One sample; raises :class:`ChangingError`."""

    def close(self) -> None:
        """Give back what it holds."""
