"""A recording in a process of its own, for a caller that goes on meanwhile.

Two pipes join caller and recorder. On one the recorder reports, a JSON object a line: that it has
begun, then how it ended. The other only exists to end it: whatever comes through it, the end of
the caller too (however that dies), reaches the recorder as a SIGTERM, since the kernel can send a
signal where a pipe becomes readable (F_SETSIG in fcntl(2)). So no thread has to wait for it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import weakref
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from correlator.errors import CorrelatorError, InputError

if TYPE_CHECKING:
    from correlator.capturing.options import Options, Outcome

SERVE = "from correlator.capturing.background import serve; serve()"


class Background:
    """A recorder that has begun. Raises :class:`~correlator.errors.CorrelatorError` as
    :func:`~correlator.capturing.record.record` does, where it cannot begin."""

    def __init__(self, options: Options) -> None:
        ended_by, self._ending = os.pipe()
        reports, report_to = os.pipe()
        code = f"import sys; sys.path[:] = {sys.path!r}; {SERVE}"
        words = [sys.executable, "-c", code, str(ended_by), str(report_to), _packed(options)]
        try:
            self.process = subprocess.Popen(
                words, pass_fds=(ended_by, report_to), start_new_session=not options.command
            )
        finally:
            os.close(ended_by)
            os.close(report_to)
        self._reports = os.fdopen(reports)
        self._close = weakref.finalize(self, _let_go, self._ending, self._reports)
        self._next_report()

    def stop(self) -> Outcome:
        """End the recording, and wait until all of it is written."""
        with contextlib.suppress(OSError):  # it ended by itself
            os.write(self._ending, b".")
        return self.wait()

    def wait(self) -> Outcome:
        """Wait until it ends by itself: with its command, or when its time is over. Ctrl-C ends
        it, and is passed on when all is written."""
        from correlator.capturing.options import Outcome

        interrupted = False
        while True:
            try:
                found = self._next_report()
                break
            except KeyboardInterrupt:  # the command has it too: they share the terminal
                interrupted = True
                with contextlib.suppress(OSError):
                    os.write(self._ending, b".")
        self.process.wait()
        self._close()
        if interrupted:
            raise KeyboardInterrupt
        return Outcome(**{**found, "folder": Path(found["folder"])})

    def _next_report(self) -> dict[str, Any]:
        line = self._reports.readline()
        if not line:
            status = self.process.wait()
            self._close()
            raise CorrelatorError(f"the recorder ended with status {status}, and did not say why")
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            self.process.wait()
            self._close()
            error = (InputError if found["is_input"] else CorrelatorError)(found["error"])
            error.exit_code = found["exit_code"]
            raise error
        return found


def serve() -> None:
    """The recorder's side: argv are the two pipes and the options."""
    from correlator.capturing.record import record

    ended_by, report_to = int(sys.argv[1]), int(sys.argv[2])
    os.set_inheritable(report_to, False)
    os.set_inheritable(ended_by, False)
    report = os.fdopen(report_to, "w", buffering=1)
    _end_with(ended_by)
    try:
        outcome = record(_unpacked(sys.argv[3]), say=lambda line: _tell(report, {"began": line}))
        _tell(report, asdict(outcome))
    except CorrelatorError as error:
        kind = isinstance(error, InputError)
        _tell(report, {"error": str(error), "is_input": kind, "exit_code": error.exit_code})
    finally:
        fcntl.fcntl(ended_by, fcntl.F_SETFL, 0)


def _end_with(pipe: int) -> None:
    """From now on, SIGTERM comes where ``pipe`` can be read or nobody can write to it."""
    fcntl.fcntl(pipe, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(pipe, fcntl.F_SETSIG, signal.SIGTERM)
    fcntl.fcntl(pipe, fcntl.F_SETFL, os.O_ASYNC)


def _tell(report: IO[str], what: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more: what is recorded stays
        report.write(json.dumps(what, default=str) + "\n")


def _let_go(ending: int, reports: IO[str]) -> None:
    os.close(ending)
    reports.close()


def _packed(options: Options) -> str:
    return json.dumps(asdict(options), default=str)


def _unpacked(text: str) -> Options:
    from correlator.capturing.options import Options

    found = json.loads(text)
    lists = {name: tuple(value) for name, value in found.items() if isinstance(value, list)}
    return Options(**{**found, **lists, "output": Path(found["output"])})
