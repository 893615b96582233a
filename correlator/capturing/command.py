"""The command that a recording is made around: its output passes through, its exit status becomes
ours."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence

from correlator.errors import CorrelatorError

NOT_FOUND, NOT_EXECUTABLE, KILLED = 127, 126, 128


class CommandError(CorrelatorError):
    """The command cannot be started; its exit code is what a shell would give."""


class Command:
    """A child process with our input and output. Raises :class:`CommandError` where it cannot be
    started."""

    def __init__(self, words: Sequence[str]) -> None:
        try:
            self.process = subprocess.Popen(list(words), restore_signals=True)
        except FileNotFoundError:
            raise _cannot(f"{words[0]}: no such command: nothing was recorded", NOT_FOUND) from None
        except OSError as error:
            raise _cannot(
                f"{words[0]}: cannot be run: {error.strerror}: nothing was recorded", NOT_EXECUTABLE
            ) from None
        self.handle = os.pidfd_open(self.process.pid)

    def fileno(self) -> int:
        """Readable when it has ended (pidfd_open(2))."""
        return self.handle

    def ended(self) -> bool:
        """Whether it has ended."""
        return self.process.poll() is not None

    def signal(self, number: int) -> None:
        """Pass a signal on."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; its exit status as a shell gives it (128 and the signal's number where
        one killed it)."""
        status = self.process.wait()
        return KILLED - status if status < 0 else status

    def close(self) -> None:
        """Let go of it."""
        os.close(self.handle)


def _cannot(text: str, code: int) -> CommandError:
    error = CommandError(text)
    error.exit_code = code
    return error


PASSED_ON = (signal.SIGTERM, signal.SIGHUP)
"""Signals that reach us alone; Ctrl-C reaches the command by itself."""
