"""IPv4 and IPv6 of one recording in one analysis: two verdicts, one set of tables.

Each family was reconciled on its own. Here the tables stand together: IPv6's connections are
numbered behind IPv4's, and its tables bear their family in their name (``ip6 filter``). Rules that
packets of both meet (``inet filter``) stand in IPv4's part, with the connections of both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator.addresses import AddressBook, using
from correlator.firewall.model import SHARED
from correlator.reconcile.analysis import Analysis, PacketPaths, PathView, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    from correlator.arrays import Bools, Ints
    from correlator.reconcile.analysis import Written

FAMILY6 = "ip6 "
"""What stands before the names of ip6tables' tables."""
RULE = ["generation", "table", "chain", "rule_number"]
LINE = [*RULE, "begin"]
"""What a rule, and a line of the ledger, is told by."""
LEFT_OUT = ("IPv6 packets were left out", "lines of IPv6 were left out", "no IPv4 packet was")
"""What IPv4 alone says of IPv6."""


def join_families(four: Analysis, six: Analysis, book: AddressBook) -> Analysis:
    """The analysis of both. ``book``: that of the numbers of ``six``."""
    both = Both(four, six, book)
    warnings = [one for one in four.warnings if not any(text in one for text in LEFT_OUT)]
    warnings += [one for one in six.warnings if one not in warnings]
    names = dict.fromkeys([*four.interfaces, *six.interfaces])
    frames = {n: four.interfaces.get(n, 0) + six.interfaces.get(n, 0) for n in names}
    return replace(
        four,
        connections=both.connections(),
        rules=both.rules(),
        tables=both,
        warnings=tuple(warnings),
        inferred=tuple(dict.fromkeys((*four.inferred, *six.inferred))),
        interfaces=frames,
        containers={**six.containers, **four.containers},
        four=four,
        six=Family(six, book),
    )


@dataclass(frozen=True)
class Family:
    """An analysis whose numbers of addresses are places in a ``book``."""

    analysis: Analysis
    book: AddressBook

    @contextmanager
    def read(self) -> Iterator[Analysis]:
        """The analysis, with the book in force."""
        with using(self.book):
            yield self.analysis


@dataclass(frozen=True)
class Both:
    """The tables of both families, as :class:`~correlator.reconcile.analysis.Written` has them."""

    four: Analysis
    six: Analysis
    book: AddressBook

    @property
    def first(self) -> int:
        """How many connections are of IPv4: those of IPv6 are numbered behind them."""
        return len(self.four.connections)

    def connections(self) -> pd.DataFrame:
        """All connections."""
        six = self._named(self.six.connections)
        linked = six["linked"].to_numpy()
        return stacked(
            self.four.connections, six.assign(linked=np.where(linked > 0, linked + self.first, 0))
        )

    def rules(self) -> pd.DataFrame:
        """Every rule and policy of every generation, those of both families once."""
        four, six = self.four.rules, self._named(self.six.rules)
        four = four[~_begins(four, (FAMILY6.strip(),))]
        shared = _begins(six, SHARED)
        if shared.any():
            more = six[shared].set_index(RULE)["connections"]
            theirs = pd.MultiIndex.from_frame(four[RULE])
            number = four["connections"] + more.reindex(theirs, fill_value=0).to_numpy()
            four = four.assign(connections=number.astype(four["connections"].dtype))
        return stacked(four, six[~shared])

    def hits(self) -> pd.DataFrame:
        """All hits."""
        return stacked(self.four.hits, self._of_six(lambda six: six.hits()))

    def hits_in_parts(self) -> Iterator[pd.DataFrame]:
        """All hits, those of some connections at a time."""
        yield from self.four.tables.hits_in_parts()
        yield self._of_six(lambda six: six.hits())

    def hits_of(self, connections: Ints | None, targets: tuple[str, ...]) -> pd.DataFrame:
        """The hits of these connections, or of rules with these targets."""
        one, other = (None, None) if connections is None else self._split(connections)
        return stacked(
            self.four.tables.hits_of(one, targets),
            self._of_six(lambda six: six.hits_of(other, targets)),
        )

    def packets(self) -> pd.DataFrame:
        """All frames, IPv4's first."""
        return stacked(
            self.four.packets, self._crossed(self._of_six(lambda six: six.packets(), zero=True))
        )

    def _crossed(self, packets: pd.DataFrame) -> pd.DataFrame:
        """IPv6's frames, their crossings numbered behind IPv4's."""
        before = self.four.packets["crossing"]
        return packets.assign(crossing=packets["crossing"] + (before.max() if len(before) else 0))

    def packets_of(self, connections: Ints) -> pd.DataFrame:
        """The frames of these connections."""
        one, other = self._split(connections)
        return stacked(
            self.four.tables.packets_of(one), self._of_six(lambda six: six.packets_of(other))
        )

    def errors_of(self, connections: Ints) -> pd.DataFrame:
        """The frames of ICMP that are about these connections."""
        one, other = self._split(connections)
        return stacked(
            self.four.tables.errors_of(one), self._of_six(lambda six: six.errors_of(other))
        )

    def balances(self) -> pd.DataFrame:
        """The ledger without the connections behind its lines, those of both families once."""
        return stacked(self.four.balances, self._balances6[~_begins(self._balances6, SHARED)])

    @cached_property
    def _balances6(self) -> pd.DataFrame:
        return self._of_six(lambda six: six.balances())

    @cached_property
    def _lines6(self) -> Ints:
        """For every line of the ledger that of IPv6's own ledger, -1 where it has none."""
        own = ~_begins(self._balances6, SHARED)
        six = pd.Series(np.arange(len(own)), pd.MultiIndex.from_frame(self._balances6[LINE]))
        four = pd.MultiIndex.from_frame(self.four.balances[LINE])
        beside = six[~own].reindex(four, fill_value=-1).to_numpy()
        found: Ints = np.r_[beside, np.flatnonzero(own)].astype(np.int64)
        return found

    def explain(self, lines: Ints) -> list[str]:
        """The connections behind these lines of the ledger."""
        found = [""] * len(lines)
        mine = np.flatnonzero(lines < len(self.four.balances))
        for at, text in zip(mine, self.four.tables.explain(lines[mine]), strict=True):
            found[at] = text
        line = self._lines6[lines]
        other = np.flatnonzero(line >= 0)
        with using(self.book):
            told = self.six.tables.explain(line[other])
        for at, text in zip(other, told, strict=True):
            words = (str(int(word) + self.first) for word in text.split())
            found[at] = " ".join((*found[at].split(), *words))
        return found

    def paths(self, connection: int) -> tuple[PathView, ...]:
        """The ways that packets of a connection took."""
        if connection <= self.first:
            return self.four.tables.paths(connection)
        with using(self.book):
            return tuple(map(of_six, self.six.tables.paths(connection - self.first)))

    def paths_of(self, connections: Ints) -> Iterator[tuple[PathView, ...]]:
        """The same of several, in turn."""
        one, other = self._split(connections)
        first = self.four.tables.paths_of(one)
        with using(self.book):
            second = [tuple(map(of_six, ways)) for ways in self.six.tables.paths_of(other)]
        behind = iter(second)
        for number in connections.tolist():
            yield next(first if number <= self.first else behind)

    def ways(self) -> tuple[PathView, ...]:
        """The ways that packets of all connections took, most packets first."""
        with using(self.book):
            six = tuple(map(of_six, self.six.tables.ways()))
        found = (*self.four.tables.ways(), *six)
        return tuple(sorted(found, key=lambda view: -view.packets))

    def packet_paths(self) -> PacketPaths:
        """The rules that each frame's packet traversed, as text."""
        four = self.four.tables.packet_paths()
        with using(self.book):
            six = self.six.tables.packet_paths()
        moved = np.where(six.code >= 0, six.code + len(four.texts), -1)
        return PacketPaths(np.r_[four.code, moved], (*four.texts, *six.texts))

    def frames(self) -> pd.DataFrame:
        """Every frame of the input files, with its row of the packets table."""
        four, rows = self.four.tables.frames(), len(self.four.packets)
        with using(self.book):
            six = self.six.tables.frames()
        packet = six["packet"].to_numpy()
        both = stacked(four, six.assign(packet=np.where(packet >= 0, packet + rows, -1)))
        return both.sort_values(["file", "frame"], kind="stable", ignore_index=True)

    def flows(self) -> pd.DataFrame:
        """What other tools call the connections."""
        four = self.four.tables.flows()
        with using(self.book):
            return stacked(four, self.six.tables.flows())

    def community(self, begin: int, end: int) -> pd.DataFrame:
        """The Community IDs of connections with numbers from ``begin`` up to ``end``."""
        middle = self.first + 1
        four = self.four.tables.community(min(begin, middle), min(end, middle))
        with using(self.book):
            six = self.six.tables.community(
                max(begin, middle) - self.first, max(end, middle) - self.first
            )
        return stacked(four, six)

    def _split(self, connections: Ints) -> tuple[Ints, Ints]:
        """(those of IPv4; those of IPv6, as it numbers them itself)."""
        six = connections > self.first
        return connections[~six], connections[six] - self.first

    def _of_six(self, ask: Callable[[Written], pd.DataFrame], zero: bool = False) -> pd.DataFrame:
        """A table of IPv6's with its connections numbered behind IPv4's; with ``zero``, 0 stands
        for none."""
        with using(self.book):
            found = ask(self.six.tables)
        return self._named(found, zero)

    def _named(self, found: pd.DataFrame, zero: bool = False) -> pd.DataFrame:
        """A table of IPv6's, as it stands among both."""
        changed: dict[str, Any] = {}
        if "connection" in found:
            number = found["connection"].to_numpy()
            changed["connection"] = np.where(zero & (number == 0), 0, number + self.first)
        if "table" in found:
            changed["table"] = found["table"].cat.rename_categories(named6)
        if "rule" in found and "table" not in found:  # its name, not its text
            changed["rule"] = [named6(name) if name else "" for name in found["rule"]]
        return found.assign(**changed)


def stacked(four: pd.DataFrame, six: pd.DataFrame) -> pd.DataFrame:
    """One table of two of the same columns, IPv4's first."""
    from pandas.api.types import union_categoricals

    if not len(six) or not len(four):
        return four if len(four) else six
    columns = {}
    for name in four:
        one, other = four[name], six[name]
        if isinstance(one.dtype, pd.CategoricalDtype):
            columns[name] = pd.Series(union_categoricals(list(map(_of_words, (one, other)))))
        else:
            columns[name] = pd.concat([one, other], ignore_index=True).astype(one.dtype)
    return pd.DataFrame(columns, copy=False)


def _of_words(column: pd.Series) -> pd.Series:
    """A categorical column whose categories are of one kind, whether there are any or not."""
    return column.cat.rename_categories(pd.Index(column.cat.categories, dtype=object))


def of_six(view: PathView) -> PathView:
    """A way of IPv6's, its tables named with their family."""
    return replace(view, steps=tuple(map(_step, view.steps)))


def _step(step: Step) -> Step:
    return replace(step, table=named6(step.table)) if step.table else step


def named6(name: str) -> str:
    """What a table of IPv6's analysis, or a rule in it, is called among those of both."""
    return name if name.startswith(tuple(f"{family} " for family in SHARED)) else FAMILY6 + name


def _begins(rows: pd.DataFrame, families: tuple[str, ...]) -> Bools:
    """Which rows (n,) are of tables of these families."""
    tables, begin = rows["table"].cat, tuple(f"{family} " for family in families)
    told = np.array([str(name).startswith(begin) for name in tables.categories] or [False])
    found: Bools = told[tables.codes.to_numpy()]
    return found
