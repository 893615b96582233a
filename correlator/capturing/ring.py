"""A scapy socket with the kernel's own ring behind it: frames arrive in blocks, none of them a
Python object.

Layout and meaning after Linux Documentation/networking/packet_mmap.rst and
include/uapi/linux/if_packet.h (TPACKET_V3). No promiscuous mode: on a bridge it changes what
netfilter counts (see docs/capture.md)."""

from __future__ import annotations

import mmap
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scapy.arch.common import compile_filter
from scapy.arch.linux import L2ListenSocket
from scapy.error import Scapy_Exception

from correlator.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

SOL_PACKET, ETH_P_ALL = 263, 3
PACKET_RX_RING, PACKET_STATISTICS, PACKET_VERSION, PACKET_RESERVE, PACKET_IGNORE_OUTGOING = (
    5,
    6,
    10,
    12,
    23,
)
SO_ATTACH_FILTER, SO_RCVBUF = 26, 8
TPACKET_V3 = 2
BLOCK_SIZE, FRAME_SIZE, RETIRE_MS = 1 << 18, 2048, 20
STATUS, COUNT, FIRST, LENGTH = 2, 3, 4, 5
"""Words of a block's header: who owns it (1: us), frames in it, offset of the first one, bytes
used."""
OFFSETS = 6
"""Word of a frame's header (struct tpacket3_hdr): tp_mac and tp_net. Headers begin at multiples of
eight bytes."""
LINK_TYPES = {1: 1, 772: 1, 65534: 101, 768: 101, 778: 101, 776: 101, 519: 101, 823: 101}
"""ARPHRD_* of if_arp.h -> LINKTYPE_*: Ethernet and loopback, and what bears IP without a link
header."""
RETURN = 0x06
"""BPF_RET | BPF_K: its constant is how much of a frame is kept."""


@dataclass(frozen=True, slots=True)
class Block:
    """Frames as the kernel handed them over: ``words`` uint32, the block's bytes, in the ring
    itself; ``at`` int64 (n,) the word at which each frame's header begins."""

    words: npt.NDArray[np.uint32]
    at: npt.NDArray[np.int64]


class Ring(L2ListenSocket):
    """scapy's listening socket on one interface, reading through a ring of ``size`` bytes.

    ``kept`` is how many bytes of a frame the kernel copies; ``expression`` a filter as
    pcap-filter(7) has it. Raises :class:`~correlator.errors.InputError` for a filter that does not
    compile, OSError as socket(7) does."""

    def __init__(self, interface: str, kept: int, size: int, expression: str = "") -> None:
        # protocol 0: nothing arrives before ring and filter are there
        super().__init__(iface=interface, type=0, promisc=False, nofilter=1)
        self.name = interface
        self.received = self.dropped = 0
        self.link_type = LINK_TYPES.get(self.ins.getsockname()[3], -1)
        self._attach(kept, expression)
        self.ins.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        self.ins.setsockopt(
            SOL_PACKET, PACKET_RESERVE, 2
        )  # behind 14 bytes of Ethernet header: frames begin at a word
        if interface == "lo":  # each packet is there twice, going and coming
            self.ins.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.blocks = max(size // BLOCK_SIZE, 2)
        layout = (
            BLOCK_SIZE,
            self.blocks,
            FRAME_SIZE,
            BLOCK_SIZE // FRAME_SIZE * self.blocks,
            RETIRE_MS,
            0,
            0,
        )
        self.ins.setsockopt(SOL_PACKET, PACKET_RX_RING, struct.pack("=7I", *layout))
        self.map = mmap.mmap(self.ins.fileno(), BLOCK_SIZE * self.blocks)
        self.view = memoryview(self.map)
        self.heads = self.view.cast("I")
        self.next = self.held = 0
        self.ins.bind((interface, ETH_P_ALL))

    def _attach(self, kept: int, expression: str) -> None:
        program = [(RETURN, 0, 0, kept)]
        if expression:
            try:
                compiled = compile_filter(expression, linktype=self.link_type)
            except (Scapy_Exception, ImportError, OSError) as error:
                raise InputError(f"--filter {expression!r}: {error}: see pcap-filter(7)") from None
            found = [compiled.bf_insns[i] for i in range(compiled.bf_len)]
            program = [
                (i.code, i.jt, i.jf, kept if i.code == RETURN and i.k else i.k) for i in found
            ]
        import ctypes

        code = ctypes.create_string_buffer(
            b"".join(struct.pack("=HBBI", *step) for step in program)
        )
        self.ins.setsockopt(
            socket.SOL_SOCKET,
            SO_ATTACH_FILTER,
            struct.pack("HL", len(program), ctypes.addressof(code)),
        )

    def hold(self, enough: int) -> list[Block]:
        """Blocks that the kernel has handed over, until ``enough`` frames are in them; ours until
        :meth:`release`."""
        found: list[Block] = []
        frames = 0
        while self.held < self.blocks and frames < enough:
            head = (self.next + self.held) % self.blocks * (BLOCK_SIZE // 4)
            if not self.heads[head + STATUS] & 1:
                break
            self.held += 1
            count, first, length = (
                self.heads[head + COUNT],
                self.heads[head + FIRST],
                self.heads[head + LENGTH],
            )
            if count:
                words = np.frombuffer(self.heads[head : head + (length + 3 >> 2)], dtype=np.uint32)
                found.append(Block(words, find_frames(words, first >> 2, count)))
                frames += count
        return found

    def release(self) -> None:
        """Give back every block that is held; nothing may read from it any more."""
        for _ in range(self.held):
            self.heads[self.next * (BLOCK_SIZE // 4) + STATUS] = 0
            self.next = (self.next + 1) % self.blocks
        self.held = 0

    def count(self) -> None:
        """Add what the kernel counted since the last call to ``received`` and ``dropped`` (reading
        resets it)."""
        received, dropped, _ = struct.unpack(
            "=3I", self.ins.getsockopt(SOL_PACKET, PACKET_STATISTICS, 12)
        )
        self.received += received
        self.dropped += dropped

    def close(self) -> None:
        """Give the ring back."""
        if not self.closed and hasattr(self, "heads"):
            self.heads.release()
            self.view.release()
            self.map.close()
        super().close()


def find_frames(words: npt.NDArray[np.uint32], first: int, count: int) -> npt.NDArray[np.int64]:
    """Where each frame's header begins, in words; int64 (count,). The first is at ``first``.

    Every header tells how far it is to the next, which takes a step of Python a frame. Headers also
    look alike (where the link and network headers begin, in one word; their second): look for that
    at once, between frames there are remains of others too, and believe it where the chain then is
    the same."""
    at = np.flatnonzero(words[first + OFFSETS :: 2] == words[first + OFFSETS]) * 2 + first
    if len(at) != count:
        at = at[words[at + 1] - words[first + 1] + 1 <= 2]
    if len(at) == count and bool((at[:-1] + (words[at[:-1]] >> 2) == at[1:]).all()):
        return at
    steps, place, found = words.data, first, []
    for _ in range(count):
        found.append(place)
        place += steps[place] >> 2
    return np.array(found, dtype=np.int64)
