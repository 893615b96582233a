"""correlator: which iptables rules did each connection traverse?

The pipeline, in the order of the folders:

1. ``dataset`` finds what was saved; ``decode`` turns pcap and pcapng into one packet table;
2. ``firewall`` turns iptables-save and ``iptables -L`` into rulesets and counters;
3. ``flows`` joins packets into connections as conntrack saw them, across NAT and interfaces;
4. ``reconcile`` walks each kind of packet through the rules and settles what is open by wire and
  counters;
5. ``report`` shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from correlator.reconcile.analysis import Analysis
    from correlator.reconcile.intake.inputs import Progress

__version__ = "0.1.0"


def load(
    path: str | Path | None = None,
    *,
    pcaps: Sequence[tuple[str | None, str | Path]] = (),
    counters: str | Path | None = None,
    rules: str | Path | None = None,
    facts: str | Path | None = None,
    clock_offset: float | None = None,
    progress: Progress | None = None,
    max_memory: int | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> Analysis:
    """Replay what was saved: a folder of loose files, or files one by one.

    ``pcaps`` are (interface or None, file). ``clock_offset``: the counters' clock minus the
    packets' in seconds, where it shall not be estimated. ``max_memory``: bytes that may be taken
    (half of what is free); beyond it packets are kept on disk. ``meanwhile`` is called while
    packets are read. The result holds the DataFrames ``connections``, ``hits``, ``ledger``,
    ``packets`` and ``rules``, whose columns :mod:`correlator.dataset.schema` declares. Raises
    :class:`correlator.errors.InputError` for input that cannot be used."""
    from correlator.flows.fold.process import prepare

    def as_path(value: str | Path | None) -> Path | None:
        return Path(value) if value is not None else None

    named = [(name, Path(file)) for name, file in pcaps]
    aside = prepare(as_path(path), [file for _, file in named])

    from correlator.reconcile.intake.inputs import read_inputs
    from correlator.reconcile.intake.packets import Reading

    inputs = read_inputs(
        as_path(path), named, as_path(counters), as_path(rules), as_path(facts), progress
    )
    reading = Reading(inputs, progress, aside, limit=max_memory)
    from correlator.reconcile.build import (
        analyse,
    )  # and with it pandas, which takes a while: packets are read meanwhile

    if meanwhile is not None:
        meanwhile()
    return analyse(
        inputs,
        reading.result(),
        None if clock_offset is None else round(clock_offset * 1e9),
        progress,
    )
