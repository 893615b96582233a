"""The command that a recording is made around: as whom it runs, with which environment, and what a
shell would say where it cannot be run."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from correlator.capturing.identity import Identity
from correlator.errors import CorrelatorError

FAILED, NOT_EXECUTABLE, NOT_FOUND, KILLED = 125, 126, 127, 128
"""Exit statuses, as env(1), timeout(1) and shells give them: the recording failed, not the
command; the command cannot be run; there is none; and a signal's number more than the last."""
PASSED_ON = (signal.SIGTERM, signal.SIGHUP)
"""Signals that reach us alone; Ctrl-C reaches the command by itself."""


class CommandError(CorrelatorError):
    """The command cannot be started; its exit code is what a shell would give."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.exit_code = code


@dataclass(frozen=True, slots=True)
class Command:
    """What to run. ``runner`` None: as who we are."""

    words: tuple[str, ...]
    environment: Mapping[str, str]
    runner: Identity | None

    def exec(self) -> None:
        """Become the command; its input and output are ours. Raises OSError where it cannot be
        run."""
        os.execvpe(self.words[0], list(self.words), dict(self.environment))

    def error(self, number: int) -> CommandError:
        """What is to be said where running it failed with this error number."""
        if number in (2, 20):  # ENOENT, ENOTDIR
            return not_found(self.words[0])
        return CommandError(
            f"{self.words[0]}: cannot be run: {os.strerror(number)}: nothing was recorded",
            NOT_EXECUTABLE,
        )


def find_command(
    words: Sequence[str], environment: dict[str, str], runner: Identity | None
) -> Command:
    """The command, in the environment that whoever runs it has. Raises :class:`CommandError` where
    there is no such program."""
    if shutil.which(words[0], path=environment.get("PATH", os.defpath)) is None:
        raise not_found(words[0])
    own = environment if runner is None else runner.environment(environment)
    return Command(tuple(words), own, runner)


def not_found(name: str) -> CommandError:
    """There is no such command."""
    return CommandError(f"{name}: no such command: nothing was recorded", NOT_FOUND)
