"""Random rulesets of the kinds that hosts with containers have: Docker 20.10's, Docker 28's,
kube-proxy's, somebody's own; with random rules of the administrator's among them."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.lab.accuracy.case import Network, Published
from tests.lab.accuracy.conditions import Place, Words
from tests.lab.accuracy.rules import random_rules

HOOKS = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
}
ANYWHERE = (
    ("filter", "INPUT", 0.5, 5),
    ("filter", "OUTPUT", 0.3, 3),
    ("filter", "FORWARD", 0.3, 3),
    ("mangle", "PREROUTING", 0.3, 4),
    ("mangle", "FORWARD", 0.25, 3),
    ("mangle", "POSTROUTING", 0.15, 2),
    ("mangle", "OUTPUT", 0.12, 2),
    ("mangle", "INPUT", 0.1, 2),
    ("raw", "PREROUTING", 0.25, 3),
    ("raw", "OUTPUT", 0.12, 2),
)
"""(table, chain, how likely it has rules of the administrator's, at most how many)."""
ESTABLISHED = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT"


@dataclass
class Tables:
    """A ruleset in the making: own chains, rules and policies by table."""

    chains: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    rules: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    policies: dict[str, str] = field(default_factory=dict)

    def add(self, table: str, *rules: str) -> None:
        """Append rules."""
        self.rules[table] += rules

    def text(self, w: Words) -> tuple[str, ...]:
        """As iptables-restore takes it."""
        lines: list[str] = []
        for table, hooks in HOOKS.items():
            rules = self.rules[table]
            policies = self.policies if table == "filter" else {}
            if not rules and not policies:
                continue
            usual = table in ("nat", "filter")
            used = [
                hook
                for hook in hooks
                if any(rule.startswith(f"-A {hook} ") for rule in rules)
                or hook in policies
                or (usual and w.maybe(0.9))
            ]
            lines += [
                f"*{table}",
                *(f":{hook} {policies.get(hook, 'ACCEPT')} [0:0]" for hook in used),
            ]
            lines += [*(f":{chain} - [0:0]" for chain in self.chains[table]), *rules, "COMMIT"]
        return tuple(lines)


@dataclass(frozen=True)
class World:
    """What a ruleset is written for. ``proxied``: docker-proxy stands beside the rules.
    ``internal`` and ``closed`` (no traffic among its containers) are bridges."""

    network: Network
    published: tuple[Published, ...]
    proxied: bool
    internal: frozenset[str]
    closed: frozenset[str]

    def subnet(self, bridge: str) -> str:
        """A bridge's subnet."""
        return str(ipaddress.ip_network(self.network.bridges[bridge], strict=False))

    def outward(self) -> list[str]:
        """Bridges whose containers reach the world."""
        return [bridge for bridge in self.network.bridges if bridge not in self.internal]

    def target(self, p: Published) -> tuple[str, str]:
        """(bridge, address) behind a published port."""
        return self.network.containers[p.container]


def _docker_nat(w: Words, world: World, t: Tables) -> None:
    t.chains["nat"].append("DOCKER")
    loopback = "! -d 127.0.0.0/8 " if world.proxied else ""
    t.add("nat", "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER")
    t.add("nat", f"-A OUTPUT {loopback}-m addrtype --dst-type LOCAL -j DOCKER")
    for bridge in world.outward():
        t.add("nat", f"-A POSTROUTING -s {world.subnet(bridge)} ! -o {bridge} -j MASQUERADE")
        if not world.proxied:
            t.add("nat", f"-A POSTROUTING -o {bridge} -m addrtype --src-type LOCAL -j MASQUERADE")
    for p in world.published:
        to, port = world.target(p)[1], f"-p {p.protocol} -m {p.protocol} --dport {p.container_port}"
        t.add("nat", f"-A POSTROUTING -s {to}/32 -d {to}/32 {port} -j MASQUERADE")
    if world.proxied:
        t.add("nat", *(f"-A DOCKER -i {bridge} -j RETURN" for bridge in world.outward()))
    for p in world.published:
        bridge, to = world.target(p)
        where = (f"-d {p.address}/32 " if p.address else "") + (
            f"! -i {bridge} " if world.proxied else ""
        )
        port = f"-p {p.protocol} -m {p.protocol} --dport {p.port}"
        t.add("nat", f"-A DOCKER {where}{port} -j DNAT --to-destination {to}:{p.container_port}")


def _accepted(world: World) -> list[str]:
    rules = []
    for p in world.published:
        bridge, to = world.target(p)
        port = f"-p {p.protocol} -m {p.protocol} --dport {p.container_port}"
        rules.append(f"-A DOCKER -d {to}/32 ! -i {bridge} -o {bridge} {port} -j ACCEPT")
    return rules


def docker20(w: Words, world: World, t: Tables) -> None:
    """As Docker Engine 20.10 writes them."""
    _docker_nat(w, world, t)
    one, two = "DOCKER-ISOLATION-STAGE-1", "DOCKER-ISOLATION-STAGE-2"
    t.chains["filter"] += ["DOCKER", "DOCKER-USER", one, two]
    t.policies["FORWARD"] = "DROP" if w.maybe(0.85) else "ACCEPT"
    t.add("filter", "-A FORWARD -j DOCKER-USER", f"-A FORWARD -j {one}")
    for b in world.network.bridges:
        t.add("filter", f"-A FORWARD -o {b} {ESTABLISHED}", f"-A FORWARD -o {b} -j DOCKER")
        if b not in world.internal:
            t.add("filter", f"-A FORWARD -i {b} ! -o {b} -j ACCEPT")
        t.add("filter", f"-A FORWARD -i {b} -o {b} -j {'DROP' if b in world.closed else 'ACCEPT'}")
    t.add("filter", *_accepted(world))
    for b in world.network.bridges:
        if b in world.internal:
            t.add("filter", f"-A {one} ! -s {world.subnet(b)} -o {b} -j DROP")
            t.add("filter", f"-A {one} ! -d {world.subnet(b)} -i {b} -j DROP")
        else:
            t.add("filter", f"-A {one} -i {b} ! -o {b} -j {two}", f"-A {two} -o {b} -j DROP")
    t.add("filter", f"-A {one} -j RETURN", f"-A {two} -j RETURN")
    _administrator(w, t)


def docker28(w: Words, world: World, t: Tables) -> None:
    """As Docker Engine 28 writes them."""
    _docker_nat(w, world, t)
    names = ("DOCKER-FORWARD", "DOCKER-CT", "DOCKER-INTERNAL", "DOCKER-BRIDGE")
    t.chains["filter"] += ["DOCKER", "DOCKER-USER", *names]
    t.policies["FORWARD"] = "DROP" if w.maybe(0.85) else "ACCEPT"
    t.add("filter", "-A FORWARD -j DOCKER-USER", "-A FORWARD -j DOCKER-FORWARD")
    t.add("filter", *(f"-A DOCKER-FORWARD -j {name}" for name in names[1:]))
    for b in world.network.bridges:
        if b in world.internal:
            t.add("filter", f"-A DOCKER-INTERNAL ! -s {world.subnet(b)} -o {b} -j DROP")
            t.add("filter", f"-A DOCKER-INTERNAL ! -d {world.subnet(b)} -i {b} -j DROP")
            continue
        t.add("filter", f"-A DOCKER-CT -o {b} {ESTABLISHED}", f"-A DOCKER-BRIDGE -o {b} -j DOCKER")
        t.add(
            "filter",
            f"-A DOCKER-FORWARD -i {b}{f' ! -o {b}' if b in world.closed else ''} -j ACCEPT",
        )
    t.add("filter", *_accepted(world))
    t.add("filter", *(f"-A DOCKER ! -i {b} -o {b} -j DROP" for b in world.outward()))
    for p in world.published:
        bridge, to = world.target(p)
        if w.maybe(0.6):
            t.add("raw", f"-A PREROUTING -d {to}/32 ! -i {bridge} -j DROP")
    _administrator(w, t)


def _administrator(w: Words, t: Tables) -> None:
    count = w.r.choices([0, 1, 2, 4, 8, 14], [10, 15, 20, 25, 20, 10])[0]
    place = Place("filter", "FORWARD")
    t.add("filter", *random_rules(w, place, "DOCKER-USER", count, 4, t.chains["filter"]))
    if w.maybe(0.6):
        t.add("filter", "-A DOCKER-USER -j RETURN")


def kube(w: Words, world: World, t: Tables) -> None:
    """As kube-proxy balances a service over its endpoints."""
    t.chains["nat"] += ["SERVICES", "SVC", "MARKIT", "POST"]
    t.add("nat", "-A PREROUTING -j SERVICES", "-A OUTPUT -j SERVICES", "-A POSTROUTING -j POST")
    service = world.published[0]
    t.add(
        "nat",
        f"-A SERVICES -p tcp -m tcp --dport {service.port} -m addrtype --dst-type LOCAL -j SVC",
    )
    t.add("nat", "-A SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j SVC")
    t.add("nat", f"-A SVC {w.pick('! -s 172.16.0.0/12 ', '')}-j MARKIT")
    endpoints, nth = list(world.published), w.maybe(0.4)
    for i, p in enumerate(endpoints):
        left, to = len(endpoints) - i, world.target(p)[1]
        share = (
            f"--mode nth --every {left} --packet 0"
            if nth
            else f"--mode random --probability {1 / left:.11f}"
        )
        t.chains["nat"].append(f"EP{i}")
        t.add(
            "nat",
            f"-A SVC {f'-m statistic {share} ' if left > 1 else ''}-j EP{i}",
            f"-A EP{i} -s {to}/32 -j MARKIT",
        )
        t.add("nat", f"-A EP{i} -p tcp -m tcp -j DNAT --to-destination {to}:{p.container_port}")
    t.add("nat", "-A MARKIT -j MARK --set-xmark 0x4000/0x4000")
    t.add(
        "nat",
        "-A POST -m mark ! --mark 0x4000/0x4000 -j RETURN",
        "-A POST -j MARK --set-xmark 0x4000/0x0",
    )
    t.add("nat", f"-A POST -j MASQUERADE{w.pick('', ' --random-fully', ' --random')}")
    for b in world.network.bridges:
        how = w.pick("", " --random-fully")
        t.add("nat", f"-A POSTROUTING -s {world.subnet(b)} ! -o {b} -j MASQUERADE{how}")
    t.chains["filter"].append("FWD")
    invalid = ("-A FWD -m conntrack --ctstate INVALID -j DROP",) if w.maybe(0.7) else ()
    t.add("filter", "-A FORWARD -j FWD", *invalid)
    t.add("filter", "-A FWD -m mark --mark 0x4000/0x4000 -j ACCEPT", f"-A FWD {ESTABLISHED}")
    t.policies["FORWARD"] = w.pick("DROP", "ACCEPT", "ACCEPT")
    if t.policies["FORWARD"] == "DROP":
        t.add("filter", "-A FORWARD -s 172.16.0.0/12 -j ACCEPT")


def own(w: Words, world: World, t: Tables) -> None:
    """Somebody's own firewall: DNAT and SNAT by hand."""
    host = world.network.host.partition("/")[0]
    for p in world.published:
        port, to = (
            f"-p {p.protocol} -m {p.protocol} --dport {p.port}",
            f"{world.target(p)[1]}:{p.container_port}",
        )
        more, where = (
            w.pick("", "", " --random", " --persistent"),
            w.pick("-i eth0 ", f"-d {host}/32 ", ""),
        )
        t.add("nat", f"-A PREROUTING {where}{port} -j DNAT --to-destination {to}{more}")
        if w.maybe(0.5):
            t.add("nat", f"-A OUTPUT -d {host}/32 {port} -j DNAT --to-destination {to}")
    second = world.network.second.partition("/")[0] or host
    for b in world.network.bridges:
        how = w.pick(
            "MASQUERADE",
            f"SNAT --to-source {host}",
            f"SNAT --to-source {second}",
            "MASQUERADE --random",
        )
        t.add("nat", f"-A POSTROUTING -s {world.subnet(b)} -o eth0 -j {how}")
    t.policies["FORWARD"] = w.pick("DROP", "ACCEPT", "ACCEPT")
    place = Place("filter", "FORWARD")
    t.add("filter", *random_rules(w, place, "FORWARD", w.r.randint(0, 6), 3, t.chains["filter"]))
    if t.policies["FORWARD"] == "DROP":
        t.add(
            "filter",
            f"-A FORWARD {ESTABLISHED}",
            "-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT",
        )
        t.add("filter", "-A FORWARD -s 172.16.0.0/12 -j ACCEPT")


STYLES: dict[str, tuple[int, Callable[[Words, World, Tables], None]]] = {
    "docker20": (45, docker20),
    "docker28": (25, docker28),
    "kube": (12, kube),
    "own": (18, own),
}
"""Style -> (weight, who writes it)."""


def _harder_nat(w: Words, world: World) -> list[str]:
    """Translations that few hosts have."""
    containers = list(world.network.containers.values())
    bridge, to = w.r.choice(containers)
    host, second = world.network.host.partition("/")[0], world.network.second.partition("/")[0]
    first = next(iter(world.network.bridges))
    chances = (
        (0.2, f"-A PREROUTING -d 10.9.0.0/16 -j NETMAP --to {world.subnet(bridge)}"),
        (
            0.25,
            f"-A PREROUTING -i {w.pick('eth0', first)} -p tcp -m tcp "
            f"--dport {w.pick(8888, 80, 443)} -j REDIRECT --to-ports 22",
        ),
        (0.12, f"-A PREROUTING -p tcp -m tcp --dport 9100:9110 -j DNAT --to-destination {to}:80"),
        (0.12, f"-A OUTPUT -d 198.51.100.7/32 -p tcp -j DNAT --to-destination {to}"),
        (0.10, "-A OUTPUT -p udp -m udp --dport 514 -j REDIRECT --to-ports 123"),
        (
            0.12,
            f"-A INPUT -p tcp -m tcp --dport 22 -j SNAT --to-source {w.pick('10.77.0.1', host)}",
        ),
        (
            0.15,
            f"-A POSTROUTING -m mark --mark 0x1/0x1 -j {w.pick('MASQUERADE', 'RETURN', 'ACCEPT')}",
        ),
        (
            0.12,
            "-A POSTROUTING -s 172.16.0.0/12 -o eth0 -m statistic --mode nth --every 2 --packet 0 "
            f"-j SNAT --to-source {second or host}",
        ),
    )
    return [rule for chance, rule in chances if w.maybe(chance)]


def _marks(w: Words, world: World) -> list[str]:
    inward = w.pick("eth0", next(iter(world.network.bridges)))
    mark = w.pick("0x1/0xffffffff", "0x2/0xffffffff")
    lines = (
        "-A PREROUTING -j CONNMARK --restore-mark",
        f"-A PREROUTING -i {inward} -m conntrack --ctstate NEW -j MARK --set-xmark {mark}",
        "-A PREROUTING -j CONNMARK --save-mark",
    )
    return [line for line in lines if w.maybe(0.8)]


def random_ruleset(w: Words, style: str, world: World) -> tuple[str, ...]:
    """A whole ruleset."""
    t = Tables()
    STYLES[style][1](w, world, t)
    for rule in _harder_nat(w, world):
        t.rules["nat"].insert(w.r.choice([0, len(t.rules["nat"])]), rule)
    for table, chain, chance, most in ANYWHERE:
        if w.maybe(chance):
            more = random_rules(
                w, Place(table, chain), chain, w.r.randint(1, most), 2, t.chains[table]
            )
            at = w.r.choice([0, len(t.rules[table])])
            t.rules[table][at:at] = more
    if w.maybe(0.3):
        t.rules["mangle"][0:0] = _marks(w, world)
    if w.maybe(0.2):
        t.policies["INPUT"] = "DROP"
        let = [f"-A INPUT {ESTABLISHED}", "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"]
        t.rules["filter"][0:0] = let[: w.r.randint(1, 2)]
    return t.text(w)
