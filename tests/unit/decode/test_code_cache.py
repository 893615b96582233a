"""Compiled code is read only from where nobody else could have put it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from correlator.decode.code_cache import choose_cache

USER = os.geteuid()
OTHER = 65534


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of which something was compiled."""
    cache = tmp_path / "lib/correlator/decode/__pycache__"
    cache.mkdir(parents=True)
    (tmp_path / "home").mkdir()
    return cache.parent.parent


def _chosen(package: Path) -> Path | None:
    return choose_cache(package, USER, package.parent.parent / "home")


def test_beside_the_sources_where_that_is_as_safe_as_they_are(package: Path) -> None:
    """The usual case: who can write the cache can write the modules too."""
    assert _chosen(package) == package
    for folder in (package / "decode", package / "decode/__pycache__"):
        folder.chmod(0o775)  # a group that may write both gains nothing
    assert _chosen(package) == package


@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_not_where_others_can_write(package: Path, mode: int) -> None:
    """A cache that more people can write than the modules is not read: ours is below the home that
    the system knows, closed to all others."""
    (package / "decode/__pycache__").chmod(mode)
    chosen = _chosen(package)
    assert chosen == package.parent.parent / "home/.cache/correlator/compiled"
    assert stat.S_IMODE(chosen.stat().st_mode) == 0o700


def test_not_through_a_link(package: Path) -> None:
    """A cache that points elsewhere is not read, and a home whose cache does is not used."""
    cache = package / "decode/__pycache__"
    cache.rmdir()
    (package.parent / "elsewhere").mkdir()
    cache.symlink_to(package.parent / "elsewhere")
    assert _chosen(package) != package
    home = package.parent.parent / "home"
    (home / ".cache/correlator/compiled").rmdir()
    (home / ".cache/correlator").rmdir()
    (home / ".cache/correlator").symlink_to(package.parent / "elsewhere")
    assert _chosen(package) is None


@pytest.mark.skipif(USER != 0, reason="needs root")
def test_not_where_somebody_else_owns_it(package: Path) -> None:
    """A cache of another user's, beside modules that are not theirs, is not read; nor is a home."""
    os.chown(package / "decode/__pycache__", OTHER, OTHER)
    home = package.parent.parent / "home"
    assert _chosen(package) == home / ".cache/correlator/compiled"
    os.chown(home / ".cache", OTHER, OTHER)
    assert _chosen(package) is None


def test_where_it_is_told(package: Path, tmp_path: Path) -> None:
    """NUMBA_CACHE_DIR is followed to a folder of our own, and to no other."""
    home = tmp_path / "home"
    told = tmp_path / "told"
    assert choose_cache(package, USER, home, str(told)) is None
    told.mkdir(mode=0o755)
    assert choose_cache(package, USER, home, str(told)) == told
    told.chmod(0o777)
    assert choose_cache(package, USER, home, str(told)) is None


def test_nowhere_without_a_home(package: Path) -> None:
    """Where there is no place nothing is kept: it is compiled each time."""
    (package / "decode/__pycache__").chmod(0o777)
    assert choose_cache(package, USER, Path("/proc/nonexistent")) is None
