"""Reading a whole file that the user named."""

from __future__ import annotations

from pathlib import Path

from correlator.errors import InputError


def read_file(path: Path) -> bytes:
    """The file's bytes. Raises :class:`~correlator.errors.InputError` where it is not there or
    cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
