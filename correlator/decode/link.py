"""Link headers -> where the IP header lies, link addresses, VLAN tag and direction.

Link types as registered with pcap (LINKTYPE_* of draft-ietf-opsawg-pcaplinktype): Ethernet (1), raw
IP (12, 14, 101, 228, 229), BSD loopback (0, 108), Linux cooked v1 (113) and v2 (276)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from correlator.decode.frames import MOST_INTERFACES, Bytes, Frames, Interface
from correlator.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

ETHERNET, SLL, SLL2 = 1, 113, 276
RAW, BSD = frozenset((12, 14, 101, 228, 229)), frozenset((0, 108))
IPV4, IPV6 = 0x0800, 0x86DD
TAGS = (0x8100, 0x88A8, 0x9100)
OUTGOING = 4
"""PACKET_OUTGOING of if_packet.h."""


@dataclass(frozen=True)
class Network:
    """Per frame, int64 (n,): ``position`` of the network header, its ``ethertype``, link addresses
    (0 none), ``vlan`` (-1 none), ``packet_type`` (-1 unknown), ``direction`` and ``interface``."""

    position: Ints
    ethertype: Ints
    mac_src: Ints
    mac_dst: Ints
    vlan: Ints
    packet_type: Ints
    direction: Ints
    interface: Ints
    interfaces: tuple[Interface, ...]


def find_network(frames: Frames) -> Network:
    """Walk the link headers. Raises :class:`~correlator.errors.InputError` for a link type that
    nobody taught us."""
    n = len(frames)
    out = Network(
        frames.start.copy(),
        np.zeros(n, dtype=np.int64),
        np.zeros(n, dtype=np.int64),
        np.zeros(n, dtype=np.int64),
        np.full(n, -1, dtype=np.int64),
        np.full(n, -1, dtype=np.int64),
        frames.direction.copy(),
        frames.interface.copy(),
        frames.interfaces,
    )
    data = Bytes(frames.data)
    for code, interface in enumerate(frames.interfaces):
        rows = np.flatnonzero(frames.interface == code)
        kind = interface.link_type
        if kind == ETHERNET:
            _ethernet(data, frames, rows, out)
        elif kind in RAW:
            version = data.u8(frames.start[rows]) >> 4
            out.ethertype[rows] = np.where(version == 4, IPV4, np.where(version == 6, IPV6, 0))
        elif kind in BSD:
            _bsd(data, frames, rows, out)
        elif kind == SLL:
            _cooked(data, frames, rows, out, 14, 0, 2, 4, 6, 16)
        elif kind == SLL2:
            _cooked(data, frames, rows, out, 0, 10, 8, 11, 12, 20)
        elif len(rows):
            raise InputError(
                f"{interface.file}: {interface.name} has link type {kind}, which is not known: "
                f"capture Ethernet, raw IP or `-i any`"
            )
    return _split_cooked(data, frames, out)


def _ethernet(data: Bytes, frames: Frames, rows: Ints, out: Network) -> None:
    start = frames.start[rows]
    out.mac_dst[rows], out.mac_src[rows] = data.u48(start), data.u48(start + 6)
    kind, at = data.u16(start + 12), start + 14
    for _ in range(2):
        tagged = np.isin(kind, TAGS)
        if not tagged.any():
            break
        out.vlan[rows[tagged]] = data.u16(at[tagged]) & 0xFFF
        kind = np.where(tagged, data.u16(at + 2), kind)
        at = at + 4 * tagged
    out.ethertype[rows] = np.where(at - start <= frames.captured[rows], kind, 0)
    out.position[rows] = at


def _bsd(data: Bytes, frames: Frames, rows: Ints, out: Network) -> None:
    """The family is in the byte order of the machine that captured it: AF_INET is 2 everywhere."""
    start = frames.start[rows]
    family = data.u32(start)
    family = np.where(family > 0xFFFF, data.u8(start), family)
    out.ethertype[rows] = np.where(
        family == 2, IPV4, np.where(np.isin(family, (10, 24, 28, 30)), IPV6, 0)
    )
    out.position[rows] = start + 4


def _cooked(
    data: Bytes,
    frames: Frames,
    rows: Ints,
    out: Network,
    protocol: int,
    packet_type: int,
    hardware: int,
    size: int,
    address: int,
    header: int,
) -> None:
    """SLL and SLL2 differ in where things stand (arguments: offsets of the fields)."""
    start = frames.start[rows]
    v1 = header == 16
    kind = data.u16(start + packet_type) if v1 else data.u8(start + packet_type)
    length = data.u16(start + size) if v1 else data.u8(start + size)
    ether = (data.u16(start + hardware) == 1) & (length == 6)
    out.packet_type[rows] = kind
    out.mac_src[rows] = np.where(ether, data.u48(start + address), 0)
    out.direction[rows] = np.where(
        out.direction[rows] > 0, out.direction[rows], np.where(kind == OUTGOING, 2, 1)
    )
    ethertype, at = data.u16(start + protocol), start + header
    tagged = np.isin(ethertype, TAGS)
    out.vlan[rows[tagged]] = data.u16(at[tagged]) & 0xFFF
    out.ethertype[rows] = np.where(tagged, data.u16(at + 2), ethertype)
    out.position[rows] = at + 4 * tagged


def _split_cooked(data: Bytes, frames: Frames, out: Network) -> Network:
    """SLL2 names the interface of every frame by its index: one interface each, ``ifindex N`` until
    facts name it."""
    interfaces = list(frames.interfaces)
    codes = out.interface.copy()
    for code, interface in enumerate(frames.interfaces):
        rows = np.flatnonzero(frames.interface == code)
        if interface.link_type != SLL2 or not len(rows):
            continue
        found, which = np.unique(data.u32(frames.start[rows] + 4), return_inverse=True)
        codes[rows] = len(interfaces) + which
        interfaces += [
            replace(interface, name=f"ifindex {index}", index=index) for index in found.tolist()
        ]
        if len(interfaces) > MOST_INTERFACES:
            raise InputError(
                f"{interface.file}: names {len(interfaces):,} interfaces: is damaged, or no "
                f"capture of one host"
            )
    return replace(out, interface=codes, interfaces=tuple(interfaces))
