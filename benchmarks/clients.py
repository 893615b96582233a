"""What watching takes from a client workload: connections a second with no observer, and with each
kind of observer.

Clients outside open connections to a published port (DNAT to a container, as Docker's rules have
it), each with a request, an answer and a close, as fast as they are answered; client and server
have a processor each. ``python -m benchmarks.clients ADDRESS PORT FLIGHT SECONDS`` is such a
client, with FLIGHT connections at a time; it prints how many were answered, in how many seconds,
and in how many of processor time."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

from benchmarks.lossless import observed, processor_seconds
from tests.lab.cases import published_rules, serve
from tests.lab.engine import BUSYBOX
from tests.lab.net import HOST, Lab
from tests.lab.trace import TRACE_TABLE

PY = sys.executable
INTERFACES = ("eth0", "docker0")
NONE, TRACING, SETTLE_S = "none", "kernel tracing", 1.5
OBSERVERS = {
    NONE: (),
    "correlator": (
        (PY, "-m", "benchmarks.observers", "correlator", "FOLDER/session", *INTERFACES),
    ),
    "correlator --no-conntrack": (
        (PY, "-m", "benchmarks.observers", "no-conntrack", "FOLDER/session", *INTERFACES),
    ),
    "tcpdump + iptables-save": (
        *(
            ("tcpdump", "-p", "-i", name, "-s", "128", "-Z", "root", "-w", f"FOLDER/{name}.pcap")
            for name in INTERFACES
        ),
        (PY, "-m", "benchmarks.observers", "save", "FOLDER/counters.log"),
    ),
    TRACING: ((PY, "-m", "benchmarks.observers", "trace", "FOLDER/trace.bin"),),
}
PROCESSES = 0
WAYS = {PROCESSES: "a process each", 1: "one after the other", 16: "16 at a time"}
"""How many connections are under way; PROCESSES: one, each by a process of its own (busybox nc), as
scripts do."""


@dataclass(frozen=True)
class Run:
    """One run: connections a second, and microseconds of processor time that each took: of client
    and server with what the kernel does for them, and of the observers."""

    rate: float
    work: float
    watching: float


@dataclass(frozen=True)
class Rate:
    """Medians of the runs with an observer. ``left`` is the ratio of its rate to that of the runs
    without one beside it; ``work_left`` the same of processor time: what is left where only the
    work's own counts, and ``all_left`` where the observer's comes out of the same processors."""

    observer: str
    flight: int
    run: Run
    left: float
    work_left: float
    all_left: float


def connect(address: str, port: int, flight: int, seconds: float) -> tuple[int, float, float]:
    """Keep ``flight`` connections under way for ``seconds``; (how many were answered, seconds
    taken, those of processor)."""
    begin, good = time.monotonic(), 0
    if flight == PROCESSES:
        while time.monotonic() - begin < seconds:
            done = subprocess.run(
                [BUSYBOX, "nc", address, str(port)],
                input=b"hello",
                stdout=subprocess.PIPE,
                check=True,
            )
            good += bool(done.stdout)
        return good, time.monotonic() - begin, sum(os.times()[:4])
    selector = selectors.DefaultSelector()

    def open_one() -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
        )  # no TIME_WAIT: ports do not run out
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
    return good, time.monotonic() - begin, time.process_time()


@contextmanager
def client_lab() -> Iterator[Lab]:
    """A host with a container that serves on a published port."""
    with Lab() as lab:
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80)))
        serve(lab, "c1", "tcp:80")
        os.sched_setaffinity(
            lab.processes[-1].pid, {1}
        )  # and the clients on the first: where they run makes a difference
        lab.run("out", "sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65000")
        yield lab


def run_clients(lab: Lab, flight: int, seconds: float, observers: Sequence[int] = ()) -> Run:
    """A run of the client outside, with observers of these process ids at work."""
    server = lab.processes[-1].pid
    before = processor_seconds(server), sum(map(processor_seconds, observers))
    command = (
        "taskset",
        "-c",
        "0",
        PY,
        "-m",
        "benchmarks.clients",
        HOST,
        "80",
        str(flight),
        str(seconds),
    )
    answered, took, used = map(float, lab.run("out", *command).split())
    after = processor_seconds(server), sum(map(processor_seconds, observers))
    return Run(
        answered / took,
        1e6 * (used + after[0] - before[0]) / answered,
        1e6 * (after[1] - before[1]) / answered,
    )


@contextmanager
def watched(lab: Lab, observer: str, folder: Path) -> Iterator[list[int]]:
    """An observer of :data:`OBSERVERS` is at work, and writes into ``folder``; the process ids it
    has."""
    with ExitStack() as stack:
        if observer == TRACING:
            lab.run("host", "nft", "-f", "-", stdin=TRACE_TABLE)
            stack.callback(lab.run, "host", "nft", "delete", "table", "ip", "corrtrace")
        yield [
            stack.enter_context(observed(lab, words, folder)).pid for words in OBSERVERS[observer]
        ]


def client_rates(lab: Lab, flight: int, seconds: float, rounds: int) -> list[Rate]:
    """Every observer in turn, ``rounds`` times: two runs with it between two without, since
    whatever else the machine does should meet both alike."""
    pairs: dict[str, list[tuple[Run, Run]]] = {name: [] for name in OBSERVERS}
    for _ in range(rounds):
        for name in OBSERVERS:
            before = run_clients(lab, flight, seconds)
            with (
                tempfile.TemporaryDirectory(prefix="bench") as folder,
                watched(lab, name, Path(folder)) as pids,
            ):
                time.sleep(SETTLE_S if pids else 0)
                during = [run_clients(lab, flight, seconds, pids) for _ in range(2)]
            pairs[name].append((_mean(during), _mean([before, run_clients(lab, flight, seconds)])))
    return [_compare(name, flight, found) for name, found in pairs.items()]


def _mean(runs: list[Run]) -> Run:
    return Run(*(statistics.mean(values) for values in zip(*map(astuple, runs), strict=True)))


def _compare(name: str, flight: int, pairs: list[tuple[Run, Run]]) -> Rate:
    seen = [run for run, _ in pairs]
    return Rate(
        name,
        flight,
        Run(*(statistics.median(values) for values in zip(*map(astuple, seen), strict=True))),
        statistics.median(run.rate / alone.rate for run, alone in pairs),
        statistics.median(alone.work / run.work for run, alone in pairs),
        statistics.median(alone.work / (run.work + run.watching) for run, alone in pairs),
    )


if __name__ == "__main__":
    print(*connect(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
