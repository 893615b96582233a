"""Counters from a forked iptables-save -c, where the kernel cannot be read directly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from correlator.capturing.counters import Learned, Reading
from correlator.capturing.legacy import TableNames
from correlator.capturing.rules_text import counting_lines, print_rules, unprintable, without_chains
from correlator.errors import CorrelatorError


class SaveSource:
    """Runs ``save`` (iptables-save of ``backend``) once a sample; ``now`` is the session's clock,
    ``names`` tells which tables there are, where the program itself may not find out."""

    def __init__(
        self, save: str, backend: str, now: Callable[[], int], names: TableNames | None = None
    ) -> None:
        self.save, self.backend, self.now, self.names = save, backend, now, names

    def read(self) -> Reading:
        """One sample. Nothing tells which chains the kernel has, nor which policies it counts."""
        begin = self.now()
        tables = self.names.read() if self.names is not None else None
        printed = print_rules(self.save, counters=True, tables=tables)
        end = self.now()
        values = [
            _numbers(line) for line in printed.splitlines() if line.startswith("[") or _counts(line)
        ]
        text = without_chains(_bare(printed), set())
        if len(values) != len(counting_lines(text)):
            raise CorrelatorError(f"{self.save} -c prints rules without counters")
        left_out = tuple(
            f"table {name} holds rules that iptables cannot print: left out"
            for name in unprintable(printed)
        )
        return Reading(
            begin, end, Learned(text, (), left_out), np.array(values, dtype=np.int64).reshape(-1, 2)
        )

    def close(self) -> None:
        """Close what is open."""
        if self.names is not None:
            self.names.close()


def _counts(line: str) -> bool:
    return line.startswith(":") and line.endswith("]") and line.split()[1] != "-"


def _numbers(line: str) -> tuple[int, int]:
    head = line[1:].partition("]")[0] if line.startswith("[") else line[:-1].rpartition("[")[2]
    packets, _, size = head.partition(":")
    return int(packets), int(size)


def _bare(printed: str) -> str:
    return (
        "\n".join(
            line.partition("] ")[2] if line.startswith("[") else line
            for line in printed.splitlines()
        )
        + "\n"
    )
