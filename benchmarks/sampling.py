"""What one sample of all counters costs: read from the kernel, against a forked iptables-save -c.

``python -m benchmarks.sampling BACKEND TIMES`` prints both medians (milliseconds of wall time, taken in turn) for the rules
of the namespace that it is run in, and how many of them there are.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.lab.net import Lab

BACKENDS = ("nft", "legacy")
PAUSE_S = 0.02
"""Before each: between two samples the processor's caches have seen other things."""
SIZES = {20: 200, 1_000: 50, 10_000: 15}
"""Rules, and how often both are timed."""


@dataclass(frozen=True)
class Cost:
    """Medians in milliseconds."""

    backend: str
    rules: int
    read: float
    forked: float


def ruleset(rules: int) -> str:
    """So many rules in all, two for each published port as Docker writes them, the rest in DOCKER-USER."""
    ports = [*range(1024, 1024 + (rules - 6) // 2)]
    fill = rules - 6 - 2 * len(ports)
    return "\n".join([
        "*nat", ":PREROUTING ACCEPT [0:0]", ":INPUT ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":POSTROUTING ACCEPT [0:0]",
        ":DOCKER - [0:0]", "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
        "-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER",
        *(f"-A DOCKER ! -i docker0 -p tcp -m tcp --dport {port} -j DNAT --to-destination 172.17.0.2:80" for port in ports),
        "COMMIT", "*filter", ":INPUT ACCEPT [0:0]", ":FORWARD ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", ":DOCKER - [0:0]",
        ":DOCKER-USER - [0:0]", "-A FORWARD -j DOCKER-USER",
        "-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A FORWARD -o docker0 -j DOCKER",
        *(f"-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport {port} -j ACCEPT" for port in ports),
        *["-A DOCKER-USER -s 203.0.113.9/32 -j DROP"] * fill, "-A DOCKER-USER -j RETURN", "COMMIT", "",
    ])  # fmt: skip


def measure(backend: str, times: int) -> tuple[int, float, float]:
    """(rules, median of a reading, median of a forked iptables-save -c) in this namespace, times in milliseconds."""
    from correlator.capture.legacy import LegacySource
    from correlator.capture.nft import NftSource
    from correlator.capture.rules_text import counting_lines

    save = f"iptables-{backend}-save"
    source = {"nft": NftSource, "legacy": LegacySource}[backend](save, time.time_ns)
    learned = source.read().learned
    read, forked = [], []
    for _ in range(times):
        read.append(_timed(source.read))
        forked.append(_timed(lambda: subprocess.run([save, "-c"], stdout=subprocess.PIPE, check=True)))
    rules = sum(1 for _, _, number in counting_lines(learned.text) if number)
    return rules, 1e3 * statistics.median(read), 1e3 * statistics.median(forked)


def _timed(work: Callable[[], object]) -> float:
    time.sleep(PAUSE_S)
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def sample_cost(backend: str, rules: int, times: int) -> Cost:
    """Measure in a namespace of its own that holds so many rules."""
    with Lab({}) as lab:
        lab.run("host", f"iptables-{backend}-restore", stdin=ruleset(rules))
        shown = lab.run("host", sys.executable, "-m", "benchmarks.sampling", backend, str(times)).split()
    return Cost(backend, int(shown[0]), float(shown[1]), float(shown[2]))


if __name__ == "__main__":
    print(*measure(sys.argv[1], int(sys.argv[2])))
