"""Notices of change from the kernel: rules (nf_tables generations), links, addresses and routes.

Nothing of the messages is read but that they came: each makes the recording look again.
"""

from __future__ import annotations

import errno
import socket

NETLINK_ROUTE, NETLINK_NETFILTER = 0, 12
SOL_NETLINK, ADD_MEMBERSHIP = 270, 1
GROUP_NFTABLES = 7
GROUPS_ROUTE = (1, 5, 7)
"""RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV4_ROUTE (rtnetlink(7))."""


class Notices:
    """A netlink socket that becomes readable when something of ``groups`` changed. Raises OSError
    where that is not allowed."""

    def __init__(self, family: int, groups: tuple[int, ...]) -> None:
        self.stream = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, family)
        try:
            self.stream.bind((0, 0))
            for group in groups:
                self.stream.setsockopt(SOL_NETLINK, ADD_MEMBERSHIP, group)
        except OSError:
            self.stream.close()
            raise
        self.stream.setblocking(False)

    def fileno(self) -> int:
        """The socket's."""
        return self.stream.fileno()

    def changed(self) -> bool:
        """Whether anything came since the last call."""
        came = False
        while True:
            try:
                self.stream.recv(1 << 16)
            except BlockingIOError:
                return came
            except OSError as error:  # more changed than there was room to tell
                if error.errno != errno.ENOBUFS:
                    raise
            came = True

    def close(self) -> None:
        """Stop watching."""
        self.stream.close()
