"""conntrack as Python runs it, and as the fold's compiled loop does."""

from __future__ import annotations

import numpy as np
import pytest

from correlator.dataset.conntrack_settings import DEFAULT_SETTINGS
from correlator.decode.compiled import INNER
from correlator.flows.conntrack import OPENS, RETRIES, TRANSITIONS, Entry, forget, judge, limits_of
from correlator.flows.fold import conntrack_kernel
from correlator.flows.fold.tables import PAIR

SEQUENCES, LENGTH = 20_000, 12
NUMBERS = ("end", "maxend", "maxack", "last_end")
"""Sequence numbers: they count modulo 2**32."""
SECOND = 1_000_000_000
STEPS = np.array([1_000, 1_000_000, SECOND, 3 * SECOND, 40 * SECOND, 130 * SECOND, 10**15])
"""Silences, among them such as outlast one timeout and not another."""


@pytest.fixture(scope="module")
def packets() -> dict[str, np.ndarray]:
    """Random sequences of packets, (SEQUENCES, LENGTH), as likely as not to make sense."""
    random = np.random.default_rng(14)
    shape = (SEQUENCES, LENGTH)
    likely = random.choice(len(STEPS), p=[0.5, 0.2, 0.1, 0.08, 0.06, 0.05, 0.01], size=shape)
    protocol = np.repeat(random.choice([1, 6, 6, 6, 6, 17, 47], size=SEQUENCES), LENGTH)
    kind = random.integers(0, 6, size=shape)
    kind[protocol.reshape(shape) == 1] %= 3
    return {
        "protocol": protocol.reshape(shape),
        "time": 10**18 + np.cumsum(STEPS[likely], axis=1),
        "forward": random.integers(0, 2, size=shape),
        "kind": kind,
        "by_host": random.integers(0, 3, size=shape),
        "answered": np.repeat(random.integers(0, 2, size=SEQUENCES), LENGTH).reshape(shape),
        "segment": _segments(random, kind),
        "dropped": (random.random(shape) < 0.2).astype(np.int64),
    }


def _segments(random: np.random.Generator, kind: np.ndarray) -> np.ndarray:
    """Sequence numbers that mostly follow each other, from 2**32 - 500 on, and sometimes stray."""
    jumps = random.choice([0, 1, 100, 1_460, -50, 80_000, 2**31], size=(*kind.shape, 3))
    stray = random.random(jumps.shape) < 0.7
    at = (2**32 - 500 + np.cumsum(np.where(stray, 0, jumps), axis=1)) % 2**32
    window = random.choice([0, 63, 501, 65_535], size=kind.shape)
    scale = random.choice([-1, 0, 7, 10], size=kind.shape)
    ack = np.where((kind == 0) | (random.random(kind.shape) < 0.05), -1, at[:, :, 2])
    return np.stack([at[:, :, 0], at[:, :, 1], ack, window, scale], axis=2)


def test_both_say_the_same(packets: dict[str, np.ndarray]) -> None:
    """The compiled function gives each packet of 20,000 random sequences the role and the state
    that the plain one gives it, and leaves the same entry behind."""
    from numba import njit

    compiled = conntrack_kernel.judge
    columns = ("time", "forward", "kind", "by_host", "answered", "segment", "dropped")

    @njit(**INNER)
    def follow(p, table, limits, time, forward, kind, by_host, answered, segment, dropped, said):
        for i in range(len(time)):
            s = segment[i]
            said[i] = compiled(
                p,
                table,
                limits,
                time[i],
                forward[i],
                kind[i],
                by_host[i],
                answered[i],
                (s[0], s[1], s[2], s[3], s[4]),
            )
            if dropped[i] and (said[i, 0] == OPENS or said[i, 0] == RETRIES):
                p.exists, p.forgotten = 0, 1 + forward[i]

    @njit
    def drive(
        entries, table, limits, time, forward, kind, by_host, answered, segment, dropped, said
    ):
        for n in range(len(entries)):
            follow(
                entries[n],
                table,
                limits,
                time[n],
                forward[n],
                kind[n],
                by_host[n],
                answered[n],
                segment[n],
                dropped[n],
                said[n],
            )

    entries = np.zeros(SEQUENCES, dtype=PAIR)
    entries["protocol"], entries["last_kind"] = packets["protocol"][:, 0], -1
    said = np.zeros((SEQUENCES, LENGTH, 2), dtype=np.int64)
    limits = limits_of(DEFAULT_SETTINGS)
    drive(
        entries,
        conntrack_kernel.TABLE,
        np.array(limits, dtype=np.int64),
        *(packets[name] for name in columns),
        said,
    )
    lists = [packets[name].tolist() for name in columns]
    for n in range(SEQUENCES):
        entry = Entry(int(packets["protocol"][n, 0]))
        for i, (time, forward, kind, by_host, answered, segment, dropped) in enumerate(
            zip(*(column[n] for column in lists), strict=True)
        ):
            role, state = judge(
                entry, TRANSITIONS, limits, time, forward, kind, by_host, answered, tuple(segment)
            )
            if dropped and role in (OPENS, RETRIES):
                forget(entry, forward)
            assert (role, state) == tuple(said[n, i]), (n, i)
        for name in Entry.__slots__:
            mine, other = getattr(entry, name), entries[n][name].tolist()
            if name in NUMBERS:
                mine, other = np.array(mine) % 2**32, np.array(other) % 2**32
            assert np.array_equal(mine, other), (n, name)
    assert np.bincount(said[:, :, 0].ravel(), minlength=5).min() > 100
