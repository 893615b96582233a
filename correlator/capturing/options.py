"""What to record, where a recording stands, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from correlator.capturing.command import FAILED


@dataclass(frozen=True)
class Options:
    """What to record. ``interval`` and ``duration`` in ns (duration None: until stopped); ``snap``:
    bytes kept of a frame, 0 headers only, -1 all; ``expression`` as in pcap-filter(7);
    ``as_root``: under sudo the command runs as root, not as who ran sudo."""

    output: Path
    interfaces: tuple[str, ...] = ()
    interval: int = 100_000_000
    duration: int | None = None
    expression: str = ""
    snap: int = 0
    bridge_ports: bool = False
    force: bool = False
    command: tuple[str, ...] = ()
    conntrack: bool = True
    as_root: bool = False


@dataclass(frozen=True)
class Status:
    """Where a recording stands, for whoever shows it."""

    seconds: float
    packets: int
    dropped: int
    samples: int
    fastest: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Outcome:
    """What became of it. ``exit_status`` is the command's (None: there was none); ``problem`` why
    the recording stopped early."""

    folder: Path
    exit_status: int | None
    stopped_by: str
    problem: str = ""

    @property
    def status(self) -> int:
        """What correlator's own exit status is: the command's where that failed; where only the
        recording failed, 125 beside a command, else 1."""
        if self.exit_status or not self.problem:
            return self.exit_status or 0
        return failed_status(self.exit_status is not None)


def failed_status(beside_command: bool) -> int:
    """The exit status that says that recording failed, and not the command."""
    return FAILED if beside_command else 1
