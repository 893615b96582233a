"""``python -m benchmarks.observers KIND OUTPUT INTERFACE...``: what captures in the benchmarks,
until SIGINT.

Each says a line on stderr once it captures. ``correlator`` records a session as the CLI does, and
leaves out the report (``no-conntrack`` as with --no-conntrack); ``scapy`` is AsyncSniffer as its
documentation shows it, keeping packets and writing them when it is stopped; ``save`` is what people
do by hand: ``iptables-save -c`` each 100 ms; ``trace`` reads the kernel's trace of rules (whose
table is another's to load), and says on stdout how often the kernel could not deliver a part of it.
"""

from __future__ import annotations

import errno
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.lab.trace import (
    ADD_MEMBERSHIP,
    NETLINK_NETFILTER,
    NFNLGRP_NFTRACE,
    SO_RCVBUFFORCE,
    SOL_NETLINK,
)


def record_session(output: Path, interfaces: tuple[str, ...], conntrack: bool) -> None:
    """`correlator capture` without its report."""
    from correlator.capturing.record import Options, record

    record(Options(output, interfaces, conntrack=conntrack), say=_say)


def sniff_with_scapy(output: Path, interfaces: tuple[str, ...]) -> None:
    """scapy's AsyncSniffer."""
    from scapy.sendrecv import AsyncSniffer
    from scapy.utils import wrpcap

    sniffer = AsyncSniffer(
        iface=list(interfaces), promisc=False, started_callback=lambda: _say("sniffing")
    )
    sniffer.start()
    signal.sigwait({signal.SIGINT})
    wrpcap(str(output), sniffer.stop())


def save_by_hand(output: Path) -> None:
    """Forked iptables-save -c, one behind the other."""
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGINT, stop)
    _say("sampling")
    with output.open("wb") as file:
        while not stopped:
            file.write(
                f"{time.time():.9f}\n".encode()
                + subprocess.run(["iptables-nft-save", "-c"], stdout=-1, check=True).stdout
            )
            time.sleep(0.1)


def read_trace(output: Path) -> None:
    """The kernel's trace, as it comes."""
    stream = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    stream.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
    stream.bind((0, 0))
    stream.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, NFNLGRP_NFTRACE)
    stream.settimeout(0.1)
    stopped, lost = [], 0
    signal.signal(signal.SIGINT, lambda *_: stopped.append(True))
    _say("tracing")
    with output.open("wb") as file:
        while not stopped:
            try:
                file.write(stream.recv(1 << 20))
            except TimeoutError:
                continue
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                lost += 1
    print(lost)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(kind: str, output: Path, *interfaces: str) -> None:
    """Run one."""
    if kind == "scapy":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        sniff_with_scapy(output, interfaces)
    elif kind in ("correlator", "no-conntrack"):
        record_session(output, interfaces, kind == "correlator")
    elif kind == "trace":
        read_trace(output)
    else:
        save_by_hand(output)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
