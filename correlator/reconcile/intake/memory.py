"""How much memory a replay may take, and what it needs: packets that do not fit are kept on disk,
or refused."""

from __future__ import annotations

from correlator.errors import InputError

BASE = 240 << 20
"""What the interpreter, its libraries and a few thousand connections take."""
HELD, BLOCK = 60, 240
"""Bytes for each ordinary packet that is held, and for each of the block that is worked on."""
PACKETS_SHARE, LARGEST_BLOCK = 0.5, 1 << 20
"""How much of the limit packets may take (the rest is for connections), and the most packets that
are worked on at a time where they do not fit: more are not faster."""
APART = 1400
"""Bytes for each frame that is looked at by itself."""
SMALLEST_RECORD, USUAL_RECORD = 70, 110
"""Bytes of a frame in a file: a SYN without options in a pcap, and headers as tcpdump and captures
keep them."""
LEAST_BLOCK = 1 << 15
LEAST_APART = 64 << 20
"""What frames that are looked at by themselves may take, however little else there is."""


def block_of(size: int, limit: int) -> int:
    """How many ordinary packets to work on at a time, for files of so many bytes; 0: all of them
    fit into memory."""
    packets = size // SMALLEST_RECORD // 2
    room = int((limit - BASE) * PACKETS_SHARE)
    if packets * HELD <= room:
        return 0
    return min(max(room // BLOCK, LEAST_BLOCK), LARGEST_BLOCK)


def most_apart(limit: int) -> int:
    """How many frames can be looked at one by one."""
    return max(limit - BASE, LEAST_APART) // APART


def refuse(source: str, frames: int, limit: int, why: str) -> None:
    """Raises :class:`~correlator.errors.InputError` where so many frames, looked at one by one,
    need more than the limit."""
    if frames > most_apart(limit):
        need = BASE + frames * APART
        raise InputError(
            f"{source}: needs about {need / 2**30:.1f} GiB of memory, and {limit / 2**30:.1f} GiB "
            f"may be taken (--max-memory): "
            f"{why}: replay fewer packets, or allow more"
        )
