"""What every engine that decides packets hands over, so that one writer makes each table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from correlator.arrays import Ints
    from correlator.reconcile.tables.connections import ConnectionRows
    from correlator.reconcile.tables.hits import HitRows
    from correlator.reconcile.tables.paths import Alike


class Engine(Protocol):
    """Connections that one engine decided, under the numbers of all connections."""

    def connections(self) -> ConnectionRows:
        """All of them, in the order of their numbers."""

    def hits(self, connections: Ints) -> HitRows:
        """The hits of those among these connections that it decided, in their order."""

    def own_numbers(self, targets: tuple[str, ...]) -> Ints:
        """All of its connections, where any packet hit a rule with one of these targets; else
        none."""

    def behind(self, entries: list[int]) -> Iterator[tuple[int, Ints, Ints]]:
        """(entry, interval or -1, connection) of all hits of these entries, in parts."""

    def behind_rules(self) -> Ints:
        """How many connections hit each entry in the intervals that end in each generation (or at
        all, where nothing was counted); int64 (G, E)."""

    def prepare(self, connections: Ints) -> None:
        """The ways of these connections will be asked for."""

    def ways_of(self, connection: int) -> list[Alike]:
        """The packets of a connection by what they went alike, in order of the first ones; none of
        a connection that it did not decide."""

    def all_ways(self) -> list[Alike]:
        """All packets by what they went alike."""

    def packets(self) -> int:
        """How many."""

    def frames(self) -> dict[str, int]:
        """How many frames its packets made on every interface."""
