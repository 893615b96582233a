"""docker-proxy: it accepts a connection to a published port and opens one of its own to the
container. Both halves are linked, so that they read as the one request that they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.endpoints import address_of, pack, port_of
from correlator.firewall.published import dnat_rules, publication

if TYPE_CHECKING:
    from correlator.arrays import Bools, Ints
    from correlator.firewall.model import Ruleset
    from correlator.firewall.view import Host

PROXY_NS = 1_000_000_000
"""How soon docker-proxy opens its own connection after it accepted one."""
Doors = dict[tuple[int, int], set[int]]
"""(protocol, published port) -> the containers' endpoints behind it."""


@dataclass(frozen=True)
class Locals:
    """Connections (n,) that may be halves: ``local`` where one ended or began on this host and
    nothing translated it, ``own`` where the host opened it; endpoints, protocol and first time."""

    local: Bools
    own: Bools
    protocol: Ints
    client: Ints
    server: Ints
    first: Ints


def published(rulesets: tuple[Ruleset, ...]) -> Doors:
    """The ports that rules publish."""
    doors: Doors = {}
    for rule in dnat_rules(rulesets):
        told = publication(rule)
        if told is not None and told.ports[0] == told.ports[1]:
            doors.setdefault((told.protocol, told.ports[0]), set()).add(pack(*told.server))
    return doors


def link_halves(found: Locals, doors: Doors, host: Host) -> Ints:
    """The other half of each, as row + 1; 0 where it has none."""
    linked = np.zeros(len(found.local), dtype=np.int64)
    accepted: list[int] = []
    order = np.argsort(found.first, kind="stable")
    for at in order[found.local[order]].tolist():
        protocol, server = int(found.protocol[at]), int(found.server[at])
        if (protocol, port_of(server)) in doors and host.is_local(address_of(server)):
            accepted.append(at)
        elif found.own[at] and host.is_local(address_of(int(found.client[at]))):
            other = next(
                (one for one in reversed(accepted) if _fits(found, doors, one, at, linked)), -1
            )
            if other >= 0:
                linked[at], linked[other] = other + 1, at + 1
    return linked


def _fits(found: Locals, doors: Doors, accepted: int, opened: int, linked: Ints) -> bool:
    """Whether one that was accepted may be what another was opened for."""
    door = int(found.protocol[opened]), port_of(int(found.server[accepted]))
    near = 0 <= found.first[opened] - found.first[accepted] < PROXY_NS
    return bool(near and not linked[accepted] and int(found.server[opened]) in doors.get(door, ()))
