"""A host of both families whose rules are nft's own: of ip, of ip6, and of inet for both."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from tests.lab.dual import API6, CLIENT6, DENIED6, WEB6, DualLab, DualRecorder
from tests.lab.net import OUTSIDE, sh
from tests.lab.record import TAIL, Recorder
from tests.lab.trace import TRACE_TABLE6
from tests.lab.truth import read_truth, write_truth

NATIVE = f"""
table ip doors {{
    map published {{
        type inet_service : ipv4_addr . inet_service
        elements = {{ 80 : 172.17.0.2 . 80, 8080 : 172.17.0.3 . 80 }}
    }}
    chain doors_in {{
        type nat hook prerouting priority dstnat; policy accept;
        tcp dport 8081 counter dnat ip to numgen inc mod 2 map {{
            0 : 172.17.0.2 . 80, 1 : 172.17.0.3 . 80
        }}
        fib daddr type local counter dnat ip to tcp dport map @published
    }}
    chain own {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr 172.17.0.0/16 oifname != "docker0" counter masquerade
    }}
}}
table ip6 doors {{
    chain early {{
        type filter hook prerouting priority raw; policy accept;
        iifname != "docker0" ip6 daddr {API6} counter drop comment "direct access"
    }}
    chain doors_in {{
        type nat hook prerouting priority dstnat; policy accept;
        fib daddr type local tcp dport 80 counter dnat to [{WEB6}]:80
        fib daddr type local udp dport 5353 counter dnat to [{WEB6}]:53
    }}
    chain own {{
        type nat hook postrouting priority srcnat; policy accept;
        ip6 saddr fd00:17::/64 oifname != "docker0" counter masquerade
    }}
}}
table inet site {{
    set denied4 {{ type ipv4_addr; elements = {{ {OUTSIDE[1]} }} }}
    set denied6 {{ type ipv6_addr; elements = {{ {DENIED6} }} }}
    chain back {{
        type filter hook prerouting priority mangle + 10; policy accept;
        fib saddr . mark . iif oif missing counter
        fib saddr . iif oif exists counter
    }}
    chain known {{
        ct state vmap {{ established : accept, related : accept, invalid : drop }}
    }}
    chain tcp_in {{
        tcp dport {{ 22, 8022 }} counter reject with tcp reset
        counter comment "any other port"
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        counter jump known
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
        meta l4proto vmap {{ tcp : jump tcp_in, udp : continue }}
        udp dport 9 counter reject with icmpx admin-prohibited
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ip saddr @denied4 counter drop
        ip6 saddr @denied6 counter drop
        jump known
        meta nfproto ipv6 counter
        iifname "docker0" counter accept
        oifname "docker0" ct status dnat counter accept
        meta l4proto {{ icmp, ipv6-icmp }} counter accept
    }}
    chain output {{
        type filter hook output priority filter; policy accept;
        meta l4proto {{ tcp, udp }} counter
    }}
}}
"""


GUARD = f"""
table inet guard {{
    set denied4 {{ type ipv4_addr; elements = {{ {OUTSIDE[1]} }} }}
    chain early {{
        type filter hook prerouting priority raw - 10; policy accept;
        udp dport 9 counter drop
    }}
    chain forward {{
        type filter hook forward priority filter + 10; policy accept;
        ct state established,related accept
        ip saddr @denied4 counter drop
        ip6 saddr {CLIENT6} udp dport 53 counter
        tcp dport 80 counter accept
    }}
    chain input {{
        type filter hook input priority filter + 10; policy accept;
        tcp dport 8022 counter reject with icmpx admin-prohibited
        meta l4proto {{ icmp, ipv6-icmp }} counter accept
    }}
}}
"""
"""A firewall of nft's own behind Docker's: what iptables accepts is not accepted here."""


class GuardedLab(DualLab):
    """A dual-stack lab with Docker's iptables, and a firewall of nft's own behind them."""

    def _rules(self) -> None:
        super()._rules()
        self.run("host", "nft", "-f", "-", stdin=GUARD)


class GuardedRecorder(DualRecorder):
    """Records iptables' counters, ip6tables', and nft's listing."""

    def __enter__(self) -> GuardedRecorder:
        super().__enter__()
        words = ("tests.lab.native", str(self.folder), str(self.interval))
        self.lister = self.lab.start("host", sys.executable, "-m", *words)
        self._wait(self.folder / "nft.log", 1)
        time.sleep(0.3)
        return self

    def __exit__(self, kind: object, *more: object) -> None:
        time.sleep(TAIL)
        self.lab.stop(self.lister)
        super().__exit__(kind, *more)

    def read_truth(self) -> None:
        """Write what the trace shows of all tables."""
        spelled = {"": self.names, "ip6 ": self.names6}
        self.truth = read_truth(self.folder / "trace.bin", None, spelled=spelled)
        write_truth(self.truth, self.folder / "truth" / "hits.csv")


class NativeLab(DualLab):
    """A dual-stack lab with rules of nft's own."""

    def _rules(self) -> None:
        self.run("host", "nft", "-f", "-", stdin=NATIVE)


class NativeRecorder(Recorder):
    """Records nft's listings in both notations; in truth/hits.csv rules are named by handle."""

    logs = ("nft.log", "nft-json.log")

    def __enter__(self) -> NativeRecorder:
        self.lab.run("host", "nft", "-f", "-", stdin=TRACE_TABLE6)
        super().__enter__()
        return self

    def note_rules(self) -> None:
        """Handles name rules."""

    def sampling(self) -> tuple[str, ...]:
        """The sampler's command."""
        return (sys.executable, "-m", "tests.lab.native", str(self.folder), str(self.interval))

    def __exit__(self, kind: object, *more: object) -> None:
        super().__exit__(kind, *more)
        self.lab.run("host", "nft", "delete", "table", "ip6", "corrtrace")

    def read_truth(self) -> None:
        """Write what the trace shows of all tables."""
        self.truth = read_truth(self.folder / "trace.bin", None)
        write_truth(self.truth, self.folder / "truth" / "hits.csv")


def sample(folder: Path, interval: float) -> None:
    """Write both logs until SIGTERM, and once more."""
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    commands = (["nft", "-a", "list", "ruleset"], ["nft", "-j", "list", "ruleset"])
    with (folder / "nft.log").open("w") as text, (folder / "nft-json.log").open("w") as parsed:
        while True:
            last = stopped
            for file, command in zip((text, parsed), commands, strict=True):
                begin = time.time()
                listed = sh(*command)
                file.write(f"# sample begin={begin:.9f} end={time.time():.9f}\n{listed}")
                file.flush()
            if last:
                return
            time.sleep(interval)


if __name__ == "__main__":
    sample(Path(sys.argv[1]), float(sys.argv[2]))
