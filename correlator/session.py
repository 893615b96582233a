"""What the public functions of :mod:`correlator` hand out: a session (what was saved) and a
recording (a session that is being written)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from correlator.capturing.background import Background
    from correlator.capturing.options import Options, Outcome
    from correlator.interactive import Analysis

PathLike = str | Path
SHORTEST_S = 0.001
"""Between two readings of all counters, seconds."""
LEAST_SNAP, MOST_SNAP = 64, 262_144
"""Bytes kept of a frame."""


@dataclass(frozen=True, init=False)
class Session:
    """What was saved of a host: a folder that :func:`correlator.capture` recorded, a folder of
    loose files, or files named one by one.

    A folder of loose files holds one ``<interface>.pcap`` an interface, and ``counters.log``
    (``iptables-save -c`` over and over, each behind a time) or ``listing.log`` (``iptables -L -n
    -v`` likewise) or only ``rules.v4``; where they were saved, ``addr.json``, ``link.json``,
    ``route.json`` (``ip -j``) and ``sysctl.txt``. Files that are named take the place of the
    folder's. Making a Session reads nothing; :meth:`load` does.

    >>> correlator.Session("captures/published")
    Session('captures/published')
    >>> session = correlator.Session(
    ...     pcaps=[("eth0", "captures/shut/eth0.pcap"), ("docker0", "captures/shut/docker0.pcap")],
    ...     counters="captures/shut/counters.log",
    ...     facts="captures/shut",
    ... )
    >>> len(session.load().connections)
    7

    Attributes: ``path`` (the folder, or None), ``pcaps`` ((interface or None, file) each),
    ``counters``, ``rules`` and ``facts`` (files and a folder, or None).
    """

    path: Path | None
    pcaps: tuple[tuple[str | None, Path], ...]
    counters: Path | None
    rules: Path | None
    facts: Path | None

    def __init__(
        self,
        path: PathLike | None = None,
        *,
        pcaps: Sequence[tuple[str | None, PathLike]] = (),
        counters: PathLike | None = None,
        rules: PathLike | None = None,
        facts: PathLike | None = None,
    ) -> None:
        named = {"path": path, "counters": counters, "rules": rules, "facts": facts}
        for name, value in named.items():
            object.__setattr__(self, name, None if value is None else Path(value))
        object.__setattr__(self, "pcaps", tuple((name, Path(file)) for name, file in pcaps))

    def load(self, *, clock_offset: float | None = None, max_memory: int | None = None) -> Analysis:
        """Replay it. Parameters and errors are those of :func:`correlator.load`."""
        from correlator.interactive import Analysis
        from correlator.reconcile.loading import load_files

        found = load_files(
            self.path,
            self.pcaps,
            self.counters,
            self.rules,
            self.facts,
            clock_offset=clock_offset,
            max_memory=max_memory,
        )
        return Analysis.of(found)

    @property
    def exit_status(self) -> int | None:
        """The exit status of the command that it was recorded around, 128 and the signal's number
        where one killed it; None where there was none (or nobody recorded it)."""
        from correlator.dataset.session import is_session, read_manifest

        if self.path is None or not is_session(self.path):
            return None
        return read_manifest(self.path).exit_status

    def __repr__(self) -> str:
        named = [f"{name}={str(value)!r}" for name, value in self._files() if value is not None]
        return f"{type(self).__name__}({', '.join([*self._folder(), *named])})"

    def _folder(self) -> list[str]:
        parts = [] if self.path is None else [repr(str(self.path))]
        if self.pcaps:
            parts.append(f"pcaps={[(name, str(file)) for name, file in self.pcaps]!r}")
        return parts

    def _files(self) -> tuple[tuple[str, Path | None], ...]:
        return ("counters", self.counters), ("rules", self.rules), ("facts", self.facts)


class Recording(Session):
    """A session that is being recorded, by a process of its own. It ends with the ``with`` block,
    or by :meth:`stop`; after that it is a session like others.

    Leaving the block waits until the last packet and the last counters are written, whatever
    happened inside: tests that fail are recorded too."""

    _background: Background

    def __init__(self, options: Options) -> None:
        """Begins. Raises :class:`correlator.errors.CorrelatorError` where it cannot."""
        from correlator.capturing.background import Background

        super().__init__(options.output)
        object.__setattr__(self, "_background", Background(options))

    @cached_property
    def _outcome(self) -> Outcome:
        """How it ended; whoever asks first ends it."""
        return _heed(self._background.stop())

    def stop(self) -> Session:
        """End it, and wait until all is written; nothing happens where it has ended. Returns the
        session. Warns where the recording stopped early (a full disk)."""
        return Session(self._outcome.folder)

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def record(options: Options) -> Session:
    """Record until it ends by itself: with its command, or when its time is over."""
    from correlator.capturing.background import Background

    return Session(_heed(Background(options).wait()).folder)


def _heed(outcome: Outcome) -> Outcome:
    if outcome.problem:
        warnings.warn(outcome.problem, RuntimeWarning, stacklevel=4)
    return outcome
