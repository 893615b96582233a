"""Two logs of one host -> one: iptables-save's counters, and beside them nft's listing of the
tables that iptables does not print.

Snapshots that lie nearest each other are taken together: what both say was read between the first's
begin and the last's end."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from correlator.firewall.hooks import TABLES
from correlator.firewall.model import Chain, Ruleset
from correlator.firewall.samples.log import CounterLog
from correlator.firewall.samples.series import Layers, Series, compact

if TYPE_CHECKING:
    from correlator.arrays import Ints


def beside(one: CounterLog, other: CounterLog) -> CounterLog:
    """The log ``one`` with the tables of ``other`` that it does not hold, where there are any; of
    both the samples that are each other's nearest in time."""
    native = [_without(ruleset, one) for ruleset in other.rulesets]
    if not any(chain.base is not None for ruleset, _ in native for chain in ruleset.chains):
        return one
    mine, theirs = _nearest(one, other)
    pairs = np.stack([one.generation[mine], other.generation[theirs]], axis=1).astype(np.int64)
    starts = np.flatnonzero(np.r_[True, (pairs[1:] != pairs[:-1]).any(axis=1)]).tolist()
    rulesets, layers = list[Ruleset](), list[Layers]()
    for start, end in pairwise([*starts, len(mine)]):
        first, second = pairs[start].tolist()
        ruleset, kept = native[second]
        before = one.rulesets[first]
        rulesets.append(replace(before, chains=(*before.chains, *ruleset.chains)))
        parts = (
            (one, first, mine[start:end], np.arange(len(before.entries))),
            (other, second, theirs[start:end], kept),
        )
        layers.append(_joined(parts))
    packets, high, size, high_size = (tuple(part[i] for part in layers) for i in range(4))
    return CounterLog(
        tuple(rulesets),
        np.minimum(one.begin[mine], other.begin[theirs]),
        np.maximum(one.end[mine], other.end[theirs]),
        np.repeat(
            np.arange(len(rulesets), dtype=np.int32), [len(part[0]) for part in layers]
        ).astype(np.int32),
        packets,
        packets if one.packets is one.packets_high else high,
        size,
        size if one.bytes is one.bytes_high else high_size,
        one.form,
        tuple(dict.fromkeys((*one.warnings, *other.warnings, *_said(one, len(mine))))),
    )


def _said(one: CounterLog, kept: int) -> tuple[str, ...]:
    left = len(one.begin) - kept
    if not left:
        return ()
    return (
        f"{left} of {len(one.begin)} counter samples have no listing of nft near them: left out",
    )


def _without(ruleset: Ruleset, one: CounterLog) -> tuple[Ruleset, Ints]:
    """(the ruleset without the tables that iptables printed, the entries that are left of it)."""
    printed = {table for known in one.rulesets for table in known.tables}
    kept, entries, at = list[Chain](), list[int](), 0
    for chain in ruleset.chains:
        count = len(chain.rules) + (chain.policy is not None)
        bare = chain.table.removeprefix("ip6 ").removeprefix("ip ")
        own = chain.family == ruleset.family and chain.table in printed
        if not (bare in TABLES and (own or chain.table.startswith(("ip6 ", "ip ")))):
            kept.append(chain)
            entries += range(at, at + count)
        at += count
    return replace(ruleset, chains=tuple(kept)), np.array(entries, dtype=np.int64)


def _nearest(one: CounterLog, other: CounterLog) -> tuple[Ints, Ints]:
    """Samples of both that are each other's nearest, int64 (k,) each, in order of time."""
    first, second = ((log.begin + log.end) // 2 for log in (one, other))
    to_other, to_one = _closest(first, second), _closest(second, first)
    mine = np.flatnonzero(to_one[to_other] == np.arange(len(first)))
    return mine, to_other[mine]


def _closest(times: Ints, among: Ints) -> Ints:
    """For each time the place of the closest of others, which are in order."""
    behind = np.clip(np.searchsorted(among, times), 1, max(len(among) - 1, 1))
    if len(among) == 1:
        return np.zeros(len(times), dtype=np.int64)
    nearer = times - among[behind - 1] <= among[behind] - times
    result: Ints = np.where(nearer, behind - 1, behind)
    return result


def _joined(parts: tuple[tuple[CounterLog, int, Ints, Ints], ...]) -> Layers:
    """Layers of the ``entries`` of several logs side by side, each (log, generation, samples of
    all, entries)."""
    columns = []
    for log, generation, samples, entries in parts:
        rows = samples - int(np.searchsorted(log.generation, generation))
        for matrix in (
            log.packets[generation],
            log.packets_high[generation],
            log.bytes[generation],
            log.bytes_high[generation],
        ):
            whole = matrix.dense() if isinstance(matrix, Series) else matrix
            columns.append(whole[rows][:, entries])
    half = len(columns) // 2
    matrices = [np.concatenate([columns[i], columns[half + i]], axis=1) for i in range(half)]
    return compact(matrices)
