"""A log read snapshot by snapshot: slow, complete, and the reference for
:mod:`~correlator.firewall.samples.many`, which reads many alike at once and comes here for what is
out of the ordinary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.errors import InputError
from correlator.firewall.languages.counted import Counted
from correlator.firewall.languages.readers import language_of
from correlator.firewall.samples.log import CounterLog, Stretch, assemble
from correlator.firewall.samples.series import Layers, compact
from correlator.firewall.samples.snapshots import Snapshot, cut_short, split_log

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.firewall.languages.counted import Language
    from correlator.firewall.model import Ruleset


def read_each(text: str, source: str) -> CounterLog:
    """Line by line."""
    snapshots = split_log(text, source)
    warnings: list[str] = []
    language = language_of(snapshots[0].text)
    reader = language.reader(source)
    readings: list[Counted] = []
    for number, snapshot in enumerate(snapshots):
        said = len(reader.warnings)
        try:
            reading = reader.read(snapshot.text, snapshot.line)
        except InputError:
            if number == len(snapshots) - 1 and number:
                reading = None
            else:
                raise
        if (
            number == len(snapshots) - 1
            and number
            and (reading is None or _is_cut(reading, readings[-1], snapshot, language))
        ):
            warnings.append(cut_short(source, snapshot.line))
            del reader.warnings[said:]
            snapshots = snapshots[:-1]
            break
        assert reading is not None
        readings.append(reading)
    warnings += reader.warnings
    stretches = [Stretch(ruleset, _layers(values)) for ruleset, values in _runs(readings)]
    return assemble([s.stamp for s in snapshots], stretches, language.form, warnings, source)


def _runs(readings: list[Counted]) -> list[tuple[Ruleset, Ints]]:
    """Successive readings of one ruleset, stacked."""
    runs: list[tuple[Ruleset, list[Ints]]] = []
    for reading in readings:
        if not runs or runs[-1][0] is not reading.ruleset:
            runs.append((reading.ruleset, []))
        runs[-1][1].append(reading.values)
    return [(ruleset, np.stack(values)) for ruleset, values in runs]


def _layers(values: Ints) -> Layers:
    packets, high, size, high_size = (values[:, :, i] for i in range(4))
    exact = (packets == high).all() and (size == high_size).all()
    return compact((packets, packets, size, size) if exact else (packets, high, size, high_size))


def _is_cut(reading: Counted, before: Counted, snapshot: Snapshot, language: Language) -> bool:
    """Whether the end of the log lacks what the snapshot before had."""
    had = {(c.table, c.name) for c in before.ruleset.chains if c.listed}
    has = {(c.table, c.name) for c in reading.ruleset.chains if c.listed}
    return language.ends_short(snapshot.text) or (not language.names_chains and not had <= has)
