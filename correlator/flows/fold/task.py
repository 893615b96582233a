"""A fold to be done, and what came of it: what its process is told, and answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from correlator.arrays import Ints
    from correlator.dataset.facts import Facts
    from correlator.decode.frames import Interface
    from correlator.flows.fold.folded import Folded

Files = Sequence[tuple[str | None, Path]]
"""Files with the names of their interfaces, where those are told."""
READING = "reading packets"
"""What is going on, for whoever waits."""


@dataclass(frozen=True)
class Task:
    """``files`` to fold, on the host of ``facts``, for rules that ask for ``fields`` and cut
    lengths and TTLs there.

    ``block``: how many packets to keep in memory; 0: all of them. ``bridges``: whose subnets the
    rules name. ``guesses``: see :class:`~correlator.flows.fold.plan.Plan`."""

    files: Files
    facts: Facts
    lengths: Ints
    ttls: Ints
    fields: set[str]
    block: int = 0
    bridges: frozenset[str] = frozenset()
    guesses: int = 3


@dataclass(frozen=True)
class FoldedFiles:
    """``folded`` connections; ``interfaces`` by the fold's codes, and ``of_file`` those of each
    file, with ``units`` of time (ns); ``own_seen``: interfaces on which a frame bore the address
    that the facts give them; ``skipped`` and ``warnings`` as a capture's. ``macs``: own MAC
    addresses of interfaces that were worked out; ``reached``: the addresses at which frames reached
    each interface's own, where facts do not tell the host's."""

    folded: Folded
    interfaces: tuple[Interface, ...]
    of_file: tuple[tuple[Interface, ...], ...]
    own_seen: frozenset[str]
    skipped: tuple[tuple[str, int], ...]
    warnings: tuple[str, ...]
    units: tuple[Ints, ...]
    macs: dict[str, int]
    reached: dict[str, tuple[int, ...]]
