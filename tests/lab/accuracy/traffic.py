"""Random traffic, and random changes of rules while it goes on."""

from __future__ import annotations

from collections.abc import Callable

from tests.lab.accuracy.case import SECONDS, Act
from tests.lab.accuracy.conditions import Place, Words, conditions
from tests.lab.accuracy.rules import random_rules, target
from tests.lab.accuracy.rulesets import World

CRAFTED = ("raw", "oow")
"""Kinds of acts that no ordinary program does: packets made by hand."""
ODD = (
    "tcp",
    "tcp",
    "badsum_tcp",
    "badsum_udp",
    "zerosum_udp",
    "sctp",
    "gre",
    "proto",
    "frag",
    "frag_lost",
    "icmp",
    "icmp_error",
    "short",
    "options",
    "spoof",
    "half",
)
"""Kinds of crafted packets; functions of :mod:`tests.lab.accuracy.crafted`."""
Aim = tuple[str, int, str]
"""(address, port, protocol)."""


def _aim(w: Words, world: World, who: str) -> Aim:
    """Something for somebody to dial."""
    n, x = world.network, w.r.random()
    host, second = n.host.partition("/")[0], n.second.partition("/")[0]
    own = [host, *([second] if second else [])]
    if x < 0.5 and world.published:
        p = w.r.choice(world.published)
        if who == "host" and w.maybe(0.5):
            bridge, to = world.target(p)
            near = ["127.0.0.1", host, n.bridges[bridge].partition("/")[0], to]
            return w.r.choice(near), w.r.choice([p.port, p.container_port]), p.protocol
        return w.r.choice([host] * 4 + own), p.port, p.protocol
    if x < 0.65:
        return (
            w.r.choice(list(n.containers.values()))[1],
            w.r.choice([80, 443, 53, 5000, 7777]),
            w.pick("tcp", "udp"),
        )
    if x < 0.75:
        return (
            w.r.choice(own),
            w.r.choice([22, 8443, 123, 8888, 9100, 8081]),
            w.pick("tcp", "tcp", "udp"),
        )
    if x < 0.81:
        far = w.pick("10.96.0.10", "198.51.100.7", "10.9.0." + w.pick(2, 3))
        return far, 80, "tcp"
    protocol = w.pick("tcp", "tcp", "udp")
    outside = [a.partition("/")[0] for a in n.clients.values()] + (
        [n.beyond[1]] if n.beyond else []
    )
    ports = [8080, 443] if protocol == "tcp" else [5353, 53]
    return w.r.choice(outside), w.r.choice(ports) if w.maybe(0.9) else 4444, protocol


def _stream(w: Words, aim: Aim) -> Act:
    act: Act = {
        "kind": "tcp",
        "host": aim[0],
        "port": aim[1],
        "n": w.r.choice([1, 1, 1, 2, 3]),
        "together": 1,
        "size": w.r.choice([0, 10, 600, 600, 3000, 20000, 100000, -1]),
        "requests": w.r.choice([1, 1, 1, 2, 4]),
        "close": w.r.choices(["fin", "rst", "half"], [75, 15, 10])[0],
    }
    extras = (
        (0.12, "sport", [40000, 41000, 1023, 53, 80]),
        (0.07, "tos", [0x10, 0xB8, 0x08]),
        (0.06, "ttl", [1, 2, 3]),
        (0.1, "hold", [0.8]),
    )
    return act | {key: w.r.choice(values) for chance, key, values in extras if w.maybe(chance)}


def _many(w: Words, aim: Aim) -> Act:
    return {
        "kind": "tcp",
        "host": aim[0],
        "port": aim[1],
        "n": w.r.randint(5, 40),
        "together": w.r.choice([1, 2, 4, 8]),
        "size": w.r.choice([10, 600, 3000]),
        "pause": w.r.choice([0, 0.01, 0.05]),
    }


def _datagrams(w: Words, aim: Aim) -> Act:
    act: Act = {
        "kind": "udp",
        "host": aim[0],
        "port": aim[1],
        "n": w.r.choice([1, 2, 3, 8, 15]),
        "size": w.r.choice([1, 20, 64, 200, 400, 1472, 1473, 4000]),
        "gap": w.r.choice([0.001, 0.02, 0.1]),
        "copies": w.r.choice([1, 1, 1, 0, 2, 3]),
        "connected": w.maybe(0.3),
    }
    extras = (
        (0.25, "sport", [5353, 40000, 500, 7100]),
        (0.06, "ttl", [1, 2]),
        (0.1, "tos", [0xB8]),
    )
    return act | {key: w.r.choice(values) for chance, key, values in extras if w.maybe(chance)}


def _reuse(w: Words, aim: Aim) -> Act:
    return {
        "kind": "tcp",
        "host": aim[0],
        "port": aim[1],
        "n": w.r.choice([2, 3]),
        "together": 1,
        "size": w.r.choice([10, 600, -1]),
        "close": w.pick("rst", "fin", "fin"),
        "sport": w.r.choice([41000, 42000]),
    }


def _ping(w: Words, aim: Aim) -> Act:
    return {
        "kind": "ping",
        "host": aim[0],
        "n": w.r.choice([1, 2, 4]),
        "size": w.r.choice([8, 56, 56, 1472, 3000]),
        "ttl": w.r.choice([64, 64, 64, 1, 2, 128]),
        "gap": 0.1,
    }


def _group(w: Words, _aim: Aim) -> Act:
    host = w.pick("224.0.0.1", "224.0.0.251", "239.1.2.3", "255.255.255.255")
    return {"kind": "group", "host": host, "port": w.r.choice([5353, 514, 4000, 123]), "n": 3}


def _outside_of_window(w: Words, aim: Aim) -> Act:
    what = w.pick("rst", "data", "syn", "ack", "badsum")
    return {
        "kind": "oow",
        "host": aim[0],
        "port": aim[1],
        "sport": w.r.randint(43000, 43999),
        "what": what,
        "n": 1,
    }


def _crafted(w: Words, aim: Aim) -> Act:
    return {
        "kind": "raw",
        "what": w.r.choice(ODD),
        "host": aim[0],
        "port": aim[1],
        "sport": w.r.randint(20000, 20999),
        "n": w.r.choice([1, 1, 2, 3]),
        "flags": w.r.choice([0x10, 0x11, 0x04, 0x14, 0x12, 0, 0x29, 0x03, 0x18]),
        "size": w.r.choice([0, 10, 100]),
        "ttl": w.r.choice([64, 64, 64, 1, 2]),
        "seed": w.r.randint(0, 1 << 30),
        "gap": w.r.choice([0.01, 0.2]),
        "peer": w.address(),
    }


KINDS: dict[str, tuple[int, str, Callable[[Words, Aim], Act]]] = {
    "stream": (60, "tcp", _stream),
    "many": (8, "tcp", _many),
    "reuse": (5, "tcp", _reuse),
    "datagrams": (60, "udp", _datagrams),
    "ping": (10, "", _ping),
    "raw": (14, "", _crafted),
    "oow": (4, "tcp", _outside_of_window),
    "group": (3, "", _group),
}
"""Kind -> (weight, the protocol that it needs, who makes it)."""


def random_acts(w: Words, world: World, crafted: bool) -> tuple[Act, ...]:
    """Some six to two hundred connections within the case's time."""
    n = world.network
    everyone = [*n.clients] * 4 + [*n.containers] * 2 + ["host"] * 2 + (["e1"] if n.beyond else [])
    budget = w.r.choices([6, 15, 30, 60, 120, 200], [15, 25, 25, 20, 10, 5])[0]
    kinds = {name: kind for name, kind in KINDS.items() if crafted or name not in CRAFTED}
    acts: list[Act] = []
    while budget > 0:
        who = w.r.choice(everyone)
        aim = _aim(w, world, who)
        fitting = {name: k for name, k in kinds.items() if k[1] in ("", aim[2])}
        name = w.r.choices(list(fitting), [k[0] for k in fitting.values()])[0]
        act = fitting[name][2](w, aim)
        budget -= act["n"] if act["kind"] == "tcp" else 1
        acts.append({"who": who, "at": round(w.r.random() * (SECONDS - 1.2), 3), **act})
    if w.maybe(0.25):
        acts += [_older(w, world, w.r.choice(everyone)) for _ in range(w.r.randint(1, 4))]
    return tuple(sorted(acts, key=lambda act: float(act["at"])))


def _older(w: Words, world: World, who: str) -> Act:
    """What begins before the recording does, and goes on within it."""
    host, port, protocol = _aim(w, world, who)
    at = round(w.r.random() * (SECONDS - 1.2), 3)
    act: Act = {
        "who": who,
        "at": at,
        "kind": protocol,
        "host": host,
        "port": port,
        "before": True,
        "gap": 0.1,
    }
    size = w.r.choice([20, 600])
    if protocol == "udp":
        return act | {"n": w.r.choice([2, 4, 6]), "size": size, "copies": 1}
    return act | {"n": 1, "together": 1, "requests": w.r.choice([2, 4]), "size": size}


def random_changes(
    w: Words, world: World, style: str
) -> tuple[tuple[float, tuple[str, ...], tuple[str, ...]], ...]:
    """Rules that come, go or are zeroed in mid-run; none in most cases."""
    if w.maybe(0.62):
        return ()
    chain = "DOCKER-USER" if style.startswith("docker") else "FORWARD"
    changes = []
    for _ in range(w.r.choice([1, 1, 2, 3])):
        at = round(0.4 + w.r.random() * (SECONDS - 1.2), 3)
        changes.append((at, *_change(w, world, chain)))
    return tuple(sorted(changes))


def _change(w: Words, world: World, chain: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    asked, protocol = conditions(w, Place("filter", "FORWARD"))
    rule = f"{asked} {target(w, 'filter', protocol)}"
    client = w.pick(*world.network.clients.values()).partition("/")[0]
    shell = {
        f"iptables -I {chain} {w.pick(1, 2)} {rule}": 20,
        f"iptables -D {chain} {w.r.randint(1, 3)}": 10,
        f"iptables -D {chain} 1; iptables -I {chain} 1 {rule}": 8,  # -R keeps the trace's handle
        f"iptables -t {w.pick('filter', 'nat')} -Z": 8,
        f"iptables -Z {chain}": 5,
        f"iptables -P {w.pick('FORWARD ACCEPT', 'FORWARD DROP', 'INPUT ACCEPT')}": 5,
        "conntrack -F": 6,
        f"conntrack -D {w.pick('-p tcp', '-p udp', f'-s {client}')}": 8,
        "": 8,
    }
    command = w.r.choices(list(shell), list(shell.values()))[0]
    if command or chain == "FORWARD":
        return (command or "conntrack -F",), ()
    w.chains = 90
    more: list[str] = []
    rules = random_rules(w, Place("filter", "FORWARD"), chain, w.r.randint(1, 4), 0, more)
    return (), ("*filter", f":{chain} - [0:0]", *rules, "COMMIT")
