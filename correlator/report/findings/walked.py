"""What a new packet would meet: a connection's first packet walked through rules that it did not go
through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from correlator.firewall.view import View
from correlator.firewall.walk.path import Passage, Path
from correlator.firewall.walk.program import compile_ruleset
from correlator.firewall.walk.state import TooManyPathsError
from correlator.firewall.walk.walker import Walker
from correlator.report.findings.rules import value

if TYPE_CHECKING:
    from correlator.firewall.model import Entry
    from correlator.firewall.view import Host
    from correlator.report.findings.rules import Rulebook

PROTOCOLS = {"tcp": 6, "udp": 17}
SYN, TTL, LENGTH = 2, 64, 60


@dataclass(frozen=True)
class Walks:
    """The walk of new packets; ``certain`` is False where rules ask for a length, a TTL or a TOS:
    the tables do not tell those."""

    walker: Walker
    certain: bool

    def paths(self, row: Any) -> list[Path]:
        """Every way of a connection's first packet as its client sent it; empty where that cannot
        be told."""
        if not self.certain or str(row.protocol) not in PROTOCOLS:
            return []
        view = View(
            PROTOCOLS[str(row.protocol)],
            value(str(row.src)),
            value(str(row.dst)),
            int(row.sport),
            int(row.dport),
            in_interface=str(row.in_interface),
            tcp_flags=SYN,
            length=LENGTH,
            ttl=TTL,
        )
        view.original = (view.src, view.sport, view.dst, view.dport)
        view.replied = (view.dst, view.dport, view.src, view.sport)
        try:
            return self.walker.walk(Passage(view, enters=True))
        except TooManyPathsError:
            return []

    def entry(self, number: int) -> Entry:
        """The rule or policy behind a number of a path."""
        return self.walker.program.ruleset.entries[number]


def walks(book: Rulebook, host: Host, nat: bool = True) -> Walks:
    """New packets against a generation's rules, with those of nat or without."""
    left_out = frozenset() if nat else book.ruleset.nat_tables
    program = compile_ruleset(
        replace(
            book.ruleset, chains=tuple(c for c in book.ruleset.chains if c.table not in left_out)
        )
    )
    reads = program.reads
    return Walks(Walker(program, host), not (reads.lengths or reads.ttls or "tos" in reads.fields))
