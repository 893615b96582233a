"""Times of a session: steps of the realtime clock, and samples that come late."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from correlator.capturing.clock import SessionClock
from correlator.capturing.counters import Learned, Reading
from correlator.capturing.sampler import Sampler
from correlator.dataset.writer import Folder

SECOND, MS = 1_000_000_000, 1_000_000
EPOCH = 1_790_000_000 * SECOND


class _Clocks:
    """A monotonic clock and a realtime clock that somebody steps."""

    def __init__(self) -> None:
        self.passed = 5 * SECOND
        self.ahead = EPOCH

    def monotonic(self) -> int:
        return self.passed

    def realtime(self) -> int:
        return self.passed + self.ahead


def test_a_stepped_clock_does_not_tear_the_time_line() -> None:
    """Frames stamped before and after a step of the realtime clock, either way, get the times that
    passed; the step is told."""
    for step in (3 * SECOND, -3 * SECOND, 40 * MS):
        clocks = _Clocks()
        clock = SessionClock(clocks.realtime, clocks.monotonic)
        began = clock.now()
        stamps, passed = [], []
        for tick in range(20):
            if tick == 7:
                clocks.ahead += step
            clocks.passed += 25 * MS
            stamps.append(clocks.realtime())
            passed.append(clock.now())
            clocks.passed += 25 * MS
            if tick % 4 == 3:  # what is read together may be of before and after
                clock.check()
                corrected = clock.correct(np.array(stamps))
                if abs(step) > SECOND:
                    assert corrected.tolist() == passed
                else:
                    assert np.abs(corrected - passed).max() <= abs(step)
                stamps, passed = [], []
        assert [by for _, by in clock.steps] == [step]
        assert clock.now() - began == 20 * 50 * MS


def test_slewing_is_no_step() -> None:
    """A realtime clock that is brought into line slowly (both clocks run faster) is none of our
    business."""
    clocks = _Clocks()
    clock = SessionClock(clocks.realtime, clocks.monotonic)
    for _ in range(100):
        clocks.passed += 50 * MS
        clocks.ahead += 20_000  # 20 us: what two readings can be apart
        clock.check()
        clocks.ahead -= 20_000
    assert clock.steps == []


class _Source:
    """Takes a time that is told it, then has counted one packet more."""

    backend = "nft"

    def __init__(self, clocks: _Clocks) -> None:
        self.clocks, self.count, self.takes = clocks, 0, MS
        self.learned = Learned("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\nCOMMIT\n")

    def read(self) -> Reading:
        begin = self.clocks.monotonic()
        self.clocks.passed += self.takes
        self.count += 1
        return Reading(
            begin,
            self.clocks.monotonic(),
            self.learned,
            np.array([[0, 0], [self.count, 60 * self.count]]),
        )

    def close(self) -> None:
        """Nothing is held."""


def test_the_interval_is_kept_and_late_samples_are_noted(tmp_path: Path) -> None:
    """Samples come at multiples of the interval however long each takes; one that comes late says
    how late, those that were left out are counted; only changes are written."""
    clocks = _Clocks()
    source = _Source(clocks)
    folder = Folder.make(tmp_path / "s")
    sampler = Sampler([source], folder, clocks.monotonic, 100 * MS)
    sampler.due = 10 * SECOND
    while clocks.passed < 12 * SECOND:
        clocks.passed += 7 * MS
        if 11 * SECOND <= clocks.passed < 11 * SECOND + 7 * MS:
            clocks.passed += 370 * MS  # nobody ran us
        sampler.sample_if_due()
    folder.close()
    records = [
        json.loads(line) for line in (tmp_path / "s" / "samples.jsonl").read_text().splitlines()
    ]
    samples = [record for record in records if "begin" in record]
    assert [record.get("ruleset") for record in records if "ruleset" in record] == [1]
    places = [(record["begin"] - 10 * SECOND) / (100 * MS) for record in samples]
    on_time = [
        place % 1 for place, record in zip(places, samples, strict=True) if "late" not in record
    ]
    assert max(on_time) < 0.08
    late = [record["late"] for record in samples if "late" in record]
    assert len(late) == 1
    assert 200 * MS < late[0] < 400 * MS
    assert sampler.missed == 3
    assert sampler.missed + len(samples) == (sampler.due - 10 * SECOND) // (100 * MS)
    assert all(len(record["counters"]) == 3 for record in samples)
