"""``python -m benchmarks.flood ADDRESS RATE SECONDS``: small UDP packets to port 9, at a rate that
is kept.

The kernel makes 64 packets of one system call's data (UDP_SEGMENT of udp(7)) and, told so by
:data:`SPLIT`, splits them before they leave: each crosses the link, meets taps and rules, and is
counted, by itself. Prints how many were sent, and in how many seconds."""

from __future__ import annotations

import socket
import sys
import time

BATCH, PAYLOAD, PORT = 64, 18, 9
UDP_SEGMENT = 103
SPLIT = ("gso_max_segs", "1")
"""What `ip link set INTERFACE` has to be told."""
SHORTEST_SLEEP_S = 0.0002


def flood(address: str, rate: float, seconds: float) -> tuple[int, float]:
    """Send ``rate`` packets a second for ``seconds``, or as many as go out in them; (packets sent,
    seconds taken)."""
    stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stream.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, PAYLOAD)
    stream.connect((address, PORT))
    data = memoryview(bytes(PAYLOAD * BATCH))
    sent, total = 0, round(rate * seconds)
    begin = time.monotonic()
    while sent < total:
        passed = time.monotonic() - begin
        if passed > seconds * 1.02:
            break
        due = min(int(passed * rate) + 1, total) - sent
        if due < min(BATCH, total - sent, rate * 0.002):
            time.sleep(SHORTEST_SLEEP_S)
            continue
        size = min(max(due, 1), BATCH)
        stream.send(data[: PAYLOAD * size])
        sent += size
    return sent, time.monotonic() - begin


if __name__ == "__main__":
    print(*flood(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
