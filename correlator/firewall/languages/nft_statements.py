"""One rule of nft's own notation -> statements of ``nft -j`` (nft(8), STATEMENTS;
libnftables-json(5)).

From a statement that nobody knows on, the rest of the line is one unknown statement."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from correlator.firewall.languages.nft_expressions import GENERATORS, read_expression, read_map
from correlator.firewall.languages.nft_tokens import Cursor, GrammarError
from correlator.firewall.languages.nft_values_text import read_value, read_verdict, value_of

_COMPARED = ("==", "!=", "<", ">", "<=", ">=", "!")
_BITS = (("ct", "state"), ("ct", "status"), ("tcp", "flags"))
_NAT_FLAGS = ("random", "fully-random", "persistent")
_PORTS = re.compile(r"(?P<address>.*?):(?P<ports>\d+(?:-\d+)?)\Z")
Statement = dict[str, Any]


def read_rule(cursor: Cursor) -> tuple[list[Statement], str]:
    """(the statements of a rule, its comment)."""
    statements: list[Statement] = []
    while not cursor.done:
        begin = cursor.at
        if cursor.peek() == "comment" and not cursor.quoted():
            cursor.take()
            return statements, cursor.take()
        try:
            statements.append(_statement(cursor))
        except (GrammarError, ValueError):
            rest = " ".join(token.text for token in cursor.tokens[begin:])
            statements.append({"unknown": {"text": rest}})
            break
    return statements, ""


def _statement(cursor: Cursor) -> Statement:
    word, second, third = (cursor.peek(i) for i in range(3))
    if word in ("accept", "drop", "continue", "return", "jump", "goto"):
        return read_verdict(cursor)
    if word == "ct" and second in ("helper", "timeout", "expectation") and third == "set":
        cursor.at += 3
        return {f"ct {second}": cursor.take()}
    if word == "ct" and second == "count":
        cursor.at += 2
        inverse = {"inv": True} if cursor.accept("over") else {}
        return {"ct count": {"val": int(cursor.take()), **inverse}}
    if word in ("add", "update", "delete") and second.startswith("@"):
        return _change_of_set(cursor)
    known = _STATEMENTS.get(word)
    if known is not None:
        cursor.take()
        return known(cursor)
    return _about_packet(cursor)


def _about_packet(cursor: Cursor) -> Statement:
    """A match, a change of the packet, or a map of verdicts."""
    left = read_expression(cursor)
    if cursor.accept("set"):
        return {"mangle": {"key": left, "value": _written(cursor)}}
    if cursor.accept("vmap"):
        return {"vmap": {"key": left, "data": read_map(cursor)}}
    operator = cursor.accept(*_COMPARED)
    right = read_value(cursor)
    if cursor.accept("/"):
        left = {"&": [left, read_value(cursor)]}
        operator = operator or "=="
    if not operator:
        operator = "in" if _of_bits(left) and not _is_set(right) else "=="
    return {"match": {"op": operator, "left": left, "right": right}}


def _is_set(right: Any) -> bool:
    named = isinstance(right, str) and right.startswith("@")
    return named or (isinstance(right, dict) and "set" in right)


def _of_bits(left: Any) -> bool:
    """Whether a name alone asks for a bit."""
    ((kind, body),) = left.items()
    if not isinstance(body, dict):
        return False
    return (kind, body.get("key")) in _BITS or (body.get("protocol"), body.get("field")) in _BITS


def _written(cursor: Cursor) -> Any:
    """A value that is written: a number or a name, or bits of a mark."""
    if cursor.peek() in ("meta", "ct", "rt", "numgen", "jhash", "symhash", "ip", "ip6", "tcp"):
        found = read_expression(cursor)
        if cursor.accept("map"):
            return {"map": {"key": found, "data": read_map(cursor)}}
        return found
    return read_value(cursor)


def _counter(cursor: Cursor) -> Statement:
    if cursor.accept("name"):
        return {"counter": cursor.take()}
    if not cursor.accept("packets"):
        return {"counter": None}
    packets = int(cursor.take())
    cursor.expect("bytes")
    return {"counter": {"packets": packets, "bytes": int(cursor.take())}}


def _log(cursor: Cursor) -> Statement:
    body: dict[str, Any] = {}
    names = ("prefix", "level", "group", "snaplen", "queue-threshold", "flags")
    while name := cursor.accept(*names):
        body[name] = read_value(cursor)
        while name == "flags" and cursor.peek() in ("sequence", "options"):
            cursor.take()
    return {"log": body or None}


def _limit(cursor: Cursor) -> Statement:
    if cursor.accept("name"):
        return {"limit": cursor.take()}
    cursor.expect("rate")
    over = bool(cursor.accept("over"))
    rate, slash, per = cursor.take().partition("/")
    body: dict[str, Any] = {"rate": int(rate)}
    if not slash:  # 10 mbytes/second
        body["rate_unit"], _, per = cursor.take().partition("/")
    body |= {"burst": int(cursor.take()) if cursor.accept("burst") else 5, "per": per}
    unit = cursor.accept("packets", "bytes", "kbytes", "mbytes")
    body |= {"burst_unit": unit} if unit not in ("", "packets") else {}
    return {"limit": body | ({"inv": True} if over else {})}


def _quota(cursor: Cursor) -> Statement:
    if cursor.accept("name"):
        return {"quota": cursor.take()}
    over = cursor.accept("over", "until")
    body: dict[str, Any] = {"val": int(cursor.take()), "val_unit": cursor.take()}
    if cursor.accept("used"):
        body |= {"used": int(cursor.take()), "used_unit": cursor.take()}
    return {"quota": body | ({"inv": True} if over == "over" else {})}


def _reject(cursor: Cursor) -> Statement:
    if not cursor.accept("with"):
        return {"reject": None}
    kind = cursor.take()
    if kind == "tcp":
        cursor.expect("reset")
        return {"reject": {"type": "tcp reset"}}
    cursor.accept("type")
    return {"reject": {"type": kind, "expr": cursor.take()}}


def _nat(kind: str) -> Callable[[Cursor], Statement]:
    def read(cursor: Cursor) -> Statement:
        body: dict[str, Any] = {}
        if family := cursor.accept("ip", "ip6"):
            body["family"] = family
        flags: list[str] = []
        if cursor.accept("prefix"):
            flags.append("netmap")
        if cursor.accept("addr"):  # addr . port to ... map, as 0.9.4 to 1.0.1 print it
            cursor.expect(".")
            cursor.expect("port")
        if cursor.accept("to"):
            body |= _target(cursor)
        while flag := cursor.accept(*_NAT_FLAGS):
            flags.append(flag)
            cursor.accept(",")
        if flags:
            body["flags"] = flags
        return {kind: body or None}

    return read


def _target(cursor: Cursor) -> dict[str, Any]:
    """``172.17.0.2:80``, ``[fd00::2]:80``, ``:22``, or a map with or without a port."""
    mapped = any(cursor.peek(at) in (".", "map") for at in (1, 2))
    if mapped or cursor.peek() in GENERATORS:
        key = read_expression(cursor)
        cursor.expect("map")
        data = read_map(cursor)
        body: dict[str, Any] = {}
        if isinstance(data, str):
            data, found, ports = data.partition(":")
            body = {"port": value_of(ports)} if found else {}
        return {"addr": {"map": {"key": key, "data": data}}, **body}
    word = cursor.take()
    if word.startswith("["):
        address, _, ports = word[1:].partition("]")
        return {"addr": value_of(address)} | ({"port": value_of(ports[1:])} if ports else {})
    found_ports = _PORTS.match(word) if word.count(":") == 1 else None
    if found_ports is None:
        return {"addr": value_of(word)}
    body = {"port": value_of(found_ports["ports"])}
    return ({"addr": value_of(found_ports["address"])} if found_ports["address"] else {}) | body


def _change_of_set(cursor: Cursor) -> Statement:
    operation, name = cursor.take(), cursor.take()
    cursor.expect("{")
    element, depth = read_expression(cursor), 1
    while depth:  # timeouts, counters, limits, and what a map is to lead to
        word = cursor.take()
        depth += (word == "{") - (word == "}")
    return {"set": {"op": operation, "elem": element, "set": name}}


def _alone(kind: str) -> Callable[[Cursor], Statement]:
    """A statement of which the rest of the line is nobody's concern here."""

    def read(cursor: Cursor) -> Statement:
        words: list[str] = []
        while not cursor.done and (cursor.peek() != "comment" or cursor.quoted()):
            words.append(cursor.take())
        return {kind: {"text": " ".join(words)}}

    return read


_STATEMENTS: dict[str, Callable[[Cursor], Statement]] = {
    "counter": _counter,
    "log": _log,
    "limit": _limit,
    "quota": _quota,
    "reject": _reject,
    "notrack": lambda _cursor: {"notrack": None},
    **{kind: _nat(kind) for kind in ("dnat", "snat", "masquerade", "redirect")},
    **{kind: _alone(kind) for kind in ("queue", "tproxy", "synproxy", "dup", "fwd", "flow", "xt")},
}
