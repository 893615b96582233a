"""Text from elsewhere, made fit to be shown: the one function that every such text passes before a
terminal, a page, a picture or a file of text gets it.

Names of interfaces and containers, comments of rules, warnings of a recording, names of files: who
wrote them may have put in them what moves a terminal's cursor, ends a line and forges the next, or
turns the direction of writing around (Unicode TR 36)."""

from __future__ import annotations

from collections.abc import Iterable


def one_line(text: object) -> str:
    """``str(text)``, with all that is not to be seen as it is written (control characters, line
    ends, marks of direction, spaces but the one, what is no character) as Python's escape of it:
    ``\\x1b``, ``\\n``, ``\\u202e``."""
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(c if c.isprintable() else _escaped(c) for c in shown)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def lines(texts: Iterable[object]) -> str:
    """Texts as lines, each of them one, whatever stands in it."""
    return "\n".join(map(one_line, texts))


def encodable(name: str) -> str:
    """A name as the system gave it, with U+FFFD for bytes that are no UTF-8 (PEP 383)."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
