"""A session on disk: a folder that one recording appends to and every replay reads.

    manifest.json        what was recorded, by which tool, on which clocks; written first and
    replaced at the end packets.pcapng       frames of all interfaces, with their directions and
    drop counts samples.jsonl        rulesets and counter samples, one JSON object a line, changes
    only rulesets/NAME.rules  iptables-save text of every ruleset that samples.jsonl names
    events.pcapng        conntrack events as the kernel sent them (link type NETLINK) facts/N/
    addr.json, link.json, route.json, sysctl.txt, ...: the host, as it was from facts/N/time.json on

Everything but the manifest is only ever appended to, so that what a killed recording wrote replays.
All times are epoch ns of one clock: the realtime clock as it stood at the beginning, carried on by
the monotonic one."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from correlator.dataset.files import is_there, read_file
from correlator.errors import CorrelatorError, InputError

FORMAT = 1
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
    """Whether a folder is a session (it has a manifest)."""
    return is_there(path / MANIFEST)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a session. Raises :class:`~correlator.errors.InputError` where it is damaged
    or from the future."""
    from correlator.dataset import shapes

    path = folder / MANIFEST
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


@dataclass
class Folder:
    """A session being written: appends to its files, private to ``owner`` (user id, group id; None:
    who runs us)."""

    path: Path
    owner: tuple[int, int] | None = None
    handles: dict[str, int] = field(default_factory=dict)

    def create(self) -> None:
        """Make the folder. Raises :class:`~correlator.errors.CorrelatorError` where that is
        impossible."""
        try:
            self.path.mkdir(parents=True, mode=0o700)
            self._own(self.path)
            for name in (RULESETS, FACTS):
                self.folder(name)
        except OSError as error:
            raise CorrelatorError(
                f"{self.path}: cannot be made: {error.strerror}: name another folder with -o"
            ) from None

    def folder(self, name: str) -> Path:
        """A folder inside, made where it is not there yet."""
        path = self.path / name
        if not path.is_dir():
            path.mkdir(mode=0o700)
            self._own(path)
        return path

    def append(self, name: str, data: bytes | memoryview) -> None:
        """Append to a file; it is in the kernel's hands when this returns. Raises OSError (a full
        disk)."""
        handle = self.handles.get(name)
        if handle is None:
            handle = self.handles[name] = os.open(
                self.path / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
            )
            self._own(self.path / name)
        view = memoryview(data)
        while len(view):
            view = view[os.write(handle, view) :]

    def write(self, name: str, text: str) -> None:
        """Write a file whole, in the place of one that is there. Raises OSError."""
        path = self.path / name
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
            self._own(Path(temporary))
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise

    def write_manifest(self, manifest: Manifest) -> None:
        """Write or replace the manifest."""
        self.write(MANIFEST, json.dumps(asdict(manifest), indent=1) + "\n")

    def append_record(self, record: dict[str, Any]) -> None:
        """One line of samples.jsonl."""
        self.append(SAMPLES, json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def close(self) -> None:
        """Close the files."""
        for handle in self.handles.values():
            os.close(handle)
        self.handles.clear()

    def _own(self, path: Path) -> None:
        if self.owner is not None:
            os.chown(path, *self.owner)


def read_records(folder: Path) -> tuple[list[dict[str, Any]], bool]:
    """The lines of samples.jsonl, and whether the last one is cut short (it is left out).

    Raises :class:`~correlator.errors.InputError` where another line is damaged.
    """
    path = folder / SAMPLES
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
