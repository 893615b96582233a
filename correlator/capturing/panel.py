"""The live line: packets, drops, samples and the rules that move most, on the last row of a
terminal.

The row is kept out of the scrolling region (DECSTBM of the VT100), so that the command's own output
passes above it."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TextIO

EVERY_S = 0.25
NARROWEST, LOWEST = 20, 3


class Panel:
    """Draws on ``stream`` where that is a terminal; silent elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.on = stream.isatty()
        self.size = (0, 0)
        self.drawn = 0.0

    def show(self, text: str, force: bool = False) -> None:
        """Draw the line, at most some times a second."""
        now = time.monotonic()
        if not self.on or (not force and now - self.drawn < EVERY_S):
            return
        self.drawn = now
        with contextlib.suppress(OSError):
            size = os.get_terminal_size(self.stream.fileno())
            columns, rows = size.columns, size.lines
            if (
                columns < NARROWEST or rows < LOWEST
            ):  # a terminal that does not know its size says 0 (tty_ioctl(4))
                return
            if (columns, rows) != self.size:
                self._reserve(columns, rows)
            self.stream.write(
                f"\0337\033[{rows};1H\033[2K\033[7m"
                f"{_fit(text, columns - 1):<{columns - 1}}\033[0m\0338"
            )
            self.stream.flush()

    def _reserve(self, columns: int, rows: int) -> None:
        self.size = (columns, rows)
        self.stream.write(f"\n\0337\033[1;{rows - 1}r\0338\033[1A")

    def close(self) -> None:
        """Give the row back."""
        if self.on and self.size != (0, 0):
            rows = self.size[1]
            with contextlib.suppress(OSError):
                self.stream.write(f"\0337\033[1;{rows}r\033[{rows};1H\033[2K\0338")
                self.stream.flush()
        self.size = (0, 0)


def _fit(text: str, width: int) -> str:
    """As much of it as fits; parts (two spaces between them) are shown whole or not at all."""
    if len(text) <= width:
        return text
    return text[: width + 2].rpartition("  ")[0][:width] or text[:width]
