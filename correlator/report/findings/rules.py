"""The rules of an analysis, parsed: which publish a port, what a new packet would meet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.firewall.model import Chain, Rule, Ruleset
from correlator.firewall.nat import target_ranges
from correlator.firewall.program import compile_ruleset
from correlator.firewall.save import parse_rule
from correlator.firewall.values import parse_address, parse_ports
from correlator.firewall.view import Host, View
from correlator.firewall.walk import Passage, Path, TooManyPathsError, Walker

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis

PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17}
SYN = 2
LOOPBACK = 127
REWRITING = ("DNAT", "REDIRECT", "NETMAP")
Why = tuple[str, tuple[str, ...]]
"""(what is said of the reason, or nothing; the rules that it names)."""
parsed = lru_cache(maxsize=8192)(parse_rule)


def value(address: object) -> int:
    """An IPv4 address as a number."""
    return int(IPv4Address(str(address)))


def device_of(host: Host, address: object) -> str:
    """The interface that an address is reached by; empty where no route tells."""
    route = host.route(value(address))
    return route.device if route is not None else ""


def behind_bridge(host: Host, address: object) -> str:
    """The bridge whose subnet an address is in (a container's), or empty."""
    device = device_of(host, address)
    return device if device in host.bridges else ""


@dataclass(frozen=True)
class Rulebook:
    """One generation's rules as the tables name them."""

    ruleset: Ruleset

    def named(self, name: str) -> Rule | None:
        """The rule of a name; None for a policy, or where there is none."""
        return next((rule for chain in self.ruleset.chains for rule in chain.rules if rule.name == name), None)

    def rules(self, table: str, chain: str = "") -> list[Rule]:
        """The rules of a table, or of one of its chains, in order."""
        return [r for c in self.ruleset.chains if c.table == table and chain in ("", c.name) for r in c.rules]


def rulebook(analysis: Analysis, generation: int) -> Rulebook:
    """The ruleset of a generation, from the rules table."""
    table = analysis.rules
    mine = table[table["generation"] == generation]
    chains: dict[tuple[str, str], tuple[str | None, list[Rule]]] = {}
    for row in mine[["table", "chain", "rule_number", "rule", "target"]].itertuples(index=False):
        key = (str(row.table), str(row.chain))
        policy, rules = chains.setdefault(key, (None, []))
        chains[key] = (policy if row.rule_number else str(row.target), rules)
        if row.rule_number:
            rules.append(parsed(*key, int(row.rule_number), str(row.rule)))
    return Rulebook(
        Ruleset(tuple(Chain(*key, policy, tuple(sorted(r, key=lambda one: one.number))) for key, (policy, r) in chains.items()))
    )


def rulebooks(analysis: Analysis) -> list[Rulebook]:
    """All generations in order."""
    return [rulebook(analysis, int(generation)) for generation in sorted(analysis.rules["generation"].unique())]


def rule_text(analysis: Analysis, name: str) -> str:
    """The text behind a name, in the first generation that has it; empty where none has."""
    table, _, rest = name.partition("/")
    chain, _, number = rest.rpartition(":")
    wanted, rules = 0 if number in ("policy", "") else int(number), analysis.rules
    found = rules[(rules["rule_number"] == wanted) & (rules["chain"] == chain) & (rules["table"] == table)]
    if not len(found):
        return ""
    return str(found.iloc[0]["rule"]) if wanted else f"policy {found.iloc[0]['target']}"


def texts_of(analysis: Analysis, frame: pd.DataFrame) -> list[str]:
    """For each of these connections the text of the rule that decided it: names shift from generation to generation."""
    hits = hits_of(analysis, frame["connection"])
    keys = hits[["connection", "table", "chain", "rule_number", "rule"]].drop_duplicates()
    texts: dict[tuple[int, str], str] = {}
    for number, table, chain, rule, text in keys.itertuples(index=False, name=None):
        if rule:
            texts.setdefault((number, f"{table}/{chain}:{rule}"), str(text))
    other = {name: rule_text(analysis, str(name)) for name in frame["rule"].unique()}
    return [texts.get((int(n), str(name)), other[name]) for n, name in zip(frame["connection"], frame["rule"], strict=True)]


def quoted(name: str, text: str) -> str:
    """``filter/DOCKER-USER:1 (-s 10.0.0.9/32 -j DROP)``."""
    return f"{name} ({text})" if text else name


def hits_of(analysis: Analysis, connections: Iterable[int]) -> pd.DataFrame:
    """The hits of these connections."""
    hits = analysis.hits
    return hits[np.isin(hits["connection"].to_numpy(), np.fromiter(connections, dtype=np.int64))]


def hit_rule(hits: pd.DataFrame, connection: int, targets: tuple[str, ...], table: str = "nat") -> str:
    """The name of the rule with one of these targets that a connection hit; empty where it hit none."""
    mine = hits[(hits["connection"] == connection) & hits["target"].isin(targets) & (hits["table"] == table)]
    mine = mine[mine["rule_number"] > 0]
    return f"{table}/{mine.iloc[0]['chain']}:{mine.iloc[0]['rule_number']}" if len(mine) else ""


@dataclass(frozen=True)
class Door:
    """A rule that publishes a port: on which address (``only``: the -d it asks for) and where DNAT leads."""

    rule: Rule
    protocol: str
    ports: tuple[int, int]
    only: str
    server: tuple[int, int]


def doors_of(books: Iterable[Rulebook]) -> list[Door]:
    """A door for every DNAT rule that names one port or one range of them."""
    found: dict[tuple[str, str], Door] = {}
    for rule in (rule for book in books for rule in book.rules("nat") if rule.target.name == "DNAT"):
        port = next((o for m in rule.matches for o in m.options if o.name == "--dport" and not o.negated), None)
        protocol = next((m.options[0].value for m in rule.matches if m.name == "protocol" and not m.options[0].negated), "")
        only = next((m.options[0] for m in rule.matches if m.name == "destination"), None)
        for addresses, ports in target_ranges(rule.target):
            if port is not None and protocol and addresses is not None:
                known = parse_ports(port.value)
                into = (addresses[0], ports[0] if ports is not None else known[0])
                asked = "" if only is None else ("! " if only.negated else "") + only.value
                found.setdefault((rule.name, rule.text), Door(rule, protocol, known, asked, into))
    return list(found.values())


def why_no_dnat(books: list[Rulebook], row: Any, hits: pd.DataFrame) -> Why:
    """(why no DNAT rule took what was dialled on this host, the rules that it names); empty where nothing tells.

    Says that a port is not published only where each rule that rewrites destinations names its port itself, as Docker's do.
    """
    port, asked = int(row.dport), f"{row.protocol} port {row.dport}"
    known = doors_of(books)
    doors = [one for one in known if one.protocol == str(row.protocol) and one.ports[0] <= port <= one.ports[1]]
    if not doors:
        rewriting = {(r.name, r.text) for book in books for r in book.rules("nat") if r.target.name in REWRITING}
        plain = rewriting <= {(one.rule.name, one.rule.text) for one in known}
        return (f"no DNAT rule names {asked}, so it is not published", ()) if plain else ("", ())
    address = value(row.dst)
    if all(one.only and not one.only.startswith("!") and not _inside(address, one.only) for one in doors):
        names = tuple(dict.fromkeys(one.rule.name for one in doors))
        where = " and ".join(dict.fromkeys(one.only.removesuffix("/32") for one in doors))
        return f"{' and '.join(names)} {'publishes' if len(names) == 1 else 'publish'} {asked} on {where} only", names
    return _left_out(books, row, hits, doors)


def _left_out(books: list[Rulebook], row: Any, hits: pd.DataFrame, doors: list[Door]) -> Why:
    """Which rule kept it from a DNAT rule that publishes what was dialled."""
    chains = {one.rule.chain for one in doors}
    mine = hits[(hits["connection"] == int(row.connection)) & (hits["table"] == "nat") & (hits["target"] == "RETURN")]
    for back in mine[mine["rule_number"] > 0].itertuples():
        if str(back.chain) in chains:
            name = f"nat/{back.chain}:{back.rule_number}"
            return f"{name} ({back.rule}) keeps {{it}} from the DNAT rules behind it", (name,)
    if value(row.dst) >> 24 == LOOPBACK and _without_loopback(books)[0]:
        return _without_loopback(books)
    out = [one.rule for one in doors if _excludes(one.rule, str(row.in_interface))]
    if len(out) == len(doors):
        return f"{out[0].name} ({out[0].text}) leaves out what comes in by {row.in_interface}", (out[0].name,)
    texts = [{rule.text for rule in book.rules("nat")} for book in books]
    if not any(all(one.rule.text in text for text in texts) for one in doors):
        names = tuple(dict.fromkeys(one.rule.name for one in doors))
        asked = f"{row.protocol} port {row.dport}"
        return f"the rules that publish {asked} came or went while this was recorded, and then none of them was there", names
    return "", ()


def _without_loopback(books: list[Rulebook]) -> Why:
    """The rule that leads what the host sends to DNAT, where it leaves loopback out (as Docker's does)."""
    for rule in (rule for book in books for rule in book.rules("nat", "OUTPUT")):
        asked = next((m.options[0] for m in rule.matches if m.name == "destination"), None)
        if asked is not None and asked.negated and asked.value.startswith("127."):
            return f"{rule.name} ({rule.text}) leaves out what is dialled on loopback", (rule.name,)
    return "", ()


def _excludes(rule: Rule, interface: str) -> bool:
    asked = next((m.options[0] for m in rule.matches if m.name == "in-interface"), None)
    return asked is not None and asked.negated and bool(interface) and asked.value == interface


def _inside(address: int, network: str) -> bool:
    low, high = parse_address(network)
    return low <= address <= high


@dataclass(frozen=True)
class Walks:
    """New packets walked through rules as they were; ``certain`` is False where rules ask what a tuple does not tell."""

    walker: Walker
    certain: bool

    def outcomes(self, row: Any) -> list[Path] | None:
        """The paths of a connection's first packet as its client sent it; None where too many are possible."""
        view = View(
            PROTOCOLS.get(str(row.protocol), 0), value(row.src), value(row.dst), int(row.sport), int(row.dport),
            in_interface=str(row.in_interface), tcp_flags=SYN, length=60, ttl=64,
        )  # fmt: skip
        view.original = (view.src, view.sport, view.dst, view.dport)
        view.replied = (view.dst, view.dport, view.src, view.sport)
        if str(row.protocol) == "icmp":
            view.sport = view.dport = -1
            view.icmp_type, view.icmp_code = 8, 0
        try:
            return self.walker.walk(Passage(view, enters=True))
        except TooManyPathsError:
            return None


def walks(book: Rulebook, host: Host, tables: tuple[str, ...] = ()) -> Walks:
    """New packets against a generation's rules, or those of some tables only."""
    chains = tuple(chain for chain in book.ruleset.chains if not tables or chain.table in tables)
    program = compile_ruleset(Ruleset(chains))
    reads = program.reads
    odd = bool(reads.lengths or reads.ttls or reads.fields & {"tos", "tcp_option_kinds", "packet_type"})
    return Walks(Walker(program, host), not odd)
