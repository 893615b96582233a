"""A random case from its seed."""

from __future__ import annotations

import ipaddress
import random
from collections import Counter
from typing import Any

from tests.lab.accuracy.case import Case, Network, Plan, Published
from tests.lab.accuracy.conditions import Words
from tests.lab.accuracy.rulesets import STYLES, World, random_ruleset
from tests.lab.accuracy.traffic import random_acts, random_changes

OUTSIDE = ("172.31.32.0/20", "10.0.0.0/24", "192.168.1.0/24", "203.0.113.0/24")
SETTINGS: dict[str, tuple[float, tuple[str, ...]]] = {
    "net.ipv4.ip_forward": (0.02, ("0",)),
    "net.ipv4.conf.all.rp_filter": (0.4, ("1", "2")),
    "net.bridge.bridge-nf-call-iptables": (0.18, ("0",)),
    "net.netfilter.nf_conntrack_tcp_loose": (0.1, ("0",)),
    "net.netfilter.nf_conntrack_tcp_be_liberal": (0.06, ("1",)),
    "net.netfilter.nf_conntrack_udp_timeout": (0.1, ("1",)),
    "net.netfilter.nf_conntrack_tcp_timeout_close": (0.06, ("1",)),
    "net.ipv4.conf.all.route_localnet": (0.08, ("1",)),
    "net.ipv4.conf.all.accept_local": (0.05, ("1",)),
}
"""Setting -> (how likely it is not as usual, what it is then)."""
USUAL = {
    "net.ipv4.ip_forward": "1",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.eth0.rp_filter": "0",
    "net.bridge.bridge-nf-call-iptables": "1",
}
Servers = dict[str, dict[str, list[Any]]]


def draw(seed: int, harsh: bool) -> Case:
    """The case of a seed. ``harsh``: with packets that no ordinary program sends."""
    r = random.Random(f"{seed}-{harsh}")
    style = r.choices(list(STYLES), [weight for weight, _ in STYLES.values()])[0]
    network = _network(r)
    servers = _servers(r, network)
    internal = frozenset(b for b in network.bridges if b != "docker0" and r.random() < 0.2)
    published = (
        _kube(r, network, servers) if style == "kube" else _published(r, network, servers, internal)
    )
    closed = frozenset(b for b in network.bridges if r.random() < 0.12)
    world = World(network, published, r.random() < 0.75, internal, closed)
    ports = [80, 443, 53, 5432, 8080, 22, 5353, 9000, *(p.port for p in published)]
    w = Words(r, network.addresses(), ports, list(network.bridges))
    rules = random_ruleset(w, style, world)
    if style != "kube":
        servers["host"]["relay"] = _relays(r, network, published)
    sysctls = USUAL | {
        name: r.choice(words) for name, (chance, words) in SETTINGS.items() if r.random() < chance
    }
    acts, changes = random_acts(w, world, harsh), random_changes(w, world, style)
    sets = tuple(line for _, lines in w.sets.values() for line in lines)
    return Case(seed, style, network, sysctls, sets, rules, servers, acts, changes, _plan(r))


def _network(r: random.Random) -> Network:
    outside = ipaddress.ip_network(r.choice(OUTSIDE))
    free = [f"{outside[number]}/{outside.prefixlen}" for number in r.sample(range(2, 250), 6)]
    names = ["docker0", *(f"br-{r.getrandbits(48):012x}" for _ in range(3))]
    names = names[1:] if r.random() < 0.15 else names
    count = r.choices([1, 2, 3, 4], [40, 30, 20, 10])[0]
    bridges = {name: f"172.{17 + i}.0.1/16" for i, name in enumerate(names[:count])}
    containers: dict[str, tuple[str, str]] = {}
    used: Counter[str] = Counter()
    for i in range(r.randint(1, 6)):
        bridge = r.choice(list(bridges))
        used[bridge] += 1
        containers[f"k{i + 1}"] = (
            bridge,
            bridges[bridge].replace(".0.1/16", f".0.{1 + used[bridge]}"),
        )
    return Network(
        host=free[0],
        second=free[1] if r.random() < 0.35 else "",
        clients={f"c{i + 1}": free[2 + i] for i in range(r.randint(1, 3))},
        bridges=bridges,
        containers=containers,
        beyond=("192.168.77.1/24", "192.168.77.9") if r.random() < 0.2 else None,
        routed=r.random() < 0.45,
        hairpin=tuple(name for name in containers if r.random() < 0.2),
        mtu={bridge: 1300 for bridge in bridges if r.random() < 0.08},
    )


def _servers(r: random.Random, n: Network) -> Servers:
    servers: Servers = {
        name: {
            "tcp": r.sample([80, 443, 5432, 8080, 9000], r.randint(1, 3)),
            "udp": r.sample([53, 5000, 514], r.randint(1, 2)),
        }
        for name in n.containers
    }
    servers["host"] = {
        "tcp": [22, *([8443] if r.random() < 0.5 else [])],
        "udp": [123] if r.random() < 0.5 else [],
    }
    for name in (*n.clients, *(["e1"] if n.beyond else [])):
        servers[name] = {"tcp": [8080, 443], "udp": [5353, 53]}
    return servers


def _published(
    r: random.Random, n: Network, servers: Servers, internal: frozenset[str]
) -> tuple[Published, ...]:
    found: dict[tuple[str, int], Published] = {}
    host, second = n.host.partition("/")[0], n.second.partition("/")[0]
    for _ in range(r.randint(1, 5)):
        name, protocol = r.choice(list(n.containers)), r.choice(["tcp", "tcp", "tcp", "udp"])
        if n.containers[name][0] in internal:
            continue
        inside = r.choice(servers[name][protocol])
        port = r.choice([inside, inside + 8000, r.randint(1024, 9999), 30000 + r.randint(0, 2767)])
        address = r.choices(["", host, second or host, "127.0.0.1"], [70, 12, 12, 6])[0]
        if port not in servers["host"][protocol]:
            found.setdefault((protocol, port), Published(protocol, address, port, name, inside))
    return tuple(found.values())


def _kube(r: random.Random, n: Network, servers: Servers) -> tuple[Published, ...]:
    """One service; its endpoints are the published ones."""
    port = r.choice([30080, 80, 8000])
    names = list(n.containers)[: r.randint(1, 4)]
    return tuple(Published("tcp", "", port, name, servers[name]["tcp"][0]) for name in names)


def _relays(r: random.Random, n: Network, published: tuple[Published, ...]) -> list[Any]:
    """docker-proxy, of some of the ports."""
    return [
        [p.protocol, p.address or "0.0.0.0", p.port, n.containers[p.container][1], p.container_port]
        for p in published
        if r.random() < 0.5
    ]


def _plan(r: random.Random) -> Plan:
    return Plan(
        snap=r.choices([128, 192, 96, 80, 262144], [50, 20, 10, 10, 10])[0],
        period=r.choices([0.1, 0.05, 0.25, 1.0], [75, 10, 10, 5])[0],
        micro=r.random() < 0.12,
        promiscuous=r.random() < 0.03,
        link=r.choices(["LINUX_SLL2", "LINUX_SLL"], [80, 20])[0],
        tables=("nat", "filter", "mangle", "raw") if r.random() < 0.5 else ("nat", "filter"),
        exact=r.random() < 0.4,
        ports=r.random() < 0.25,
        set_policies=r.random() < 0.15,
    )
