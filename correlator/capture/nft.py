"""Counters of iptables-nft rules, read from the kernel over nfnetlink.

Messages after include/uapi/linux/netfilter/nf_tables.h. One dump of chains and one of rules for each table; where
the counters stand in them is learned once a generation, so that a sample costs little more than the kernel's own work.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from correlator.capture.reading import ChangingError, Learned, Reading
from correlator.capture.rules_text import TABLES, Line, counting_lines, print_rules, unprintable, without_chains
from correlator.errors import CorrelatorError

if TYPE_CHECKING:
    import numpy.typing as npt

NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES, NFPROTO_IPV4 = 12, 10, 2
GETCHAIN, GETRULE, GETGEN = 4, 7, 16
REQUEST, DUMP, MULTI, INTERRUPTED = 1, 0x300, 2, 0x10
NLMSG_ERROR, NLMSG_DONE = 2, 3
CHAIN_TABLE, CHAIN_NAME, CHAIN_HOOK, CHAIN_COUNTERS = 1, 3, 4, 8
RULE_TABLE, RULE_CHAIN, RULE_EXPRESSIONS = 1, 2, 4
EXPR_NAME, EXPR_DATA = 1, 2
COUNTER_BYTES, COUNTER_PACKETS = 1, 2
SO_RCVBUFFORCE, RECEIVE_BUFFER = 33, 4 << 20
HEADER = 20
ATTEMPTS = 20
UNCOUNTED = -1


def attributes(data: bytes, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(kind, begin, end) of every netlink attribute between two positions (netlink(7))."""
    while begin + 4 <= end:
        length, kind = struct.unpack_from("=HH", data, begin)
        if length < 4:
            return
        yield kind & 0x3FFF, begin + 4, begin + length
        begin += (length + 3) & ~3


def _text(data: bytes, begin: int, end: int) -> str:
    return data[begin:end].rstrip(b"\0").decode("utf-8", "replace")


class NftSource:
    """Reads the counters of the iptables tables of the namespace that it was made in.

    ``save`` is iptables-nft-save, ``now`` the session's clock. Raises OSError where the kernel lets
    nobody read (EPERM without CAP_NET_ADMIN).
    """

    backend = "nft"

    def __init__(self, save: str, now: Callable[[], int]) -> None:
        self.save, self.now = save, now
        self.stream = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.stream.bind((0, 0))
        self.stream.settimeout(5)
        self.stream.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        self.learned: Learned | None = None
        self.generation = -1
        self.lengths: tuple[int, ...] = ()
        self.tables: tuple[str, ...] = ()
        self.offsets: npt.NDArray[np.int64] = np.zeros((0, 2), dtype=np.int64)

    def fileno(self) -> int:
        """The socket's."""
        return self.stream.fileno()

    def close(self) -> None:
        """Close the socket."""
        self.stream.close()

    def has_rules(self) -> bool:
        """Whether any of the iptables tables exists."""
        return bool(self._existing(self._dump(GETCHAIN)))

    def read(self) -> Reading:
        """One sample. Raises :class:`~correlator.capture.reading.ChangingError` where the rules never stood still."""
        for _ in range(ATTEMPTS):
            begin = self.now()
            before = self._generation()
            if before != self.generation or self.learned is None:
                if not self._learn(before):
                    continue
                begin = self.now()
            assert self.learned is not None
            dumps = [self._dump(GETCHAIN), *(self._dump(GETRULE, table) for table in self.tables)]
            after = self._generation()
            end = self.now()
            if after == self.generation and tuple(map(len, dumps)) == self.lengths:
                return Reading(begin, end, self.learned, _extract(b"".join(dumps), self.offsets))
            self.generation = -1
        raise ChangingError("the rules kept changing while they were read")

    def _learn(self, generation: int) -> bool:
        """Take the text of the rules and where each line's counters stand; False where the rules changed meanwhile."""
        printed = print_rules(self.save)
        dumps = [self._dump(GETCHAIN)]
        tables = tuple(t for t in self._existing(dumps[0]) if t not in unprintable(printed))
        dumps += [self._dump(GETRULE, table) for table in tables]
        if self._generation() != generation:
            return False
        data = b"".join(dumps)
        places = dict(_places(data))
        unreal = {
            (table, chain) for table, chain, number in counting_lines(printed) if (table, chain, 0) not in places and not number
        }
        text = without_chains(printed, unreal)
        lines = counting_lines(text)
        if any(line not in places for line in lines):
            raise CorrelatorError(f"{self.save} prints rules that the kernel does not show")
        self.offsets = np.array([places[line] for line in lines], dtype=np.int64).reshape(-1, 2)
        self.lengths, self.tables, self.generation = tuple(map(len, dumps)), tables, generation
        uncounted = tuple(i for i, line in enumerate(lines) if places[line][0] == UNCOUNTED)
        left_out = tuple(f"table {name} holds rules that iptables cannot print: left out" for name in unprintable(printed))
        self.learned = Learned(text, uncounted, left_out)
        return True

    def _generation(self) -> int:
        self._ask(GETGEN, REQUEST)
        data = self.stream.recv(4096)
        for kind, begin, end in attributes(data, HEADER, len(data)):
            if kind == 1:
                return int.from_bytes(data[begin:end], "big")
        raise OSError("nf_tables tells no generation")

    def _existing(self, chains: bytes) -> tuple[str, ...]:
        found = {table for (table, _, _), _ in _places(chains)}
        return tuple(table for table in TABLES if table in found)

    def _ask(self, kind: int, flags: int, table: str = "") -> None:
        body = b""
        if table:
            name = table.encode() + b"\0"
            body = struct.pack("=HH", 4 + len(name), RULE_TABLE) + name + bytes(-len(name) % 4)
        head = struct.pack("=IHHIIBBH", HEADER + len(body), NFNL_SUBSYS_NFTABLES << 8 | kind, flags, 1, 0, NFPROTO_IPV4, 0, 0)
        self.stream.send(head + body)

    def _dump(self, kind: int, table: str = "") -> bytes:
        """All messages of a dump, one behind the other, without the one that ends it."""
        self._ask(kind, REQUEST | DUMP, table)
        parts = []
        while True:
            data = self.stream.recv(1 << 17)
            last, size = _last_message(data)
            if last == NLMSG_ERROR:
                number = -int(struct.unpack_from("=i", data, len(data) - size + 16)[0])
                if number == 2:  # the table is gone
                    return b""
                raise OSError(number, f"nf_tables: {os.strerror(number)}")
            if last == NLMSG_DONE:
                parts.append(data[:-size])
                return b"".join(parts)
            parts.append(data)


def _last_message(data: bytes) -> tuple[int, int]:
    """(type, length) of the last message of a datagram, where it ends a dump; else (0, 0).

    The kernel appends NLMSG_DONE (20 bytes) behind what it sends, or sends it alone; an error comes alone.
    """
    length, kind = struct.unpack_from("=IH", data)
    if kind == NLMSG_ERROR:
        return NLMSG_ERROR, len(data)
    if kind == NLMSG_DONE:
        return NLMSG_DONE, len(data)
    if len(data) >= HEADER:
        length, kind = struct.unpack_from("=IH", data, len(data) - HEADER)
        if length == HEADER and kind == NLMSG_DONE:
            return NLMSG_DONE, HEADER
    return 0, 0


def _places(data: bytes) -> Iterator[tuple[Line, tuple[int, int]]]:
    """Each policy and rule in dumped messages, with the positions of its packets and bytes (UNCOUNTED: it has none)."""
    numbers: dict[tuple[str, str], int] = {}
    position = 0
    while position + HEADER <= len(data):
        length, kind = struct.unpack_from("=IH", data, position)
        end = position + length
        found = {k: (b, e) for k, b, e in attributes(data, position + HEADER, end)}
        if kind & 0xFF == 3 and CHAIN_HOOK in found:
            place = _counter(data, *found[CHAIN_COUNTERS]) if CHAIN_COUNTERS in found else (UNCOUNTED, UNCOUNTED)
            yield (_text(data, *found[CHAIN_TABLE]), _text(data, *found[CHAIN_NAME]), 0), place
        elif kind & 0xFF == 6:
            table, chain = _text(data, *found[RULE_TABLE]), _text(data, *found[RULE_CHAIN])
            number = numbers[table, chain] = numbers.get((table, chain), 0) + 1
            yield (table, chain, number), _rule_counter(data, *found.get(RULE_EXPRESSIONS, (0, 0)))
        position += (length + 3) & ~3


def _rule_counter(data: bytes, begin: int, end: int) -> tuple[int, int]:
    for _, at, until in attributes(data, begin, end):
        parts = {k: (b, e) for k, b, e in attributes(data, at, until)}
        if EXPR_NAME in parts and EXPR_DATA in parts and _text(data, *parts[EXPR_NAME]) == "counter":
            return _counter(data, *parts[EXPR_DATA])
    return UNCOUNTED, UNCOUNTED


def _counter(data: bytes, begin: int, end: int) -> tuple[int, int]:
    parts = {k: b for k, b, _ in attributes(data, begin, end)}
    return parts.get(COUNTER_PACKETS, UNCOUNTED), parts.get(COUNTER_BYTES, UNCOUNTED)


def _extract(data: bytes, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The big-endian 64-bit values at ``offsets`` (n, 2); int64 (n, 2), 0 where the offset is UNCOUNTED.

    Attributes stand at multiples of four bytes.
    """
    words = np.frombuffer(data, dtype=">u4")
    at = np.maximum(offsets, 0) >> 2
    values = words[at].astype(np.int64) << 32 | words[at + 1]
    return np.where(offsets == UNCOUNTED, 0, values)
