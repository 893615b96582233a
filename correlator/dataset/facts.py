"""Facts about the host: interfaces, addresses, routes and sysctls, as ``ip -j`` and ``sysctl -a``
print them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from correlator.addresses import WIDTH6
from correlator.addresses import value as number_of
from correlator.dataset.files import is_there, read_text
from correlator.dataset.session import FACTS
from correlator.errors import InputError

MAC = re.compile(r"[0-9a-fA-F]{1,2}(:[0-9a-fA-F]{1,2}){5}")
VERSION = re.compile(r"[0-9]{1,9}")
"""Names of the folders that hold a session's facts."""


@dataclass(frozen=True, slots=True)
class InterfaceFact:
    """One interface. ``mac`` as an integer (0 none), ``master`` the bridge it is a port of,
    ``addresses`` as (number, prefix length); ``mtu`` 0 where it is not known."""

    name: str
    index: int = 0
    mac: int = 0
    master: str = ""
    kind: str = ""
    addresses: tuple[tuple[int, int], ...] = ()
    mtu: int = 0


@dataclass(frozen=True, slots=True)
class RouteFact:
    """One route; ``kind`` as ip-route(8) calls its type, addresses as numbers (0 none)."""

    destination: int
    length: int
    device: str = ""
    gateway: int = 0
    kind: str = "unicast"
    prefsrc: int = 0
    metric: int = 0
    table: str = "main"


@dataclass(frozen=True)
class Facts:
    """What is known of the host; ``present`` names the files that were there. ``sets``: what `ipset
    save` printed, once a version; ``containers``: address -> name, as Docker told. ``family`` (4,
    6): that of the addresses and routes."""

    interfaces: dict[str, InterfaceFact] = field(default_factory=dict)
    routes: tuple[RouteFact, ...] = ()
    sysctls: dict[str, str] = field(default_factory=dict)
    present: frozenset[str] = frozenset()
    sets: tuple[str, ...] = ()
    containers: dict[str, str] = field(default_factory=dict)
    family: int = 4

    @property
    def bridges_filter(self) -> bool:
        """Whether rules see what bridges carry (br_netfilter); so where no setting was saved."""
        name = "iptables" if self.family == 4 else "ip6tables"
        return self.sysctls.get(f"net.bridge.bridge-nf-call-{name}", "1").strip() != "0"

    def is_bridge(self, name: str) -> bool:
        """Whether an interface is a bridge: by its kind, by its ports, or (nothing known of it) by
        Docker's names."""
        fact = self.interfaces.get(name)
        if (fact is not None and fact.kind == "bridge") or any(
            f.master == name for f in self.interfaces.values()
        ):
            return True
        if "link.json" in self.present and fact is not None:
            return False
        return name == "docker0" or name.startswith("br-")


def read_facts(folder: Path | None, inside: Path | None = None, family: int = 4) -> Facts:
    """The facts in a folder: ``addr.json``, ``link.json``, ``route.json``, ``sysctl.txt``, those
    that are there; of addresses and routes those of one ``family`` (4, 6), as numbers of the
    address book in force. They lie in ``inside``, or in the folder itself.

    Raises :class:`~correlator.errors.InputError` where one of them is not what its name says.
    """
    if folder is None:
        return Facts()
    if not folder.is_dir():
        raise InputError(
            f"{folder}: is not a folder: expected one with addr.json, link.json, route.json, "
            f"sysctl.txt"
        )
    inside = inside or folder
    present = set()
    links: dict[str, dict[str, Any]] = {}
    for name in ("link.json", "addr.json"):
        items = _read_json(folder / name, inside, "Link")
        if items is None:
            continue
        present.add(name)
        for item in items:
            if item.get("ifname"):
                links.setdefault(item["ifname"], {}).update(item)
    routes = _read_json(folder / "route.json", inside, "Route")
    if routes is not None:
        present.add("route.json")
    sysctls: dict[str, str] = {}
    if is_there(folder / "sysctl.txt"):
        present.add("sysctl.txt")
        for line in read_text(folder / "sysctl.txt", inside).splitlines():
            key, found, value = line.partition("=")
            if found:
                sysctls[key.strip()] = value.strip()
    try:
        interfaces = {name: _interface(name, item, family) for name, item in links.items()}
        known = tuple(_route(item, family) for item in routes or [] if _family(item) == family)
    except ValueError as error:
        raise InputError(
            f"{folder}: its JSON is not what `ip -j addr|link|route` prints: {error}"
        ) from None
    sets = folder / "ipsets.txt"
    return Facts(
        interfaces,
        known,
        sysctls,
        frozenset(present),
        (read_text(sets, inside),) if is_there(sets) else (),
        _containers(folder, inside),
        family,
    )


def read_session_facts(folder: Path, family: int = 4) -> Facts:
    """The facts of a session, all their versions in one: what was there at any time was there, the
    last word counts."""
    versions = sorted(
        (int(one.name), one) for one in (folder / FACTS).glob("*") if VERSION.fullmatch(one.name)
    )
    found = [read_facts(one, folder, family) for _, one in versions]
    if not found:
        return Facts()
    interfaces = {name: fact for facts in found for name, fact in facts.interfaces.items()}
    routes = tuple(dict.fromkeys(route for facts in reversed(found) for route in facts.routes))
    return Facts(
        interfaces,
        routes,
        found[-1].sysctls,
        frozenset[str]().union(*(facts.present for facts in found)),
        tuple(text for facts in found for text in facts.sets),
        {address: name for facts in found for address, name in facts.containers.items()},
        family,
    )


def _containers(folder: Path, inside: Path) -> dict[str, str]:
    """address -> name of the container that has it in one of its networks, from docker.json where
    it is there."""
    items = _read_json(folder / "docker.json", inside, "Container") or []
    return {
        address: item.get("name", "")
        for item in items
        for address in (item.get("networks") or {}).values()
        if address
    }


def _read_json(path: Path, inside: Path, shape: str) -> list[dict[str, Any]] | None:
    """A list of objects, each of a shape of :mod:`correlator.dataset.shapes`; None where the file
    is not there."""
    if not is_there(path):
        return None
    from correlator.dataset import shapes

    found: list[dict[str, Any]] = shapes.decode(
        read_text(path, inside).encode(),
        list[getattr(shapes, shape)],  # type: ignore[misc]
        path,
        "save it with ip -j" if shape != "Container" else "expected what the recorder writes",
    )
    return found


def _interface(name: str, item: dict[str, Any], family: int) -> InterfaceFact:
    mac = item.get("address", "") if item.get("link_type", "ether") == "ether" else ""
    if mac and not MAC.fullmatch(mac):
        raise ValueError(f"{mac!r} is no MAC address")
    wanted, width = ("inet", 32) if family == 4 else ("inet6", WIDTH6)
    addresses = tuple(
        (number_of(a["local"]), _bits(a.get("prefixlen", width), width))
        for a in item.get("addr_info", [])
        if a.get("family", "inet") == wanted and "local" in a
    )
    return InterfaceFact(
        name,
        item.get("ifindex", 0),
        int(mac.replace(":", ""), 16) if mac else 0,
        item.get("master") or "",
        (item.get("linkinfo") or {}).get("info_kind", ""),
        addresses,
        item.get("mtu", 0),
    )


def _bits(length: int, width: int) -> int:
    """The length of a prefix, which is one of addresses of ``width`` bits."""
    if length > width:
        raise ValueError(f"/{length} is no prefix of {width} bits")
    return length


def _family(item: dict[str, Any]) -> int:
    """The family of a route (4, 6). A default route does not name it, but every route of IPv6 has a
    preference (RFC 4191; RTA_PREF)."""
    named = (item.get(key) or "" for key in ("dst", "gateway", "prefsrc"))
    return 6 if "pref" in item or any(":" in text for text in named) else 4


def _route(item: dict[str, Any], family: int) -> RouteFact:
    text = item.get("dst", "default")
    everywhere = "0.0.0.0/0" if family == 4 else "::/0"
    kind = ipaddress.IPv4Network if family == 4 else ipaddress.IPv6Network
    network = kind(everywhere if text == "default" else text, strict=False)

    def address(key: str) -> int:
        found = item.get(key)
        return number_of(found) if found and (":" in found) == (family == 6) else 0

    return RouteFact(
        number_of(str(network.network_address)),
        network.prefixlen,
        item.get("dev", ""),
        address("gateway"),
        item.get("type", "unicast"),
        address("prefsrc"),
        item.get("metric", 0),
        str(item.get("table", "main")),
    )
