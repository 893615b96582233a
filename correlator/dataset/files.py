"""Every input file is opened here.

A file is looked at before it is opened (O_PATH, open(2)): what is no regular file is never opened,
so that a named pipe does not hang and a device is not touched. What was looked at is what is then
read, through its descriptor (proc(5)), whatever becomes of its name meanwhile. A file of a folder
that was named has to lie in that folder, links followed."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, cast

from correlator.errors import InputError

LARGEST = 4 << 30
"""Bytes of a file that is read whole, at most, where no other bound is given."""
TEXT = 64 << 20
"""Bytes of one text about the host or its rules: 20,000 services of Kubernetes make 20 MB of
rules, a full table of the Internet's routes about as much as this."""
_STEP = 1 << 20
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_file(path: Path, inside: Path | None = None) -> BinaryIO:
    """The file, opened for reading, unbuffered. With ``inside`` it has to be a regular file within
    that folder; without, it was named by the user, and may be a pipe.

    Raises :class:`~correlator.errors.InputError` where it is not there, of another kind, elsewhere,
    or may not be read."""
    try:
        looked_at = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            _check(path, looked_at, inside)
            return cast("BinaryIO", open(f"/proc/self/fd/{looked_at}", "rb", buffering=0))
        finally:
            os.close(looked_at)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{path}: cannot be read: {_why(error)}") from None


def check_file(path: Path, inside: Path) -> None:
    """Whether a file of a folder may be read: raises what :func:`open_file` does."""
    open_file(path, inside).close()


def _check(path: Path, handle: int, inside: Path | None) -> None:
    kind = stat.S_IFMT(os.fstat(handle).st_mode)
    if kind != stat.S_IFREG and (kind != stat.S_IFIFO or inside is not None):
        raise InputError(f"{path}: is {_KINDS.get(kind, 'no file')}: expected a regular file")
    if inside is not None:
        real = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if not real.is_relative_to(os.path.realpath(inside)):
            raise InputError(
                f"{path}: leads out of its folder, to another file: it is not read; "
                f"name that file yourself where you mean it"
            )


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def read_file(path: Path, inside: Path | None = None, most: int = LARGEST) -> bytes:
    """The file's bytes, ``most`` at most. Raises :class:`~correlator.errors.InputError` as
    :func:`open_file` does, and where it is larger."""
    with open_file(path, inside) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise too_large(path, size, most)
        try:
            first = file.read(size + 1)
            parts, total = [first], len(first)
            while parts[-1] and total <= most:  # a pipe, or a file that grew
                parts.append(file.read(_STEP))
                total += len(parts[-1])
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {_why(error)}") from None
    if total > most:
        raise too_large(path, total, most)
    return first if total == len(first) else b"".join(parts)


def read_text(path: Path, inside: Path | None = None, most: int = TEXT) -> str:
    """:func:`read_file` as text: UTF-8, with U+FFFD for what is not."""
    return read_file(path, inside, most).decode("utf-8", "replace")


def too_large(path: Path, size: int, most: int) -> InputError:
    """What is said of a file that is larger than it may be."""
    return InputError(f"{path}: holds {size:,} bytes: too many, {most:,} are read at most")


def available() -> int:
    """Half of the memory that is free, in bytes (proc(5), MemAvailable); 4 GiB where nothing
    tells."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024 // 2
    except (OSError, ValueError, IndexError):
        pass
    return 4 << 30


def is_there(path: Path) -> bool:
    """Whether a folder has an entry of this name: a file, or what will be refused when it is
    opened."""
    return os.path.lexists(path)


def is_pipe(path: Path) -> bool:
    """Whether it can be read once only."""
    try:
        return stat.S_ISFIFO(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False
