"""Text that fits: measured before it is drawn, elided or wrapped where it does not."""

from __future__ import annotations

import re
from functools import lru_cache

from matplotlib import font_manager
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font
from matplotlib.textpath import text_to_path

SANS = "DejaVu Sans"
"""It comes with matplotlib: a picture looks alike everywhere."""

HINTING = 1.04
"""Letters set on few pixels come out that much wider than they are designed."""


@lru_cache(maxsize=8192)
def width(text: str, size: float, family: str = SANS, weight: str = "normal") -> float:
    """Inches that ``text`` takes."""
    shown = printable(text, family)
    wide, _, _ = text_to_path.get_text_width_height_descent(
        shown, FontProperties(family=family, size=size, weight=weight), False
    )
    return float(wide) / 72 * HINTING


@lru_cache(maxsize=4)
def _glyphs(family: str) -> frozenset[int]:
    return frozenset(FT2Font(font_manager.findfont(FontProperties(family=family))).get_charmap())


def printable(text: str, family: str = SANS) -> str:
    """The text with what the font cannot draw as a box, and on one line."""
    known = _glyphs(family)
    return "".join(
        c if ord(c) in known and c.isprintable() else "□" for c in re.sub(r"[\t\r\n]+", " ", text)
    )


def elide(
    text: str, room: float, size: float, family: str = SANS, weight: str = "normal", keep: str = ""
) -> str:
    """The text in at most ``room`` inches, with an ellipsis for what is cut; what follows the last
    ``keep`` is cut last."""
    if width(text, size, family, weight) <= room:
        return text
    at = text.rfind(keep) if keep else -1
    tail = (
        text[at:].strip()
        if at > 0 and width("… " + text[at:], size, family, weight) <= 0.9 * room
        else ""
    )
    head = text[: len(text) - len(tail)] if tail else text
    short, long = 0, len(head)
    while short < long:  # the longest head that fits
        middle = (short + long + 1) // 2
        fits = (
            width(head[:middle].rstrip() + "…" + (" " + tail if tail else ""), size, family, weight)
            <= room
        )
        short, long = (middle, long) if fits else (short, middle - 1)
    return head[:short].rstrip(" ,") + "…" + (" " + tail if tail else "")


def wrap(text: str, room: float, size: float, most: int, weight: str = "normal") -> list[str]:
    """Lines of at most ``room`` inches; the last of at most ``most`` is elided."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if not lines[-1] or width(longer, size, SANS, weight) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > most:
        lines = [*lines[: most - 1], " ".join(lines[most - 1 :])]
    return [elide(line, room, size, SANS, weight) for line in lines]
