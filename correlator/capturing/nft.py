"""Counters of iptables-nft rules, read from the kernel over nfnetlink.

Messages after include/uapi/linux/netfilter/nf_tables.h. One dump of chains and one of rules; where
the counters stand in them is learned once a generation, so that a sample costs little more than the
kernel's own work. Every message bears the generation that it was made in (nfgenmsg.res_id, its low
16 bits): a change in the middle of a reading shows."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from correlator.capturing.counters import ChangingError, Learned, Reading
from correlator.capturing.rules_text import (
    TABLES,
    Line,
    counting_lines,
    print_rules,
    unprintable,
    without_chains,
)
from correlator.errors import CorrelatorError

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Buffer = bytes | memoryview

NETLINK_NETFILTER, NFNL_SUBSYS_NFTABLES, NFPROTO_IPV4 = 12, 10, 2
GETCHAIN, GETRULE, GETGEN = 4, 7, 16
REQUEST, DUMP = 1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
CHAIN_TABLE, CHAIN_NAME, CHAIN_HOOK, CHAIN_COUNTERS = 1, 3, 4, 8
RULE_TABLE, RULE_CHAIN, RULE_EXPRESSIONS = 1, 2, 4
EXPR_NAME, EXPR_DATA = 1, 2
COUNTER_BYTES, COUNTER_PACKETS = 1, 2
SO_RCVBUFFORCE, RECEIVE_BUFFER = 33, 4 << 20
HEADER, RES_ID, ROOM = 20, 18, 1 << 17
ATTEMPTS = 20
UNCOUNTED = -1
MANY = 300
"""Rules of all tables in one dump save calls; but the kernel begins a dump from its first rule for
each 32 KiB of it."""


def attributes(data: Buffer, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(kind, begin, end) of every netlink attribute between two positions (netlink(7))."""
    while begin + 4 <= end:
        length, kind = struct.unpack_from("=HH", data, begin)
        if length < 4:
            return
        yield kind & 0x3FFF, begin + 4, begin + length
        begin += (length + 3) & ~3


def _text(data: Buffer, begin: int, end: int) -> str:
    return bytes(data[begin:end]).rstrip(b"\0").decode("utf-8", "replace")


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
        self.buffer = bytearray(8 * ROOM)
        self.learned: Learned | None = None
        self.generation = -1
        self.lengths: tuple[int, ...] = ()
        self.requests: tuple[bytes, ...] = ()
        self.stamped = False
        self.messages: Ints = np.zeros(0, dtype=np.int64)
        self.offsets: Ints = np.zeros((0, 2), dtype=np.int64)
        self.uncounted: npt.NDArray[np.bool_] | None = None

    def fileno(self) -> int:
        """The socket's."""
        return self.stream.fileno()

    def close(self) -> None:
        """Close the socket."""
        self.stream.close()

    def has_rules(self) -> bool:
        """Whether any of the iptables tables exists."""
        data, _ = self._dumps((CHAINS,))
        return any(table in TABLES for table in _tables(data))

    def read(self) -> Reading:
        """One sample. Raises :class:`~correlator.capturing.counters.ChangingError` where the rules
        never stood still."""
        for _ in range(ATTEMPTS):
            begin = self.now()
            before = self._generation()
            if before != self.generation or self.learned is None:
                if not self._learn(before):
                    continue
                begin = self.now()
            assert self.learned is not None
            data, lengths = self._dumps(self.requests)
            end = self.now()
            if lengths == self.lengths and self._stood_still(data):
                return Reading(begin, end, self.learned, self._values(data))
            self.generation = -1
        raise ChangingError("the rules kept changing while they were read")

    def _stood_still(self, data: memoryview) -> bool:
        """Whether everything that was read is of the generation that was learned."""
        if not self.stamped:
            return self._generation() == self.generation
        stamps = np.frombuffer(data, dtype=np.uint16)[self.messages]
        return bool((stamps == socket.htons(self.generation & 0xFFFF)).all())

    def _values(self, data: memoryview) -> Ints:
        """The big-endian 64-bit counters; int64 (n, 2), 0 where there is none. Attributes stand at
        multiples of four bytes."""
        words = np.frombuffer(data, dtype=">u4")
        values: Ints = words[self.offsets].astype(np.int64) << 32 | words[self.offsets + 1]
        if self.uncounted is not None:
            values[self.uncounted] = 0
        return values

    def _learn(self, generation: int) -> bool:
        """Take the text of the rules and where each line's counters stand; False where the rules
        changed meanwhile."""
        printed = print_rules(self.save)
        existing = _tables(self._dumps((CHAINS,))[0])
        tables = tuple(
            table for table in TABLES if table in existing and table not in unprintable(printed)
        )
        few = set(existing) == set(tables) and len(counting_lines(printed)) < MANY
        self.requests = (
            CHAINS,
            *([_request(GETRULE, DUMP)] if few else [_request(GETRULE, DUMP, t) for t in tables]),
        )
        data, lengths = self._dumps(self.requests)
        data = memoryview(bytes(data))
        if self._generation() != generation:
            return False
        places = dict(_places(data))
        unreal = {
            (table, chain)
            for table, chain, number in counting_lines(printed)
            if (table, chain, 0) not in places and not number
        }
        text = without_chains(printed, unreal)
        lines = counting_lines(text)
        if any(line not in places for line in lines):
            raise CorrelatorError(f"{self.save} prints rules that the kernel does not show")
        found = np.array([places[line] for line in lines], dtype=np.int64).reshape(-1, 2)
        missing = found[:, 0] == UNCOUNTED
        self.offsets, self.uncounted = np.maximum(found, 0) >> 2, missing if missing.any() else None
        self.lengths, self.generation = lengths, generation
        self.messages, self.stamped = (
            np.array([at + RES_ID for at in _messages(data)], dtype=np.int64) // 2,
            True,
        )
        self.stamped = self._stood_still(data)
        left_out = tuple(
            f"table {name} holds rules that iptables cannot print: left out"
            for name in unprintable(printed)
        )
        self.learned = Learned(text, tuple(np.flatnonzero(missing).tolist()), left_out)
        return True

    def _generation(self) -> int:
        self.stream.send(GENERATION)
        data = self.stream.recv(4096)
        for kind, begin, end in attributes(data, HEADER, len(data)):
            if kind == 1:
                return int.from_bytes(data[begin:end], "big")
        raise OSError("nf_tables tells no generation")

    def _dumps(self, requests: tuple[bytes, ...]) -> tuple[memoryview, tuple[int, ...]]:
        """(all messages of these dumps one behind the other, without those that end a dump; the
        length of each dump).

        They stand in the buffer, until the next dump.
        """
        place, lengths = 0, []
        for request in requests:
            begin = place
            self.stream.send(request)
            while True:
                if len(self.buffer) - place < ROOM:
                    self.buffer = self.buffer + bytes(len(self.buffer))
                size = self.stream.recv_into(memoryview(self.buffer)[place:])
                kind, end = _last_message(self.buffer, place, size)
                if kind == NLMSG_ERROR:
                    number = -int(struct.unpack_from("=i", self.buffer, place + 16)[0])
                    if number != 2:  # the table is gone
                        raise OSError(number, f"nf_tables: {os.strerror(number)}")
                place += size - end
                if kind:
                    break
            lengths.append(place - begin)
        return memoryview(self.buffer)[:place], tuple(lengths)


def _request(kind: int, flags: int, table: str = "") -> bytes:
    body = b""
    if table:
        name = table.encode() + b"\0"
        body = struct.pack("=HH", 4 + len(name), RULE_TABLE) + name + bytes(-len(name) % 4)
    kind |= NFNL_SUBSYS_NFTABLES << 8
    return (
        struct.pack(
            "=IHHIIBBH", HEADER + len(body), kind, REQUEST | flags, 1, 0, NFPROTO_IPV4, 0, 0
        )
        + body
    )


GENERATION, CHAINS = _request(GETGEN, 0), _request(GETCHAIN, DUMP)


def _last_message(data: bytearray, at: int, size: int) -> tuple[int, int]:
    """(type, length) of the last message of a datagram, where it ends a dump; else (0, 0).

    The kernel appends NLMSG_DONE (20 bytes) behind what it sends, or sends it alone; an error comes
    alone."""
    kind = struct.unpack_from("=IH", data, at)[1]
    if kind in (NLMSG_ERROR, NLMSG_DONE):
        return kind, size
    if size >= HEADER and struct.unpack_from("=IH", data, at + size - HEADER) == (
        HEADER,
        NLMSG_DONE,
    ):
        return NLMSG_DONE, HEADER
    return 0, 0


def _messages(data: memoryview) -> Iterator[int]:
    """Where each message begins."""
    position = 0
    while position + HEADER <= len(data):
        yield position
        position += (struct.unpack_from("=I", data, position)[0] + 3) & ~3


def _tables(chains: memoryview) -> set[str]:
    """The tables that dumped chains are in."""
    found: set[str] = set()
    for at in _messages(chains):
        end = at + struct.unpack_from("=I", chains, at)[0]
        found.update(
            _text(chains, b, e)
            for kind, b, e in attributes(chains, at + HEADER, end)
            if kind == CHAIN_TABLE
        )
    return found


def _places(data: memoryview) -> Iterator[tuple[Line, tuple[int, int]]]:
    """Each policy and rule in dumped messages, with the positions of its packets and bytes
    (UNCOUNTED: it has none)."""
    numbers: dict[tuple[str, str], int] = {}
    for position in _messages(data):
        length, kind = struct.unpack_from("=IH", data, position)
        end = position + length
        found = {k: (b, e) for k, b, e in attributes(data, position + HEADER, end)}
        if kind & 0xFF == 3 and CHAIN_HOOK in found:
            place = (
                _counter(data, *found[CHAIN_COUNTERS])
                if CHAIN_COUNTERS in found
                else (UNCOUNTED, UNCOUNTED)
            )
            yield (_text(data, *found[CHAIN_TABLE]), _text(data, *found[CHAIN_NAME]), 0), place
        elif kind & 0xFF == 6:
            table, chain = _text(data, *found[RULE_TABLE]), _text(data, *found[RULE_CHAIN])
            number = numbers[table, chain] = numbers.get((table, chain), 0) + 1
            yield (table, chain, number), _rule_counter(data, *found.get(RULE_EXPRESSIONS, (0, 0)))


def _rule_counter(data: Buffer, begin: int, end: int) -> tuple[int, int]:
    for _, at, until in attributes(data, begin, end):
        parts = {k: (b, e) for k, b, e in attributes(data, at, until)}
        if (
            EXPR_NAME in parts
            and EXPR_DATA in parts
            and _text(data, *parts[EXPR_NAME]) == "counter"
        ):
            return _counter(data, *parts[EXPR_DATA])
    return UNCOUNTED, UNCOUNTED


def _counter(data: Buffer, begin: int, end: int) -> tuple[int, int]:
    parts = {k: b for k, b, _ in attributes(data, begin, end)}
    return parts.get(COUNTER_PACKETS, UNCOUNTED), parts.get(COUNTER_BYTES, UNCOUNTED)
