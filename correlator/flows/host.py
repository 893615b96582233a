"""The host behind the packets: its addresses, routes and settings, from facts or from the packets.

Without ``addr.json`` and its like, what the host sends without having received it bears its own
addresses, and Docker's rules name the bridges' subnets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.addresses import in_network
from correlator.dataset.conntrack_settings import read_conntrack_settings
from correlator.firewall import docker
from correlator.firewall.effects.verdicts import ChangeSet
from correlator.firewall.sets import parse_sets
from correlator.firewall.view import Host, Route
from correlator.flows.frames.direction import IN
from correlator.flows.host6 import build_host6

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from correlator.arrays import Ints
    from correlator.dataset.facts import Facts
    from correlator.firewall.model import Ruleset
    from correlator.firewall.sets import AddressSet
    from correlator.flows.frames.direction import Sight


@dataclass(frozen=True)
class Shown:
    """Addresses that frames show, in order, by interface: ``sent`` from without having come in, and
    ``reached`` at its own MAC address."""

    sent: Mapping[str, tuple[int, ...]]
    reached: Mapping[str, tuple[int, ...]]


NOTHING_SHOWN = Shown({}, {})


def shown_addresses(
    packets: pd.DataFrame, sight: Sight, names: tuple[str, ...], left_alone: Ints
) -> Shown:
    """What these frames show; ``left_alone`` are rows of those that left without having come in:
    the host's own."""
    src, dst = packets["src"].to_numpy(), packets["dst"].to_numpy()
    interface, mac_dst = packets["interface"].to_numpy(), packets["mac_dst"].to_numpy()
    sent, reached = {}, {}
    for code, name in enumerate(names):
        sent[name] = tuple(np.unique(src[left_alone][interface[left_alone] == code]).tolist())
        if sight.macs.get(name):
            rows = (sight.wire == IN) & (interface == code) & (mac_dst == sight.macs[name])
            reached[name] = tuple(np.unique(dst[rows]).tolist())
    return Shown(sent, reached)


def build_host(
    facts: Facts, shown: Shown, names: tuple[str, ...], rulesets: Iterable[Ruleset]
) -> tuple[Host, tuple[str, ...]]:
    """The host for the walk, and what of it was inferred from what frames on interfaces of these
    ``names`` have ``shown``."""
    bridges = frozenset(name for name in {*facts.interfaces, *names} if facts.is_bridge(name))
    if facts.family == 6:
        return build_host6(facts, bridges, _still_sets(facts, rulesets), _routes(facts)), ()
    sets = _still_sets(facts, rulesets)
    settings = read_conntrack_settings(facts.sysctls)
    if "addr.json" in facts.present:
        addresses = {
            name: tuple(a for a, _ in fact.addresses) for name, fact in facts.interfaces.items()
        }
        local = frozenset(a for many in addresses.values() for a in many)
        broadcast = {r.destination for r in facts.routes if r.kind == "broadcast"}
        for fact in facts.interfaces.values():
            broadcast |= {a | (0xFFFFFFFF >> length) for a, length in fact.addresses if length < 31}
        routes = _routes(facts)
        return Host(
            local,
            frozenset(broadcast),
            routes,
            addresses,
            bridges,
            sets,
            bool(routes),
            *_source_checks(facts),
            _forwarding(facts),
            _localnet(facts),
            {name: fact.mtu for name, fact in facts.interfaces.items() if fact.mtu},
            settings,
        ), ()
    nets = bridge_nets(rulesets)
    found = _infer(shown, names, nets)
    local = frozenset(a for many in found.values() for a in many)
    routes = _routes(facts) or tuple(
        sorted(
            (Route(low, length, device) for device, (low, length) in nets.items()),
            key=lambda r: -r.length,
        )
    )
    outside = [n for n in names if n != "lo" and n not in nets and n not in bridges]
    if not any(r.length == 0 for r in routes) and len(outside) == 1:
        routes = (*routes, Route(0, 0, outside[0]))
    broadcast = {low | (0xFFFFFFFF >> length) for low, length in nets.values()}
    host = Host(
        local,
        frozenset(broadcast),
        routes,
        found,
        bridges | frozenset(nets),
        sets,
        certain=False,
        conntrack=settings,
    )
    return host, ("the host's addresses and bridge subnets",)


def _source_checks(facts: Facts) -> tuple[dict[str, int] | None, frozenset[str] | None]:
    """(interface -> rp_filter as it works, interfaces that accept own addresses as sources); None
    where settings are not all known, or more routing tables than the usual ones may have a say
    (net.ipv4.conf: the larger of all and its own)."""
    usual = all(route.table in ("main", "local", "default") for route in facts.routes)
    places = ("all", *(name.replace(".", "/") for name in facts.interfaces))
    known = {
        name: [facts.sysctls.get(f"net.ipv4.conf.{place}.{name}") for place in places]
        for name in ("rp_filter", "accept_local")
    }
    if not usual or any(
        value is None or not value.isdigit() for values in known.values() for value in values
    ):
        return None, None
    modes, own = (
        [int(value or 0) for value in known[name]] for name in ("rp_filter", "accept_local")
    )
    reverse_path = {
        name: max(modes[0], mode) for name, mode in zip(facts.interfaces, modes[1:], strict=True)
    }
    return reverse_path, frozenset(
        name for name, value in zip(facts.interfaces, own[1:], strict=True) if value or own[0]
    )


def _conf(facts: Facts, interface: str, name: str) -> str | None:
    """net.ipv4.conf.INTERFACE.NAME, as sysctl(8) spells it."""
    return facts.sysctls.get(f"net.ipv4.conf.{interface.replace('.', '/')}.{name}")


def _forwarding(facts: Facts) -> dict[str, bool] | None:
    """interface -> whether what comes in there is forwarded; None where no setting was saved.
    ip_forward sets that of every interface when it is written (devinet_sysctl_forward)."""
    everywhere = facts.sysctls.get("net.ipv4.ip_forward")
    found = {
        name: own
        for name in facts.interfaces
        if (own := _conf(facts, name, "forwarding") or everywhere) is not None
    }
    return {name: value != "0" for name, value in found.items()} if found else None


def _localnet(facts: Facts) -> frozenset[str] | None:
    """The interfaces that let 127.0.0.0/8 in; None where settings are not all known
    (IN_DEV_ROUTE_LOCALNET: all or its own)."""
    everywhere = _conf(facts, "all", "route_localnet")
    own = {name: _conf(facts, name, "route_localnet") for name in facts.interfaces}
    if everywhere is None or None in own.values():
        return None
    return frozenset(name for name, value in own.items() if value != "0" or everywhere != "0")


def _still_sets(facts: Facts, rulesets: Iterable[Ruleset]) -> dict[str, AddressSet]:
    """The ipsets whose members were saved, without those that packets themselves change (target
    SET)."""
    changing = {
        effect.name
        for ruleset in rulesets
        for rule in ruleset.rules
        for effect in rule.effects
        if isinstance(effect, ChangeSet)
    }
    return {
        name: members
        for name, members in parse_sets(facts.sets, facts.family).items()
        if name not in changing
    }


def _routes(facts: Facts) -> tuple[Route, ...]:
    routes = [
        Route(
            r.destination,
            r.length,
            r.device,
            r.kind == "local",
            r.kind == "broadcast",
            r.prefsrc,
            r.metric,
            r.kind in ("blackhole", "unreachable", "prohibit"),
        )
        for r in facts.routes
        if r.kind not in ("multicast",)
    ]
    return tuple(sorted(routes, key=lambda r: (-r.length, r.metric)))


def bridge_nets(rulesets: Iterable[Ruleset]) -> dict[str, tuple[int, int]]:
    """bridge -> (address, length) of its subnet, as Docker's rules name it."""
    return {
        bridge: (low, 32 - (high - low).bit_length())
        for bridge, (low, high) in docker.bridge_nets(rulesets).items()
    }


def _infer(
    shown: Shown, names: tuple[str, ...], nets: dict[str, tuple[int, int]]
) -> dict[str, tuple[int, ...]]:
    """Own addresses of each interface, from what the host sent and what the rules name."""
    found: dict[str, dict[int, None]] = {}
    for device, (low, _) in nets.items():
        found.setdefault(device, {})[low + 1] = None
    for name in names:
        for address in shown.sent.get(name, ()):
            if address < 1 << 32 and not _claimed(address, name, nets):
                found.setdefault(name, {})[address] = None
    known = {address for many in found.values() for address in many}
    _dialled(shown, names, nets, known, found)
    return {name: tuple(many) for name, many in found.items()}


def _claimed(address: int, name: str, nets: dict[str, tuple[int, int]]) -> bool:
    """Whether the address belongs to another device's subnet (the host uses it there, not here)."""
    return any(
        device != name and in_network(address, low, length)
        for device, (low, length) in nets.items()
    )


def _dialled(
    shown: Shown,
    names: tuple[str, ...],
    nets: dict[str, tuple[int, int]],
    known: set[int],
    found: dict[str, dict[int, None]],
) -> None:
    """Unicast destinations of frames addressed to an outside interface's MAC are the host's own
    there.

    True only where the outside does not route through this host to its containers, so subnets of
    bridges are left out."""
    for name in names:
        if name in nets or name == "lo":
            continue
        for address in shown.reached.get(name, ()):
            inside = any(in_network(address, low, n) for low, n in nets.values())
            if address < 1 << 32 and not inside and address not in known:
                found.setdefault(name, {})[address] = None
