"""The kernel's own trace of rules (NFTRACE), recorded raw and read afterwards.

``python -m tests.lab.trace FILE`` records the netlink group NFNLGRP_NFTRACE until SIGTERM, with a
receive buffer forced large: nft monitor trace dies of ENOBUFS. Layout:
include/uapi/linux/netfilter/nf_tables.h (enum nft_trace_attributes)."""

from __future__ import annotations

import signal
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NETLINK_NETFILTER, NFNLGRP_NFTRACE, SO_RCVBUFFORCE, SOL_NETLINK, ADD_MEMBERSHIP = 12, 9, 33, 270, 1
NFT_MSG_TRACE = 10 << 8 | 17
TABLE, CHAIN, HANDLE, TYPE, VERDICT, ID, NETWORK, TRANSPORT = 1, 2, 3, 4, 5, 6, 8, 9
POLICY_VERDICT, CT_ID, CT_DIRECTION = 16, 18, 19
VERDICT_CODE, DROP = 1, 0
POLICY, RETURN, RULE = 1, 2, 3

OWN_TABLE, SEEN = "corrtrace", "seen"
"""The chains just behind conntrack begin with this: they name the connection of what raw counted,
also where no other table looks."""
TRACE_TABLE = """
table ip corrtrace {
  chain pre { type filter hook prerouting priority -350; policy accept; meta nftrace set 1; }
  chain out { type filter hook output priority -350; policy accept; meta nftrace set 1; }
  chain seen { type filter hook prerouting priority -190; policy accept; }
  chain seen-out { type filter hook output priority -190; policy accept; }
}
"""
FAMILIES = {1: "inet ", 2: "", 10: "ip6 "}
"""What stands before a table's name, by the number of its family (NFPROTO_*)."""
IP6 = 10
"""NFPROTO_IPV6: the family of a table of ip6tables."""
TRACE_TABLE6 = TRACE_TABLE.replace("table ip ", "table ip6 ")


@dataclass(frozen=True, slots=True)
class Event:
    """One step of one packet. ``header`` is the IP header and ``transport`` the next (empty where
    not dumped). ``verdict``: what the rule or the policy said (0: drop), -1 where it goes on.
    ``family`` of the table: 2, or :data:`IP6`."""

    table: str
    chain: str
    handle: int
    kind: int
    packet: int
    header: bytes
    transport: bytes
    connection: int
    reply: bool
    verdict: int
    family: int = 2


def record(path: Path) -> None:
    """Write every netlink message behind its length, until SIGTERM."""
    stream = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    stream.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
    stream.bind((0, 0))
    stream.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, NFNLGRP_NFTRACE)
    stream.settimeout(0.2)
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    with path.open("wb") as file:
        file.write(b"TRACE\n")
        file.flush()
        while True:
            try:
                data = stream.recv(1 << 20)
            except TimeoutError:
                if stopped:
                    return
                continue
            file.write(struct.pack("=I", len(data)) + data)


def _attributes(data: bytes) -> dict[int, bytes]:
    found, position = {}, 0
    while position + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, position)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[position + 4 : position + length]
        position += (length + 3) & ~3
    return found


def _verdict(attributes: dict[int, bytes]) -> int:
    code = attributes.get(POLICY_VERDICT) or _attributes(attributes.get(VERDICT, b"")).get(
        VERDICT_CODE
    )
    return int.from_bytes(code, "big", signed=True) if code else -1


def events(path: Path) -> Iterator[Event]:
    """The events of a recording, in order."""
    data, position = path.read_bytes(), len(b"TRACE\n")
    while position + 4 <= len(data):
        size = struct.unpack_from("=I", data, position)[0]
        message, position = data[position + 4 : position + 4 + size], position + 4 + size
        while len(message) >= 20:
            length, kind = struct.unpack_from("=IH", message)
            if kind == NFT_MSG_TRACE:
                a = _attributes(message[20:length])
                yield Event(
                    a.get(TABLE, b"").rstrip(b"\0").decode(),
                    a.get(CHAIN, b"").rstrip(b"\0").decode(),
                    int.from_bytes(a.get(HANDLE, b""), "big"),
                    int.from_bytes(a[TYPE], "big"),
                    int.from_bytes(a[ID], "big"),
                    a.get(NETWORK, b""),
                    a.get(TRANSPORT, b""),
                    int.from_bytes(a.get(CT_ID, b""), "big"),
                    a.get(CT_DIRECTION, b"\0") == b"\1",
                    _verdict(a),
                    message[16],
                )
            message = message[(length + 3) & ~3 :]


if __name__ == "__main__":
    record(Path(sys.argv[1]))
