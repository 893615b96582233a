"""What is shipped: whole, licensed, installable, and true to what pyproject.toml claims."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import correlator
from tests.conftest import CAPTURES, IN_CI, ROOT
from tests.versions import CLAIMS, build, differing

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VENDORED = ROOT / "correlator/report/page/vendor"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(sdist, wheel)."""
    return build(tmp_path_factory.mktemp("dist"))


def test_the_wheel_holds_the_package_and_nothing_else(built: tuple[Path, Path]) -> None:
    """Every file of the package (its marker for type checkers, what the page inlines) is in the
    wheel, and no test is; the licence and those of what is vendored are in its metadata."""
    names = zipfile.ZipFile(built[1]).namelist()
    package = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "correlator").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    info = {name for name in names if ".dist-info/" in name}
    assert set(names) - info == package
    licences = {name.split(".dist-info/licenses/")[1] for name in info if "/licenses/" in name}
    kept = {str(path.relative_to(ROOT)) for path in VENDORED.glob("*.LICENSE")}
    assert licences == {"LICENSE", *kept}
    assert built[1].name.startswith(f"rule_correlator-{correlator.__version__}-")


def test_all_that_is_vendored_has_its_licence() -> None:
    """Each script and style of others has the licence of its name beside it, and a line in the
    folder's README."""
    said = (VENDORED / "README.md").read_text()
    for path in VENDORED.glob("*.[jc]s*"):
        assert (VENDORED / f"{path.name.partition('.')[0]}.LICENSE").is_file(), path.name
        assert path.name in said


def test_the_sdist_builds_and_what_is_installed_works(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    """The wheel comes from the sdist; installed elsewhere it replays as this tree does, and `python
    -m correlator` and the command are one."""
    with tarfile.open(built[0]) as source:
        inside = {name.partition("/")[2] for name in source.getnames()}
    assert {"LICENSE", "README.md", "pyproject.toml", "correlator/py.typed"} <= inside
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(tmp_path), str(built[1])], check=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    case = str(CAPTURES / "shut")
    elsewhere = [
        subprocess.run(
            [*words, "replay", case], capture_output=True, env=environment, cwd=tmp_path, check=True
        ).stdout
        for words in (
            [sys.executable, str(tmp_path / "bin/correlator")],
            [sys.executable, "-m", "correlator"],
        )
    ]
    here = [sys.executable, "-m", "correlator", "replay", case]
    expected = subprocess.run(here, capture_output=True, cwd=ROOT, check=True).stdout
    assert elsewhere == [expected, expected]


def test_every_pin_of_the_lock_has_hashes() -> None:
    """What `make test` installs is what was locked, to the byte; and the lock holds every
    dependency that is declared."""
    blocks = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text())
    pins = {
        block.partition("==")[0].lower().replace("_", "-"): block
        for block in blocks
        if not block.startswith("#")
    }
    assert all("--hash=sha256:" in block for block in pins.values())
    project = PROJECT["project"]
    extras = project["optional-dependencies"].values()
    declared = [*project["dependencies"], *(item for extra in extras for item in extra)]
    assert {re.split(r"[<>=!\[ ]", item)[0].lower() for item in declared} <= set(pins)


@pytest.mark.timeout(900)  # the fold is compiled anew
def test_the_lowest_versions_work(built: tuple[Path, Path], tmp_path: Path) -> None:
    """With the lowest version of each dependency that is allowed, every report is byte for byte the
    same. (`make versions` does so with other Pythons and with pandas 2.)"""
    if not IN_CI and importlib.util.find_spec("uv") is None:
        pytest.skip("needs uv, which resolves the lowest versions")
    assert differing(CLAIMS["lowest"], built[1], tmp_path) == []
