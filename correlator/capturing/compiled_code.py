"""Where numba finds compiled code, and keeps what it compiles, for a user who may write neither
where correlator stands nor at home (nobody): in a folder that is gone in the end.

Without one numba refuses to work; what root's replays have compiled is copied into it, so that
nothing has to be compiled again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

VARIABLE = "NUMBA_CACHE_DIR"


@contextmanager
def place_for_compiled_code() -> Iterator[None]:
    """Meanwhile there is one, here and for processes that are started."""
    package = Path(__file__).resolve().parents[1]
    home = os.environ.get("HOME", "/")
    if VARIABLE in os.environ or os.access(package, os.W_OK) or os.access(home, os.W_OK):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="correlator-") as folder:
        with contextlib.suppress(OSError):
            _copy_compiled(package, Path(folder))
        os.environ[VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[VARIABLE]


def _copy_compiled(package: Path, folder: Path) -> None:
    """Copy compiled code to where numba looks for it (UserProvidedCacheLocator of its caching.py);
    where another numba looks elsewhere, it compiles."""
    for file in package.rglob("__pycache__/*.nb[ci]"):
        source = str(file.parent.parent)
        place = folder / f"{file.parent.parent.name}_{hashlib.sha1(source.encode()).hexdigest()}"
        place.mkdir(exist_ok=True)
        shutil.copyfile(file, place / file.name)
