"""Counter samples at an interval that is kept against drift; changes only are written."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.capturing.counters import ChangingError, Learned, Reading, Source
from correlator.capturing.rules_text import counting_lines
from correlator.dataset.writer import Folder

if TYPE_CHECKING:
    import numpy.typing as npt

RATE_NS = 1_000_000_000


@dataclass
class Series:
    """What was last read of one backend: ``rulesets`` named so far, the texts of the last, and its
    values."""

    source: Source
    rulesets: int = 0
    texts: tuple[str, str, str] | None = None
    lines: tuple[str, ...] = ()
    values: npt.NDArray[np.int64] | None = None
    rates: npt.NDArray[np.float64] | None = None
    read: int = 0


class Sampler:
    """Reads every source each ``interval`` ns of ``now`` and appends what changed to ``folder``."""

    def __init__(
        self, sources: Sequence[Source], folder: Folder, now: Callable[[], int], interval: int
    ) -> None:
        self.series = [Series(source) for source in sources]
        self.folder, self.now, self.interval = folder, now, interval
        self.due = now()
        self.samples = self.missed = 0
        self.warnings: dict[str, None] = {}
        self.begin = self.end = 0

    @property
    def rulesets(self) -> list[str]:
        """The last text of every backend."""
        return ["".join(series.texts or ()) for series in self.series]

    def learn(self) -> None:
        """Read all sources and keep nothing: rulesets are learned, so that the next sample is over
        in no time."""
        for series in self.series:
            with contextlib.suppress(ChangingError):  # the sample says so
                series.source.read()

    def sample_if_due(self) -> bool:
        """Take a sample where it is time to; says whether it did."""
        now = self.now()
        if now < self.due:
            return False
        self.sample(self.due)
        skipped = (self.now() - self.due) // self.interval
        self.missed += skipped
        self.due += (skipped + 1) * self.interval
        return True

    def sample(self, due: int | None = None) -> None:
        """Read all sources now; a reading that began more than half an interval after ``due`` is
        late."""
        for series in self.series:
            try:
                reading = series.source.read()
            except ChangingError as error:
                self.warnings[f"{series.source.backend}: a sample was left out: {error}"] = None
                continue
            late = reading.begin - due if due is not None else 0
            self._write(series, reading, late if late > self.interval // 2 else 0)
            self.begin, self.end = reading.begin, reading.end
        self.samples += 1

    def fastest(self, count: int) -> list[tuple[str, float]]:
        """(rule, packets a second) of the rules that moved most lately."""
        found = [
            (name, float(rate))
            for series in self.series
            if series.rates is not None
            for name, rate in zip(series.lines, series.rates.tolist(), strict=True)
            if rate >= 0.5
        ]
        return sorted(found, key=lambda item: -item[1])[:count]

    def _write(self, series: Series, reading: Reading, late: int) -> None:
        if reading.learned.texts != series.texts:
            self._write_ruleset(series, reading.learned)
        before = series.values if series.values is not None else np.zeros_like(reading.values)
        changed = np.flatnonzero((reading.values != before).any(axis=1))
        record: dict[str, object] = {
            "backend": series.source.backend,
            "begin": reading.begin,
            "end": reading.end,
        }
        if late:
            record["late"] = late
        record["counters"] = np.column_stack([changed, reading.values[changed]]).ravel().tolist()
        self.folder.append_record(record)
        self._rate(series, reading, before)
        series.values = reading.values

    def _rate(self, series: Series, reading: Reading, before: npt.NDArray[np.int64]) -> None:
        """Packets a second, smoothed over about a second; for the panel only."""
        passed = max(reading.begin - series.read, 1)
        fresh = (
            np.maximum(reading.values[:, 0] - before[:, 0], 0) * (RATE_NS / passed)
            if series.values is not None
            else 0.0
        )
        weight = min(passed / RATE_NS, 1.0)
        old = series.rates if series.rates is not None else np.zeros(len(reading.values))
        series.rates, series.read = old * (1 - weight) + fresh * weight, reading.begin

    def _write_ruleset(self, series: Series, learned: Learned) -> None:
        series.rulesets += 1
        backend = series.source.backend
        name = f"{backend}-{series.rulesets}"
        file = self.folder.write_ruleset(f"{name}.rules", learned.text)
        record = {"backend": backend, "ruleset": series.rulesets, "file": file, "time": self.now()}
        for key, text, ending in (
            ("six", learned.six, "rules6"),
            ("native", learned.native, "nft"),
        ):
            if text:
                record[key] = self.folder.write_ruleset(f"{name}.{ending}", text)
        if learned.uncounted:
            record["uncounted"] = list(learned.uncounted)
        self.folder.append_record(record)
        for warning in learned.warnings:
            self.warnings[warning] = None
        names = [
            f"{family}{table}/{chain}:{number or 'policy'}"
            for family, text in (("", learned.text), ("ip6 ", learned.six))
            for table, chain, number in counting_lines(text)
        ]
        series.texts, series.lines = learned.texts, (*names, *learned.native_names)
        series.values = series.rates = None
