"""Counters of nf_tables, read from the kernel over nfnetlink: of the tables of iptables and
ip6tables, and of nft's own.

One dump of chains, one of rules, and one of counters that have a name; where the counters stand in
them is learned once a generation, so that a sample costs little more than the kernel's own work.
Every message bears the generation that it was made in (nfgenmsg.res_id, its low 16 bits): a change
in the middle of a reading shows."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Container
from typing import TYPE_CHECKING

import numpy as np

from correlator.capturing.counters import ChangingError, Learned, Reading
from correlator.capturing.native import Listing, Table, list_native
from correlator.capturing.nft_messages import (
    CHAINS,
    GENERATION,
    HEADER,
    NLMSG_ERROR,
    OBJECTS,
    RES_ID,
    RULES,
    UNCOUNTED,
    attributes,
    last_message,
    messages,
    places,
    rules_of,
    tables,
)
from correlator.capturing.rules_text import (
    TABLES,
    counting_lines,
    print_rules,
    unprintable,
    without_chains,
)
from correlator.errors import CorrelatorError

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

NETLINK_NETFILTER = 12
SO_RCVBUFFORCE, RECEIVE_BUFFER = 33, 4 << 20
ROOM = 1 << 17
ATTEMPTS = 20
MANY = 300
"""Rules of all tables in one dump save calls; but the kernel begins a dump from its first rule for
each 32 KiB of it."""
NOWHERE = (UNCOUNTED, UNCOUNTED)


class NftSource:
    """Reads the counters of the tables of the namespace that it was made in.

    ``save`` is iptables-nft-save, ``save6`` ip6tables-nft-save, ``nft`` nft itself (None: not
    installed), ``now`` the session's clock. Raises OSError where the kernel lets nobody read (EPERM
    without CAP_NET_ADMIN).
    """

    backend = "nft"

    def __init__(
        self,
        save: str | None,
        now: Callable[[], int],
        save6: str | None = None,
        nft: str | None = None,
    ) -> None:
        self.saves, self.nft, self.now = {"ip": save, "ip6": save6}, nft, now
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
        """Whether any table exists that can be told."""
        data, _ = self._dumps((CHAINS,))
        spelled = {(f, t) for f, save in self.saves.items() if save is not None for t in TABLES}
        found = tables(data)
        return bool(found & spelled) or (self.nft is not None and bool(found))

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
        existing = tables(self._dumps((CHAINS,))[0])
        printed = {family: self._print(family, existing) for family in self.saves}
        spelled = {
            (family, table)
            for family, text in printed.items()
            for table in TABLES
            if text and (family, table) in existing and table not in unprintable(text)
        }
        listing, warnings = self._list(existing - spelled, spelled)
        self._ask_for(existing, spelled, printed, listing)
        data, lengths = self._dumps(self.requests)
        data = memoryview(bytes(data))
        if self._generation() != generation:
            return False
        there = dict(places(data))
        texts = {family: _real(family, text, there) for family, text in printed.items()}
        lines = [(family, line) for family, text in texts.items() for line in counting_lines(text)]
        if any(line not in there for line in lines):
            raise CorrelatorError("iptables-save prints rules that the kernel does not show")
        own = [there.get(one, NOWHERE) if one else NOWHERE for one in listing.counters]
        found = np.array([*(there[line] for line in lines), *own], dtype=np.int64).reshape(-1, 2)
        missing = found[:, 0] == UNCOUNTED
        self.offsets, self.uncounted = np.maximum(found, 0) >> 2, missing if missing.any() else None
        self.lengths, self.generation = lengths, generation
        self.messages = np.array([at + RES_ID for at in messages(data)], dtype=np.int64) // 2
        self.stamped = True
        self.stamped = self._stood_still(data)
        self.learned = Learned(
            texts.get("ip", ""),
            tuple(np.flatnonzero(missing[: len(lines)]).tolist()),
            warnings,
            texts.get("ip6", ""),
            listing.text,
            tuple(" ".join(map(str, one[1:4])) if one else "" for one in listing.counters),
        )
        return True

    def _print(self, family: str, existing: set[Table]) -> str:
        """What iptables-save prints of a family's tables; nothing where there are none."""
        save = self.saves[family]
        there = any((family, table) in existing for table in TABLES)
        return print_rules(save) if save is not None and there else ""

    def _list(self, others: set[Table], spelled: set[Table]) -> tuple[Listing, tuple[str, ...]]:
        """nft's listing of the tables that iptables-save does not print, and what is to be said of
        them."""
        others = {one for one in others if one[0] not in ("arp", "")}
        if others and self.nft is not None:
            return list_native(self.nft, spelled), ()
        names = ", ".join(" ".join(one) for one in sorted(others))
        said = (
            f"tables of nft's own are here ({names}), and nft, which lists them, is not: left out"
        )
        return Listing(), (said,) if others else ()

    def _ask_for(
        self, existing: set[Table], spelled: set[Table], printed: dict[str, str], listing: Listing
    ) -> None:
        """Choose the dumps of a sample: all rules at once where they are few and all asked for."""
        counting = {(one[1], one[2]) for one in listing.counters if one and one[0] == "rule"}
        asked = spelled | counting
        count = sum(len(counting_lines(text)) for text in printed.values()) + len(listing.counters)
        few = existing == asked and count < MANY
        rules = [RULES] if few else [rules_of(*table) for table in sorted(asked)]
        named = [OBJECTS] if any(one and one[0] == "object" for one in listing.counters) else []
        self.requests = (CHAINS, *rules, *named)

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
                kind, end = last_message(self.buffer, place, size)
                if kind == NLMSG_ERROR:
                    number = -int(struct.unpack_from("=i", self.buffer, place + 16)[0])
                    if number != 2:  # the table is gone
                        raise OSError(number, f"nf_tables: {os.strerror(number)}")
                place += size - end
                if kind:
                    break
            lengths.append(place - begin)
        return memoryview(self.buffer)[:place], tuple(lengths)


def _real(family: str, printed: str, there: Container[object]) -> str:
    """The text without the base chains that the kernel does not have."""
    lines = counting_lines(printed)
    unreal = {
        (table, chain)
        for table, chain, number in lines
        if not number and (family, (table, chain, 0)) not in there
    }
    return without_chains(printed, unreal)
