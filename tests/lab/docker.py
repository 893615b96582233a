"""The Docker lab: two containers of a real engine, clients around them, and sessions that
correlator records there."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cases import serve
from tests.lab.engine import Engine
from tests.lab.net import OUTSIDE, ROOT, Lab
from tests.lab.trace import TRACE_TABLE
from tests.lab.truth import read_truth, rule_names, write_truth

CORRELATOR = (sys.executable, "-m", "correlator")


@dataclass(frozen=True)
class Town:
    """The lab with its engine; ``web`` and ``api`` are the containers' process ids."""

    lab: Lab
    engine: Engine
    web: str
    api: str

    def correlator(self, *words: str, environment: dict[str, str] | None = None) -> list[str]:
        """The command line that runs correlator inside the host's namespace."""
        return ["ip", "netns", "exec", self.lab.space("host"), *CORRELATOR, *words]

    def capture(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `correlator capture` with these words in the host's namespace."""
        done = subprocess.run(
            self.correlator("capture", *words),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=self.engine.environment,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(
                f"capture failed with {done.returncode}: {done.stderr}\n{done.stdout[-2000:]}"
            )
        return done

    @property
    def clients(self) -> tuple[str, ...]:
        """The command that runs all clients."""
        return (sys.executable, "-m", "tests.lab.clients", self.lab.prefix, self.web, self.api)

    @contextmanager
    def traced(self, folder: Path) -> Iterator[None]:
        """The kernel traces every packet meanwhile; ``folder``/hits.csv is then what it counted."""
        folder.mkdir(parents=True, exist_ok=True)
        lab = self.lab
        lab.run("host", "nft", "-f", "-", stdin=TRACE_TABLE)
        names = rule_names(lab)
        trace = lab.start(
            "host", sys.executable, "-m", "tests.lab.trace", str(folder / "trace.bin")
        )
        while not (folder / "trace.bin").exists():
            time.sleep(0.02)
        try:
            yield
        finally:
            time.sleep(0.3)
            lab.stop(trace)
            lab.run("host", "nft", "delete", "table", "ip", "corrtrace")
        write_truth(read_truth(folder / "trace.bin", names), folder / "hits.csv")


@contextmanager
def docker_lab(backend: str = "nft") -> Iterator[Town]:
    """One container published on 80, one on a user network with a port on loopback only, a denied
    client."""
    with Lab({}) as lab:
        lab.run("host", "ip", "route", "add", "default", "via", OUTSIDE[0])
        with Engine(lab, backend) as engine:
            web = engine.run("web", "-p", "80:80")
            engine.docker("network", "create", "app")
            api = engine.run("api", "--network", "app", "-p", "127.0.0.1:8080:80")
            denied = (
                "-I",
                "DOCKER-USER",
                "-s",
                f"{OUTSIDE[1]}/32",
                "-i",
                "eth0",
                "-p",
                "tcp",
                "--dport",
                "80",
                "-j",
                "DROP",
            )
            lab.run("host", f"iptables-{backend}", *denied)
            serve(lab, "out", "tcp:8080", "udp:53")
            yield Town(lab, engine, web, api)


def main(backend: str, folder: Path, words: list[str]) -> int:
    """Record a session and (nft) its truth; the exit status of `correlator capture`."""
    with docker_lab(backend) as town, town.traced(folder / "truth"):
        command = town.correlator(
            "capture", "-o", str(folder / "session"), *words, "--", *town.clients
        )
        return subprocess.run(
            command, env=town.engine.environment, cwd=ROOT, check=False
        ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
