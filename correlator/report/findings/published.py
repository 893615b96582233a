"""Which rules publish a port, and why none of them took what was dialled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from correlator.addresses import is_loopback
from correlator.firewall.hooks import Hook
from correlator.firewall.published import (
    Publication,
    excludes_interface,
    excludes_loopback,
    leads_to,
    publication,
)
from correlator.firewall.values import PROTOCOLS, spell_addresses
from correlator.report.findings.rules import Rulebook, Why, rulebooks, value

if TYPE_CHECKING:
    import pandas as pd

    from correlator.firewall.model import Rule
    from correlator.reconcile.analysis import Analysis

Back = tuple[str, int, str]
"""A rule that returns: its chain, number and text."""


@dataclass(frozen=True)
class Published:
    """What the rules of all generations publish."""

    books: tuple[Rulebook, ...]

    @cached_property
    def rewriting(self) -> tuple[Rule, ...]:
        """Every rule that rewrites destinations, in any generation."""
        rules = (
            rule
            for book in self.books
            for rule in book.ruleset.rules
            if rule.nat is not None and rule.nat.of_destination
        )
        return tuple({(rule.name, rule.text): rule for rule in rules}.values())

    @cached_property
    def doors(self) -> tuple[Publication, ...]:
        """Those of them that name one port, or one range of ports."""
        return tuple(door for rule in self.rewriting if (door := publication(rule)) is not None)

    @cached_property
    def told(self) -> bool:
        """Whether a port that no door names is not published: nat was read, and what rewrites names
        its ports itself."""
        docker = any(("nat", "DOCKER") in book.ruleset.by_name for book in self.books)
        return (docker or bool(self.rewriting)) and len(self.doors) == len(self.rewriting)

    @cached_property
    def without_loopback(self) -> Why:
        """The rule that leads what the host sends to DNAT, where it leaves loopback out (as
        Docker's does)."""
        for chain in (chain for book in self.books for chain in book.ruleset.at(Hook.OUTPUT)):
            for rule in chain.rules if chain.base is not None and chain.base.is_nat else ():
                if excludes_loopback(rule):
                    return f"{rule.name} ({rule.text}) leaves out what is dialled on loopback", (
                        rule.name,
                    )
        return "", ()

    def leading_to(self, server: int, port: int) -> list[str]:
        """The names of rules that lead to a server's port, or might."""
        return [rule.name for rule in self.rewriting if leads_to(rule, server, port)]

    def why_not(self, row: Any, returned: tuple[Back, ...]) -> Why:
        """Why no DNAT rule took what a connection dialled on this host; empty where nothing tells.

        ``returned``: the RETURN rules of nat that it hit. Says that a port is not published only
        where each rule that rewrites destinations names its port itself, as Docker's do."""
        port, address = int(row.dport), value(str(row.dst))
        doors = [
            one
            for one in self.doors
            if one.protocol == PROTOCOLS.get(str(row.protocol))
            and one.ports[0] <= port <= one.ports[1]
        ]
        if not doors:
            return ("no DNAT rule names {ports}: not published", ()) if self.told else ("", ())
        if all(_elsewhere(one, address) for one in doors):
            names = tuple(dict.fromkeys(one.rule.name for one in doors))
            where = " and ".join(dict.fromkeys(map(_where, doors)))
            return (
                f"{' and '.join(names)} {'publishes' if len(names) == 1 else 'publish'} {{ports}} "
                f"on {where} only",
                names,
            )
        return self._left_out(row, returned, doors)

    def _left_out(self, row: Any, returned: tuple[Back, ...], doors: list[Publication]) -> Why:
        """Which rule kept it from a DNAT rule that publishes what was dialled."""
        chains = {one.rule.chain for one in doors}
        for chain, number, text in returned:
            if chain in chains:
                name = f"nat/{chain}:{number}"
                return f"{name} ({text}) keeps {{it}} from the DNAT rules behind it", (name,)
        if is_loopback(value(str(row.dst))) and self.without_loopback[0]:
            return self.without_loopback
        out = [one.rule for one in doors if excludes_interface(one.rule, str(row.in_interface))]
        if len(out) == len(doors):
            return (
                f"{out[0].name} ({out[0].text}) leaves out what comes in by {row.in_interface}",
                (out[0].name,),
            )
        if not any(all(one.rule.text in book.nat_texts for book in self.books) for one in doors):
            names = tuple(dict.fromkeys(one.rule.name for one in doors))
            return (
                "the rules that publish {ports} came or went while this was recorded, and then "
                "none of them was there",
                names,
            )
        return "", ()


def published(analysis: Analysis) -> Published:
    """What an analysis's rules publish."""
    return Published(tuple(rulebooks(analysis)))


def why_not_dnat(known: Published, frame: pd.DataFrame, hits: pd.DataFrame) -> list[Why]:
    """:meth:`Published.why_not` of each connection, worked out once for those alike; ``hits`` are
    theirs."""
    returns = hits[
        (hits["table"] == "nat") & (hits["target"] == "RETURN") & (hits["rule_number"] > 0)
    ]
    back: dict[int, tuple[Back, ...]] = {}
    for number, *way in zip(
        *(returns[name].tolist() for name in ("connection", "chain", "rule_number", "rule")),
        strict=True,
    ):
        back[number] = (*back.get(number, ()), (str(way[0]), int(way[1]), str(way[2])))
    reasons: dict[tuple[object, ...], Why] = {}
    result = []
    for row in frame.itertuples():
        returned = back.get(int(row.connection), ())
        key = (row.protocol, row.dst, row.dport, row.in_interface, returned)
        if key not in reasons:
            reasons[key] = known.why_not(row, returned)
        result.append(reasons[key])
    return result


def _elsewhere(one: Publication, address: int) -> bool:
    """Whether a rule publishes on other addresses only."""
    only = one.only
    if only is None or only.negated:
        return False
    return not any(low <= address <= high for low, high in only.ranges)


def _where(one: Publication) -> str:
    return ",".join(spell_addresses(*span) for span in one.only.ranges) if one.only else ""
