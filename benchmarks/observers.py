"""``python -m benchmarks.observers KIND OUTPUT INTERFACE...``: what captures in the benchmarks, until SIGINT.

Each says a line on stderr once it captures. ``correlator`` records a session as the CLI does, and leaves out the report;
``scapy`` is AsyncSniffer as its documentation shows it, keeping packets and writing them when it is stopped; ``save`` is
what people do by hand: ``iptables-save -c`` each 100 ms.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path


def record_session(output: Path, interfaces: tuple[str, ...]) -> None:
    """`correlator capture` without its report."""
    from correlator.capture.record import Options, record

    record(Options(output, interfaces), say=_say)


def sniff_with_scapy(output: Path, interfaces: tuple[str, ...]) -> None:
    """scapy's AsyncSniffer."""
    from scapy.sendrecv import AsyncSniffer
    from scapy.utils import wrpcap

    sniffer = AsyncSniffer(iface=list(interfaces), promisc=False, started_callback=lambda: _say("sniffing"))
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
            file.write(f"{time.time():.9f}\n".encode() + subprocess.run(["iptables-nft-save", "-c"], stdout=-1, check=True).stdout)
            time.sleep(0.1)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main(kind: str, output: Path, *interfaces: str) -> None:
    """Run one."""
    if kind == "scapy":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        sniff_with_scapy(output, interfaces)
    elif kind == "correlator":
        record_session(output, interfaces)
    else:
        save_by_hand(output)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
