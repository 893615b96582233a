"""How inner loops are compiled: cached, without the interpreter's lock, and without reference
counts.

Numba counts references to an array wherever one function hands it to another, by atomic additions
that took two thirds of the fold's time. These functions allocate nothing and keep nothing, so that
nobody has to count: ``_nrt=False`` says so. What they return are numbers.

Numba takes cached code for valid as long as the file of the loop itself has not changed, whatever
became of the functions and constants that were compiled into it: so what is older than any module
that loops are made from is forgotten here. Where it is kept, :mod:`correlator.decode.code_cache`
says."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

from numba import config, njit

from correlator.decode.code_cache import choose_cache, home_of

PACKAGE = Path(__file__).parent.parent
CHECKED = bool(config.BOUNDSCHECK)  # type: ignore[attr-defined]
"""Whether bounds are checked (NUMBA_BOUNDSCHECK), which code that is kept does not."""
_NAMED = config.CACHE_DIR  # type: ignore[attr-defined]
_USER = os.geteuid()
CACHE = None if CHECKED else choose_cache(PACKAGE, _USER, home_of(_USER), _NAMED)
"""Where compiled code is kept; None: nowhere that could be trusted."""
SOURCES = ("decode/**/*.py", "flows/**/*.py", "endpoints.py")
"""The modules that loops are made from."""


def forget_stale(package: Path, cache: Path) -> None:
    """Remove code below ``cache`` that is older than any source of ``package``, where it may be
    removed."""
    with contextlib.suppress(OSError):
        changed = [
            source.stat().st_mtime for pattern in SOURCES for source in package.glob(pattern)
        ]
        newest = max(
            (when for when in changed if when <= time.time()), default=0.0
        )  # a time to come tells nothing
        for cached in cache.rglob("*.nb[ic]"):
            if cached.stat().st_mtime < newest:
                cached.unlink()


def is_cached() -> bool:
    """Whether any compiled code is kept."""
    return CACHE is not None and any(CACHE.rglob("*.nbi"))


if CACHE is not None and not _NAMED:  # what is named may hold what others compiled
    forget_stale(PACKAGE, CACHE)
    if CACHE != PACKAGE:
        config.CACHE_DIR = str(CACHE)  # type: ignore[attr-defined]

_OPTIONS: dict[str, Any] = {"nogil": True, "_nrt": False}
INNER: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Options of functions that only compiled ones call."""

kernel = njit(**_OPTIONS, cache=CACHE is not None)
"""A loop that Python calls."""
allocating = njit(nogil=True, cache=CACHE is not None)
"""Likewise, of functions that make arrays."""
part = njit(**INNER, forceinline=True)
"""What a loop is made of. It has no way in for Python, which takes time to compile: a call from
there crashes."""
rare = njit(**INNER)
"""What a loop calls now and then; likewise."""
