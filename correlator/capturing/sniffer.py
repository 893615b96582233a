"""Rings on all interfaces -> packets.pcapng, in order of time, without a Python object for a
frame."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from correlator.capturing.clock import SessionClock
from correlator.capturing.headers import LONGEST, header_lengths
from correlator.capturing.ring import Block, Ring
from correlator.dataset import pcapng
from correlator.dataset.session import PACKETS, Recorded
from correlator.dataset.writer import Folder
from correlator.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]
    Words = npt.NDArray[np.uint32]

logging.getLogger("scapy.runtime").setLevel(
    logging.ERROR
)  # it warns of sockets that listen to nothing yet

SECONDS, NANOSECONDS, CAPTURED, WIRE, FLAGS, MAC, TCI, TPID, KIND = 1, 2, 3, 4, 5, 6, 8, 9, 14
"""Words of a frame's header (struct tpacket3_hdr, and sockaddr_ll behind it)."""
VLAN_VALID, VLAN_TPID_VALID, OUTGOING = 0x10, 0x40, 4
RECEIVED, SENT = 1, 2
WHOLE = 262_144
ETHERNET = 1
FAR = 1 << 62
RING_BYTES, ALL_RINGS_BYTES, LEAST_RING_BYTES = 32 << 20, 512 << 20, 1 << 20
"""Of one interface, where few are tapped; of all together, where many are; and the least of one."""
AT_ONCE = 3000
"""Frames of a tap that are written together, or the block that holds them: the processor's cache
then holds them too, and no memory is asked of the kernel (15,000 together took 2.5 times as
long)."""
ROUNDS = 64
PADDING = np.zeros(pcapng.TAIL_WORDS + 12, dtype=np.uint32)
"""Behind the last frame: room for what is read and written beside it."""


@dataclass
class Tap:
    """A ring and what the session calls it: ``number`` counts its interface blocks."""

    ring: Ring
    number: int
    recorded: Recorded


class Sniffer:
    """Taps on interfaces. ``snap``: bytes kept of a frame; 0 for headers only, -1 for all.

    ``since``: frames from before (epoch ns) are left out: some taps were not there yet.
    """

    def __init__(
        self, folder: Folder, clock: SessionClock, application: str, snap: int, expression: str
    ) -> None:
        self.folder, self.clock, self.snap, self.expression = folder, clock, snap, expression
        self.taps: dict[str, Tap] = {}
        self.gone: list[Recorded] = []
        self.numbers = 0
        self.packets = 0
        self.since = 0
        self.ring_bytes = RING_BYTES
        folder.append(PACKETS, pcapng.section(application))

    @property
    def dropped(self) -> int:
        """Frames that the kernel dropped so far."""
        return sum(tap.ring.dropped for tap in self.taps.values()) + sum(
            one.dropped for one in self.gone
        )

    @property
    def kept(self) -> int:
        """Bytes that the kernel copies of a frame."""
        return LONGEST if self.snap == 0 else WHOLE if self.snap < 0 else self.snap

    def expect(self, count: int) -> None:
        """So many interfaces are to be tapped: their rings share what all may have."""
        self.ring_bytes = max(min(RING_BYTES, ALL_RINGS_BYTES // max(count, 1)), LEAST_RING_BYTES)

    def add(self, name: str, port_of: str = "", begin: int = 0) -> Tap:
        """Tap an interface. Raises OSError as the kernel does, InputError for a filter or link it
        cannot take."""
        ring = Ring(name, self.kept, self.ring_bytes, self.expression)
        if ring.link_type < 0:
            ring.close()
            raise InputError(
                f"-i {name}: has a kind of link that cannot be captured: use Ethernet-like or IP "
                f"interfaces"
            )
        return self.adopt(ring, port_of, begin)

    def adopt(self, ring: Ring, port_of: str = "", begin: int = 0) -> Tap:
        """Take up a ring that was opened before."""
        self.folder.append(
            PACKETS, pcapng.interface(ring.name, ring.link_type, self.kept, self.expression)
        )
        tap = Tap(ring, self.numbers, Recorded(ring.name, ring.link_type, port_of, begin=begin))
        self.numbers += 1
        self.taps[ring.name] = tap
        return tap

    def remove(self, name: str) -> None:
        """Give up an interface that is gone; what it showed stays."""
        tap = self.taps.pop(name)
        self._note(tap)
        self.gone.append(replace(tap.recorded, end=self.clock.now()))
        tap.ring.close()

    def take(self, until: int | None = None) -> int:
        """Write what the kernel has handed over (frames up to ``until``, epoch ns); returns how
        many frames."""
        before, more = self.packets, True
        for _ in range(ROUNDS):
            if not more:
                break
            self.clock.check()
            more = self._take_some(until)
        return self.packets - before

    def _take_some(self, until: int | None) -> bool:
        """Write some blocks of every tap; whether a tap may hold more."""
        found = [(tap, block) for tap in self.taps.values() for block in tap.ring.hold(AT_ONCE)]
        more = sum(len(block.at) for _, block in found) >= AT_ONCE
        batch = self._batch(found) if found else None
        found.clear()
        for tap in self.taps.values():
            tap.ring.release()
        if batch is None:
            return more
        if (until is not None and batch.time[-1] > until) or batch.time[0] < self.since:
            batch = _select(
                batch, np.flatnonzero((batch.time >= self.since) & (batch.time <= (until or FAR)))
            )
        self.folder.append(PACKETS, pcapng.packets(batch))
        self.packets += len(batch.at)
        return more

    def count(self) -> None:
        """Write drop counts that changed."""
        for tap in self.taps.values():
            before = tap.ring.dropped
            tap.ring.count()
            if tap.ring.dropped != before:
                self._note(tap)

    def finish(self) -> tuple[Recorded, ...]:
        """Write the final counts; what each interface showed."""
        for tap in self.taps.values():
            tap.ring.count()
            self._note(tap)
        return (*(tap.recorded for tap in self.taps.values()), *self.gone)

    def close(self) -> None:
        """Close all rings."""
        for tap in self.taps.values():
            tap.ring.close()

    def _note(self, tap: Tap) -> None:
        tap.recorded = replace(tap.recorded, received=tap.ring.received, dropped=tap.ring.dropped)
        self.folder.append(
            PACKETS,
            pcapng.statistics(tap.number, self.clock.now(), tap.ring.received, tap.ring.dropped),
        )

    def _batch(self, found: list[tuple[Tap, Block]]) -> pcapng.Batch:
        """The frames of these blocks in order of time, copied out of the rings."""
        words = np.concatenate([*(block.words for _, block in found), PADDING])
        bases = np.cumsum([0, *(len(block.words) for _, block in found[:-1])])
        at = np.concatenate(
            [block.at + base for (_, block), base in zip(found, bases.tolist(), strict=True)]
        )
        counts = [len(block.at) for _, block in found]
        number = np.repeat(np.array([tap.number for tap, _ in found], dtype=np.uint32), counts)
        ethernet = np.repeat(np.array([tap.ring.link_type == ETHERNET for tap, _ in found]), counts)
        time = self.clock.correct(
            words[at + SECONDS].astype(np.int64) * 1_000_000_000 + words[at + NANOSECONDS]
        )
        begin = at * 4 + (words[at + MAC] & 0xFFFF)
        direction = np.where(
            words[at + KIND] >> 16 & 0xFF == OUTGOING, np.uint32(SENT), np.uint32(RECEIVED)
        )
        captured, wire = words[at + CAPTURED].astype(np.int64), words[at + WIRE]
        tagged = (words[at + FLAGS] & VLAN_VALID != 0) & ethernet
        odd = tagged | (begin & 3 != 0)
        if odd.any():
            words, begin = _copy_odd(words, at, begin, captured, tagged, odd)
            captured, wire = captured + 4 * tagged, wire + 4 * tagged
        begin >>= 2
        kept = header_lengths(words, begin, captured, ethernet) if self.snap == 0 else captured
        batch = pcapng.Batch(words, begin, kept, wire, time, number, direction)
        if (time[1:] < time[:-1]).any():
            return _select(batch, np.argsort(time, kind="stable"))
        return batch


def _select(batch: pcapng.Batch, rows: Ints) -> pcapng.Batch:
    return pcapng.Batch(
        batch.words,
        batch.at[rows],
        batch.kept[rows],
        batch.wire[rows],
        batch.time[rows],
        batch.interface[rows],
        batch.direction[rows],
    )


def _copy_odd(
    words: Words,
    at: Ints,
    begin: Ints,
    captured: Ints,
    tagged: npt.NDArray[np.bool_],
    odd: npt.NDArray[np.bool_],
) -> tuple[Words, Ints]:
    """(words with copies of the odd frames behind them, where each frame begins in bytes).

    Odd are frames that do not begin at a word, and those whose 802.1Q tag the kernel keeps beside
    them: it is put back where it stood, behind the addresses."""
    rows = np.flatnonzero(odd)
    width = int(captured[rows].max() + 3 >> 2) + 1
    padded = np.r_[words, np.zeros(width + 1, dtype=np.uint32)].view(np.uint8)
    frames = (
        np.lib.stride_tricks.sliding_window_view(padded, width * 4)[begin[rows]]
        .copy()
        .view(np.uint32)
    )
    copies = np.zeros((len(rows), width + 1), dtype=np.uint32)
    copies[:, :width] = frames
    tags = tagged[rows]
    copies[tags, 4:] = frames[tags, 3:]
    protocol = np.where(
        words[at[rows] + FLAGS] & VLAN_TPID_VALID, words[at[rows] + TPID] & 0xFFFF, 0x8100
    )
    tag = (
        np.stack([protocol, words[at[rows] + TCI] & 0xFFFF], axis=1)
        .astype(">u2")
        .view(np.uint32)[:, 0]
    )
    copies[tags, 3] = tag[tags]
    moved = begin.copy()
    moved[rows] = (len(words) + np.arange(len(rows)) * (width + 1)) * 4
    return np.r_[words, copies.ravel(), PADDING], moved
