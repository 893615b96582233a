"""The folder of a session that is being written.

Everything is done through the folder's descriptor: names are looked up in it and nowhere else, no
link is followed, and a file is made anew or not at all (``O_EXCL``). So it does not matter what
others do to the path, or inside."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from correlator.dataset.session import FACTS, MANIFEST, RULESETS, SAMPLES, Manifest

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """Appends to files of the folder behind ``handle``, which is ours from now on; what is made is
    private to who runs us. Every method raises OSError (a full disk, a folder that is gone)."""

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.folders: dict[str, int] = {}
        self.files: dict[str, int] = {}
        self.temporary = 0

    @classmethod
    def make(cls, path: Path) -> Folder:
        """A new folder."""
        os.mkdir(path, 0o700)
        return cls(os.open(path, FOLDER_FLAGS))

    def append(self, name: str, data: bytes | memoryview) -> None:
        """Append to a file, which the first call makes; it is in the kernel's hands when this
        returns."""
        file = self.files.get(name)
        if file is None:
            flags = FILE_FLAGS | os.O_APPEND
            file = self.files[name] = os.open(name, flags, 0o600, dir_fd=self.handle)
        _write_all(file, data)

    def append_record(self, record: dict[str, Any]) -> None:
        """One line of samples.jsonl."""
        self.append(SAMPLES, json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def write_ruleset(self, name: str, text: str) -> str:
        """A ruleset's text; returns the file's name in the session."""
        self._write_new(self._inside(RULESETS), name, text.encode())
        return f"{RULESETS}/{name}"

    def write_facts(self, version: int, texts: dict[str, str]) -> None:
        """One version of the facts: file name -> text."""
        facts = self._inside(FACTS)
        os.mkdir(str(version), 0o700, dir_fd=facts)
        folder = os.open(str(version), FOLDER_FLAGS, dir_fd=facts)
        try:
            for name, text in texts.items():
                self._write_new(folder, name, text.encode(errors="replace"))
        finally:
            os.close(folder)

    def write_manifest(self, manifest: Manifest) -> None:
        """Write or replace the manifest: there is always a whole one."""
        self.temporary += 1
        temporary = f".{MANIFEST}.{self.temporary}"
        try:
            text = json.dumps(asdict(manifest), indent=1) + "\n"
            self._write_new(self.handle, temporary, text.encode())
            os.replace(temporary, MANIFEST, src_dir_fd=self.handle, dst_dir_fd=self.handle)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self.handle)
            raise

    def close(self) -> None:
        """Close everything."""
        for handle in (*self.files.values(), *self.folders.values(), self.handle):
            with contextlib.suppress(OSError):
                os.close(handle)
        self.files.clear()
        self.folders.clear()
        self.handle = -1

    def _inside(self, name: str) -> int:
        """The descriptor of a folder in the folder, which the first call makes."""
        found = self.folders.get(name)
        if found is None:
            os.mkdir(name, 0o700, dir_fd=self.handle)
            found = self.folders[name] = os.open(name, FOLDER_FLAGS, dir_fd=self.handle)
        return found

    def _write_new(self, folder: int, name: str, data: bytes) -> None:
        file = os.open(name, FILE_FLAGS, 0o600, dir_fd=folder)
        try:
            _write_all(file, data)
        finally:
            os.close(file)


def _write_all(file: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while len(view):
        view = view[os.write(file, view) :]
