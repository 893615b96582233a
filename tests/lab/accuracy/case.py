"""One random case: the network, its rules, who sends what when, and how it is recorded. Plain
values."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SECONDS = 3.4
"""How long a case's traffic goes on."""
Act = dict[str, Any]
"""What one member does at one moment: ``who``, ``at`` (seconds), ``kind`` (a method of
:class:`tests.lab.accuracy.agent.Agent`) and what that takes."""


@dataclass(frozen=True)
class Network:
    """Addresses are ``address/length``; ``containers`` are (bridge, address). ``second``: another
    address of eth0. ``beyond``: eth1's address and the one behind it. ``routed``: clients know a
    way to the containers. ``hairpin``: containers whose port sends back what came by it."""

    host: str
    second: str
    clients: dict[str, str]
    bridges: dict[str, str]
    containers: dict[str, tuple[str, str]]
    beyond: tuple[str, str] | None
    routed: bool
    hairpin: tuple[str, ...]
    mtu: dict[str, int]

    @property
    def members(self) -> tuple[str, ...]:
        """Everybody who serves and sends: the ``host``, clients, containers, ``e1`` beyond."""
        beyond = ("e1",) if self.beyond else ()
        return ("host", *self.clients, *self.containers, *beyond)

    def addresses(self) -> list[str]:
        """The addresses that rules and traffic name."""
        outside = [self.host, *self.clients.values(), *([self.second] if self.second else [])]
        return [a.partition("/")[0] for a in outside] + [a for _, a in self.containers.values()]


@dataclass(frozen=True)
class Published:
    """A port of the host that leads to a container's; ``address``: on this one only."""

    protocol: str
    address: str
    port: int
    container: str
    container_port: int


@dataclass(frozen=True)
class Plan:
    """How the case is recorded: ``snap`` bytes of each frame, a sample every ``period`` seconds,
    the link type of ``any``; ``tables`` and ``exact`` numbers in the listing; bridge ``ports``."""

    snap: int
    period: float
    micro: bool
    promiscuous: bool
    link: str
    tables: tuple[str, ...]
    exact: bool
    ports: bool
    set_policies: bool


@dataclass(frozen=True)
class Case:
    """``servers``: member -> protocol -> ports, and ``relay``: [protocol, address, port, to, port].
    ``changes``: (seconds, shell commands on the host, rules to load beside the others)."""

    seed: int
    style: str
    network: Network
    sysctls: dict[str, str]
    sets: tuple[str, ...]
    rules: tuple[str, ...]
    servers: dict[str, dict[str, list[Any]]]
    acts: tuple[Act, ...]
    changes: tuple[tuple[float, tuple[str, ...], tuple[str, ...]], ...]
    plan: Plan

    def write(self, path: Path) -> None:
        """As JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")
