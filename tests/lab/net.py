"""Namespaces, a bridge with containers, an outside with clients; all named with a prefix of our
own, gone at the end."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType

OUTSIDE = ("172.31.32.1", "172.31.40.9")
HOST = "172.31.37.164"
LETTERS = (f"{chr(97 + number % 26)}{number // 26 or ''}" for number in itertools.count())
"""Tells apart the labs of one process."""
ROOT = Path(__file__).resolve().parents[2]


def sh(*command: str, stdin: str | None = None, check: bool = True) -> str:
    """Run a command; its output. Raises with its error output where it fails."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Lab:
    """A host with ``eth0`` (towards the clients) and bridges with containers, each in a namespace
    of its own.

    ``bridges`` maps a bridge's name to the number of its containers: bridge i has
    172.(17+i).0.1/16, its containers 172.(17+i).0.2 and on."""

    def __init__(
        self, bridges: dict[str, int] | None = None, sysctls: dict[str, str] | None = None
    ) -> None:
        self.bridges = {"docker0": 1} if bridges is None else bridges
        self.sysctls = sysctls or {}
        self.prefix = f"corr{os.getpid()}{next(LETTERS)}-"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.spaces: list[str] = []

    def __enter__(self) -> Lab:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def space(self, name: str) -> str:
        """The namespace's full name."""
        return self.prefix + name

    def run(self, space: str, *command: str, stdin: str | None = None, check: bool = True) -> str:
        """Run a command inside a namespace."""
        return sh("ip", "netns", "exec", self.space(space), *command, stdin=stdin, check=check)

    def start(
        self, space: str, *command: str, stdout: int | None = subprocess.DEVNULL
    ) -> subprocess.Popen[bytes]:
        """Start a process inside a namespace; it ends with the lab."""
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.space(space), *command],
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def stop(
        self, process: subprocess.Popen[bytes], how: int = signal.SIGTERM, wait: float = 10.0
    ) -> None:
        """End a process that this lab started."""
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(wait)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        """End everything that was started, delete the namespaces."""
        for process in self.processes:
            self.stop(process, signal.SIGKILL)
        for name in self.spaces:
            sh("ip", "netns", "del", name, check=False)
        self.spaces.clear()

    def add_space(self, name: str) -> None:
        """A new namespace with loopback up."""
        sh("ip", "netns", "add", self.space(name))
        self.spaces.append(self.space(name))
        self.run(name, "ip", "link", "set", "lo", "up")

    def _build(self) -> None:
        for name in ("host", "out"):
            self.add_space(name)
        sh(
            "ip",
            "-n",
            self.space("host"),
            "link",
            "add",
            "eth0",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            self.space("out"),
        )
        self._address("host", "eth0", HOST + "/16")
        self.run("out", "ip", "link", "set", "eth0", "up")
        for address in OUTSIDE:
            self.run("out", "ip", "addr", "add", address + "/16", "dev", "eth0")
        settings = {"net.ipv4.ip_forward": "1", **self.sysctls}
        number = 2
        for i, (bridge, count) in enumerate(self.bridges.items()):
            self.run("host", "ip", "link", "add", bridge, "type", "bridge")
            self._address("host", bridge, f"172.{17 + i}.0.1/16")
            for j in range(count):
                self.add_container(
                    bridge, f"c{number - 1}", f"172.{17 + i}.0.{2 + j}", f"172.{17 + i}.0.1"
                )
                number += 1
        settings.setdefault("net.bridge.bridge-nf-call-iptables", "1")
        for key, value in settings.items():
            self.run("host", "sysctl", "-qw", f"{key}={value}")
        for space in self.spaces:
            sh(
                "ip",
                "netns",
                "exec",
                space,
                "sysctl",
                "-qw",
                "net.ipv6.conf.all.disable_ipv6=1",
                check=False,
            )
        time.sleep(0.2)

    def add_container(self, bridge: str, name: str, address: str, gateway: str) -> None:
        """A namespace with a veth to a bridge."""
        self.add_space(name)
        sh(
            "ip",
            "-n",
            self.space("host"),
            "link",
            "add",
            f"v{name}",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            self.space(name),
        )
        self.run("host", "ip", "link", "set", f"v{name}", "master", bridge, "up")
        self._address(name, "eth0", address + "/16")
        self.run(name, "ip", "route", "add", "default", "via", gateway)

    def _address(self, space: str, device: str, address: str) -> None:
        self.run(space, "ip", "addr", "add", address, "dev", device)
        self.run(space, "ip", "link", "set", device, "up")

    def rules(self, text: str) -> None:
        """Load rules in iptables-save form into the host's namespace."""
        self.run("host", "iptables-nft-restore", stdin=text)

    def iptables(self, *arguments: str) -> None:
        """One change to the host's rules."""
        self.run("host", "iptables-nft", *arguments)
