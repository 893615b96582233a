"""Recordings with something taken out or put in: what a user's may lack, and what may have got into
it."""

from __future__ import annotations

import random
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

Mutation = Callable[[Path, random.Random], str]
"""Changes a recording's folder; what it did, or nothing where there is nothing to do it to."""
FILE_HEADER, FRAME_HEADER = 24, 16


def frames_of(path: Path) -> tuple[bytes, list[bytes]]:
    """(the file's header, its frames with their headers) of a pcap in this machine's byte order."""
    data, at, frames = path.read_bytes(), FILE_HEADER, []
    while at + FRAME_HEADER <= len(data):
        end = at + FRAME_HEADER + struct.unpack_from("=I", data, at + 8)[0]
        frames.append(data[at:end])
        at = end
    return data[:FILE_HEADER], frames


def _pcap(folder: Path, r: random.Random) -> Path:
    """One of the pcaps that have frames."""
    return r.choice([p for p in sorted(folder.glob("*.pcap")) if p.stat().st_size > FILE_HEADER])


def lose_frames(folder: Path, r: random.Random) -> str:
    """A capture loses one frame, or one in twenty."""
    path = _pcap(folder, r)
    head, frames = frames_of(path)
    gone = set(r.sample(range(len(frames)), max(1, r.choice([0, len(frames) // 20]))))
    path.write_bytes(head + b"".join(f for i, f in enumerate(frames) if i not in gone))
    return f"{path.name} without frames {sorted(gone)[:9]}"


def repeat_frame(folder: Path, r: random.Random) -> str:
    """A frame stands there a second time, right behind the first."""
    path = _pcap(folder, r)
    head, frames = frames_of(path)
    at = r.randrange(len(frames))
    path.write_bytes(head + b"".join([*frames[: at + 1], *frames[at:]]))
    return f"{path.name} with frame {at} twice"


def lose_interface(folder: Path, r: random.Random) -> str:
    """An interface was not captured."""
    path = _pcap(folder, r)
    if len(list(folder.glob("*.pcap"))) < 2:
        return ""
    path.unlink()
    return f"without {path.name}"


def add_other_host(folder: Path, r: random.Random) -> str:
    """The pcap of another host lies there too."""
    others = [p for p in sorted(folder.parent.glob("*/eth0.pcap")) if p.parent != folder]
    other = r.choice(others)
    shutil.copy(other, folder / "eth7.pcap")
    return f"with {other.parent.name}'s eth0.pcap as eth7.pcap"


def _samples(folder: Path) -> list[str]:
    return re.split(r"(?m)^(?=# sample)", (folder / "counters.log").read_text())[1:]


def lose_samples(folder: Path, r: random.Random) -> str:
    """Some snapshots are missing, up to half of them."""
    samples = _samples(folder)
    gone = set(r.sample(range(len(samples)), r.choice([1, len(samples) // 2])))
    (folder / "counters.log").write_text("".join(s for i, s in enumerate(samples) if i not in gone))
    return f"without {len(gone)} of {len(samples)} snapshots"


def lose_rule(folder: Path, r: random.Random) -> str:
    """A rule is in no snapshot."""
    text = (folder / "counters.log").read_text()
    rules = sorted({line.partition("] ")[2] for line in text.splitlines() if " -A " in line[:40]})
    gone = r.choice(rules)
    kept = [line for line in text.splitlines() if line.partition("] ")[2] != gone]
    (folder / "counters.log").write_text("\n".join(kept) + "\n")
    return f"without the rule {gone}"


def lose_table(folder: Path, r: random.Random) -> str:
    """A table is in no snapshot."""
    text = (folder / "counters.log").read_text()
    table = r.choice(sorted(set(re.findall(r"(?m)^\*(\w+)$", text))))
    without = re.sub(rf"(?ms)^\*{table}$.*?^COMMIT$\n", "", text)
    (folder / "counters.log").write_text(without)
    return f"without the table {table}"


def lose_facts(folder: Path, r: random.Random) -> str:
    """One of the files of facts was not saved."""
    path = r.choice([p for p in sorted(folder.iterdir()) if p.suffix in (".json", ".txt")])
    path.unlink()
    return f"without {path.name}"


MUTATIONS: tuple[Mutation, ...] = (
    lose_frames,
    repeat_frame,
    lose_interface,
    add_other_host,
    lose_samples,
    lose_rule,
    lose_table,
    lose_facts,
)
