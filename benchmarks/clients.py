"""What watching takes from a client workload: connections a second with no observer, and with each kind of observer.

Clients outside open connections to a published port (DNAT to a container, as Docker's rules have it), each with a request,
an answer and a close, as fast as they are answered. ``python -m benchmarks.clients ADDRESS PORT FLIGHT SECONDS`` is such a
client, with FLIGHT connections at a time; it prints how many were answered, and in how many seconds.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.lossless import observed
from tests.lab.cases import published_rules, serve
from tests.lab.net import HOST, Lab
from tests.lab.trace import TRACE_TABLE

PY = sys.executable
INTERFACES = ("eth0", "docker0")
NONE, TRACING, SETTLE_S = "none", "kernel tracing", 1.5
OBSERVERS = {
    NONE: (),
    "correlator": ((PY, "-m", "benchmarks.observers", "correlator", "FOLDER/session", *INTERFACES),),
    "tcpdump + iptables-save": (
        *(("tcpdump", "-p", "-i", name, "-s", "128", "-Z", "root", "-w", f"FOLDER/{name}.pcap") for name in INTERFACES),
        (PY, "-m", "benchmarks.observers", "save", "FOLDER/counters.log"),
    ),
    TRACING: ((PY, "-m", "benchmarks.observers", "trace", "FOLDER/trace.bin"),),
}
WAYS = {1: "one after the other", 16: "16 at a time"}


@dataclass(frozen=True)
class Rate:
    """Connections a second with an observer, the median of several runs, and its ratio to those without one beside it."""

    observer: str
    flight: int
    rate: float
    ratio: float


def connect(address: str, port: int, flight: int, seconds: float) -> tuple[int, float]:
    """Keep ``flight`` connections under way for ``seconds``; (how many were answered, seconds taken)."""
    selector, good = selectors.DefaultSelector(), 0
    begin = time.monotonic()

    def open_one() -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # no TIME_WAIT: ports do not run out
        sock.connect_ex((address, port))
        selector.register(sock, selectors.EVENT_WRITE)

    for _ in range(flight):
        open_one()
    while time.monotonic() - begin < seconds:
        for key, events in selector.select(1):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            with contextlib.suppress(OSError):
                if events & selectors.EVENT_WRITE:
                    sock.send(b"hello")
                    selector.modify(sock, selectors.EVENT_READ)
                    continue
                good += bool(sock.recv(65536))
            selector.unregister(sock)
            sock.close()
            open_one()
    return good, time.monotonic() - begin


@contextmanager
def client_lab() -> Iterator[Lab]:
    """A host with a container that serves on a published port."""
    with Lab() as lab:
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80)))
        serve(lab, "c1", "tcp:80")
        lab.run("out", "sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65000")
        yield lab


def run_clients(lab: Lab, flight: int, seconds: float) -> tuple[int, float]:
    """(connections answered, seconds taken) of the client outside."""
    shown = lab.run("out", PY, "-m", "benchmarks.clients", HOST, "80", str(flight), str(seconds)).split()
    return int(shown[0]), float(shown[1])


@contextmanager
def watched(lab: Lab, observer: str, folder: Path) -> Iterator[None]:
    """An observer of :data:`OBSERVERS` is at work, and writes into ``folder``."""
    with ExitStack() as stack:
        if observer == TRACING:
            lab.run("host", "nft", "-f", "-", stdin=TRACE_TABLE)
            stack.callback(lab.run, "host", "nft", "delete", "table", "ip", "corrtrace")
        for words in OBSERVERS[observer]:
            stack.enter_context(observed(lab, words, folder))
        yield


def client_rates(lab: Lab, flight: int, seconds: float, rounds: int) -> list[Rate]:
    """Every observer in turn, ``rounds`` times: two runs with it between two without, since whatever else the machine does
    should meet both alike."""
    rates: dict[str, list[float]] = {name: [] for name in OBSERVERS}
    ratios: dict[str, list[float]] = {name: [1.0] for name in OBSERVERS if name == NONE}
    for _ in range(rounds):
        for name in OBSERVERS:
            if name == NONE:
                continue
            before = _rate(lab, flight, seconds)
            with tempfile.TemporaryDirectory(prefix="bench") as folder, watched(lab, name, Path(folder)):
                time.sleep(SETTLE_S)
                during = [_rate(lab, flight, seconds) for _ in range(2)]
            alone = [before, _rate(lab, flight, seconds)]
            rates[name] += during
            rates[NONE] += alone
            ratios.setdefault(name, []).append(sum(during) / sum(alone))
    return [Rate(name, flight, statistics.median(rates[name]), statistics.median(ratios[name])) for name in OBSERVERS]


def _rate(lab: Lab, flight: int, seconds: float) -> float:
    answered, took = run_clients(lab, flight, seconds)
    return answered / took


if __name__ == "__main__":
    print(*connect(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
