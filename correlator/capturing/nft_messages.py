"""nfnetlink messages of nf_tables (include/uapi/linux/netfilter/nf_tables.h): requests, and where
counters stand in what is dumped."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from correlator.capturing.native import Counter
from correlator.capturing.rules_text import Line

Buffer = bytes | memoryview
NFNL_SUBSYS_NFTABLES = 10
GETCHAIN, GETRULE, GETGEN, GETOBJ = 4, 7, 16, 19
NEWCHAIN, NEWRULE, NEWOBJ = 3, 6, 18
REQUEST, DUMP = 1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
CHAIN_TABLE, CHAIN_NAME, CHAIN_HOOK, CHAIN_COUNTERS = 1, 3, 4, 8
RULE_TABLE, RULE_CHAIN, RULE_HANDLE, RULE_EXPRESSIONS = 1, 2, 3, 4
OBJ_TABLE, OBJ_NAME, OBJ_TYPE, OBJ_DATA, OBJ_COUNTER = 1, 2, 3, 4, 1
EXPR_NAME, EXPR_DATA = 1, 2
COUNTER_BYTES, COUNTER_PACKETS = 1, 2
HEADER, FAMILY, RES_ID = 20, 16, 18
"""Bytes of a message's headers, and where in them its family and its generation stand."""
FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
NUMBERS = {name: number for number, name in FAMILIES.items()}
"""NFPROTO_*."""
UNCOUNTED = -1
Place = tuple[int, int]
"""Where its packets and its bytes stand; UNCOUNTED: it has none."""


def attributes(data: Buffer, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(kind, begin, end) of every netlink attribute between two positions (netlink(7))."""
    while begin + 4 <= end:
        length, kind = struct.unpack_from("=HH", data, begin)
        if length < 4:
            return
        yield kind & 0x3FFF, begin + 4, begin + length
        begin += (length + 3) & ~3


def text_of(data: Buffer, begin: int, end: int) -> str:
    return bytes(data[begin:end]).rstrip(b"\0").decode("utf-8", "replace")


def request(kind: int, flags: int, family: str = "", *told: tuple[int, bytes]) -> bytes:
    """A request; of all families where none is named. ``told``: its attributes."""
    body = b"".join(
        struct.pack("=HH", 4 + len(value), number) + value + bytes(-len(value) % 4)
        for number, value in told
    )
    kind |= NFNL_SUBSYS_NFTABLES << 8
    head = struct.pack("=IHHII", HEADER + len(body), kind, REQUEST | flags, 1, 0)
    return head + struct.pack("=BBH", NUMBERS.get(family, 0), 0, 0) + body


GENERATION, CHAINS, RULES = request(GETGEN, 0), request(GETCHAIN, DUMP), request(GETRULE, DUMP)
OBJECTS = request(GETOBJ, DUMP, "", (OBJ_TYPE, struct.pack(">I", OBJ_COUNTER)))
"""Counters that have a name."""


def rules_of(family: str, table: str) -> bytes:
    """A request for the rules of one table."""
    return request(GETRULE, DUMP, family, (RULE_TABLE, table.encode() + b"\0"))


def last_message(data: bytearray, at: int, size: int) -> tuple[int, int]:
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


def messages(data: memoryview) -> Iterator[int]:
    """Where each message begins."""
    position = 0
    while position + HEADER <= len(data):
        yield position
        position += (struct.unpack_from("=I", data, position)[0] + 3) & ~3


def tables(chains: memoryview) -> set[tuple[str, str]]:
    """(family, name) of the tables that dumped chains are in."""
    found: set[tuple[str, str]] = set()
    for at in messages(chains):
        end = at + struct.unpack_from("=I", chains, at)[0]
        found.update(
            (FAMILIES.get(chains[at + FAMILY], ""), text_of(chains, b, e))
            for kind, b, e in attributes(chains, at + HEADER, end)
            if kind == CHAIN_TABLE
        )
    return found


def places(data: memoryview) -> Iterator[tuple[tuple[str, Line] | Counter, Place]]:
    """Where counters stand in dumped messages: of each policy and rule, as (family, line) and
    UNCOUNTED where it has none; of each counter of a rule by its handle; and of those with a
    name."""
    numbers: dict[tuple[str, str, str], int] = {}
    for position in messages(data):
        length, kind = struct.unpack_from("=IH", data, position)
        family = FAMILIES.get(data[position + FAMILY], "")
        found = {k: (b, e) for k, b, e in attributes(data, position + HEADER, position + length)}
        if kind & 0xFF == NEWCHAIN and CHAIN_HOOK in found:
            table, chain = (text_of(data, *found[k]) for k in (CHAIN_TABLE, CHAIN_NAME))
            there = CHAIN_COUNTERS in found
            place = _counter(data, *found[CHAIN_COUNTERS]) if there else (UNCOUNTED, UNCOUNTED)
            yield (family, (table, chain, 0)), place
        elif kind & 0xFF == NEWRULE:
            table, chain = (text_of(data, *found[k]) for k in (RULE_TABLE, RULE_CHAIN))
            number = numbers[family, table, chain] = numbers.get((family, table, chain), 0) + 1
            counters = list(_rule_counters(data, *found.get(RULE_EXPRESSIONS, (0, 0))))
            first = counters[0] if counters else (UNCOUNTED, UNCOUNTED)
            yield (family, (table, chain, number)), first
            handle = int.from_bytes(bytes(data[slice(*found[RULE_HANDLE])]), "big")
            for at, place in enumerate(counters):
                yield ("rule", family, table, handle, at), place
        elif kind & 0xFF == NEWOBJ and OBJ_DATA in found:
            table, name = (text_of(data, *found[k]) for k in (OBJ_TABLE, OBJ_NAME))
            yield ("object", family, table, name, 0), _counter(data, *found[OBJ_DATA])


def _rule_counters(data: Buffer, begin: int, end: int) -> Iterator[Place]:
    for _, at, until in attributes(data, begin, end):
        parts = {k: (b, e) for k, b, e in attributes(data, at, until)}
        if (
            EXPR_NAME in parts
            and EXPR_DATA in parts
            and text_of(data, *parts[EXPR_NAME]) == "counter"
        ):
            yield _counter(data, *parts[EXPR_DATA])


def _counter(data: Buffer, begin: int, end: int) -> Place:
    parts = {k: b for k, b, _ in attributes(data, begin, end)}
    return parts.get(COUNTER_PACKETS, UNCOUNTED), parts.get(COUNTER_BYTES, UNCOUNTED)
