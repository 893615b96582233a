"""Counters over time: generations of rulesets and arrays of counters in one :class:`CounterLog`,
and how it is put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.firewall.samples.series import Layers, Series, compact, concat
from correlator.firewall.samples.stamps import SECOND, Stamp

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools, Ints
    from correlator.firewall.model import Ruleset

    Matrix = Ints | Series


@dataclass(frozen=True)
class CounterLog:
    """Counters over time. S samples in G generations.

    ``begin``/``end`` int64 (S,) epoch ns: the reading happened between them; ``generation`` int32
    (S,). The tuples hold one matrix per generation, int64 (samples of it, entries of its ruleset)
    in the order of ``Ruleset.entries``: ``packets``/``bytes`` and, where the log rounds them, their
    upper bounds (``*_high``; else the same object). Readers make
    :class:`~correlator.firewall.samples.series.Series`, which hold what moves only. ``form`` is
    ``save``, ``listing`` or ``session``. A session's log was read from the kernel itself, on the
    packets' own clock: it lists no chain that does not exist, and ``uncounted`` (one set of entries
    a generation) names the policies that the kernel does not count."""

    rulesets: tuple[Ruleset, ...]
    begin: Ints
    end: Ints
    generation: npt.NDArray[np.int32]
    packets: tuple[Matrix, ...]
    packets_high: tuple[Matrix, ...]
    bytes: tuple[Matrix, ...]
    bytes_high: tuple[Matrix, ...]
    form: str
    warnings: tuple[str, ...] = ()
    uncounted: tuple[frozenset[int], ...] = ()


@dataclass(frozen=True, slots=True)
class Stretch:
    """Successive snapshots of one ruleset; ``layers``: packets, their upper bounds, bytes, and
    theirs."""

    ruleset: Ruleset
    layers: Layers


def assemble(
    stamps: list[Stamp], stretches: list[Stretch], form: str, warnings: list[str], source: str
) -> CounterLog:
    """The log of successive stretches, with the times of their snapshots; those of one ruleset are
    a generation."""
    order = np.argsort([stamp.begin for stamp in stamps], kind="stable")
    if (np.diff(order) < 0).any():
        warnings.append(f"{source}: snapshots are not in order of time: sorted")
        stamps = [stamps[i] for i in order.tolist()]
        stretches = _sorted(stretches, order)
    if not all(stamp.certain for stamp in stamps):
        warnings.append(
            f"{source}: its times name no time zone: taken as UTC (the clock offset tells the rest)"
        )
    begin, end = _times(stamps)
    rulesets: list[Ruleset] = []
    parts: list[list[Layers]] = []
    for stretch in stretches:
        if not rulesets or (
            rulesets[-1] is not stretch.ruleset and rulesets[-1] != stretch.ruleset
        ):
            rulesets.append(stretch.ruleset)
            parts.append([])
        parts[-1].append(stretch.layers)
    exact = all(
        layers[0] is layers[1] and layers[2] is layers[3] for part in parts for layers in part
    )
    joined = [concat(part) for part in parts]
    good = [_credible(layers) for layers in joined]
    kept = np.concatenate(good)
    if not kept.all():
        count = np.count_nonzero(~kept)
        said = "a reading was" if count == 1 else f"{count} readings were"
        warnings.append(f"{source}: {said} all zeros between two that were not: left out")
        joined = [_rows(layers, rows) for layers, rows in zip(joined, good, strict=True)]
        begin, end = begin[kept], end[kept]
    lengths = [len(layers[0]) for layers in joined]
    packets, high, size, high_size = (tuple(layers[i] for layers in joined) for i in range(4))
    return CounterLog(
        tuple(rulesets),
        begin,
        end,
        np.repeat(np.arange(len(rulesets), dtype=np.int32), lengths),
        packets,
        packets if exact else high,
        size,
        size if exact else high_size,
        form,
        tuple(dict.fromkeys(warnings)),
    )


def _credible(layers: Layers) -> Bools:
    """Readings (S,) that are not all zeros between two of which the later goes on from the earlier:
    something printed nothing then, and reset nothing."""
    low, high = layers[0], layers[1]
    zero = (high.moving == 0).all(axis=1)
    good = np.ones(len(zero), dtype=bool)
    if zero.all() or not zero.any() or high.base[high.column < 0].any():
        return good
    filled = np.flatnonzero(~zero)
    for before, after in zip(filled[:-1].tolist(), filled[1:].tolist(), strict=True):
        if after - before > 1 and (high.moving[after] >= low.moving[before]).all():
            good[before + 1 : after] = False
    return good


def _rows(layers: Layers, kept: Bools) -> Layers:
    """Layers with some of their rows; those that were one object stay one."""
    made = {id(one): Series(one.base, one.column, one.moving[kept]) for one in layers}
    return tuple(made[id(one)] for one in layers)


def _sorted(stretches: list[Stretch], order: Ints) -> list[Stretch]:
    """One stretch a snapshot, in another order."""
    ones = [
        Stretch(s.ruleset, compact(_at(s.layers, row)))
        for s in stretches
        for row in range(len(s.layers[0]))
    ]
    return [ones[i] for i in order.tolist()]


def _at(layers: Layers, row: int) -> list[Ints]:
    made = {id(layer): layer[row : row + 1] for layer in layers}
    return [made[id(layer)] for layer in layers]


def _times(stamps: list[Stamp]) -> tuple[Ints, Ints]:
    """(begin, end) of every reading; where only one time is known, it ended before the next one
    began."""
    begin = np.array([s.begin for s in stamps], dtype=np.int64)
    spacing = int(np.median(np.diff(begin))) if len(begin) > 1 else SECOND
    following = np.r_[begin[1:], begin[-1:] + max(spacing, SECOND)]
    end = np.array(
        [
            s.end
            if s.end is not None
            else max(int(after) + s.resolution - 1, s.begin + s.resolution - 1)
            for s, after in zip(stamps, following, strict=True)
        ],
        dtype=np.int64,
    )
    return begin, end
