"""What a fold leaves of ordinary connections and their packets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Records = npt.NDArray[np.void]


@dataclass(frozen=True)
class Folded:
    """Ordinary crossings and what they belong to.

    Arrays (n,), in order of ``came``: ``came`` int64 epoch ns, ``span`` int32 ns until it left, ``owner`` int32 (row of
    ``connections``), ``length`` int32 bytes (L3), ``kind`` uint16 (row of ``kinds``). ``connections``, ``kinds`` and
    ``pairs`` as :mod:`correlator.flows.fold_kernel` declares them. ``frames`` int32: for each file, from ``bases`` (files,)
    on, and each of its frames, its pair plus one; 0: none. ``begin`` is the time of the first packet.
    """

    came: Ints
    span: npt.NDArray[np.int32]
    owner: npt.NDArray[np.int32]
    length: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint16]
    connections: Records
    kinds: Records
    pairs: Records
    frames: npt.NDArray[np.int32]
    bases: Ints
    begin: int
