"""The tokens of what ``nft list ruleset`` prints, and a cursor over them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r'(?P<blank>[ \t\r]+)|(?P<comment>\#[^\n]*)|(?P<end>[\n;])|"(?P<string>[^"\n]*)"|'
    r'(?P<sign>[{}(),]|[!<>=]=|[<>]{2})|(?P<word>[^\s{}(),;"\#]+)'
)
_HANDLE = re.compile(r"# handle (\d+)\s*$")
END = "\n"


class GrammarError(ValueError):
    """Something else stands where the grammar has another thing."""


@dataclass(frozen=True, slots=True)
class Token:
    """A ``text``: a word, a sign, or END of a line or statement; ``quoted``: it was a string.
    ``handle``: what stands behind ``# handle`` at the end of a line, -1 none. ``line`` from 1."""

    text: str
    line: int
    quoted: bool = False
    handle: int = -1


def tokens_of(text: str) -> list[Token]:
    """All tokens; raises :class:`GrammarError` where a character begins none."""
    found: list[Token] = []
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise GrammarError(f"line {line} of it holds {text[at : at + 20]!r}")
        at = match.end()
        if match["comment"] is not None:
            handle = _HANDLE.match(match["comment"])
            if handle is not None:
                found.append(Token(END, line, handle=int(handle[1])))
        elif match["end"] is not None:
            found.append(Token(END, line))
            line += match["end"] == "\n"
        elif match["string"] is not None:
            found.append(Token(match["string"], line, quoted=True))
        elif match["blank"] is None:
            found.append(Token(match[0], line))
    return found


class Cursor:
    """Stands before the token ``at``."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0

    @property
    def done(self) -> bool:
        """Whether nothing follows."""
        return self.at >= len(self.tokens)

    def peek(self, ahead: int = 0) -> str:
        """The text of a token that follows; empty behind the last one."""
        place = self.at + ahead
        return self.tokens[place].text if place < len(self.tokens) else ""

    def quoted(self) -> bool:
        """Whether a string follows."""
        return not self.done and self.tokens[self.at].quoted

    def take(self) -> str:
        """The text of the next token, and go on behind it."""
        if self.done:
            raise GrammarError("it ends too soon")
        self.at += 1
        return self.tokens[self.at - 1].text

    def accept(self, *words: str) -> str:
        """The next token if it is one of these (and no string), else nothing."""
        if not self.done and not self.quoted() and self.peek() in words:
            return self.take()
        return ""

    def expect(self, *words: str) -> str:
        """The same, where it has to be one of these."""
        found = self.accept(*words)
        if not found:
            line = self.tokens[min(self.at, len(self.tokens) - 1)].line if self.tokens else 0
            raise GrammarError(f"line {line} of it has {self.peek()[:20]!r} in place of {words[0]}")
        return found

    def skip_ends(self) -> int:
        """Go behind the ends of lines; the handle that one of them bears, -1 none."""
        handle = -1
        while not self.done and self.peek() == END:
            handle = max(handle, self.tokens[self.at].handle)
            self.at += 1
        return handle
