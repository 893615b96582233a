"""Holds what pyproject.toml claims against fact: ``python -m tests.versions [NAME...]`` makes an
environment for each of :data:`CLAIMS` (another Python, the lowest versions that are allowed, pandas
2), installs the wheel there and compares what it writes with what this environment writes, byte for
byte. A Python that is not on this machine is named and left out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workload import make_workload
from tests.conftest import CAPTURES, ROOT

CASES = ("published", "ufw", "user")
IGNORED = shutil.ignore_patterns("__pycache__")
TABLES = ("connections", "hits", "ledger", "packets", "rules")


@dataclass(frozen=True)
class Claim:
    """A Python, and what its environment is resolved with."""

    python: str
    resolution: str = "highest"
    extra: tuple[str, ...] = ()


CLAIMS = {
    "lowest": Claim("3.11", "lowest-direct"),
    "3.11-pandas-2": Claim("3.11", extra=("pandas<3",)),
    "3.12-pandas-2": Claim("3.12", extra=("pandas<3",)),
    "3.12": Claim("3.12"),
    "3.13": Claim("3.13"),
}


def interpreter(version: str) -> str | None:
    """A Python of that version on this machine; None where there is none."""
    found = subprocess.run(
        [uv(), "python", "find", "--no-python-downloads", "--system", version],
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() if found.returncode == 0 else None


def uv() -> str:
    """The resolver of this environment."""
    return str(Path(sys.executable).with_name("uv"))


def make(claim: Claim, wheel: Path, folder: Path) -> Path:
    """An environment in ``folder`` as the claim says; its command ``correlator``. Raises
    CalledProcessError where it cannot be resolved."""
    python = interpreter(claim.python)
    assert python is not None
    _run(uv(), "venv", "--quiet", "--python", python, str(folder))
    words = (uv(), "pip", "install", "--quiet", "--python", str(folder / "bin/python"))
    only = ("--resolution", claim.resolution, "--only-binary", ":all:")
    _run(*words, *only, f"{wheel}[parquet]", *claim.extra)
    return folder / "bin/correlator"


def outputs(command: Path, folder: Path, large: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content) of what that command writes of some recordings, of all its kinds of report:
    of ``large`` too, which is folded by compiled code."""
    for case in CASES:
        yield f"{case}.txt", _run(str(command), "replay", str(CAPTURES / case))
    for table in TABLES:
        target = folder / f"{table}.csv"
        _run(str(command), "export", str(CAPTURES / CASES[0]), table, "-o", str(target))
        yield target.name, target.read_bytes()
    yield "large.txt", _run(str(command), "replay", str(large))
    for words in (("report", "page.html"), ("plot", "plot.svg"), ("export", "hits.parquet")):
        table = ("hits",) if words[0] == "export" else ()
        target = folder / words[1]
        _run(str(command), words[0], str(CAPTURES / CASES[0]), *table, "-o", str(target))
        assert target.stat().st_size  # pictures differ with what draws them


def differing(claim: Claim, wheel: Path, folder: Path) -> list[str]:
    """The outputs that differ from this environment's."""
    make_workload(folder / "large", 20_000, 1_200, seconds=30)
    here, there = folder / "here", folder / "there"
    here.mkdir()
    there.mkdir()
    own = Path(sys.executable).with_name("correlator")
    expected = dict(outputs(own, here, folder / "large"))
    found = dict(outputs(make(claim, wheel, folder / "env"), there, folder / "large"))
    return [name for name in expected if found[name] != expected[name]]


def build(folder: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built from it and not from this tree."""
    tree = folder / "tree"
    shutil.copytree(ROOT / "correlator", tree / "correlator", ignore=IGNORED)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(tree))
    (source,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return source, wheel


def _run(*command: str) -> bytes:
    ours = str(Path(sys.executable).parent)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    if command[0].startswith(ours):
        environment["PYTHONPATH"] = str(ROOT)
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment).stdout


def main(names: list[str]) -> int:
    """The exit status: 1 where an environment writes something else."""
    status = 0
    with tempfile.TemporaryDirectory() as scratch:
        _, wheel = build(Path(scratch) / "dist")
        for name, claim in CLAIMS.items():
            if names and name not in names:
                continue
            if interpreter(claim.python) is None:
                print(f"{name}: no Python {claim.python} here")
                continue
            folder = Path(scratch) / name
            folder.mkdir()
            differ = differing(claim, wheel, folder)
            print(f"{name}: {', '.join(differ) or 'the same'}", flush=True)
            status |= bool(differ)
            shutil.rmtree(folder)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
