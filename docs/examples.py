"""Runs the commands of the docs and holds what they print against what the docs say: ``python
docs/examples.py [PAGE...]``.

A fenced block of language ``console`` is a terminal: lines that begin with ``$ `` are commands (a
backslash at the end, or an open quote, goes on in the next line), the lines behind each are what it
prints. ``...`` stands for anything inside a line, and alone on a line for any number of lines.
Blocks of a page run in order in one empty folder that has ``captures`` in it, so that a later one
may read what an earlier one wrote. Commands that cannot run anywhere (as root, on a Docker host)
belong into ``sh`` blocks, which are not run."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"[|<>&;$`*?(){}~]")
ANY = "..."


@dataclass(frozen=True, slots=True)
class Example:
    """A command of a page and what it is said to print; ``line`` of the page, from 1."""

    line: int
    command: str
    said: str


def examples(text: str) -> list[Example]:
    """The commands of a page, in order. Raises ValueError for a block that does not begin with a
    command."""
    found: list[Example] = []
    for block in FENCE.finditer(text):
        first = text.count("\n", 0, block.start()) + 2
        lines = block[1].splitlines()
        if not lines or not lines[0].startswith("$ "):
            raise ValueError(f"line {first}: a console block begins with a command: `$ ...`")
        starts = [i for i, line in enumerate(lines) if line.startswith("$ ")]
        for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
            stop = next(
                (i for i in range(start + 1, end) if _complete("\n".join(lines[start:i]))), end
            )
            said = "".join(f"{line}\n" for line in lines[stop:end])
            found.append(Example(first + start, "\n".join(lines[start:stop])[2:], said))
    return found


def _complete(command: str) -> bool:
    """False where it goes on in the next line: a backslash at its end, or an open quote."""
    try:
        shlex.split(command)
    except ValueError:
        return False
    return not command.endswith("\\")


def agrees(said: str, printed: str) -> bool:
    """Whether a command printed what the page says. Trailing blanks and blank lines at the end do
    not count."""
    pattern = ""
    for line in _trimmed(said):
        if line == ANY:
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += r"[^\n]*".join(re.escape(part) for part in line.split(ANY)) + "\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _trimmed(printed))) is not None


def _trimmed(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def run(command: str) -> str:
    """What a command prints, on both streams: in this process where it is correlator's own, else by
    a shell."""
    words = shlex.split(command.replace("\\\n", " "))
    if words[0] == "correlator" and not SHELL.search(command):
        return _run_here(words)
    done = subprocess.run(
        ["bash", "-c", command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def _run_here(words: list[str]) -> str:
    from correlator.cli import main

    stream = io.StringIO()
    with (
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
        mock.patch.object(sys, "argv", words),
    ):
        try:
            main()
        except SystemExit as stop:
            if isinstance(stop.code, str):
                stream.write(f"{stop.code}\n")
    return stream.getvalue()


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """An empty folder with the shipped captures, entered; ``correlator`` of this Python comes first
    on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        mock.patch.dict(os.environ, PATH=path, TZ="UTC"),
    ):
        (Path(folder) / "captures").symlink_to(ROOT / "captures")
        yield Path(folder)


def differences(page: Path) -> list[tuple[Example, str]]:
    """The commands of a page that print something else than it says, with what they print."""
    with workplace():
        printed = [(example, run(example.command)) for example in examples(page.read_text())]
    return [(example, text) for example, text in printed if not agrees(example.said, text)]


def main() -> int:
    """Print what differs; 1 where anything does."""
    pages = [Path(name).resolve() for name in sys.argv[1:]] or sorted((ROOT / "docs").glob("*.md"))
    wrong = 0
    for page in pages:
        for example, text in differences(page):
            wrong += 1
            print(f"{page.name}:{example.line}: $ {example.command}\nprints\n{text}")
    print(f"{wrong} commands print something else than the docs say")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
