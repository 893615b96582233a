"""Counters over the whole run: one series per rule across generations, with resets found and gaps said.

A counter that falls was reset (iptables -Z, a replaced rule, a restarted daemon). What it had counted between the last
sample and the reset is lost, so the movement of that interval has a lower bound only; every other counter may have been
reset unseen in the same interval (12, reset, 12 again), so theirs are bounded alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.firewall.counter_log import CounterLog
    from correlator.reconcile.generations import Register

    Ints = npt.NDArray[np.int64]
    Bools = npt.NDArray[np.bool_]

UNBOUNDED = np.int64(1 << 60)


@dataclass(frozen=True)
class Counters:
    """Movements of every entry of the register between successive samples; S samples, E entries.

    ``packets_low``/``packets_high`` and ``bytes_low``/``bytes_high`` int64 (S-1, E): by how much the counter moved,
    as an interval (one value where it is exact); ``present`` bool (S, E): the entry was there; ``known`` bool
    (S-1, E): its movement is known at all (it was there at the end of the interval; where it was not at the beginning,
    it began at zero); ``reset`` bool (S-1, E). ``silent`` bool (E,): a policy that shows zero in every
    sample; ``first_zero`` bool (E,): a policy that showed zero in the first one; neither holds where the kernel said
    that it counts that policy.
    ``begin``/``end`` int64 (S,) as read, on the counters' clock; ``generation`` int32 (S,).
    """

    begin: Ints
    end: Ints
    generation: Ints
    packets_low: Ints
    packets_high: Ints
    bytes_low: Ints
    bytes_high: Ints
    present: Bools
    known: Bools
    reset: Bools
    silent: Bools
    first_zero: Bools
    rounded: bool

    @property
    def samples(self) -> int:
        return len(self.begin)


def read_counters(log: CounterLog, register: Register) -> Counters:
    """Series of all entries from a counter log."""
    samples, entries = len(log.begin), len(register)
    values = {name: np.zeros((samples, entries), dtype=np.int64) for name in ("p", "P", "b", "B")}
    present = np.zeros((samples, entries), dtype=bool)
    for number, of in enumerate(register.of):
        rows = np.flatnonzero(log.generation == number)
        where = np.ix_(rows, of)
        values["p"][where], values["P"][where] = log.packets[number], log.packets_high[number]
        values["b"][where], values["B"][where] = log.bytes[number], log.bytes_high[number]
        present[where] = True
    policy = np.array([entry.number == 0 for entry in register.entries], dtype=bool) & _perhaps_uncounted(log, register)
    silent = policy & (values["P"].max(axis=0, initial=0) == 0)
    fell = (values["P"][1:] < values["p"][:-1]) | (values["B"][1:] < values["b"][:-1])
    fell &= present[1:] & present[:-1]
    known = present[1:]
    maybe = fell.any(axis=1, keepdims=True) & present[1:] & present[:-1]
    old = {name: np.where(present[:-1], value[:-1], 0) for name, value in values.items()}
    packets_low = np.maximum(values["p"][1:] - old["P"], 0)
    packets_high = np.maximum(values["P"][1:] - old["p"], 0)
    bytes_low = np.maximum(values["b"][1:] - old["B"], 0)
    bytes_high = np.maximum(values["B"][1:] - old["b"], 0)
    packets_low = np.where(fell, values["p"][1:], packets_low)
    bytes_low = np.where(fell, values["b"][1:], bytes_low)
    packets_high = np.where(maybe | fell, UNBOUNDED, packets_high)
    bytes_high = np.where(maybe | fell, UNBOUNDED, bytes_high)
    first_zero: Bools = policy & np.all(values["P"][:1] == 0, axis=0, keepdims=True)[0]
    rounded = any((values[low] != values[high]).any() for low, high in (("p", "P"), ("b", "B")))
    return Counters(
        log.begin, log.end, log.generation.astype(np.int64), packets_low, packets_high, bytes_low, bytes_high, present,
        known, fell, silent, first_zero, rounded,
    )  # fmt: skip


def _perhaps_uncounted(log: CounterLog, register: Register) -> Bools:
    """Entries that the kernel may not count, as far as the log tells; bool (E,)."""
    if not log.uncounted:
        return np.ones(len(register), dtype=bool)
    result = np.zeros(len(register), dtype=bool)
    for of, entries in zip(register.of, log.uncounted, strict=True):
        result[of[sorted(entries)]] = True
    return result


def phantom_chains(log: CounterLog) -> frozenset[tuple[str, str]]:
    """Base chains that no generation gives a rule and whose policy never counted: as far as anyone can tell, not there.

    iptables-save of nft 1.8.9 prints base chains that do not exist in the kernel. A session's rulesets hold none.
    """
    if log.form == "session":
        return frozenset()
    empty: dict[tuple[str, str], bool] = {}
    for ruleset, packets in zip(log.rulesets, log.packets_high, strict=True):
        for chain in ruleset.chains:
            if chain.policy is None:
                continue
            key = (chain.table, chain.name)
            policy = ruleset.first_entry[key] + len(chain.rules)
            silent = not chain.rules and (not len(packets) or int(packets[:, policy].max()) == 0)
            empty[key] = empty.get(key, True) and silent
    return frozenset(key for key, silent in empty.items() if silent)
