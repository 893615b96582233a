"""What ``nft list ruleset`` tells -> :class:`~correlator.firewall.model.Ruleset`.

Objects are those of ``nft -j`` (libnftables-json(5)), whichever notation they were read from. The
numbers of counters are places: the first counter of a listing holds 0, the next one 1."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from correlator.firewall.conditions.ternary import Condition, Unknown
from correlator.firewall.effects.dispatch import Dispatch
from correlator.firewall.effects.nat import Nat
from correlator.firewall.effects.verdicts import Jump, OutOfSight, Reject, Verdict
from correlator.firewall.hooks import Base, ChainType, Hook
from correlator.firewall.languages.nft_effects import lower
from correlator.firewall.languages.nft_matches import Lookup, conditions_of
from correlator.firewall.languages.nft_sets import Sets
from correlator.firewall.languages.nft_words import rule_words
from correlator.firewall.model import MET, Chain, Effect, Rule, Ruleset

Objects = list[dict[str, Any]]
NONE = -1
"""In place of a counter's place: there is none."""
INGRESS = -(1 << 20)
"""What is added to priorities at a device: it comes before all of PREROUTING."""
_HOOKS = {hook.value.lower(): hook for hook in Hook}
_ChainName = tuple[str, str, str]


@dataclass
class _Line:
    """A rule as far as it was read: ``place`` of the counter that stands behind all that it asks,
    ``named``: of one that has a name."""

    conditions: list[Condition] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    place: int = NONE
    named: str = ""

    def ask(self, asked: tuple[Condition, ...]) -> None:
        """What is asked behind a counter, and not before it, makes it count more than the rule's
        hits."""
        more = [one for one in asked if one not in self.conditions or isinstance(one, Unknown)]
        if more:
            self.conditions += more
            self.place, self.named = NONE, ""

    def count(self, body: Any) -> None:
        """A counter; behind a map's verdict it counts what goes on only."""
        if any(isinstance(one, Dispatch) for one in self.effects):
            return
        if isinstance(body, str):
            self.named = self.named or body
        elif isinstance(body, dict) and self.place == NONE:
            self.place = int(body["packets"])


def ruleset_of(
    objects: Objects, sets: Sets, packets: str = "ip"
) -> tuple[Ruleset, tuple[int, ...]]:
    """(the ruleset, for each of its entries the place of its counter: -1 where it has none).
    ``packets``: the family of those that walk it; of IPv6's, the chains that IPv4 alone meets are
    left out.

    Raises KeyError, TypeError or ValueError where an object lacks what all of its kind have."""
    chains: dict[_ChainName, dict[str, Any]] = {}
    rules: dict[_ChainName, list[dict[str, Any]]] = {}
    counters: dict[tuple[str, str, str], int] = {}
    for one in objects:
        if "chain" in one:
            body = one["chain"]
            chains[body["family"], body["table"], body["name"]] = body
        elif "rule" in one:
            body = one["rule"]
            rules.setdefault((body["family"], body["table"], body["chain"]), []).append(body)
        elif "counter" in one:
            body = one["counter"]
            counters[body["family"], body["table"], body["name"]] = int(body["packets"])
    single, tracing = _used_once(rules), _only_trace(chains, rules)
    made, places = list[Chain](), list[int]()
    for name, body in chains.items():
        if name[:2] in tracing or (packets == "ip6" and name[0] not in MET[packets]):
            continue
        lookup = Lookup(sets, name[0], name[1], packets)
        read: list[Rule] = []
        for number, rule in enumerate(rules.get(name, []), 1):
            line = _line(rule, lookup)
            object_name = (name[0], name[1], line.named)
            if line.place == NONE and object_name in single:
                line.place = counters.get(object_name, NONE)
            read.append(_rule(rule, line, number, packets))
            places.append(line.place)
        chain = _chain(body, tuple(read), packets)
        made.append(chain)
        if chain.policy is not None:
            places.append(NONE)
    return Ruleset(tuple(made), packets), tuple(places)


def _only_trace(
    chains: dict[_ChainName, dict[str, Any]], rules: dict[_ChainName, list[dict[str, Any]]]
) -> frozenset[tuple[str, str]]:
    """Tables (family, name) that do nothing but switch on the kernel's trace (``meta nftrace set
    1``), as who runs ``nft monitor trace`` adds them: they are no part of the firewall."""
    by_table: dict[tuple[str, str], list[bool]] = {}
    for name, body in chains.items():
        harmless = by_table.setdefault(name[:2], [])
        harmless.append(str(body.get("policy", "accept")) == "accept")
        harmless += [_traces(rule) for rule in rules.get(name, [])]
    traced = {name[:2] for name, bodies in rules.items() if any(map(_traces, bodies))}
    return frozenset(
        table for table, harmless in by_table.items() if table in traced and all(harmless)
    )


def _traces(rule: dict[str, Any]) -> bool:
    kinds = [next(iter(one), "") for one in rule.get("expr") or [] if isinstance(one, dict)]
    marks = [one.get("mangle") for one in rule.get("expr") or [] if isinstance(one, dict)]
    return kinds == ["mangle"] and (marks[0] or {}).get("key") == {"meta": {"key": "nftrace"}}


def _used_once(rules: dict[_ChainName, list[dict[str, Any]]]) -> frozenset[tuple[str, str, str]]:
    """Named counters that one rule alone counts with."""
    used: Counter[tuple[str, str, str]] = Counter()
    for name, bodies in rules.items():
        for body in bodies:
            for statement in body.get("expr") or []:
                named = statement.get("counter") if isinstance(statement, dict) else None
                if isinstance(named, str):
                    used[name[0], name[1], named] += 1
                elif isinstance(named, dict) and "packets" not in named:
                    return frozenset()  # by a map: any of them
    return frozenset(name for name, times in used.items() if times == 1)


_USUAL_REJECT = {"ip": "icmp", "ip6": "icmpv6"}
"""What a reject that names no answer sends, by family; elsewhere icmpx (stmt_evaluate_reject)."""


def _statements(rule: dict[str, Any]) -> list[dict[str, Any]]:
    """The statements of a rule, with what a reject without words answers."""
    kind = _USUAL_REJECT.get(rule["family"], "icmpx")
    usual = {"reject": {"type": kind, "expr": "port-unreachable"}}
    return [usual if one == {"reject": None} else one for one in rule.get("expr") or []]


def _line(rule: dict[str, Any], lookup: Lookup) -> _Line:
    line = _Line()
    for statement in _statements(rule):
        ((kind, body),) = statement.items()
        if kind == "match":
            line.ask(conditions_of(body, lookup))
        elif kind == "counter":
            line.count(body)
        else:
            asked, effects = lower(statement, lookup)
            line.ask(asked)
            line.effects += effects
    return line


def _rule(body: dict[str, Any], line: _Line, number: int, packets: str) -> Rule:
    family = body["family"]
    return Rule(
        table_name(family, body["table"], packets),
        body["chain"],
        number,
        rule_words(_statements(body), body.get("comment", "")),
        tuple(line.conditions),
        tuple(line.effects),
        _target(line.effects),
        family,
        int(body.get("handle", 0)),
        line.place != NONE,
    )


def table_name(family: str, table: str, packets: str = "ip") -> str:
    """The name of a table: with its family, where that is not its packets'."""
    return table if family == packets else f"{family} {table}"


def _target(effects: list[Effect]) -> str:
    """The word for what a rule does, as iptables calls it; a chain's name for what leads there."""
    for effect in effects:
        match effect:
            case Verdict():
                return effect.name
            case Jump():
                return effect.chain
            case Reject():
                return "REJECT"
            case Nat():
                return effect.kind.name
            case Dispatch():
                return "vmap"
            case OutOfSight():
                return effect.text.split()[0] if effect.text else ""
            case _:
                continue
    return ""


def _chain(body: dict[str, Any], rules: tuple[Rule, ...], packets: str) -> Chain:
    """A chain; one of a hook that packets of no family walk here stands nowhere. Of one at a device
    that was not told (as by ``nft -j`` 1.0.6), nobody knows whom it meets."""
    family, table = body["family"], table_name(body["family"], body["table"], packets)
    hook, device = str(body.get("hook", "")), ""
    if family == "netdev" and hook == "ingress" and "dev" not in body:
        base = Base(Hook.PREROUTING, INGRESS + int(body["prio"]))
        return Chain(table, body["name"], None, rules, base, family, listed=False)
    if family in ("ip", "ip6", "inet") and hook in _HOOKS:
        base = Base(_HOOKS[hook], int(body["prio"]), ChainType(body["type"]))
    elif hook == "ingress" and family in ("netdev", "inet") and isinstance(body.get("dev"), str):
        base, device = Base(Hook.PREROUTING, INGRESS + int(body["prio"])), str(body["dev"])
    else:
        return Chain(table, body["name"], None, rules, None, family)
    policy = str(body.get("policy", "accept")).upper()
    return Chain(table, body["name"], policy, rules, base, family, counted=False, device=device)
