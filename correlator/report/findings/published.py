"""Which rules publish a port, and why none of them took what was dialled."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from correlator.addresses import is_loopback
from correlator.firewall.effects.nat import target_ranges
from correlator.firewall.values import parse_address, parse_ports
from correlator.report.findings.rules import Rulebook, Why, rulebooks, value

if TYPE_CHECKING:
    import pandas as pd

    from correlator.firewall.model import Option, Rule
    from correlator.reconcile.analysis import Analysis

REWRITING = ("DNAT", "REDIRECT", "NETMAP")
Back = tuple[str, int, str]
"""A rule that returns: its chain, number and text."""


@dataclass(frozen=True)
class Door:
    """A DNAT rule that names the ports it publishes: on which address (``only``: the -d it asks
    for) and where it leads."""

    rule: Rule
    protocol: str
    ports: tuple[int, int]
    only: str
    server: tuple[int, int]


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
            for rule in book.rules("nat")
            if rule.target.name in REWRITING
        )
        return tuple({(rule.name, rule.text): rule for rule in rules}.values())

    @cached_property
    def doors(self) -> tuple[Door, ...]:
        """Those of them that name one port, or one range of ports."""
        return tuple(door for rule in self.rewriting if (door := _door(rule)) is not None)

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
        for rule in (rule for book in self.books for rule in book.rules("nat", "OUTPUT")):
            asked = _option(rule, "destination")
            if asked is not None and asked.negated and is_loopback(parse_address(asked.value)[0]):
                return f"{rule.name} ({rule.text}) leaves out what is dialled on loopback", (
                    rule.name,
                )
        return "", ()

    def leading_to(self, server: int, port: int) -> list[str]:
        """The names of rules that lead to a server's port, or might."""
        return [rule.name for rule in self.rewriting if _leads(rule, server, port)]

    def why_not(self, row: Any, returned: tuple[Back, ...]) -> Why:
        """Why no DNAT rule took what a connection dialled on this host; empty where nothing tells.

        ``returned``: the RETURN rules of nat that it hit. Says that a port is not published only
        where each rule that rewrites destinations names its port itself, as Docker's do."""
        port, address = int(row.dport), value(str(row.dst))
        doors = [
            one
            for one in self.doors
            if one.protocol == str(row.protocol) and one.ports[0] <= port <= one.ports[1]
        ]
        if not doors:
            return ("no DNAT rule names {ports}: not published", ()) if self.told else ("", ())
        if all(
            one.only and not one.only.startswith("!") and not _inside(address, one.only)
            for one in doors
        ):
            names = tuple(dict.fromkeys(one.rule.name for one in doors))
            where = " and ".join(dict.fromkeys(one.only.removesuffix("/32") for one in doors))
            return (
                f"{' and '.join(names)} {'publishes' if len(names) == 1 else 'publish'} {{ports}} "
                f"on {where} only",
                names,
            )
        return self._left_out(row, returned, doors)

    def _left_out(self, row: Any, returned: tuple[Back, ...], doors: list[Door]) -> Why:
        """Which rule kept it from a DNAT rule that publishes what was dialled."""
        chains = {one.rule.chain for one in doors}
        for chain, number, text in returned:
            if chain in chains:
                name = f"nat/{chain}:{number}"
                return f"{name} ({text}) keeps {{it}} from the DNAT rules behind it", (name,)
        if is_loopback(value(str(row.dst))) and self.without_loopback[0]:
            return self.without_loopback
        out = [one.rule for one in doors if _excludes(one.rule, str(row.in_interface))]
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


def _door(rule: Rule) -> Door | None:
    port = next(
        (o for m in rule.matches for o in m.options if o.name == "--dport" and not o.negated), None
    )
    protocol, only = _option(rule, "protocol"), _option(rule, "destination")
    ranges = [
        (addresses, ports)
        for addresses, ports in target_ranges(rule.target)
        if addresses is not None
    ]
    if (
        rule.target.name != "DNAT"
        or port is None
        or protocol is None
        or protocol.negated
        or len(ranges) != 1
    ):
        return None
    known, (addresses, ports) = parse_ports(port.value), ranges[0]
    assert addresses is not None
    asked = "" if only is None else ("! " if only.negated else "") + only.value
    return Door(
        rule,
        protocol.value,
        known,
        asked,
        (addresses[0], ports[0] if ports is not None else known[0]),
    )


def _option(rule: Rule, match: str) -> Option | None:
    return next((m.options[0] for m in rule.matches if m.name == match), None)


def _leads(rule: Rule, server: int, port: int) -> bool:
    if rule.target.name == "NETMAP":
        return True
    return any(
        addresses is not None
        and addresses[0] <= server <= addresses[1]
        and (ports is None or ports[0] <= port <= ports[1])
        for addresses, ports in target_ranges(rule.target)
    )


def _inside(address: int, network: str) -> bool:
    low, high = parse_address(network)
    return low <= address <= high


def _excludes(rule: Rule, interface: str) -> bool:
    asked = _option(rule, "in-interface")
    return asked is not None and asked.negated and bool(interface) and asked.value == interface
