"""SIGINT, SIGTERM and SIGHUP as something to poll for."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack


class Signals:
    """Catches them until ``stack`` unwinds."""

    def __init__(self, stack: ExitStack) -> None:
        self.reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        stack.callback(os.close, self.reader)
        stack.callback(os.close, writer)
        stack.callback(
            signal.set_wakeup_fd, signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        )
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            stack.callback(signal.signal, number, signal.signal(number, lambda *_: None))

    def fileno(self) -> int:
        """The pipe's end."""
        return self.reader

    def take(self) -> list[int]:
        """The signals that came."""
        try:
            return list(os.read(self.reader, 64))
        except BlockingIOError:
            return []
