"""Counters over the whole run: one series per rule across generations, with resets found and gaps
said.

A counter that falls was reset (iptables -Z, a replaced rule, a restarted daemon). What it had
counted between the last sample and the reset is lost, so the movement of that interval has a lower
bound only; every other counter may have been reset unseen in the same interval (12, reset, 12
again), so theirs are bounded alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from correlator.firewall.samples.series import Series, compact, places

if TYPE_CHECKING:
    from correlator.arrays import Bools, Ints
    from correlator.firewall.samples.log import CounterLog
    from correlator.firewall.samples.series import Layers
    from correlator.reconcile.intake.generations import Register


UNBOUNDED = np.int64(1 << 60)
CELLS = 1 << 20
"""Values that are worked on in one step."""


@dataclass(frozen=True)
class Counters:
    """Movements of every entry of the register between successive samples; S samples, E entries.

    ``values``: packets, their upper bounds, bytes, and theirs, as read (zero where the entry was
    not there): series that hold columns only for the entries ``moving`` int64 (M,): those that ever
    move, come or go. Movements are worked out of them when asked for: of one entry (``packets_of``,
    ``bytes_of``, ``present_of``, ``known_of``, ``reset_of``), or at pairs of interval and entry
    (``packets_at``, ...).

    ``exists`` bool (G, E): the entry is in the generation's ruleset. ``fell`` int64 (n, 2):
    (interval, entry) of every reset, in order. ``silent`` bool (E,): a policy that shows zero in
    every sample; ``first_zero`` bool (E,): a policy that showed zero in the first one; neither
    holds where the kernel said that it counts that policy. ``moved`` bool (E,): its counter surely
    moved somewhere, or was reset. ``begin``/``end`` int64 (S,) as read, on the counters' clock;
    ``generation`` int64 (S,). ``rounded``: the log gives some counters as intervals.
    ``loose`` bool (E,): policies that
    something zeroes now and then, which also passes unseen: they tell lower bounds only.
    ``counterless`` bool (E,): entries that have no counter; they are silent, too."""

    begin: Ints
    end: Ints
    generation: Ints
    values: Layers
    exists: Bools
    fell: Ints
    moved: Bools
    silent: Bools
    first_zero: Bools
    rounded: bool
    loose: Bools
    counterless: Bools

    @property
    def samples(self) -> int:
        return len(self.begin)

    @property
    def entries(self) -> int:
        return len(self.moved)

    @cached_property
    def moving(self) -> Ints:
        """The entries that have a column, int64 (M,), in the order of their columns."""
        return np.flatnonzero(self.values[0].column >= 0)

    def without(self, entries: Ints) -> Counters:
        """The same where nobody asks the counters of some entries (numbers)."""
        unasked = np.zeros(self.entries, dtype=bool)
        unasked[entries] = True
        return replace(self, silent=self.silent | unasked, counterless=self.counterless | unasked)

    @property
    def exact(self) -> bool:
        """Every movement that is known is one number, resets aside."""
        return self.values[0] is self.values[1] and self.values[2] is self.values[3]

    @cached_property
    def _lossy(self) -> Bools:
        """Intervals in which some counter was reset, bool (S-1,)."""
        lossy = np.zeros(max(self.samples - 1, 0), dtype=bool)
        lossy[self.fell[:, 0]] = True
        return lossy

    @cached_property
    def _lost(self) -> dict[int, Ints]:
        """entry -> the intervals in which it was reset."""
        interval, entry = self.fell[np.argsort(self.fell[:, 1], kind="stable")].T
        found, first, count = np.unique(entry, return_index=True, return_counts=True)
        return {int(e): interval[a : a + n] for e, a, n in zip(found, first, count, strict=True)}

    def present_of(self, entry: int) -> Bools:
        """The entry was there; bool (S,)."""
        ever = self.exists[:, entry]
        return np.broadcast_to(np.True_, self.samples) if ever.all() else ever[self.generation]

    def known_of(self, entry: int) -> Bools:
        """Its movement is known at all: it was there at the end of the interval (where it was not
        at the beginning, it began at zero); bool (S-1,)."""
        return self.present_of(entry)[1:]

    def reset_of(self, entry: int) -> Bools:
        """It was reset; bool (S-1,)."""
        result = np.zeros(max(self.samples - 1, 0), dtype=bool)
        result[self._lost.get(entry, [])] = True
        return result

    def packets_of(self, entry: int) -> tuple[Ints, Ints]:
        """By how much the counter moved, at least and at most (one object where all are exact),
        int64 (S-1,) each.

        Not to be written to.
        """
        return self._moves(entry, self.values[0], self.values[1])

    def bytes_of(self, entry: int) -> tuple[Ints, Ints]:
        """The same of its bytes."""
        return self._moves(entry, self.values[2], self.values[3])

    def _moves(self, entry: int, low: Series, high: Series) -> tuple[Ints, Ints]:
        least, most = low.of(entry), high.of(entry)
        if low.column[entry] < 0 and low is high and not len(self.fell):
            still = np.broadcast_to(np.int64(0), max(self.samples - 1, 0))
            return still, still
        lost = self._lost.get(entry)
        up = np.maximum(least[1:] - most[:-1], 0)
        if lost is not None:
            up[lost] = least[1:][lost]
        if low is high and not len(self.fell):
            return up, up
        top = np.maximum(most[1:] - least[:-1], 0)
        both = self.present_of(entry)
        lossy = np.True_ if self.loose[entry] else self._lossy
        top[lossy & both[1:] & both[:-1]] = UNBOUNDED
        return up, top

    def totals(self) -> tuple[Ints, Ints]:
        """(packets, bytes) that each entry counted at least in the intervals that end in each
        generation; int64 (G, E)."""
        first = np.searchsorted(self.generation[1:], np.arange(len(self.exists) + 1))
        result = np.zeros((2, *self.exists.shape), dtype=np.int64)
        for entry in self.moving.tolist():
            for i, (moves, _) in enumerate((self.packets_of(entry), self.bytes_of(entry))):
                result[i, :, entry] = np.diff(np.r_[0, np.cumsum(moves)][first])
        return result[0], result[1]


def read_counters(log: CounterLog, register: Register) -> Counters:
    """Series of all entries from a counter log, whose generations follow each other."""
    exists = np.zeros((len(register.of), len(register)), dtype=bool)
    for number, of in enumerate(register.of):
        exists[number, of] = True
    generation = log.generation.astype(np.int64)
    values = _series(log, register, exists, generation)
    fell, moved = _falls(values, exists, generation)
    high = values[1]
    counterless = np.array([not entry.counted for entry in register.entries], dtype=bool)
    policy = np.array([entry.number == 0 for entry in register.entries], dtype=bool)
    policy &= _perhaps_uncounted(log, register) & ~counterless
    most = high.base.copy()
    most[np.flatnonzero(high.column >= 0)] = high.moving.max(axis=0, initial=0)
    first_zero: Bools = policy & np.all(high.rows(slice(0, 1)) == 0, axis=0)
    rounded = any(
        bool((low.base != up.base).any() or (low.moving != up.moving).any())
        for low, up in (values[:2], values[2:])
        if low is not up
    )
    return Counters(
        log.begin,
        log.end,
        generation,
        values,
        exists,
        fell,
        moved,
        (policy & (most == 0)) | counterless,
        first_zero,
        rounded,
        _zeroed_policies(fell, values[0], register),
        counterless,
    )


def _zeroed_policies(fell: Ints, low: Series, register: Register) -> Bools:
    """Policies of tables in which policies fell while rules that had counted kept their numbers, as
    `iptables-legacy-restore --noflush` leaves them (kube-proxy runs it again and again); bool (E,).
    """
    loose = np.zeros(len(register), dtype=bool)
    policy = np.array([entry.number == 0 for entry in register.entries], dtype=bool)
    _, table = np.unique([entry.table for entry in register.entries], return_inverse=True)
    for interval in np.unique(fell[:, 0]).tolist():
        mine = fell[fell[:, 0] == interval, 1]
        counted = low.rows(slice(interval, interval + 1))[0] > 0
        for number in np.unique(table[mine]).tolist():
            kept = counted & ~policy & (table == number)
            if policy[mine[table[mine] == number]].all() and kept.any():
                loose |= policy & (table == number)
    return loose


def _series(log: CounterLog, register: Register, exists: Bools, generation: Ints) -> Layers:
    """Packets, their upper bounds, bytes, and theirs, of the register's entries; zero where an
    entry is not there."""
    parts = [
        compact(layers)
        for layers in zip(log.packets, log.packets_high, log.bytes, log.bytes_high, strict=True)
    ]
    if len(parts) == 1 and np.array_equal(register.of[0], np.arange(len(register))):
        return parts[0]
    first = np.searchsorted(generation, np.arange(len(parts) + 1))
    there = np.diff(first) @ exists.astype(np.int64)
    moves = (there > 0) & (there < len(generation))
    known = np.zeros(len(register), dtype=bool)
    bases = np.zeros((4, len(register)), dtype=np.int64)
    for of, part in zip(register.of, parts, strict=True):
        for base, layer in zip(bases, part, strict=True):
            base[of] = np.where(known[of], base[of], layer.base)
            moves[of] |= (base[of] != layer.base) | (layer.column >= 0)
        known[of] = True
    column = places(moves)
    made: dict[tuple[int, ...], Series] = {}
    result = []
    for i, base in enumerate(bases):
        key = tuple(id(part[i]) for part in parts)
        if key not in made:
            moving = np.zeros((int(moves.sum()), len(generation)), dtype=np.int64).T
            for number, of in enumerate(register.of):
                held = np.flatnonzero(moves[of])
                moving[first[number] : first[number + 1], column[of[held]]] = parts[number][i].take(
                    held
                )
            made[key] = Series(base, column, moving)
        result.append(made[key])
    return tuple(result)


def _falls(values: Layers, exists: Bools, generation: Ints) -> tuple[Ints, Bools]:
    """((interval, entry) of every counter that fell, entries that moved or fell)."""
    low, high, low_bytes, high_bytes = (layer.moving for layer in values)
    entries = np.flatnonzero(values[0].column >= 0)
    moved = np.zeros(exists.shape[1], dtype=bool)
    found = [np.zeros((0, 2), dtype=np.int64)]
    step = max(CELLS // max(len(generation), 1), 1)
    for begin in range(0, len(entries), step):
        some, at = entries[begin : begin + step], slice(begin, begin + step)
        fell = (high[1:, at] < low[:-1, at]) | (high_bytes[1:, at] < low_bytes[:-1, at])
        if not exists[:, some].all():
            there = exists[:, some][generation]
            fell &= there[1:] & there[:-1]
        interval, which = np.nonzero(fell)
        found.append(np.stack([interval, some[which]], axis=1))
        moved[some] = (low[1:, at] > high[:-1, at]).any(axis=0) | fell.any(axis=0)
    fell_at = np.concatenate(found)
    return fell_at[np.lexsort((fell_at[:, 1], fell_at[:, 0]))], moved


def _perhaps_uncounted(log: CounterLog, register: Register) -> Bools:
    """Entries that the kernel may not count, as far as the log tells; bool (E,)."""
    if not log.uncounted:
        return np.ones(len(register), dtype=bool)
    result = np.zeros(len(register), dtype=bool)
    for of, entries in zip(register.of, log.uncounted, strict=True):
        result[of[sorted(entries)]] = True
    return result


def phantom_chains(log: CounterLog) -> frozenset[tuple[str, str]]:
    """Base chains that no generation gives a rule and whose policy never counted: as far as anyone
    can tell, not there.

    iptables-save of nft 1.8.9 prints base chains that do not exist in the kernel. A session's
    rulesets hold none, and nft lists what is there."""
    if log.form in ("session", "nft"):
        return frozenset()
    empty: dict[tuple[str, str], bool] = {}
    for ruleset, packets in zip(log.rulesets, log.packets_high, strict=True):
        for chain in ruleset.chains:
            if chain.policy is None or not chain.counted:
                continue
            key = (chain.table, chain.name)
            policy = ruleset.first_entry[key] + len(chain.rules)
            silent = not chain.rules and (not len(packets) or int(packets[:, policy].max()) == 0)
            empty[key] = empty.get(key, True) and silent
    return frozenset(key for key, silent in empty.items() if silent)
