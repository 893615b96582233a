"""What an analysis is: the tables, and the facts about how they came to be."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from correlator.dataset.schema import COMMUNITY
from correlator.firewall.model import Ruleset
from correlator.firewall.view import Host
from correlator.firewall.walk.path import End
from correlator.reconcile.clocks import Clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    import pandas as pd

    from correlator.reconcile.both import Family


PART = 1 << 16
"""Rows of a table that comes in parts."""


@dataclass(frozen=True, slots=True)
class Step:
    """One rule or policy on the way of a packet, or what happened between them.

    ``kind`` is ``rule``, ``policy``, ``nat`` (a translation of the ``side`` destination or source,
    from ``before`` to ``after``; ``text`` says it whole), ``route`` or ``end`` (``end`` says what
    became of the packet, ``text`` in words). ``hook`` is PREROUTING, INPUT, FORWARD, OUTPUT or
    POSTROUTING."""

    kind: str
    hook: str
    table: str = ""
    chain: str = ""
    rule_number: int = 0
    text: str = ""
    target: str = ""
    depth: int = 0
    certain: bool = True
    end: End | None = field(default=None, repr=False)
    side: str = field(default="", repr=False)
    before: str = field(default="", repr=False)
    after: str = field(default="", repr=False)


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


@dataclass(frozen=True, slots=True)
class PacketPaths:
    """The rules that each packet traversed, as text (see docs/wireshark.md for its form).

    ``code`` int64, one a row of the packets table: index into ``texts``, -1 where a frame is no
    packet that rules saw. ``texts`` are few: packets that took one way share one."""

    code: npt.NDArray[np.int64]
    texts: tuple[str, ...]


class Written(Protocol):
    """What writes the tables of an analysis when they are asked for; see the properties of
    :class:`Analysis`."""

    def hits(self) -> pd.DataFrame: ...
    def hits_in_parts(self) -> Iterator[pd.DataFrame]: ...
    def hits_of(
        self, connections: npt.NDArray[np.int64] | None, targets: tuple[str, ...]
    ) -> pd.DataFrame: ...
    def packets(self) -> pd.DataFrame: ...
    def packets_of(self, connections: npt.NDArray[np.int64]) -> pd.DataFrame: ...
    def errors_of(self, connections: npt.NDArray[np.int64]) -> pd.DataFrame: ...
    def balances(self) -> pd.DataFrame: ...
    def explain(self, lines: npt.NDArray[np.int64]) -> list[str]: ...
    def paths(self, connection: int) -> tuple[PathView, ...]: ...
    def paths_of(self, connections: npt.NDArray[np.int64]) -> Iterator[tuple[PathView, ...]]: ...
    def ways(self) -> tuple[PathView, ...]: ...
    def packet_paths(self) -> PacketPaths: ...
    def frames(self) -> pd.DataFrame: ...
    def flows(self) -> pd.DataFrame: ...
    def community(self, begin: int, end: int) -> pd.DataFrame: ...


@dataclass(frozen=True)
class Analysis:
    """The result of one replay: DataFrames as declared in :mod:`correlator.dataset.schema`.

    ``warnings`` are losses and doubts, one line each, to be shown in every report; ``inferred``
    names the host facts that were worked out rather than read. ``interfaces`` maps an interface to
    its number of frames, ``containers`` an address to the name of the container that had it.
    ``host`` is what is known of addresses, routes and settings. ``files``: what the packets were
    read from, (interface that they were said to be of, or None; path). ``covered`` is the stretch
    that the counters cover (epoch ns on the packets' clock; None without two samples), ``changes``
    the times between which each change of the rules fell, so that ``changes[i]`` lies between the
    generations i and i + 1; ``rulesets`` are the rules of every generation, as ``rules`` numbers
    them. Tables that are large are written when they are first asked for. Where IPv6 was analysed
    too, ``four`` and ``six`` are the analyses of each family alone, and ``host``, ``rulesets``,
    ``changes`` and ``clock`` are IPv4's."""

    connections: pd.DataFrame
    rules: pd.DataFrame
    tables: Written
    clock: Clock = field(default_factory=Clock)
    warnings: tuple[str, ...] = ()
    inferred: tuple[str, ...] = ()
    interfaces: dict[str, int] = field(default_factory=dict)
    samples: int = 0
    generations: int = 0
    source: str = ""
    containers: dict[str, str] = field(default_factory=dict)
    host: Host = field(default_factory=lambda: Host(frozenset(), certain=False))
    covered: tuple[int, int] | None = None
    changes: tuple[tuple[int, int], ...] = ()
    files: tuple[tuple[str | None, str], ...] = ()
    rulesets: tuple[Ruleset, ...] = ()
    four: Analysis | None = field(default=None, repr=False)
    six: Family | None = field(default=None, repr=False)

    @cached_property
    def hits(self) -> pd.DataFrame:
        """One row per connection, direction and rule; written when first asked for."""
        return self.tables.hits()

    def hits_of(
        self, connections: npt.NDArray[np.int64] | None = None, targets: tuple[str, ...] = ()
    ) -> pd.DataFrame:
        """The hits of these connections, or of rules with these targets; without writing all of
        them."""
        if "hits" not in self.__dict__:
            return self.tables.hits_of(connections, targets)
        good = (
            self.hits["connection"].isin(connections)
            if connections is not None
            else self.hits["target"].isin(targets)
        )
        return self.hits[good].reset_index(drop=True)

    def packets_of(self, connections: npt.NDArray[np.int64]) -> pd.DataFrame:
        """The frames of these connections; without writing all of them where few were out of the
        ordinary."""
        if "packets" not in self.__dict__:
            return self.tables.packets_of(connections)
        return self.packets[self.packets["connection"].isin(connections)].reset_index(drop=True)

    def errors_of(
        self, connections: npt.NDArray[np.int64], directions: tuple[str, ...] = ("reply",)
    ) -> pd.DataFrame:
        """The frames of ICMP that answered these connections, in the direction of their replies or
        in others: a connection that an error answers is never folded."""
        frames = self.tables.errors_of(connections)
        return frames[frames["direction"].isin(directions)]

    @cached_property
    def packets(self) -> pd.DataFrame:
        """One row a frame; written when first asked for."""
        return self.tables.packets()

    @cached_property
    def balances(self) -> pd.DataFrame:
        """The ledger without its column ``connections``."""
        return self.tables.balances()

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """One row per rule and interval, with the connections behind it; written when first asked
        for."""
        return self.explained(self.balances)

    def explained(self, lines: pd.DataFrame) -> pd.DataFrame:
        """Some rows of ``balances`` with the connections behind them."""
        import pandas as pd

        from correlator.dataset.schema import LEDGER

        found = pd.Series(
            self.tables.explain(lines.index.to_numpy()), index=lines.index, dtype=object
        )
        return lines.assign(connections=found)[list(LEDGER)]

    def named(self, address: object) -> str:
        """An address with the name of the container that had it: ``web (172.17.0.2)``."""
        name = self.containers.get(str(address))
        return f"{name} ({address})" if name else str(address)

    def paths(self, connection: int) -> tuple[PathView, ...]:
        """The ways that packets of that connection took, in order of first_seen."""
        return self.tables.paths(connection)

    def paths_of(self, connections: npt.NDArray[np.int64]) -> Iterator[tuple[PathView, ...]]:
        """The same of several, in turn; faster than one by one where there are millions of
        packets."""
        return self.tables.paths_of(connections)

    def ways(self) -> tuple[PathView, ...]:
        """The ways that packets of all connections took, most packets first; a translation tells of
        one of them."""
        return self.tables.ways()

    def packet_paths(self) -> PacketPaths:
        """The rules that each row of ``packets`` traversed, as text; made on demand."""
        return self.tables.packet_paths()

    def frames(self) -> pd.DataFrame:
        """Every IPv4 frame of the input files: ``file`` (index into ``files``), ``frame`` (from 1)
        and ``packet``, the row of ``packets`` that it is a sight of (a bridge port's sight of what
        the bridge shows too, a fragment of a datagram), -1 where it is none; int64, made on
        demand."""
        return self.tables.frames()

    def flows(self) -> pd.DataFrame:
        """What other tools call the connections, one row each, as
        :data:`correlator.dataset.schema.FLOWS` declares it; made on demand."""
        return self.tables.flows()

    def table(self, name: str) -> pd.DataFrame:
        """One table as exports hold it (:data:`correlator.dataset.schema.EXPORTS`): connections
        with their Community IDs, which take a second for half a million connections, so that only
        who asks waits for them."""
        frame: pd.DataFrame = getattr(self, name)
        if name == "hits":
            return told_apart(frame)
        return frame if name != "connections" else self._with_ids(0, len(frame))

    def in_parts(self, name: str) -> Iterator[pd.DataFrame]:
        """The same table, some rows at a time, one part at least: of hits, what is large is never
        put together."""
        if name == "hits":  # all of a connection's in one part
            written = "hits" in self.__dict__
            yield from map(told_apart, (self.hits,) if written else self.tables.hits_in_parts())
            return
        apart = name == "ledger" and "ledger" not in self.__dict__
        whole: pd.DataFrame = self.balances if apart else getattr(self, name)
        size = PART // 4 if apart else PART
        for begin in range(0, max(len(whole), 1), size):
            rows = slice(begin, begin + size)
            if name == "connections":
                yield self._with_ids(rows.start, rows.stop)
            else:
                yield self.explained(whole.iloc[rows]) if apart else whole.iloc[rows]

    def _with_ids(self, begin: int, end: int) -> pd.DataFrame:
        """Rows of connections with their Community IDs."""
        rows = self.connections.iloc[begin:end]
        ids = self.tables.community(begin + 1, begin + 1 + len(rows))
        return rows.assign(**{column: ids[column].to_numpy() for column in COMMUNITY})


def told_apart(hits: pd.DataFrame) -> pd.DataFrame:
    """Hits as they are exported: the family of each rule's table in a column of its own, ahead of
    all others."""
    import pandas as pd

    tables = hits["table"]
    names = [str(name) for name in tables.cat.categories]
    family = [name.partition(" ")[0] if " " in name else "ip" for name in names]
    bare = [name.rpartition(" ")[2] for name in names]
    codes = tables.cat.codes.to_numpy()
    columns = {}
    for label, words in (("family", family), ("table", bare)):
        kinds = list(dict.fromkeys(words))
        place = np.array([kinds.index(word) for word in words] or [0], dtype=np.int32)
        columns[label] = pd.Categorical.from_codes(place[codes] if len(codes) else [], kinds)
    found = hits.assign(table=columns["table"])
    found.insert(0, "family", columns["family"])
    return found
