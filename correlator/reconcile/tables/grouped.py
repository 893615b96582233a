"""Rows by the number of their group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Ints


@dataclass(frozen=True)
class Grouped:
    """Rows by the number of their group: ``order`` of the rows, ``starts`` of every group in it."""

    order: Ints
    starts: Ints

    @staticmethod
    def by(group: npt.NDArray[np.integer[Any]], most: int) -> Grouped:
        """Group rows by ``group`` (n,), whose values are 0 to ``most``; rows of a group stay in
        their order."""
        order = np.argsort(group, kind="stable")
        return Grouped(order, np.searchsorted(group[order], np.arange(most + 2)))

    def of(self, group: int) -> Ints:
        """The rows of one group."""
        return self.order[self.starts[group] : self.starts[group + 1]]

    def parts(self) -> list[Ints]:
        """The rows of every group that has any."""
        return [part for part in np.split(self.order, self.starts[1:-1]) if len(part)]
