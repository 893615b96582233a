"""Conntrack events as a session recorded them -> one table of connections' tuples.

The messages are ctnetlink's (include/uapi/linux/netfilter/nfnetlink_conntrack.h), each behind a
LINKTYPE_NETLINK header. Nearly all messages of one length are laid out alike: one of them is taken
apart, the others are read by its pattern where they bear the same attributes at the same places.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from correlator.dataset.files import read_file
from correlator.decode import pcapng
from correlator.endpoints import pack
from correlator.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Raw = npt.NDArray[np.uint8]

COOKED, HEADER = 16, 20
NLM_F_MULTI, IPCTNL_MSG_CT_DELETE, AF_INET = 2, 2, 2
TABLE, NEW, DESTROY, LISTED = 0, 1, 2, 3
TUPLE_ORIG, TUPLE_REPLY = 1, 2
TUPLE_IP, TUPLE_PROTO = 1, 2
IP_SRC, IP_DST = 1, 2
PROTO_NUM, PROTO_SPORT, PROTO_DPORT, PROTO_ICMP_ID = 1, 2, 3, 4
ABSENT = -1
FIELDS = ("src", "dst", "protocol", "sport", "dport", "icmp_id")
SIZES = {"src": 4, "dst": 4, "protocol": 1, "sport": 2, "dport": 2, "icmp_id": 2}


@dataclass(frozen=True)
class ConntrackEvents:
    """k IPv4 connections told of: ``time`` epoch ns at which it was read, ``kind`` (TABLE: it was
    there at the start, NEW, DESTROY, LISTED: it was there some time, of unknown age),
    ``protocol``; endpoints (ICMP: its id) of the original tuple,
    ``client`` -> ``dialled``, and of the reply tuple, ``server`` -> ``seen``. All int64 (k,), in
    order of time. ``complete``: every connection of the recording is among them."""

    time: Ints
    kind: Ints
    protocol: Ints
    client: Ints
    dialled: Ints
    server: Ints
    seen: Ints
    complete: bool = True

    def __len__(self) -> int:
        return len(self.time)

    def take(self, rows: Ints) -> ConntrackEvents:
        """These rows only, in the order given."""
        columns = {
            f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "complete"
        }
        return replace(self, **columns)


@dataclass(frozen=True)
class _Pattern:
    """Where the fields of both tuples stand in a message, and the attribute headers that lead to
    them."""

    places: tuple[int, ...]
    headers: tuple[int, ...]


def read_events(path: Path, inside: Path | None = None) -> ConntrackEvents:
    """The events of a session's file, in the folder ``inside``. One that was cut short is read up
    to there.

    Raises :class:`~correlator.errors.InputError` where it is no pcapng file.
    """
    data = read_file(path, inside)
    if data[:4] != pcapng.MAGIC:
        raise InputError(f"{path}: is not what `correlator capture` wrote")
    frames = pcapng.index(data, str(path), None, "conntrack")
    at, time = _messages(
        frames.data, frames.start + COOKED, frames.start + frames.captured, frames.time
    )
    return _read(frames.data, at, time)


def _messages(data: Raw, begin: Ints, end: Ints, time: Ints) -> tuple[Ints, Ints]:
    """(where each netlink message begins, its time); a datagram may hold several."""
    at: list[int] = []
    times: list[int] = []
    raw = data.tobytes()
    for position, until, when in zip(begin.tolist(), end.tolist(), time.tolist(), strict=True):
        while position + HEADER <= until:
            length = struct.unpack_from("=I", raw, position)[0]
            if length < HEADER or position + length > until:
                break
            at.append(position)
            times.append(when)
            position += (length + 3) & ~3
    return np.array(at, dtype=np.int64), np.array(times, dtype=np.int64)


def _read(data: Raw, at: Ints, time: Ints) -> ConntrackEvents:
    words = np.lib.stride_tricks.sliding_window_view(data, 4)
    length = words[at].copy().view("=u4")[:, 0].astype(np.int64) if len(at) else at
    family = data[at + 16]
    values = np.full((len(at), 2 * len(FIELDS)), ABSENT, dtype=np.int64)
    for size in np.unique(length).tolist():
        waiting = np.flatnonzero((length == size) & (family == AF_INET))
        while len(waiting):
            pattern = _pattern(data, int(at[waiting[0]]), size)
            alike = np.ones(len(waiting), dtype=bool)
            for header in pattern.headers:
                alike &= (words[at[waiting] + header] == words[at[waiting[0]] + header]).all(axis=1)
            rows = waiting[alike]
            for column, place in enumerate(pattern.places):
                if place != ABSENT:
                    values[rows, column] = _big_endian(
                        data, at[rows] + place, SIZES[FIELDS[column % len(FIELDS)]]
                    )
            waiting = waiting[~alike]
    whole = (values[:, (0, 1, 2, 6, 7)] != ABSENT).all(axis=1)
    kind = np.where(
        data[at + 4] == IPCTNL_MSG_CT_DELETE,
        DESTROY,
        np.where(data[at + 6] & NLM_F_MULTI, TABLE, NEW),
    )
    client, dialled = _endpoints(values[:, :6])
    server, seen = _endpoints(values[:, 6:])
    order = np.flatnonzero(whole)
    order = order[np.argsort(time[order], kind="stable")]
    found = ConntrackEvents(
        time, kind.astype(np.int64), values[:, 2], client, dialled, server, seen
    )
    return found.take(order)


def _big_endian(data: Raw, at: Ints, size: int) -> Ints:
    total = np.zeros(len(at), dtype=np.int64)
    for i in range(size):
        total = total << 8 | data[at + i]
    return total


def _endpoints(values: Ints) -> tuple[Ints, Ints]:
    """(source, destination) of one tuple; queries of ICMP bear their id at both ends."""
    src, dst, _, sport, dport, icmp = values.T
    ports = (np.where(icmp != ABSENT, icmp, sport), np.where(icmp != ABSENT, icmp, dport))
    return pack(src, np.maximum(ports[0], 0)), pack(dst, np.maximum(ports[1], 0))


def _pattern(data: Raw, at: int, size: int) -> _Pattern:
    """Take one message apart."""
    message = data[at : at + size].tobytes()
    places = [ABSENT] * (2 * len(FIELDS))
    headers: list[int] = []
    for kind, begin, end in _attributes(message, HEADER, size):
        if kind not in (TUPLE_ORIG, TUPLE_REPLY):
            continue
        headers.append(begin - 4)
        base = len(FIELDS) * (kind == TUPLE_REPLY)
        for part, start, stop in _attributes(message, begin, end):
            names = {
                TUPLE_IP: {IP_SRC: 0, IP_DST: 1},
                TUPLE_PROTO: {PROTO_NUM: 2, PROTO_SPORT: 3, PROTO_DPORT: 4, PROTO_ICMP_ID: 5},
            }
            headers.append(start - 4)
            for field, where, _ in _attributes(message, start, stop):
                headers.append(where - 4)
                column = names.get(part, {}).get(field)
                if column is not None:
                    places[base + column] = where
    return _Pattern(tuple(places), tuple(headers))


def _attributes(data: bytes, begin: int, end: int) -> list[tuple[int, int, int]]:
    """(kind, begin, end) of every netlink attribute between two positions (netlink(7))."""
    found = []
    while begin + 4 <= end:
        length, kind = struct.unpack_from("=HH", data, begin)
        if length < 4 or begin + length > end:
            break
        found.append((kind & 0x3FFF, begin + 4, begin + length))
        begin += (length + 3) & ~3
    return found
