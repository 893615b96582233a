"""Snapshots of ``nft [-a] list ruleset`` -> the objects that they list, as ``nft -j`` has them
(nft(8)). The grammar, as nft 1.0.6 to 1.1 print it::

    table FAMILY NAME { # handle 1
        set|map NAME { ...; elements = { ELEMENT, ... } }
        counter|quota|limit|... NAME { ... }
        chain NAME { # handle 1
            type TYPE hook HOOK [device NAME] priority PRIORITY; policy VERDICT;
            STATEMENT ... [comment "TEXT"] # handle 2
        }
    }
"""

from __future__ import annotations

import re
from typing import Any

from correlator.errors import InputError
from correlator.firewall.languages.nft_rules import Objects
from correlator.firewall.languages.nft_statements import read_rule
from correlator.firewall.languages.nft_tokens import END, Cursor, GrammarError, Token, tokens_of
from correlator.firewall.languages.nft_values_text import plain_value, read_elements

COMMAND = "nft -a list ruleset"
BEGINS = re.compile(r"(?m)^table (?:ip|ip6|inet|arp|bridge|netdev) \S+ \{")
PRIORITIES = {
    "raw": -300,
    "mangle": -150,
    "dstnat": -100,
    "filter": 0,
    "security": 50,
    "srcnat": 100,
}
BRIDGE_PRIORITIES = {"dstnat": -300, "filter": -200, "out": 100, "srcnat": 300}
"""What nft calls priorities (nft(8), Table 6 and 7)."""
_SETS = ("set", "map")


def read_objects(text: str, source: str) -> Objects:
    """All objects of one snapshot, in its order. Raises :class:`~correlator.errors.InputError`
    where its braces or its lines are not nft's."""
    try:
        cursor, objects = Cursor(tokens_of(text)), Objects()
        cursor.skip_ends()
        while not cursor.done:
            cursor.expect("table")
            objects += _table(cursor)
            cursor.skip_ends()
        return objects
    except (GrammarError, ValueError, RecursionError) as error:
        raise InputError(f"{source} is not read: {error}: expected {COMMAND}") from None


def _table(cursor: Cursor) -> Objects:
    family, name = cursor.take(), cursor.take()
    handle = _open(cursor)
    found: Objects = [{"table": {"family": family, "name": name, "handle": handle}}]
    while not _closes(cursor):
        word = cursor.take()
        if word == "chain":
            found += _chain(cursor, family, name)
        elif word in _SETS:
            found.append({word: _set(cursor, family, name, word)})
        elif word in ("flags", "comment"):
            _rest(cursor)
        else:
            found += _object(cursor, family, name, word)
        cursor.skip_ends()
    return found


def _open(cursor: Cursor) -> int:
    """Behind ``{ # handle 1``; the handle, 0 where none was listed."""
    cursor.expect("{")
    return max(cursor.skip_ends(), 0)


def _closes(cursor: Cursor) -> bool:
    """Whether a block ends here."""
    if cursor.done:
        raise GrammarError("it ends within a block")
    return bool(cursor.accept("}"))


def _rest(cursor: Cursor) -> list[Token]:
    """What is left of a line, a block in it included."""
    begin, depth = cursor.at, 0
    while not cursor.done:
        sign = cursor.peek() if not cursor.quoted() else ""
        if not depth and sign in (END, "}"):
            break
        depth += (sign == "{") - (sign == "}")
        cursor.at += 1
    if depth:
        raise GrammarError("it ends within a block")
    return cursor.tokens[begin : cursor.at]


def _object(cursor: Cursor, family: str, table: str, kind: str) -> Objects:
    """A named counter, or what else has a name (``ct helper`` has two words)."""
    words = [kind]
    while cursor.peek(1) != "{":
        words.append(cursor.take())
    name = cursor.take()
    body: dict[str, Any] = {"family": family, "name": name, "table": table}
    body["handle"] = _open(cursor)
    while not _closes(cursor):
        if cursor.accept("packets"):
            body["packets"] = int(cursor.take())
            cursor.expect("bytes")
            body["bytes"] = int(cursor.take())
        else:
            _rest(cursor)
        cursor.skip_ends()
    return [{" ".join(words): body}]


def _set(cursor: Cursor, family: str, table: str, kind: str) -> dict[str, Any]:
    body: dict[str, Any] = {"family": family, "name": cursor.take(), "table": table}
    body["handle"] = _open(cursor)
    if kind == "map":
        body["map"] = ""
    while not _closes(cursor):
        word = cursor.take()
        if word == "elements":
            cursor.expect("=")
            body["elem"] = read_elements(cursor)
        elif word in ("flags", "timeout"):
            rest = [token.text for token in _rest(cursor) if token.text != ","]
            body[word] = rest if word == "flags" else " ".join(rest)
        else:
            _rest(cursor)
        cursor.skip_ends()
    return body


def _chain(cursor: Cursor, family: str, table: str) -> Objects:
    body: dict[str, Any] = {"family": family, "table": table, "name": cursor.take()}
    body["handle"] = _open(cursor)
    rules: Objects = []
    while not _closes(cursor):
        if cursor.peek() == "type" and cursor.peek(2) == "hook":
            _base(Cursor(_rest(cursor)), body, family)
        elif cursor.peek() == "policy":
            cursor.take()
            body["policy"] = cursor.take()
        elif cursor.peek() == "comment" or (cursor.peek(), cursor.peek(1)) == ("devices", "="):
            _rest(cursor)
        else:
            expressions, comment = read_rule(Cursor(_rest(cursor)))
            rule = {"family": family, "table": table, "chain": body["name"], "expr": expressions}
            rule |= {"comment": comment} if comment else {}
            rules.append({"rule": rule})
            rule["handle"] = max(cursor.skip_ends(), 0)
        cursor.skip_ends()
    return [{"chain": body}, *rules]


def _base(cursor: Cursor, body: dict[str, Any], family: str) -> None:
    """``type filter hook forward device "eth0" priority filter - 10``."""
    cursor.expect("type")
    body["type"] = cursor.take()
    cursor.expect("hook")
    body["hook"] = cursor.take()
    if cursor.accept("device"):
        body["dev"] = str(plain_value(cursor))
    elif cursor.accept("devices"):
        cursor.expect("=")
        body["dev"] = [str(one) for one in read_elements(cursor)]
    cursor.expect("priority")
    word, names = cursor.take(), BRIDGE_PRIORITIES if family == "bridge" else PRIORITIES
    base = names[word] if word in names else int(word)
    sign = cursor.accept("+", "-")
    body["prio"] = base + (int(cursor.take()) * (-1 if sign == "-" else 1) if sign else 0)
