"""Where compiled code is kept from one run to the next.

Reading numba's cache means running what it holds (it is unpickled). So it may stand only where
nobody can write who could not as well write the modules that it was made from: beside them, or in
a folder of our own. What numba falls back to, ~/.cache by the environment's HOME, may be that of
whoever called sudo."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

OTHERS = stat.S_IWGRP | stat.S_IWOTH


def choose_cache(package: Path, user: int, home: Path, named: str = "") -> Path | None:
    """Where ``user`` may keep what is compiled from ``package``: the folder that is ``named``
    (NUMBA_CACHE_DIR), where one is; else the package itself (in the ``__pycache__`` of each
    folder), else a folder below ``home``, made where it is not there; None where that is not to be
    trusted."""
    if named:
        return Path(named) if _is_own(Path(named), user) else None
    if is_safe_beside(package, user):
        return package
    own = home / ".cache" / "correlator" / "compiled"
    try:
        own.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return own if all(_is_own(path, user) for path in (own, *own.parents[:2])) else None


def _is_own(path: Path, user: int) -> bool:
    """A folder, no link, that nobody but ``user`` can write."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & OTHERS


def is_safe_beside(package: Path, user: int) -> bool:
    """Whether the caches beside the sources can be written by us, and by nobody else who cannot
    write the sources."""
    try:
        for folder in [package, *(path for path in package.rglob("*") if path.is_dir())]:
            source = folder.stat()
            cache = folder / "__pycache__"
            if folder.name == "__pycache__" or not cache.exists():
                continue
            kept = cache.lstat()
            if not stat.S_ISDIR(kept.st_mode) or kept.st_uid not in (0, user, source.st_uid):
                return False
            if kept.st_mode & OTHERS & ~source.st_mode:
                return False
    except OSError:
        return False
    return os.access(package / "decode", os.W_OK)


def home_of(user: int) -> Path:
    """The home that the system knows, not the environment's."""
    try:
        return Path(pwd.getpwuid(user).pw_dir)
    except KeyError:
        return Path("/nonexistent")
