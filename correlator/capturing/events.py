"""Conntrack events, recorded as the kernel sends them.

Asked for are NEW and DESTROY (NFNLGRP_CONNTRACK_* of
include/uapi/linux/netfilter/nfnetlink_compat.h) and, once at the start, the table itself, for the
connections that are older than the capture. Messages are neither taken apart nor held up here: at a
thousand connections a second that would cost more than the packets do. ``flows.witness`` reads
them."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator

NETLINK_NETFILTER, NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET = 12, 1, 1
SOL_NETLINK, ADD_MEMBERSHIP, SO_RCVBUFFORCE = 270, 1, 33
GROUP_NEW, GROUP_DESTROY = 1, 3
REQUEST, DUMP = 1, 0x300
RECEIVE_BUFFER = 16 << 20
LONGEST, TOGETHER = 1 << 14, 1 << 17
"""Bytes of one datagram at most, and of those that are handed on together: Wireshark takes frames
of up to 256 KiB."""
LINKTYPE_NETLINK, ARPHRD_NETLINK = 253, 824
COOKED = struct.pack(">HH10xH", 0, ARPHRD_NETLINK, NETLINK_NETFILTER)
"""The header of LINKTYPE_NETLINK frames."""


class Events:
    """Listens for conntrack's events in the namespace it was made in. Raises OSError where the
    kernel refuses."""

    def __init__(self) -> None:
        self.stream = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.lost = 0
        self.buffer = memoryview(bytearray(TOGETHER))
        try:
            self.stream.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
            self.stream.bind((0, 0))
            for group in (GROUP_NEW, GROUP_DESTROY):
                self.stream.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)
        except OSError:
            self.stream.close()
            raise
        self.stream.setblocking(False)

    def take(self) -> Iterator[bytes]:
        """Every message that waits, some hundreds one behind the other at a time (they are padded
        to four bytes); counts in ``lost`` how often the kernel could not deliver some."""
        place = 0
        while True:
            if len(self.buffer) - place < LONGEST:
                yield bytes(self.buffer[:place])
                place = 0
            try:
                place += self.stream.recv_into(self.buffer[place:])
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.lost += 1
        if place:
            yield bytes(self.buffer[:place])

    def close(self) -> None:
        """Stop listening."""
        self.stream.close()


def read_table() -> list[bytes]:
    """The IPv4 connections that conntrack knows now, as netlink messages."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as stream:
        stream.settimeout(5)
        stream.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        kind = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET
        stream.send(struct.pack("=IHHIIBBH", 20, kind, REQUEST | DUMP, 1, 0, socket.AF_INET, 0, 0))
        found: list[bytes] = []
        while True:
            data = stream.recv(1 << 17)
            if struct.unpack_from("=IH", data)[1] in (2, 3):
                return found
            found.append(data)
            if struct.unpack_from("=IH", data, len(data) - 20)[:2] == (
                20,
                3,
            ):  # NLMSG_DONE behind the last entries
                return found
