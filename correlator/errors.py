"""Errors that a user can cause or meet, each one line: what, where, what to do. Caught once, in the
CLI."""

from __future__ import annotations

from correlator.plain import one_line


class CorrelatorError(Exception):
    """Base of every error that correlator raises on purpose; ``exit_code`` is the command's exit
    status."""

    exit_code = 1

    def __str__(self) -> str:
        """One line, whatever the input that it tells of holds."""
        return one_line(super().__str__())


class InputError(CorrelatorError):
    """Input that cannot be used: missing, empty, of another kind, or contradicting itself."""

    exit_code = 2
