"""What an analysis is: the tables, and the facts about how they came to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Clock:
    """The counters' clock minus the packets' clock, in ns, with its bounds.

    ``offset`` holds at ``reference`` (epoch ns, packets' clock); the clocks drift apart by ``drift_ppm``.
    ``low`` and ``high`` bound the offset at the reference. ``source``: ``same clock`` (0 lies within the bounds),
    ``estimated``, ``given`` (by the user), ``one clock`` (a session's, which nothing had to tell) or ``unknown`` (nothing
    to tell it from).
    """

    offset: int = 0
    low: int | None = None
    high: int | None = None
    drift_ppm: float = 0.0
    drift_low_ppm: float = 0.0
    drift_high_ppm: float = 0.0
    reference: int = 0
    source: str = "unknown"
    consistent: int = 0
    constraints: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """One rule or policy on the way of a packet, or what happened between them.

    ``kind`` is ``rule``, ``policy``, ``nat`` (a translation: ``text`` says from what to what), ``route`` or ``end``
    (``text`` says what became of the packet). ``hook`` is PREROUTING, INPUT, FORWARD, OUTPUT or POSTROUTING.
    """

    kind: str
    hook: str
    table: str = ""
    chain: str = ""
    rule_number: int = 0
    text: str = ""
    target: str = ""
    depth: int = 0
    certain: bool = True


@dataclass(frozen=True, slots=True)
class PathView:
    """The way that one or more packets of a connection took alike."""

    direction: str
    state: str
    packets: int
    bytes: int
    first_seen: int
    last_seen: int
    in_interface: str
    out_interface: str
    steps: tuple[Step, ...]
    evidence: str
    status: str
    reason: str = ""


class Told(Protocol):
    """Who tells the ways of packets: of one connection, of all."""

    def __call__(self, connection: int, /) -> tuple[PathView, ...]: ...
    def all(self) -> tuple[PathView, ...]: ...


@dataclass(frozen=True)
class Analysis:
    """The result of one replay: DataFrames as declared in :mod:`correlator.dataset.schema`.

    ``warnings`` are losses and doubts, one line each, to be shown in every report; ``inferred`` names the host
    facts that were worked out rather than read. ``interfaces`` maps an interface to its number of frames, ``containers``
    an address to the name of the container that had it.
    """

    connections: pd.DataFrame
    hits: pd.DataFrame
    ledger: pd.DataFrame
    packets: pd.DataFrame
    rules: pd.DataFrame
    clock: Clock = field(default_factory=Clock)
    warnings: tuple[str, ...] = ()
    inferred: tuple[str, ...] = ()
    interfaces: dict[str, int] = field(default_factory=dict)
    samples: int = 0
    generations: int = 0
    source: str = ""
    containers: dict[str, str] = field(default_factory=dict)
    _paths: Told | None = None

    def named(self, address: object) -> str:
        """An address with the name of the container that had it: ``web (172.17.0.2)``."""
        name = self.containers.get(str(address))
        return f"{name} ({address})" if name else str(address)

    def paths(self, connection: int) -> tuple[PathView, ...]:
        """The ways that packets of that connection took, in order of first_seen."""
        return self._paths(connection) if self._paths is not None else ()

    def ways(self) -> tuple[PathView, ...]:
        """The ways that packets of all connections took, most packets first; a translation tells of one of them."""
        return self._paths.all() if self._paths is not None else ()
