"""Values and sets of nft's own notation -> values of ``nft -j`` (nft(8), DATA TYPES;
libnftables-json(5), EXPRESSIONS)."""

from __future__ import annotations

import re
from typing import Any

from correlator.firewall.languages.nft_tokens import END, Cursor, GrammarError

_NUMBER = re.compile(r"(?:0x[0-9a-fA-F]+|\d+)\Z")
_ADDRESS = re.compile(r"[0-9a-fA-F.:]*[.:][0-9a-fA-F.:]*\Z")
_RANGE = re.compile(r"(?P<low>[0-9a-fA-F.:x]+)-(?P<high>[0-9a-fA-F.:x]+)\Z")
_VERDICTS = ("accept", "drop", "continue", "return", "jump", "goto")
_STATEFUL = ("timeout", "expires", "counter", "comment", "limit", "quota", "last", "used")


def read_value(cursor: Cursor) -> Any:
    """A value: one, a list of flags, a concatenation, or a set."""
    if cursor.peek() == "{":
        return {"set": read_elements(cursor)}
    parts = [_flags(cursor)]
    while cursor.accept("."):
        parts.append(_flags(cursor))
    return parts[0] if len(parts) == 1 else {"concat": parts}


def _flags(cursor: Cursor) -> Any:
    """One value, or several flags: ``established,related``, ``fin | syn``."""
    if cursor.accept("("):
        found = _flags(cursor)
        cursor.expect(")")
        return found
    found = [plain_value(cursor)]
    while cursor.peek() in (",", "|") and not cursor.quoted():
        cursor.take()
        found.append(plain_value(cursor))
    return found[0] if len(found) == 1 else found


def plain_value(cursor: Cursor) -> Any:
    """One word as a number, a range, a prefix, or a name."""
    if cursor.quoted():
        quoted = cursor.take()
        if cursor.peek() == "*" and not cursor.quoted():
            cursor.take()
            return f"{quoted}*"
        return quoted
    word = cursor.take()
    if word in (END, "{", "}", "(", ")", ",", ":", "=="):
        raise GrammarError(f"{word!r} in place of a value")
    return value_of(word)


def value_of(word: str) -> Any:
    """The same of a word."""
    if word in ("exists", "missing"):
        return word == "exists"
    if _NUMBER.match(word):
        return int(word, 0) if word.startswith("0x") else int(word)
    found = _RANGE.match(word)
    if found is not None and (_is_bound(found["low"]) and _is_bound(found["high"])):
        return {"range": [value_of(found["low"]), value_of(found["high"])]}
    address, slash, length = word.partition("/")
    if slash and length.isdigit() and _ADDRESS.match(address):
        return {"prefix": {"addr": address, "len": int(length)}}
    return word


def _is_bound(word: str) -> bool:
    return bool(_NUMBER.match(word) or _ADDRESS.match(word))


def read_elements(cursor: Cursor) -> list[Any]:
    """``{ a, b : c }``: elements, of a map [key, value]."""
    cursor.expect("{")
    found: list[Any] = []
    while True:
        cursor.skip_ends()
        if cursor.accept("}"):
            return found
        found.append(_element(cursor))
        cursor.skip_ends()
        if not cursor.accept(","):
            cursor.expect("}")
            return found


def _element(cursor: Cursor) -> Any:
    parts = [plain_value(cursor)]
    while cursor.accept("."):
        cursor.skip_ends()
        parts.append(plain_value(cursor))
    key: Any = parts[0] if len(parts) == 1 else {"concat": parts}
    _skip_state(cursor)
    if not cursor.accept(":"):
        return key
    cursor.skip_ends()
    target = _target(cursor)
    _skip_state(cursor)
    return [key, target]


def _target(cursor: Cursor) -> Any:
    """What an element of a map leads to."""
    if cursor.peek() in _VERDICTS and not cursor.quoted():
        return read_verdict(cursor)
    parts = [plain_value(cursor)]
    while cursor.accept("."):
        parts.append(plain_value(cursor))
    return parts[0] if len(parts) == 1 else {"concat": parts}


def read_verdict(cursor: Cursor) -> dict[str, Any]:
    """``accept``, ``jump CHAIN``, ..."""
    word = cursor.expect(*_VERDICTS)
    return {word: {"target": cursor.take()}} if word in ("jump", "goto") else {word: None}


def _skip_state(cursor: Cursor) -> None:
    """Timeouts, counters and comments of an element."""
    while cursor.peek() in _STATEFUL and not cursor.quoted():
        cursor.take()
        while not cursor.done and (
            cursor.quoted() or cursor.peek() not in (":", ",", "}", *_STATEFUL)
        ):
            cursor.take()
