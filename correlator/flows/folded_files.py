"""Files folded, here or in a process of its own: the other core reads packets while this one gets ready to use them."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.decode.frames import Frames, Interface
from correlator.errors import CorrelatorError

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.dataset.facts import Facts
    from correlator.flows.folded import Folded

    Ints = npt.NDArray[np.int64]
    Files = Sequence[tuple[str | None, Path]]

READING = "reading packets"


@dataclass(frozen=True)
class Task:
    """``files`` to fold, on the host of ``facts``, for rules that ask for ``fields`` and cut lengths and TTLs there."""

    files: Files
    facts: Facts
    lengths: Ints
    ttls: Ints
    fields: set[str]


@dataclass(frozen=True)
class FoldedFiles:
    """``folded`` connections; ``interfaces`` by the fold's codes, and ``of_file`` those of each file; ``own_seen``:
    interfaces on which a frame bore the address that the facts give them; ``skipped`` and ``warnings`` as a capture's."""

    folded: Folded
    interfaces: tuple[Interface, ...]
    of_file: tuple[tuple[Interface, ...], ...]
    own_seen: frozenset[str]
    skipped: tuple[tuple[str, int], ...]
    warnings: tuple[str, ...]


def fold_files(task: Task, progress: Callable[[str, float], None] | None = None) -> FoldedFiles | None:
    """Fold everything; None where the files hold what a fold is not for."""
    from correlator.decode.stream import UnusualError
    from correlator.flows.fold import TooManyKindsError

    try:
        return _fold(task, progress)
    except (UnusualError, TooManyKindsError):
        return None


def _fold(task: Task, progress: Callable[[str, float], None] | None) -> FoldedFiles:
    from correlator.decode.records import OWN_SEEN
    from correlator.decode.stream import SKIPPED, Names, UnusualError, stream
    from correlator.flows.fold import Asked, Fold, reads_of
    from correlator.flows.host import is_bridge_tap

    facts = task.facts
    names = Names({name: fact.mac for name, fact in facts.interfaces.items()})
    sources = _open(task.files, names)
    folding = Fold(Asked(task.lengths, task.ttls, reads_of(task.fields)), [source.size // 30 + 2 for source in sources])
    total, behind = sum(source.size for source in sources), np.zeros(256, dtype=bool)
    for records in stream(sources):
        behind[: len(names.interfaces)] = [is_bridge_tap(one.name, facts) for one in names.interfaces]
        folding.take(records, behind)
        if progress is not None:
            progress(READING, 0.4 * sum(source.offset for source in sources) / max(total, 1))
    if any(_is_port(one.name, facts) for one in names.interfaces):
        raise UnusualError
    interfaces = list(names.interfaces)
    for source in sources:
        for one in source.interfaces:
            code = names.code(one)
            interfaces[code] = replace(interfaces[code], received=one.received, dropped=one.dropped)
    skipped = [(word, sum(int(source.skipped[i]) for source in sources)) for i, word in enumerate(SKIPPED)]
    folded = folding.end(behind)
    places = zip(folded.bases.tolist(), sources, strict=True)
    frames = [folded.frames[base : base + source.frames + 1] for base, source in places]
    bases = np.cumsum([0, *(len(part) for part in frames)])[:-1].astype(np.int64)
    own_seen = frozenset(one.name for code, one in enumerate(interfaces) if names.own[code, 0] & OWN_SEEN)
    return FoldedFiles(
        replace(folded, frames=np.concatenate(frames), bases=bases), tuple(interfaces),
        tuple(tuple(source.interfaces) for source in sources), own_seen, tuple(item for item in skipped if item[1]),
        tuple(warning for source in sources for warning in source.warnings),
    )  # fmt: skip


def _is_port(name: str, facts: Facts) -> bool:
    """Whether an interface is a bridge's port: it shows frames that the bridge shows too."""
    fact = facts.interfaces.get(name)
    return fact is not None and bool(fact.master) and facts.is_bridge(fact.master)


def _open(files: Files, names: Any) -> list[Any]:
    from correlator.decode import interface_name
    from correlator.decode.stream import Source

    return [Source(file, name, interface_name(file), number, names) for number, (name, file) in enumerate(files)]


def pick_files(found: FoldedFiles, files: Files, wanted: npt.NDArray[np.bool_]) -> Iterator[Frames]:
    """The frames of ``wanted`` pairs (pairs,) of each file."""
    from correlator.decode.stream import Names, pick

    names = Names({})
    names.interfaces, names.macs = list(found.interfaces), [0] * len(found.interfaces)
    ends = [*found.folded.bases[1:].tolist(), len(found.folded.frames)]
    for source, interfaces, base, end in zip(_open(files, names), found.of_file, found.folded.bases.tolist(), ends, strict=True):
        yield replace(pick(source, found.folded.frames[base:end], wanted), interfaces=interfaces)


class Aside:
    """A task that a process of its own does, and that can be asked for frames when it is done."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        weakref.finalize(self, process.kill)  # whatever happens to whoever asked

    def fold(self, progress: Callable[[str, float], None] | None) -> FoldedFiles | None:
        """What :func:`fold_files` returned there. Raises :class:`~correlator.errors.CorrelatorError` where it died."""
        while True:
            told = self._answer()
            if not isinstance(told, float):
                found: FoldedFiles | None = told
                return found
            if progress is not None:
                progress(READING, told)

    def pick(self, wanted: npt.NDArray[np.bool_]) -> list[Frames]:
        """The frames of ``wanted`` pairs (pairs,) of each file; the process ends with it."""
        assert self.process.stdin is not None
        try:
            pickle.dump(wanted, self.process.stdin)
            self.process.stdin.close()
        except OSError:
            pass  # it died: its answer says so
        frames: list[Frames] = self._answer()
        self.close()
        return frames

    def close(self) -> None:
        """End the process."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and not pipe.closed:
                with contextlib.suppress(OSError):
                    pipe.close()
        self.process.kill()
        self.process.wait()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        try:
            return pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError):
            self.close()
            raise CorrelatorError(f"reading the packets ended with status {self.process.returncode}: too little memory?") from None


def begin_aside(task: Task) -> Aside | None:
    """Begin a task in a process of its own; None where none can be had."""
    code = f"import sys; sys.path[:] = {sys.path!r}; from correlator.flows.folded_files import serve; serve()"
    try:
        process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        pickle.dump(task, process.stdin)
        process.stdin.flush()
    except OSError:
        return None
    return Aside(process)


def serve() -> None:
    """Do the task that stdin holds; write progress (floats) and the result to stdout, then the frames that are asked for."""
    task: Task = pickle.load(sys.stdin.buffer)
    told = [-1.0]

    def answer(what: object) -> None:
        pickle.dump(what, sys.stdout.buffer, protocol=5)
        sys.stdout.buffer.flush()

    def tell(_: str, part: float) -> None:
        if part >= told[0] + 0.01:
            told[0] = part
            answer(float(part))

    try:
        found = fold_files(task, tell)
        answer(found)
        if found is not None:
            wanted: npt.NDArray[np.bool_] = pickle.load(sys.stdin.buffer)
            answer(list(pick_files(found, task.files, wanted)))
    except (BrokenPipeError, EOFError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody wants more of it
