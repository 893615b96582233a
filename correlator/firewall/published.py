"""Which endpoints DNAT rules publish, and how a packet gets to such a rule.

A client dials an endpoint (address and port) that a rule names; DNAT leads it to a server's. Who
sees the server's side only asks here what may have been dialled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from correlator.addresses import LOCALHOST, is_ipv6, is_loopback, localhost6
from correlator.firewall.conditions.headers import Field, Range, Within
from correlator.firewall.conditions.surroundings import Device
from correlator.firewall.conditions.ternary import Condition
from correlator.firewall.effects.nat import NatKind, NatRange
from correlator.firewall.model import Rule, Ruleset
from correlator.firewall.view import Host

Endpoint = tuple[int, int]
"""(address, port)."""
MAX_APPROACHES, MAX_JUMPS = 256, 8
MAX_PORTS = 64
"""Ports of one range that are told one by one."""


def dnat_rules(rulesets: Iterable[Ruleset]) -> list[Rule]:
    """Every rule that rewrites destinations to addresses that it names, each text once."""
    found: dict[tuple[str, str, str], Rule] = {}
    for ruleset in rulesets:
        for rule in ruleset.rules:
            if rule.nat is not None and rule.nat.kind is NatKind.DNAT:
                found.setdefault((rule.table, rule.chain, rule.text), rule)
    return list(found.values())


def servers(rules: Iterable[Rule]) -> frozenset[Endpoint]:
    """The endpoints that DNAT rules lead to, where they name one address, and ports."""
    found: set[Endpoint] = set()
    for rule in rules:
        for one in rule.nat.ranges if rule.nat is not None else ():
            if one.addresses is not None and one.ports is not None:
                (low, high), (first, last) = one.addresses, one.ports
                if low == high:
                    last = min(last, first + MAX_PORTS)
                    found.update((low, port) for port in range(first, last + 1))
    return frozenset(found)


def leads_to(rule: Rule, address: int, port: int) -> bool:
    """Whether a rule leads to a server's port, or might."""
    nat = rule.nat
    if nat is None or not nat.of_destination:
        return False
    return nat.kind is NatKind.NETMAP or any(
        one.addresses is not None and one.includes(address, port) for one in nat.ranges
    )


def may_lead_to(rule: Rule, address: int, port: int) -> bool:
    """Whether a rule may lead to an endpoint at all, named or not: REDIRECT leads to whatever
    address the interface has."""
    nat = rule.nat
    if nat is None or not nat.of_destination:
        return False
    return nat.kind is NatKind.REDIRECT or any(one.includes(address, port) for one in nat.ranges)


def shows_as(rule: Rule, address: int, _port: int) -> bool:
    """Whether a rule shows clients as that address, or might; a port that is taken is rewritten by
    any."""
    nat = rule.nat
    if nat is None or nat.kind in (NatKind.DNAT, NatKind.REDIRECT):
        return False
    named = [one.addresses for one in nat.ranges if one.addresses is not None]
    return not named or any(low <= address <= high for low, high in named)


@dataclass(frozen=True, slots=True)
class Publication:
    """A DNAT rule that names the ports it publishes: of ``protocol``, on which addresses (``only``:
    the destination it asks for, if any), and the server it leads to."""

    rule: Rule
    protocol: int
    ports: Range
    only: Within | None
    server: Endpoint


def publication(rule: Rule) -> Publication | None:
    """What a rule publishes; None where it does not name one port, or one range of ports."""
    port = _asked(rule.conditions, Field.DESTINATION_PORT)
    protocol = _asked(rule.conditions, Field.PROTOCOL)
    only = _asked(rule.conditions, Field.DESTINATION)
    nat = rule.nat
    if nat is None or nat.kind is not NatKind.DNAT or port is None or protocol is None:
        return None
    ranges = [one for one in nat.ranges if one.addresses is not None]
    if port.negated or protocol.negated or len(port.ranges) != 1 or len(ranges) != 1:
        return None
    (ports,), (target,) = port.ranges, ranges
    assert target.addresses is not None
    server = (target.addresses[0], (target.ports or ports)[0])
    return Publication(rule, protocol.ranges[0][0], ports, only, server)


def _asked(conditions: Iterable[Condition], field: Field) -> Within | None:
    """The first condition on a field alone."""
    return next(
        (one for one in conditions if isinstance(one, Within) and one.fields == (field,)), None
    )


@dataclass(frozen=True, slots=True)
class Door:
    """A way to a rule that rewrites destinations to what it names (DNAT, NETMAP): ``conditions``
    are the rule's own, then those of the jumps that lead to it."""

    rule: Rule
    conditions: tuple[Condition, ...]

    def dialled(self, server: Endpoint, host: Host) -> Iterator[Endpoint]:
        """What a client may have dialled to come to that server by this way: what its conditions
        name, any own address of the host where they name none. 127.0.0.1 is one where the host lets
        it out (route_localnet of the interface behind it), and where no setting tells."""
        nat = self.rule.nat
        for one in nat.ranges if nat is not None else ():
            if not one.includes(*server):
                continue
            if nat is not None and nat.kind is NatKind.NETMAP:
                yield from self._mapped(server, one)
                continue
            for address in self._addresses(host, is_ipv6(server[0])):
                for port in self._ports(server[1]):
                    yield address, port

    def _mapped(self, server: Endpoint, into: NatRange) -> Iterator[Endpoint]:
        """The same place in each net that the conditions ask for."""
        assert into.addresses is not None
        if is_ipv6(server[0]):
            return  # what is dialled is in no address book
        place = server[0] & (into.addresses[1] - into.addresses[0])
        for ranges in self._asked():
            for low, _ in ranges:
                yield low | place, server[1]

    def _asked(self) -> list[tuple[Range, ...]]:
        return [
            one.ranges
            for one in self.conditions
            if isinstance(one, Within) and one.fields == (Field.DESTINATION,) and not one.negated
        ]

    def _addresses(self, host: Host, six: bool) -> list[int]:
        asked = self._asked()
        single = next((low for ranges in asked for low, high in ranges if low == high), None)
        if single is not None:
            return [single]
        own = sorted(address for address in host.local if not is_loopback(address))
        loopback = localhost6() if six else LOCALHOST
        own += [loopback] if host.localnet is None or host.localnet else []
        return [a for a in own if all(any(x <= a <= y for x, y in ranges) for ranges in asked)]

    def _ports(self, port: int) -> list[int]:
        for one in self.conditions:
            if isinstance(one, Within) and one.fields == (Field.DESTINATION_PORT,):
                if one.negated:
                    continue
                first = [low for low, _ in one.ranges]
                plain = len(first) > 1 or one.ranges[0][0] == one.ranges[0][1]
                return first if plain else [port]
        return [port]


def doors(rulesets: Iterable[Ruleset]) -> list[Door]:
    """Every way to every rule that rewrites destinations to what it names, from its chain back
    through the jumps to a base chain; each once."""
    found: dict[tuple[str, str, tuple[Condition, ...]], Door] = {}
    for ruleset in rulesets:
        callers: dict[tuple[str, str], list[Rule]] = {}
        for rule in ruleset.rules:
            for jump in rule.jumps:
                callers.setdefault((rule.table, jump.chain), []).append(rule)
        for rule in ruleset.rules:
            if rule.nat is None or rule.nat.kind not in (NatKind.DNAT, NatKind.NETMAP):
                continue
            for conditions in _approaches(rule, callers, ruleset, 0):
                found.setdefault((rule.chain, rule.text, conditions), Door(rule, conditions))
    return list(found.values())


def _approaches(
    rule: Rule, callers: dict[tuple[str, str], list[Rule]], ruleset: Ruleset, depth: int
) -> list[tuple[Condition, ...]]:
    """Conditions on the ways to a rule, its own first."""
    chain = ruleset.by_name.get((rule.table, rule.chain))
    if depth > MAX_JUMPS or (chain is not None and chain.base is not None):
        return [rule.conditions]
    ways: list[tuple[Condition, ...]] = []
    for jump in callers.get((rule.table, rule.chain), []):
        ways += [
            (*rule.conditions, *rest) for rest in _approaches(jump, callers, ruleset, depth + 1)
        ]
        if len(ways) > MAX_APPROACHES:
            break
    return ways


def excludes_loopback(rule: Rule) -> bool:
    """Whether a rule leaves out what is dialled on loopback (127.0.0.0/8)."""
    asked = _asked(rule.conditions, Field.DESTINATION)
    return asked is not None and asked.negated and is_loopback(asked.ranges[0][0])


def excludes_interface(rule: Rule, name: str) -> bool:
    """Whether a rule leaves out what comes in by an interface."""
    return bool(name) and any(
        isinstance(one, Device) and not one.outgoing and one.negated and one.name == name
        for one in rule.conditions
    )
