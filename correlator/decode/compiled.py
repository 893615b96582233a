"""How inner loops are compiled: cached, without the interpreter's lock, and without reference counts.

Numba counts references to an array wherever one function hands it to another, by atomic additions that took two thirds of the
fold's time. These functions allocate nothing and keep nothing, so that nobody has to count: ``_nrt=False`` says so. What they
return are numbers.
"""

from __future__ import annotations

from typing import Any

from numba import njit

_OPTIONS: dict[str, Any] = {"nogil": True, "_nrt": False}
_INNER: dict[str, Any] = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

kernel = njit(**_OPTIONS, cache=True)
"""A loop that Python calls."""
part = njit(**_INNER, forceinline=True)
"""What a loop is made of. It has no way in for Python, which takes time to compile: a call from there crashes."""
rare = njit(**_INNER)
"""What a loop calls now and then; likewise."""
