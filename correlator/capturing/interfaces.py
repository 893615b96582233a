"""Which interfaces there are, and which of them a session listens on when nobody says."""

from __future__ import annotations

import re

import scapy.arch
import scapy.route  # noqa: F401  (with scapy.arch: how to ask this system, and its routes)
from scapy.config import conf

from correlator.errors import InputError

_BRIDGE = re.compile(r"^(docker\d+|docker_gwbridge|br-[0-9a-f]{12}|podman\d+)$")


def list_interfaces() -> dict[str, int]:
    """name -> index of every interface, as scapy lists them now."""
    conf.ifaces.reload()
    return {
        str(one.name): int(one.index)
        for one in conf.ifaces.values()
        if one.is_valid() or one.index > 0
    }


def links() -> dict[str, tuple[str, str]]:
    """name -> (kind, name of the bridge that it is a port of), as rtnetlink(7) tells; both empty
    where there is none.

    Not from /sys/class/net, which is that of the namespace it was mounted in.
    """
    from pyroute2 import IPRoute

    with IPRoute() as route:
        found = list(route.get_links())
    names = {one["index"]: one.get_attr("IFLA_IFNAME") for one in found}
    result = {}
    for one in found:
        info = one.get_attr("IFLA_LINKINFO")
        kind = info.get_attr("IFLA_INFO_KIND") if info is not None else ""
        result[one.get_attr("IFLA_IFNAME")] = (
            kind or "",
            names.get(one.get_attr("IFLA_MASTER"), ""),
        )
    return result


def container_bridges() -> tuple[str, ...]:
    """Every bridge that bears a name that Docker or Podman gives."""
    return tuple(
        sorted(
            name for name, (kind, _) in links().items() if kind == "bridge" and _BRIDGE.match(name)
        )
    )


def default_interfaces() -> tuple[str, ...]:
    """The default route's interface, every bridge of Docker or Podman, and loopback: docker-proxy's
    clients on this host are there."""
    conf.route.resync()
    there = list_interfaces()
    routes = sorted(
        (metric, device)
        for net, mask, _, device, _, metric in conf.route.routes
        if not net and not mask and device in there
    )
    first = [routes[0][1]] if routes else []
    loopback = [name for name in ("lo",) if name in there]
    return tuple(dict.fromkeys([*first, *container_bridges(), *loopback]))


def check_interfaces(names: tuple[str, ...]) -> None:
    """Raises :class:`~correlator.errors.InputError` for an interface that is not there, with a list
    of those that are."""
    there = list_interfaces()
    for name in names:
        if name == "any":
            raise InputError(
                "-i any: a session knows its interfaces by name: name them, each with -i"
            )
        if name not in there:
            raise InputError(f"-i {name}: no such interface: there are {', '.join(sorted(there))}")


def ports_of(bridges: tuple[str, ...]) -> dict[str, str]:
    """port -> its bridge, of every port of these bridges."""
    return {name: master for name, (_, master) in sorted(links().items()) if master in bridges}
