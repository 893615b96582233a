"""A host of both families: IPv6 beside IPv4, with rules such as Docker 28 writes."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from tests.lab.net import Lab, sh
from tests.lab.record import TAIL, Recorder
from tests.lab.trace import TRACE_TABLE6
from tests.lab.truth import read_truth, rule_names, write_truth

HOST6, CLIENT6, DENIED6 = "2001:db8:31::164", "2001:db8:31::1", "2001:db8:31::9"
BRIDGE6, WEB6, API6 = "fd00:17::1", "fd00:17::2", "fd00:17::3"
SYSCTLS6 = {"net.ipv6.conf.all.forwarding": "1", "net.bridge.bridge-nf-call-ip6tables": "1"}
RULES4 = """*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A FORWARD -i docker0 -j ACCEPT
COMMIT
"""
RULES6 = f"""*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -d {API6}/128 ! -i docker0 -j DROP
-A PREROUTING -p ipv6-icmp -m icmp6 --icmpv6-type 135
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
-A PREROUTING -s fe80::/10
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d ::1/128 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s fd00:17::/64 ! -o docker0 -j MASQUERADE
-A DOCKER ! -i docker0 -p tcp -m tcp --dport 80 -j DNAT --to-destination [{WEB6}]:80
-A DOCKER ! -i docker0 -p udp -m udp --dport 5353 -j DNAT --to-destination [{WEB6}]:53
COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-USER - [0:0]
-A INPUT -s {DENIED6}/128 -p tcp -m tcp --dport 22 -j REJECT --reject-with tcp-reset
-A INPUT -p udp -m udp --dport 9 -j REJECT --reject-with icmp6-adm-prohibited
-A INPUT -p ipv6-icmp -m icmp6 --icmpv6-type 128
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A OUTPUT -p ipv6-icmp -m icmp6 --icmpv6-type 136
-A DOCKER -d {WEB6}/128 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
-A DOCKER -d {WEB6}/128 ! -i docker0 -o docker0 -p udp -m udp --dport 53 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER-FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -o docker0 -j DOCKER
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-USER -s {DENIED6}/128 -j DROP
COMMIT
"""


class DualLab(Lab):
    """A lab whose host, client and two containers have IPv6 addresses besides."""

    def __init__(self) -> None:
        super().__init__({"docker0": 2})

    def _build(self) -> None:
        super()._build()
        for space in ("host", "out", "c1", "c2"):
            for setting in (
                "all.disable_ipv6=0",
                "all.accept_dad=0",
                "default.accept_dad=0",
                "all.router_solicitations=0",
                "default.router_solicitations=0",
            ):
                self.run(space, "sysctl", "-qw", f"net.ipv6.conf.{setting}")
        for key, value in SYSCTLS6.items():
            self.run("host", "sysctl", "-qw", f"{key}={value}")
        self._six("host", "eth0", HOST6)
        self._six("out", "eth0", CLIENT6)
        self._six("out", "eth0", DENIED6)
        self._six("host", "docker0", BRIDGE6)
        for space, address in (("c1", WEB6), ("c2", API6)):
            self._six(space, "eth0", address)
            self.run(space, "ip", "-6", "route", "add", "default", "via", BRIDGE6)
        self.run("out", "ip", "-6", "route", "add", "fd00:17::/64", "via", HOST6)
        self._rules()
        time.sleep(3)  # until every group that was joined has been reported

    def _rules(self) -> None:
        self.run("host", "iptables-nft-restore", stdin=RULES4)
        self.run("host", "ip6tables-nft-restore", stdin=RULES6)
        for chain in ("INPUT", "FORWARD", "OUTPUT"):
            self.run("host", "ip6tables-nft", "-Z", chain)

    def _six(self, space: str, device: str, address: str) -> None:
        self.run(space, "ip", "addr", "add", f"{address}/64", "dev", device, "nodad")


class DualRecorder(Recorder):
    """Records both families; their truths are in one hits.csv, told apart by ``family``."""

    def __enter__(self) -> DualRecorder:
        self.lab.run("host", "nft", "-f", "-", stdin=TRACE_TABLE6)
        self.names6 = rule_names(self.lab, six=True)
        super().__enter__()
        self.sampler6 = self.lab.start(
            "host", sys.executable, "-m", "tests.lab.dual", str(self.folder), str(self.interval)
        )
        self._wait(self.folder / "counters6.log", 1)
        time.sleep(0.3)
        return self

    def __exit__(self, kind: object, *more: object) -> None:
        time.sleep(TAIL)
        self.lab.stop(self.sampler6)
        super().__exit__(kind, *more)
        self.lab.run("host", "nft", "delete", "table", "ip6", "corrtrace")

    def read_truth(self) -> None:
        """Write what the trace shows of both families."""
        super().read_truth()
        path = self.folder / "truth" / "hits.csv"
        four = path.read_text().splitlines()
        self.truth6 = read_truth(self.folder / "trace.bin", self.names6, six=True)
        write_truth(self.truth6, path)
        six = path.read_text().splitlines()[1:]
        lines = ["family," + four[0], *("ip," + one for one in four[1:])]
        path.write_text("\n".join([*lines, *("ip6," + one for one in six)]) + "\n")


def sample(folder: Path, interval: float) -> None:
    """Write counters6.log until SIGTERM, and once more."""
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    with (folder / "counters6.log").open("w") as file:
        while True:
            last, begin = stopped, time.time()
            text = sh("ip6tables-nft-save", "-c")
            rules = [line for line in text.splitlines() if not line.startswith("#")]
            file.write(f"# sample begin={begin:.9f} end={time.time():.9f}\n")
            file.write("\n".join(rules) + "\n")
            file.flush()
            if last:
                return
            time.sleep(interval)


if __name__ == "__main__":
    sample(Path(sys.argv[1]), float(sys.argv[2]))
