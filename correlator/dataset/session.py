"""A session on disk: a folder that one recording appends to and every replay reads::

    manifest.json        what was recorded, by which tool, on which clocks; written first, and
                         replaced at the end
    packets.pcapng       frames of all interfaces, with their directions and drop counts
    samples.jsonl        rulesets and counter samples, one JSON object a line, changes only
    rulesets/NAME.rules  iptables-save text of every ruleset that samples.jsonl names;
                         NAME.rules6: ip6tables-save's; NAME.nft: nft's listing of its own tables
    events.pcapng        conntrack events as the kernel sent them (link type NETLINK)
    facts/N/             addr.json, link.json, route.json, sysctl.txt, ...: the host, as it was from
                         facts/N/time.json on

Everything but the manifest is only ever appended to, so that what a killed recording wrote replays.
All times are epoch ns of one clock: the realtime clock as it stood at the beginning, carried on by
the monotonic one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from correlator.dataset.files import is_there, read_file
from correlator.errors import InputError

FORMAT = 2
MANIFEST, PACKETS, SAMPLES, RULESETS, EVENTS, FACTS = (
    "manifest.json",
    "packets.pcapng",
    "samples.jsonl",
    "rulesets",
    "events.pcapng",
    "facts",
)
MANIFEST_SIZE = 16 << 20
"""Bytes of a manifest, at most."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One interface of a session: ``port_of`` the bridge that it is a port of; frames received and
    dropped, as the kernel counted them; ``begin`` and ``end`` (epoch ns) where it was not there
    throughout (0: it was)."""

    name: str
    link_type: int
    port_of: str = ""
    received: int = 0
    dropped: int = 0
    begin: int = 0
    end: int = 0


@dataclass(frozen=True)
class Manifest:
    """What a session is. Times are epoch ns, ``interval`` ns; ``complete`` is False until the
    recording ended well.

    ``backends``: whose counters were sampled (nft, legacy); ``reading``: ``kernel``, or
    ``iptables-save`` where the kernel could not be read directly. ``events_lost``: conntrack events
    the kernel could not deliver; None where none were recorded. ``snap_length`` 0: headers only.
    ``command``: empty where none was run. ``monotonic``: that clock at ``begin``."""

    format: int = FORMAT
    tool: str = ""
    complete: bool = False
    begin: int = 0
    end: int = 0
    monotonic: int = 0
    interfaces: tuple[Recorded, ...] = ()
    filter: str = ""
    snap_length: int = 0
    interval: int = 0
    backends: tuple[str, ...] = ()
    reading: str = "kernel"
    iptables: str = ""
    kernel: str = ""
    command: tuple[str, ...] = ()
    exit_status: int | None = None
    stopped_by: str = ""
    events_lost: int | None = None
    warnings: tuple[str, ...] = ()


def is_session(path: Path) -> bool:
    """Whether a folder is a session: it has a manifest, or is one that was killed before that."""
    if is_there(path / MANIFEST):
        return True
    try:
        names = os.listdir(path)
    except OSError:
        return False
    return bool(names) and is_session_like(names)


def is_session_like(names: Sequence[str]) -> bool:
    """Whether a folder with these files is a session, or nothing at all."""
    return MANIFEST in names or all(
        name in (PACKETS, SAMPLES, RULESETS, EVENTS, FACTS) or name.startswith(f".{MANIFEST}.")
        for name in names
    )


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a session. Raises :class:`~correlator.errors.InputError` where it is damaged
    or from the future."""
    from correlator.dataset import shapes

    path = folder / MANIFEST
    if not is_there(path):
        raise InputError(
            f"{folder}: is a session that ended before it had begun: nothing was recorded"
        )
    data, hint = read_file(path, folder, MANIFEST_SIZE), "it is no manifest of a session"
    version = shapes.decode(data, shapes.Version, path, hint)
    if version["format"] > FORMAT:
        raise InputError(
            f"{path}: is format {version['format']}, and this correlator reads up to {FORMAT}: "
            f"use the one that wrote it ({version.get('tool') or 'a newer one'})"
        )
    found = shapes.decode(data, shapes.Manifest, path, hint)
    found = {k: tuple(v) if isinstance(v, list) else v for k, v in found.items()}
    found["interfaces"] = tuple(Recorded(**item) for item in found.get("interfaces", ()))
    return Manifest(**found)


def read_records(folder: Path) -> tuple[list[dict[str, Any]], bool]:
    """The lines of samples.jsonl, and whether the last one is cut short (it is left out).

    Raises :class:`~correlator.errors.InputError` where another line is damaged.
    """
    path = folder / SAMPLES
    if not is_there(path):
        return [], False
    lines = read_file(path, folder).split(b"\n")
    cut = bool(lines.pop())
    return [
        read_record(line, f"{path}: line {number}") for number, line in enumerate(lines, 1)
    ], cut


def read_record(line: bytes, source: str) -> dict[str, Any]:
    """One line of samples.jsonl, as :class:`correlator.dataset.shapes.Record` declares it. Raises
    :class:`~correlator.errors.InputError` where it is damaged."""
    from correlator.dataset import shapes

    record: dict[str, Any] = shapes.decode(
        line, shapes.Record, f"{source} is damaged", "expected one JSON object a line"
    )
    return record
