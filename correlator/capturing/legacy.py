"""Counters of iptables-legacy rules, read from the kernel with getsockopt(IPT_SO_GET_ENTRIES).

Layout after include/uapi/linux/netfilter_ipv4/ip_tables.h and net/ipv4/netfilter/ip_tables.c. The
kernel hands out a table whole; it takes no xtables lock to read it. Tables are read only where
/proc/net/ip_tables_names lists them, since asking for one that is not there would create it."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from correlator.capturing.counters import ChangingError, Learned, Reading
from correlator.capturing.rules_text import (
    TABLES,
    Line,
    counting_lines,
    print_rules,
    without_chains,
)
from correlator.errors import CorrelatorError

if TYPE_CHECKING:
    import numpy.typing as npt

NAMES = Path("/proc/net/ip_tables_names")
IPPROTO_IP, IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES = 0, 64, 65
HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
NAME_SIZE, INFO_SIZE, ENTRIES_HEAD = 32, 84, 40
TARGET_OFFSET, NEXT_OFFSET, COUNTERS = 88, 90, 96
ATTEMPTS = 20
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Table:
    """One table as the kernel handed it out: ``hooks`` maps a base chain to the offset of its first
    entry."""

    name: str
    hooks: dict[str, int]
    blob: bytes


Heads = dict[str, tuple[int, dict[str, int]]]
"""Of each table its size, and a Table's ``hooks``."""


class TableNames:
    """The tables of ip_tables in the namespace that it was made in. Raises PermissionError where
    they may not be read; once it is made, they may for good."""

    def __init__(self) -> None:
        try:
            self.handle = os.open(NAMES, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            self.handle = -1  # the kernel has no ip_tables

    def read(self) -> tuple[str, ...]:
        """Their names now, in the order in which packets meet them."""
        present = os.pread(self.handle, 4096, 0).decode().split() if self.handle >= 0 else ()
        return tuple(name for name in TABLES if name in present)

    def close(self) -> None:
        """Close the file."""
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1


class LegacySource:
    """Reads the counters of the ip_tables of the namespace that it was made in; ``save`` is
    iptables-legacy-save, ``now`` the session's clock. Raises PermissionError where only root may
    know which tables there are."""

    backend = "legacy"

    def __init__(self, save: str, now: Callable[[], int]) -> None:
        self.save, self.now, self.names = save, now, TableNames()
        self.stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.learned: Learned | None = None
        self.heads: Heads = {}
        self.layout: tuple[tuple[str, bytes], ...] = ()
        self.masks: list[npt.NDArray[np.int64]] = []
        self.offsets: npt.NDArray[np.int64] = np.zeros(0, dtype=np.int64)

    def close(self) -> None:
        """Close what is open."""
        self.stream.close()
        self.names.close()

    def has_rules(self) -> bool:
        """Whether there is any table."""
        return bool(self.names.read())

    def read(self) -> Reading:
        """One sample. Raises :class:`~correlator.capturing.counters.ChangingError` where the rules
        never stood still."""
        for _ in range(ATTEMPTS):
            begin = self.now()
            tables = self._tables()
            end = self.now()
            if tables is None:
                continue
            if self.learned is None or self._without_counters(tables) != self.layout:
                if not self._learn():
                    continue
                begin = self.now()
                again = self._tables()
                end = self.now()
                if again is None or self._without_counters(again) != self.layout:
                    continue
                tables = again
            assert self.learned is not None
            return Reading(
                begin,
                end,
                self.learned,
                _extract(b"".join(table.blob for table in tables), self.offsets),
            )
        raise ChangingError("the rules kept changing while they were read")

    def _learn(self) -> bool:
        """Take the text of the rules and where each line's counters stand; False where the rules
        changed meanwhile."""
        self.heads.clear()
        tables = self._tables()
        if tables is None:
            return False
        printed = print_rules(self.save, tables=[table.name for table in tables])
        self.masks = [_counter_words(table.blob) for table in tables]
        layout = self._without_counters(tables)
        again = self._tables()
        if again is None or self._without_counters(again) != layout:
            return False
        text = without_chains(printed, set())
        places: dict[Line, int] = {}
        start = 0
        for table in tables:
            places.update({line: start + at for line, at in _places(table).items()})
            start += len(table.blob)
        lines = counting_lines(text)
        if any(line not in places for line in lines):
            raise CorrelatorError(f"{self.save} prints rules that the kernel does not show")
        self.offsets = np.array([places[line] for line in lines], dtype=np.int64)
        self.layout, self.learned = layout, Learned(text)
        return True

    def _without_counters(self, tables: list[Table]) -> tuple[tuple[str, bytes], ...]:
        """Everything but the counters; where lengths differ from what was learned, the blobs as
        they are."""
        result = []
        for i, table in enumerate(tables):
            words = np.frombuffer(table.blob, dtype=np.uint32)
            if i < len(self.masks) and len(self.masks[i]) and self.masks[i][-1] < len(words):
                words = words.copy()
                words[self.masks[i]] = 0
            result.append((table.name, words.tobytes()))
        return tuple(result)

    def _tables(self) -> list[Table] | None:
        """All tables; None where one changed while it was read."""
        found = []
        for name in self.names.read():
            table = self._table(name)
            if table is None:
                self.heads.clear()
                return None
            found.append(table)
        return found

    def _table(self, name: str) -> Table | None:
        """A table, of the size that it was last time: where it is not, the kernel refuses."""
        if name not in self.heads:
            info = self._ask(
                IPT_SO_GET_INFO,
                name.encode().ljust(NAME_SIZE, b"\0") + bytes(INFO_SIZE - NAME_SIZE),
            )
            if info is None:
                return None
            valid, *rest = struct.unpack_from("=13I", info, NAME_SIZE)
            self.heads[name] = (
                rest[11],
                {hook: rest[i] for i, hook in enumerate(HOOKS) if valid & 1 << i},
            )
        size, hooks = self.heads[name]
        head = name.encode().ljust(NAME_SIZE, b"\0") + struct.pack("=I", size)
        data = self._ask(IPT_SO_GET_ENTRIES, head.ljust(ENTRIES_HEAD + size, b"\0"))
        return None if data is None else Table(name, hooks, data[ENTRIES_HEAD:])

    def _ask(self, option: int, request: bytes) -> bytes | None:
        buffer = ctypes.create_string_buffer(request, len(request))
        length = ctypes.c_uint(len(request))
        if (
            _libc.getsockopt(self.stream.fileno(), IPPROTO_IP, option, buffer, ctypes.byref(length))
            == 0
        ):
            return buffer.raw
        number = ctypes.get_errno()
        if number in (
            11,
            22,
        ):  # EAGAIN: the table changed since it told its size; EINVAL: it became smaller
            return None
        raise OSError(number, f"ip_tables: {os.strerror(number)}")


def _entries(blob: bytes) -> list[int]:
    """The offset of every entry of a table."""
    found, at = [], 0
    while at + 112 <= len(blob):
        found.append(at)
        step = struct.unpack_from("=H", blob, at + NEXT_OFFSET)[0]
        if step < 112:
            break
        at += step
    return found


def _counter_words(blob: bytes) -> npt.NDArray[np.int64]:
    """The words (of four bytes) that are counters; int64 (entries * 4,)."""
    at = np.array(_entries(blob), dtype=np.int64)
    return np.sort(((at + COUNTERS)[:, None] // 4 + np.arange(4)).ravel())


def _error_name(blob: bytes, at: int) -> str | None:
    """The name that an ERROR target bears (a user's chain begins there); None for other entries."""
    target = at + struct.unpack_from("=H", blob, at + TARGET_OFFSET)[0]
    if blob[target + 2 : target + 8] != b"ERROR\0":
        return None
    return blob[target + 32 : target + 62].split(b"\0")[0].decode("utf-8", "replace")


def _places(table: Table) -> dict[Line, int]:
    """Where the counters of every rule and policy stand. The last entry of a base chain is its
    policy, that of a user's chain its implicit RETURN, which iptables-save does not print."""
    base = {offset: hook for hook, offset in table.hooks.items()}
    chains: list[tuple[str, bool, list[int]]] = []
    for at in _entries(table.blob):
        name = _error_name(table.blob, at)
        if at in base:
            chains.append((base[at], True, []))
        elif name is not None:
            chains.append((name, False, []))
            continue
        chains[-1][2].append(at)
    places: dict[Line, int] = {}
    for name, is_base, entries in chains:
        for number, at in enumerate(entries[:-1], 1):
            places[table.name, name, number] = at + COUNTERS
        if is_base and entries:
            places[table.name, name, 0] = entries[-1] + COUNTERS
    return places


def _extract(data: bytes, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Packets and bytes at ``offsets`` (n,), int64 (n, 2); entries stand at multiples of eight
    bytes."""
    words = np.frombuffer(data, dtype=np.int64)
    values: npt.NDArray[np.int64] = words[(offsets >> 3)[:, None] + np.arange(2)]
    return values
