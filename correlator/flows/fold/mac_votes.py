"""Own MAC addresses of interfaces that no fact tells, guessed from the first frames and proven by
all of them.

:func:`correlator.flows.frames.direction.look` weighs all frames at once. Here they pass by: an
address is taken from the first ones, and while the rest is folded under it, everything is counted
that could speak for another. Where that leaves a doubt, nothing is claimed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from correlator.decode import interface_name
from correlator.decode.peek import Peek
from correlator.decode.records import OWN_LACKED, OWN_RAW, OWN_TAGGED, OWN_TOLD, OWN_UNTOLD
from correlator.decode.stream import Names, Source, UnusualError, stream
from correlator.flows.fold import mac_votes_kernel as kernel
from correlator.flows.fold.mac_votes_kernel import (
    AGREE,
    FRAGMENTS,
    FRAMES,
    LAST,
    OPPOSE,
    STRANGER,
    UNKNOWN,
)
from correlator.flows.fold.task import Files
from correlator.flows.fold.waiting_kernel import move_ring

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools

    Records = npt.NDArray[np.void]

FIRST = 1 << 12
REACHED = 1 << 13
ENOUGH = 1 << 16
"""So many frames are looked at for a guess."""


class MacVotes:
    """Counts what frames, in order of time, tell of their interfaces' own addresses."""

    def __init__(self) -> None:
        self.counts = np.zeros(3, dtype=np.int64)
        self.tally = np.zeros((256, 5), dtype=np.int64)
        self.ring, self.buckets = np.zeros(FIRST, dtype=LAST), np.full(FIRST, -1, dtype=np.int64)
        self.table = np.full(REACHED, -1, dtype=np.int64)

    def take(self, records: Records, asked: Bools) -> None:
        """Count more of them; ``asked`` (256,): of which interfaces. Raises
        :class:`~correlator.decode.stream.UnusualError` where there are more addresses than a host
        has."""
        done = 0
        while (
            done := kernel.vote(records, done, self.ring, self.buckets, self.counts, self.tally)
        ) < len(records):
            ring, buckets = (
                np.zeros(2 * len(self.ring), dtype=LAST),
                np.full(2 * len(self.ring), -1, dtype=np.int64),
            )
            move_ring(self.ring, ring, buckets, self.counts)
            self.ring, self.buckets = ring, buckets
        if asked.any() and not kernel.reach(records, asked, self.table):
            raise UnusualError

    def reached(self) -> dict[int, tuple[int, ...]]:
        """interface -> addresses of frames that came in to its MAC address, in order."""
        found: dict[int, list[int]] = {}
        for name in np.sort(self.table[self.table >= 0]).tolist():
            found.setdefault(name >> 32, []).append(name & 0xFFFFFFFF)
        return {code: tuple(addresses) for code, addresses in found.items()}

    def opposed(self, code: int) -> bool:
        """Whether frames speak against the address that was taken."""
        return bool(self.tally[code, OPPOSE] > self.tally[code, AGREE])

    def silent(self, code: int) -> bool:
        """Whether no frame of the interface speaks for or against any address, and none is
        unknown."""
        tally = self.tally[code]
        return not (
            tally[AGREE]
            or tally[OPPOSE]
            or tally[STRANGER]
            or tally[UNKNOWN]
            or self.counts[FRAGMENTS]
        )

    def proven(self, code: int) -> bool:
        """Whether no other address can have as many votes. A vote against the one taken is one for
        another, so may be those of strangers and of unknown frames; what fragments make when they
        are put together may change four frames' votes, by two each."""
        agree, oppose, strangers, unknown = (
            int(self.tally[code, what]) for what in (AGREE, OPPOSE, STRANGER, UNKNOWN)
        )
        return agree - oppose > oppose + strangers + 2 * unknown + 8 * int(self.counts[FRAGMENTS])


def count_macs(files: Files, known: Mapping[str, int], enough: int) -> dict[str, Counter[int]]:
    """Interface of which no MAC address is ``known`` -> how many of its unicast frames bear each
    one; ``enough`` frames of each file will do. Raises
    :class:`~correlator.decode.stream.UnusualError`."""
    names = Names({})
    found: dict[str, Counter[int]] = {}
    for name, file in files:
        source, seen = Peek(file, name, interface_name(file), names), 0
        while seen < enough and len(rows := source.read()):
            seen += len(rows)
            for code in np.unique(rows["interface"]).tolist():
                if known.get(names.interfaces[code].name) or names.interfaces[code].name == "lo":
                    continue
                mine = rows[rows["interface"] == code]
                other = mine["target"][mine["target"] != mine["source"]]
                macs, number = np.unique(np.r_[mine["source"], other], return_counts=True)
                count = found.setdefault(names.interfaces[code].name, Counter())
                count.update(dict(zip(macs.tolist(), number.tolist(), strict=True)))
    return found


def guess_macs(files: Files, known: Mapping[str, int]) -> dict[str, int]:
    """Own MAC addresses of interfaces of which none is ``known``, as the first frames tell."""
    count = count_macs(files, known, ENOUGH)
    ranked = {
        name: sorted(macs, key=lambda mac: (macs[mac], mac), reverse=True)
        for name, macs in count.items()
    }
    chosen = {name: macs[0] for name, macs in ranked.items()}
    for place in range(1, 3):
        names, votes, seen = Names({**known, **chosen}), MacVotes(), 0
        for records in stream(
            [Source(file, name, interface_name(file), names) for name, file in files]
        ):
            votes.take(records, np.zeros(256, dtype=bool))
            seen += len(records)
            if seen >= ENOUGH:
                break
        wrong = [
            one.name
            for code, one in enumerate(names.interfaces)
            if one.name in chosen and votes.opposed(code)
        ]
        chosen |= {name: ranked[name][place] for name in wrong if len(ranked[name]) > place}
        if not wrong:
            break
    return chosen


def prove_macs(
    files: Files, known: Mapping[str, int], names: Names, votes: MacVotes
) -> dict[str, int]:
    """Own MAC addresses of the interfaces with frames of which none is ``known``: those that were
    taken, where all frames agree that it is them; another, where that should be tried. Raises
    :class:`~correlator.decode.stream.UnusualError` where frames have to be weighed all at once."""
    every: dict[str, Counter[int]] | None = None
    found: dict[str, int] = {}
    for code, one in enumerate(names.interfaces):
        bits, mac = int(names.own[code, 0]), names.macs[code]
        if (
            one.name == "lo"
            or known.get(one.name)
            or not votes.tally[code, FRAMES]
            or not bits & OWN_UNTOLD
        ):
            continue
        missed, silent, opposed = (
            bool(mac == 0 and bits & OWN_LACKED),
            votes.silent(code),
            votes.opposed(code),
        )
        if bits & (OWN_TOLD | OWN_RAW) or not (missed or silent or opposed or votes.proven(code)):
            raise UnusualError
        found[one.name] = mac
        if missed or opposed or (mac and silent):
            every = count_macs(files, known, 1 << 62) if every is None else every
            macs = {
                other: number
                for other, number in every[one.name].items()
                if not opposed or other != mac
            }
            if not macs:
                raise UnusualError
            found[one.name] = max(macs.items(), key=lambda one: (one[1], one[0]))[0]
    if found and any(bits & OWN_TAGGED for bits in names.own[: len(names.interfaces), 0].tolist()):
        raise UnusualError
    return found
