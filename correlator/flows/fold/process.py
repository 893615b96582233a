"""A process of its own that folds files: the other core reads packets while this one gets ready to
use them.

It is begun as soon as files are seen to be large, before anything heavy is imported here.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from correlator.errors import CorrelatorError
from correlator.flows.fold.plan import USUAL, Plan

if TYPE_CHECKING:
    from correlator.arrays import Bools
    from correlator.decode.frames import Frames
    from correlator.flows.fold.task import FoldedFiles, Task

PIPE = 1 << 20
"""Bytes that wait between both: tables are large."""
SERVE = "import gc; gc.disable(); from correlator.flows.fold.worker import serve; serve()"


class FoldProcess:
    """The process: does one task, and can be asked for frames when it is done, and again."""

    def __init__(self) -> None:
        """Raises OSError where no process can be had."""
        code = f"import sys; sys.path[:] = {sys.path!r}; {SERVE}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pipesize=PIPE,
        )
        weakref.finalize(self, self.process.kill)  # whatever happens to whoever asked

    def begin(self, task: Task) -> None:
        """Give it its task."""
        self._send(task)

    def fold(self, progress: Callable[[str, float], None] | None) -> FoldedFiles | None:
        """What :func:`~correlator.flows.fold.files.fold_files` returned there. Raises
        :class:`~correlator.errors.CorrelatorError` where it died."""
        from correlator.flows.fold.packets import Spool
        from correlator.flows.fold.task import READING

        while True:
            told = self._answer()
            if not isinstance(told, float):
                found: FoldedFiles | None = told
                if found is not None and isinstance(found.folded.packets, Spool):
                    found.folded.packets.take()
                return found
            if progress is not None:
                progress(READING, told)

    def ask(self, wanted: Bools) -> None:
        """Let it look for the frames of ``wanted`` pairs (pairs,)."""
        self._send(wanted)

    def frames(self, more: bool = False) -> list[Frames]:
        """The frames that it was asked for, of each file; the process ends with it, unless ``more``
        will be asked for."""
        frames: list[Frames] = self._answer()
        if not more:
            self.close()
        return frames

    def close(self) -> None:
        """End the process."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self.process.kill()
        self.process.wait()

    def _send(self, what: object) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):  # where it died, its answer says so
            pickle.dump(what, self.process.stdin)
            self.process.stdin.flush()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        try:
            told = pickle.load(self.process.stdout)
        except (EOFError, pickle.UnpicklingError):
            self.process.wait()
            status = self.process.returncode
            self.close()
            raise CorrelatorError(
                f"reading the packets ended with status {status}: too little memory?"
            ) from None
        if isinstance(told, Exception):
            self.close()
            raise told
        return told


def begin_process(
    folder: Path | None, files: Sequence[Path], plan: Plan = USUAL
) -> FoldProcess | None:
    """The process, where the files (those of the folder, unless files are named) look as if they
    were worth one."""
    try:
        found = (
            files or [file for file in folder.iterdir() if ".pcap" in file.name]
            if folder is not None
            else files
        )
        if sum(file.stat().st_size for file in found) >= plan.process:
            return FoldProcess()
    except OSError:
        pass
    return None
