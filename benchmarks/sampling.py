"""What one sample of all counters costs: read from the kernel, against a forked iptables-save -c.

``python -m benchmarks.sampling BACKEND TIMES`` prints how many rules the namespace that it is run
in has, and medians in milliseconds of wall time: of both one after the other, and of both when
nothing was done for a while before, as in a recording (the processor then wakes up, and its caches
hold other things)."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.lab.net import Lab

BACKENDS = ("nft", "legacy")
SIZES = {20: 200, 1_000: 50, 10_000: 15}
"""Rules, and how often each is timed."""
PAUSE_S = 0.02


@dataclass(frozen=True)
class Cost:
    """Medians in milliseconds; ``late`` are those after a pause."""

    backend: str
    rules: int
    read: float
    forked: float
    late_read: float
    late_forked: float


def ruleset(rules: int) -> str:
    """So many rules in all, two for each published port as Docker writes them, the rest in
    DOCKER-USER."""
    ports = [*range(1024, 1024 + (rules - 6) // 2)]
    fill = rules - 6 - 2 * len(ports)
    return "\n".join(
        [
            "*nat",
            ":PREROUTING ACCEPT [0:0]",
            ":INPUT ACCEPT [0:0]",
            ":OUTPUT ACCEPT [0:0]",
            ":POSTROUTING ACCEPT [0:0]",
            ":DOCKER - [0:0]",
            "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
            "-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER",
            *(
                f"-A DOCKER ! -i docker0 -p tcp -m tcp --dport {port} -j DNAT --to-destination "
                f"172.17.0.2:80"
                for port in ports
            ),
            "COMMIT",
            "*filter",
            ":INPUT ACCEPT [0:0]",
            ":FORWARD ACCEPT [0:0]",
            ":OUTPUT ACCEPT [0:0]",
            ":DOCKER - [0:0]",
            ":DOCKER-USER - [0:0]",
            "-A FORWARD -j DOCKER-USER",
            "-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "-A FORWARD -o docker0 -j DOCKER",
            *(
                f"-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport {port} "
                f"-j ACCEPT"
                for port in ports
            ),
            *["-A DOCKER-USER -s 203.0.113.9/32 -j DROP"] * fill,
            "-A DOCKER-USER -j RETURN",
            "COMMIT",
            "",
        ]
    )


def measure(backend: str, times: int) -> tuple[float, ...]:
    """(rules, medians as in :class:`Cost`) of this namespace."""
    from correlator.capturing.legacy import LegacySource
    from correlator.capturing.nft import NftSource
    from correlator.capturing.rules_text import counting_lines

    save = f"iptables-{backend}-save"
    source = {"nft": NftSource, "legacy": LegacySource}[backend](save, time.time_ns)
    rules = sum(1 for _, _, number in counting_lines(source.read().learned.text) if number)

    def forked() -> None:
        subprocess.run([save, "-c"], stdout=subprocess.PIPE, check=True)

    return rules, *(
        _median(work, times, pause) for pause in (0.0, PAUSE_S) for work in (source.read, forked)
    )


def _median(work: Callable[[], object], times: int, pause: float) -> float:
    taken = []
    for _ in range(times):
        time.sleep(pause)
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return 1e3 * statistics.median(taken)


def sample_cost(backend: str, rules: int, times: int) -> Cost:
    """Measure in a namespace of its own that holds so many rules."""
    with Lab({}) as lab:
        lab.run("host", f"iptables-{backend}-restore", stdin=ruleset(rules))
        shown = lab.run(
            "host", sys.executable, "-m", "benchmarks.sampling", backend, str(times)
        ).split()
    return Cost(backend, int(float(shown[0])), *map(float, shown[1:]))


if __name__ == "__main__":
    print(*measure(sys.argv[1], int(sys.argv[2])))
