"""A recording as a user of plain tools makes it: tcpdump per interface, counter logs, facts,
sysctls; and the truth."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tests.lab.net import Lab
from tests.lab.trace import TRACE_TABLE
from tests.lab.truth import Names, read_truth, rule_names, write_truth

TAIL = 1.3
SYSCTLS = (
    "net.bridge",
    "net.ipv4.ip_forward",
    "net.ipv4.conf.",
    "net.ipv6.conf.",
    "net.netfilter.nf_conntrack_tcp_loose",
)
CONF = ("rp_filter", "accept_local", "route_localnet", "forwarding")
"""What is kept of net.ipv4.conf and net.ipv6.conf."""


def _kept(line: str) -> bool:
    name = line.partition(" ")[0]
    return name.startswith(SYSCTLS) and (".conf." not in name or name.rpartition(".")[2] in CONF)


class Recorder:
    """Records a lab's host between ``with``'s begin and end into ``folder``."""

    logs: tuple[str, ...] = ("counters.log",)

    def __init__(
        self,
        lab: Lab,
        folder: Path,
        interfaces: Iterable[str] = ("eth0", "docker0"),
        snap: int = 128,
        interval: float = 0.1,
        link: str = "",
    ) -> None:
        self.lab, self.folder, self.interfaces, self.snap = lab, folder, tuple(interfaces), snap
        self.interval, self.link = interval, link
        self.names: Names = {}

    def __enter__(self) -> Recorder:
        folder, lab = self.folder, self.lab
        folder.mkdir(parents=True, exist_ok=True)
        self._facts()
        lab.run("host", "nft", "-f", "-", stdin=TRACE_TABLE)
        self.note_rules()
        self.trace = lab.start(
            "host", sys.executable, "-m", "tests.lab.trace", str(folder / "trace.bin")
        )
        self.dumps = [
            lab.start(
                "host",
                "tcpdump",
                "-p",
                "-i",
                name,
                "-s",
                str(self.snap),
                "-U",
                "--immediate-mode",
                "-Z",
                "root",
                "--time-stamp-precision=nano",
                *(["-y", self.link] if self.link else []),
                "-w",
                str(folder / f"{name}.pcap"),
            )
            for name in self.interfaces
        ]
        self.sampler = lab.start("host", *self.sampling())
        self._wait(folder / "trace.bin", 6)
        for name in self.logs:
            self._wait(folder / name, 1)
        for name in self.interfaces:
            self._wait(folder / f"{name}.pcap", 24)
        time.sleep(0.3)
        return self

    def _wait(self, path: Path, size: int) -> None:
        until = time.monotonic() + 20
        while not path.exists() or path.stat().st_size < size:
            if time.monotonic() > until:
                raise RuntimeError(f"{path} does not appear")
            time.sleep(0.02)

    def sampling(self) -> tuple[str, ...]:
        """The sampler's command."""
        return (sys.executable, "-m", "tests.lab.sampler", str(self.folder), str(self.interval))

    def note_rules(self) -> None:
        """Learn the handles of the rules that are there now; call it after every change."""
        self.names.update(rule_names(self.lab))

    def __exit__(self, kind: object, *_: object) -> None:
        time.sleep(TAIL)
        self.lab.stop(self.sampler)
        for dump in self.dumps:
            self.lab.stop(dump, signal.SIGINT)
        self.lab.stop(self.trace)
        self.lab.run("host", "nft", "delete", "table", "ip", "corrtrace")
        if kind is None:
            self.read_truth()
        (self.folder / "trace.bin").unlink()

    def read_truth(self) -> None:
        """Write what the trace shows to truth/hits.csv."""
        self.truth = read_truth(self.folder / "trace.bin", self.names)
        write_truth(self.truth, self.folder / "truth" / "hits.csv")

    def _facts(self) -> None:
        for name, words in (
            ("addr", ["addr"]),
            ("link", ["-d", "link"]),
            ("route", ["route", "show", "table", "all"]),
        ):
            text = subprocess.run(
                ["ip", "-n", self.lab.space("host"), "-j", *words],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            (self.folder / f"{name}.json").write_text(text)
        lines = [
            line
            for line in self.lab.run("host", "sysctl", "-a", check=False).splitlines()
            if _kept(line)
        ]
        (self.folder / "sysctl.txt").write_text("\n".join(lines) + "\n")
