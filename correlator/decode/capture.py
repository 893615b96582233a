"""A capture: interfaces and one packet table, however many files it came from."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from correlator.addresses import END_OF_IPV4, AddressBook
from correlator.dataset.files import available, read_file
from correlator.decode import pcap, pcapng
from correlator.decode.columns import COLUMNS
from correlator.decode.frames import MOST_FRAMES, Frames, Interface
from correlator.decode.link import find_network
from correlator.decode.network import decode_network
from correlator.decode.packed import GZIP, gunzip
from correlator.errors import InputError
from correlator.plain import encodable

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd


@dataclass(frozen=True)
class Capture:
    """``packets``: a DataFrame as :data:`~correlator.decode.columns.COLUMNS` declares it, in order
    of time.

    ``addresses`` are what addresses from 2**32 on stand for: values of 128 bits, in order.
    ``skipped`` counts frames that are not of the family, by what they hold; ``warnings`` are losses
    and damage, one line each. ``files`` are what
    was read: the interface that its packets were said to be of (None: as the file says) and the
    path."""

    interfaces: tuple[Interface, ...]
    packets: pd.DataFrame
    warnings: tuple[str, ...] = ()
    addresses: tuple[int, ...] = ()
    skipped: tuple[tuple[str, int], ...] = ()
    files: tuple[tuple[str | None, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the interfaces, in the order of their codes."""
        return tuple(interface.name for interface in self.interfaces)


NAME = re.compile(r"(.*)\.(?:pcapng|pcap|cap|dmp)([0-9]{0,9})(?:\.gz)?", re.DOTALL)
"""(what a capture is named after, which file of a ring it is: ``tcpdump -C`` and ``-W`` number
them)."""


def interface_name(path: Path) -> str:
    """The interface that a file is named after: ``docker0.pcap.gz`` is docker0, and so is
    ``docker0.pcap12``, of a ring."""
    found = NAME.fullmatch(path.name)
    return encodable(found[1] if found else path.name.removesuffix(".gz"))


def place_in_ring(path: Path) -> int:
    """The number behind the ending of a capture's name; 0 where there is none."""
    found = NAME.fullmatch(path.name)
    return int(found[2] or 0) if found else 0


def read_packets(
    path: str | Path, interface: str | None = None, most: int = MOST_FRAMES, family: int = 4
) -> Capture:
    """Read a pcap or pcapng file, plain or gzipped, of the link types that ``decode.link`` knows.

    ``interface`` names it where the file does not; without it, the file's name does. ``family``: 4,
    or 6, whose packets are in the table. Raises
    :class:`~correlator.errors.InputError` where the file is missing, empty, or of another kind, or
    holds more than ``most`` frames; a file that was cut short is read up to there, with a
    warning."""
    frames = read_frames(path, interface, most)
    return replace(decode(frames, family), files=((interface, str(path)),))


def read_frames(path: str | Path, interface: str | None = None, most: int = MOST_FRAMES) -> Frames:
    """Where each frame of a file lies in its bytes; arguments and errors are those of
    :func:`read_packets`."""
    path = Path(path)
    data = _bytes(path)
    if data[:4] in pcap.MAGICS:
        return pcap.index(data, str(path), interface or interface_name(path), most)
    if data[:4] == pcapng.MAGIC:
        return pcapng.index(data, str(path), interface, interface_name(path), most)
    raise InputError(
        f"{path}: is neither pcap nor pcapng: expected what `tcpdump -w` or Wireshark wrote"
    )


def _bytes(path: Path) -> bytes:
    data = read_file(path, most=available())
    if data[:2] == GZIP:
        try:
            data = gunzip(data, path, available())
        except zlib.error as error:
            raise InputError(f"{path}: is a damaged gzip file: {error}") from None
    if not data:
        raise InputError(f"{path}: is empty: expected a pcap or pcapng file")
    return data


def decode(frames: Frames, family: int = 4) -> Capture:
    """Frames of a family (4, 6) as a packet table, in order of time."""
    import pandas as pd

    network = find_network(frames)
    columns, addresses, skipped = decode_network(frames, network, family)
    columns["file"] = np.zeros(len(columns["frame"]), dtype=np.int16)
    table = {name: np.asarray(columns[name], dtype=dtype) for name, (dtype, _) in COLUMNS.items()}
    packets = pd.DataFrame(table, copy=False).sort_values("time", kind="stable", ignore_index=True)
    interfaces, codes = _used(network.interfaces, packets["interface"].to_numpy())
    packets["interface"] = codes
    return Capture(interfaces, packets, frames.warnings, addresses, skipped)


def _used(
    interfaces: tuple[Interface, ...], codes: npt.NDArray[np.int16]
) -> tuple[tuple[Interface, ...], npt.NDArray[np.int16]]:
    """Interfaces of one name are one."""
    names = list(dict.fromkeys(i.name for i in interfaces))
    position = np.array([names.index(i.name) for i in interfaces] or [0], dtype=np.int16)
    first = {i.name: i for i in reversed(interfaces)}
    return tuple(first[name] for name in names), position[codes]


ADDRESSES = ("src", "dst", "inner_src", "inner_dst")


def renumbered(capture: Capture, book: AddressBook) -> Capture:
    """The capture with its IPv6 addresses as numbers of a book that holds them all."""
    if not capture.addresses:
        return capture
    numbers = np.array([book.number(value) for value in capture.addresses], dtype=np.uint64)
    moved = {}
    for name in ADDRESSES:
        column = capture.packets[name].to_numpy()
        place = np.maximum(column, np.uint64(END_OF_IPV4)) - np.uint64(END_OF_IPV4)
        moved[name] = np.where(column < END_OF_IPV4, column, numbers[place.astype(np.int64)])
    return replace(capture, packets=capture.packets.assign(**moved), addresses=book.values)


def concat(captures: Sequence[Capture]) -> Capture:
    """All captures in one, in order of time; interfaces of the same name become one."""
    import pandas as pd

    interfaces: dict[str, Interface] = {}
    tables: list[pd.DataFrame] = []
    skipped: dict[str, int] = {}
    for capture in captures:
        for interface in capture.interfaces:
            interfaces.setdefault(interface.name, interface)
    if any(capture.addresses for capture in captures):
        book = AddressBook.of(value for capture in captures for value in capture.addresses)
        captures = [renumbered(capture, book) for capture in captures]
    names = list(interfaces)
    files: list[tuple[str | None, str]] = []
    for capture in captures:
        position = np.array([names.index(name) for name in capture.names] or [0], dtype=np.int16)
        moved = {"interface": position[capture.packets["interface"].to_numpy()]}
        moved["file"] = (capture.packets["file"].to_numpy() + len(files)).astype(np.int16)
        tables.append(capture.packets.assign(**moved))
        files += capture.files
        for kind, number in capture.skipped:
            skipped[kind] = skipped.get(kind, 0) + number
    packets = pd.concat(tables, ignore_index=True).sort_values(
        "time", kind="stable", ignore_index=True
    )
    warnings = tuple(warning for capture in captures for warning in capture.warnings)
    addresses = next((one.addresses for one in captures if one.addresses), ())
    return Capture(
        tuple(interfaces.values()),
        packets,
        warnings,
        addresses,
        tuple(skipped.items()),
        tuple(files),
    )
