"""A case's network, in namespaces of its own: a switch between host and clients, bridges with
containers on the host."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.lab.accuracy.case import Case
from tests.lab.net import ROOT, Lab, sh

PREFIX = "ac_"
QUIET = (
    "net.ipv6.conf.all.disable_ipv6=1",
    "net.ipv6.conf.default.disable_ipv6=1",
    "net.ipv4.tcp_syn_retries=1",
    "net.ipv4.tcp_synack_retries=1",
    "net.ipv4.tcp_orphan_retries=1",
    "net.ipv4.tcp_retries2=3",
    "net.ipv4.tcp_fin_timeout=2",
    "net.ipv4.igmp_link_local_mcast_reports=0",
)
"""Settings of everybody: no IPv6, nothing sent long after the traffic."""
BEHIND_HOST = ("10.96.0.0/16", "10.9.0.0/16", "198.51.100.0/24", "192.168.77.0/24")
"""Networks that clients look for behind the host."""


def sweep() -> None:
    """Delete the namespaces of runs that are no more."""
    for name in os.listdir("/var/run/netns") if os.path.isdir("/var/run/netns") else ():
        owner = re.match(rf"{PREFIX}(\d+)_", name)
        if owner and not Path(f"/proc/{owner[1]}").exists():
            sh("ip", "netns", "del", name, check=False)


class CaseNetwork(Lab):
    """The members of a case, each in the namespace of its name; and the switch ``sw``."""

    def __init__(self, case: Case) -> None:
        super().__init__(bridges={})
        self.case = case
        self.prefix = f"{PREFIX}{os.getpid()}_"

    def __enter__(self) -> CaseNetwork:
        super().__enter__()
        return self

    def port(self, number: int, container: str) -> str:
        """The host's end of a container's veth."""
        return f"veth{number:x}{container}"

    def talk(self, space: str, module: str, errors: Path) -> subprocess.Popen[str]:
        """Start a module of ours inside a namespace, to write to and to read from."""
        with errors.open("w") as file:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.space(space), sys.executable, "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                cwd=ROOT,
                start_new_session=True,
            )
        self.processes.append(process)  # type: ignore[arg-type]
        return process

    def close(self) -> None:
        """End everything that was started and what that started, delete the namespaces."""
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        super().close()

    def _build(self) -> None:
        n = self.case.network
        for name in (*n.members, "sw"):
            self.add_space(name)
            self.run(name, "sysctl", "-qw", *QUIET, check=False)
        self.run("sw", "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0", check=False)
        self._switch("br0")
        gateway = next(iter(n.clients.values())).partition("/")[0]
        self._plug("host", "eth0", "br0", [n.host, *([n.second] if n.second else [])], gateway)
        for name, address in n.clients.items():
            self._plug(name, "eth0", "br0", [address])
            self._way_back(name)
        if n.beyond:
            self._switch("br1")
            self._plug("host", "eth1", "br1", [n.beyond[0]])
            self._plug("e1", "eth0", "br1", [n.beyond[1] + "/24"], n.beyond[0].partition("/")[0])
        for bridge, address in n.bridges.items():
            lines = [
                f"link add {bridge} type bridge",
                f"addr add {address} dev {bridge}",
                f"link set {bridge} up",
            ]
            self._batch("host", lines)
        for number, name in enumerate(n.containers):
            self._container(number, name)
        for bridge, size in n.mtu.items():
            self._batch("host", [f"link set {bridge} mtu {size}"])
        for key, value in self.case.sysctls.items():
            self.run("host", "sysctl", "-qw", f"{key}={value}", check=False)

    def _batch(self, space: str, lines: list[str], check: bool = True) -> None:
        text = "\n".join(lines) + "\n"
        self.run(
            space, "ip", *([] if check else ["-force"]), "-batch", "-", stdin=text, check=check
        )

    def _switch(self, name: str) -> None:
        self._batch("sw", [f"link add {name} type bridge", f"link set {name} up"])

    def _veth(self, space: str, device: str, other: str, peer: str) -> None:
        ends = (
            "netns",
            self.space(space),
            "type",
            "veth",
            "peer",
            "name",
            peer,
            "netns",
            self.space(other),
        )
        sh("ip", "link", "add", device, *ends)

    def _plug(
        self, space: str, device: str, switch: str, addresses: list[str], gateway: str = ""
    ) -> None:
        peer = f"v{space}{device[-1]}"
        self._veth(space, device, "sw", peer)
        self._batch("sw", [f"link set {peer} master {switch} up"])
        lines = [*(f"addr add {a} dev {device}" for a in addresses), f"link set {device} up"]
        self._batch(space, lines + ([f"route add default via {gateway}"] if gateway else []))

    def _way_back(self, client: str) -> None:
        n = self.case.network
        host = n.host.partition("/")[0]
        inside = (
            [address.replace(".0.1/16", ".0.0/16") for address in n.bridges.values()]
            if n.routed
            else []
        )
        lines = [f"route add {net} via {host}" for net in (*BEHIND_HOST, *inside)]
        self._batch(client, lines, check=False)

    def _container(self, number: int, name: str) -> None:
        n = self.case.network
        bridge, address = n.containers[name]
        port, size = self.port(number, name), n.mtu.get(bridge)
        self._veth(name, "eth0", "host", port)
        lines = [f"link set {port} master {bridge} up"]
        if name in n.hairpin:
            lines.append(f"link set {port} type bridge_slave hairpin on")
        self._batch("host", lines + ([f"link set {port} mtu {size}"] if size else []))
        lines = [f"addr add {address}/16 dev eth0", "link set eth0 up"]
        lines.append(f"route add default via {n.bridges[bridge].partition('/')[0]}")
        self._batch(name, lines + ([f"link set eth0 mtu {size}"] if size else []))
