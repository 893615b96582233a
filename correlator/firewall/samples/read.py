"""Any log of counters -> :class:`~correlator.firewall.samples.log.CounterLog`."""

from __future__ import annotations

from correlator.firewall.samples.each import read_each
from correlator.firewall.samples.log import CounterLog
from correlator.firewall.samples.many import read_alike


def parse_counter_log(log: str | bytes, source: str = "counters") -> CounterLog:
    """All snapshots of a log. Give bytes (UTF-8) where it is long: they are read many snapshots at
    once.

    Raises :class:`~correlator.errors.InputError` where there is no snapshot, no time, or no counter
    in it. A last snapshot that is cut short is left out, with a warning."""
    if isinstance(log, bytes):
        found = read_alike(log, source)
        return found if found is not None else read_each(log.decode("utf-8", "replace"), source)
    return read_each(log, source)
