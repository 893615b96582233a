"""Copies of a recording laid end to end: times, clients and counters move on."""

from __future__ import annotations

import re
import struct

CLIENT_NET = (172 << 8 | 31).to_bytes(2, "big")
HOST = bytes((172, 31, 37, 164))


def tile_pcap(data: bytes, copies: int, span: int) -> bytes:
    """The frames again and again, each time ``span`` ns later and from other clients."""
    records, position = [], 24
    while position < len(data):
        seconds, nanos, captured, wire = struct.unpack_from("<IIII", data, position)
        records.append(
            (seconds * 10**9 + nanos, wire, data[position + 16 : position + 16 + captured])
        )
        position += 16 + captured
    out = [data[:24]]
    for copy in range(copies):
        for stamp, wire, frame in records:
            moved = bytearray(frame)
            for place in (26, 30):
                if moved[place : place + 2] == CLIENT_NET and moved[place : place + 4] != HOST:
                    moved[place + 2] = (moved[place + 2] + 3 * copy) % 250 + 1
            late = stamp + copy * span
            out.append(
                struct.pack("<IIII", late // 10**9, late % 10**9, len(moved), wire) + bytes(moved)
            )
    return b"".join(out)


def tile_log(text: str, copies: int, span: int) -> str:
    """The snapshots again and again, later, counting on from where the last copy ended."""
    parts = [part for part in re.split(r"(?=^# sample)", text, flags=re.MULTILINE) if part]
    count = re.compile(r"\[(\d+):(\d+)\]")
    last = [tuple(map(int, found)) for found in count.findall(parts[-1])]
    first = [tuple(map(int, found)) for found in count.findall(parts[0])]
    step = [(a[0] - b[0], a[1] - b[1]) for a, b in zip(last, first, strict=True)]

    def move(part: str, copy: int) -> str:
        numbers = iter(step)

        def counted(found: re.Match[str]) -> str:
            more = next(numbers)
            return f"[{int(found[1]) + copy * more[0]}:{int(found[2]) + copy * more[1]}]"

        def timed(found: re.Match[str]) -> str:
            late = int(found[1]) * 10**9 + int(found[2]) + copy * span
            return f"{late // 10**9}.{late % 10**9:09d}"

        head, _, body = part.partition("\n")
        return re.sub(r"(\d+)\.(\d{9})", timed, head) + "\n" + count.sub(counted, body)

    return "".join(move(part, copy) for copy in range(copies) for part in parts)
