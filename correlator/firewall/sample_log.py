"""The samples of a session -> :class:`~correlator.firewall.counter_log.CounterLog`.

A line of samples.jsonl either names a ruleset::

    {"ruleset": 1, "backend": "nft", "file": "rulesets/nft-1.rules", "uncounted": [3]}

or is a sample of the ruleset of its backend that was named last: its times in epoch ns, how late it was (ns, where it
was), and (counting line, packets, bytes) of every counter that differs from the sample before (from zero, in a ruleset's
first sample)::

    {"backend": "nft", "begin": 0, "end": 0, "counters": [0, 10, 840]}

Counting lines are numbered from 0 as they stand in the file: policies of base chains, and rules.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.dataset.session import SAMPLES, read_records
from correlator.errors import InputError
from correlator.firewall.counter_log import CounterLog, normalise, positions
from correlator.firewall.save import parse_iptables_save

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.firewall.model import Ruleset

    Ints = npt.NDArray[np.int64]


class _Builder:
    """Samples of one backend, in the order in which they were written."""

    def __init__(self) -> None:
        self.rulesets: list[Ruleset] = []
        self.orders: list[Ints] = []
        self.uncounted: list[frozenset[int]] = []
        self.begin: list[int] = []
        self.end: list[int] = []
        self.generation: list[int] = []
        self.values: list[list[Ints]] = []
        self.late = 0

    def add_ruleset(self, text: str, source: str, uncounted: list[int]) -> None:
        ruleset = normalise(parse_iptables_save(text, source))
        order = positions(text, ruleset)
        where = {line: entry for entry, line in enumerate(order.tolist())}
        self.rulesets.append(ruleset)
        self.orders.append(order)
        self.uncounted.append(frozenset(where[line] for line in uncounted))
        self.values.append([])

    def add_sample(self, record: dict[str, Any]) -> None:
        order, known = self.orders[-1], self.values[-1]
        changed = np.array(record["counters"], dtype=np.int64).reshape(-1, 3)
        values = known[-1].copy() if known else np.zeros((len(order), 2), dtype=np.int64)
        values[changed[:, 0]] = changed[:, 1:]
        known.append(values)
        self.begin.append(int(record["begin"]))
        self.end.append(int(record["end"]))
        self.generation.append(len(self.rulesets) - 1)
        self.late += "late" in record

    def build(self, form: str, warnings: list[str]) -> CounterLog:
        """The log; a ruleset that no sample was taken of is left out."""
        used = [i for i, values in enumerate(self.values) if values]
        place = np.zeros(len(self.values), dtype=np.int32)
        place[used] = np.arange(len(used))
        stacked = [np.stack(self.values[i])[:, self.orders[i]] for i in used]
        packets, size = tuple(v[:, :, 0] for v in stacked), tuple(v[:, :, 1] for v in stacked)
        if self.late:
            warnings = [*warnings, f"{self.late} counter samples were taken late: the machine was busy"]
        return CounterLog(
            tuple(self.rulesets[i] for i in used), np.array(self.begin, dtype=np.int64), np.array(self.end, dtype=np.int64),
            place[np.array(self.generation, dtype=np.int64)], packets, packets, size, size, form, tuple(warnings),
            tuple(self.uncounted[i] for i in used) if form == "session" else (),
        )  # fmt: skip


def read_sample_logs(folder: Path, direct: bool) -> dict[str, CounterLog]:
    """backend -> its samples, for every backend that any were taken of.

    ``direct``: they were read from the kernel, not printed by iptables-save.

    Raises :class:`~correlator.errors.InputError` where a line or a ruleset is damaged.
    """
    records, cut = read_records(folder)
    builders: dict[str, _Builder] = {}
    for number, record in enumerate(records, 1):
        try:
            builder = builders.setdefault(record["backend"], _Builder())
            if "ruleset" in record:
                path = folder / record["file"]
                if not path.is_file() and number == len(records):
                    break  # the recording ended between the line and the file
                builder.add_ruleset(path.read_text(), str(path), record.get("uncounted", []))
            else:
                builder.add_sample(record)
        except (KeyError, IndexError, ValueError, TypeError, OSError) as error:
            raise InputError(f"{folder / SAMPLES}: line {number} is damaged: {error}") from None
    warnings = [f"{folder / SAMPLES}: the last line is cut short: left out"] if cut else []
    return {
        backend: builder.build("session" if direct else "save", warnings) for backend, builder in builders.items() if builder.begin
    }
