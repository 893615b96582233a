"""Expressions of nft's own notation -> expressions of ``nft -j`` (nft(8), PRIMARY EXPRESSIONS and
PAYLOAD EXPRESSIONS; libnftables-json(5))."""

from __future__ import annotations

import itertools
from typing import Any

from correlator.firewall.languages.nft_tokens import Cursor, GrammarError
from correlator.firewall.languages.nft_values_text import plain_value, read_elements

_BARE_META = ("iifname", "oifname", "iif", "oif", "iifgroup", "oifgroup", "iiftype", "oiftype")
_HEADERS = frozenset(
    ("ip", "ip6", "tcp", "udp", "udplite", "sctp", "dccp", "th", "icmp", "icmpv6", "igmp", "ether")
) | {"vlan", "arp", "esp", "ah", "comp", "gre", "geneve", "vxlan", "gretap"}
_EXTENSIONS = ("frag", "hbh", "dst", "mh", "srh", "exthdr")
_ROUTE = ("classid", "nexthop", "mtu", "ipsec")
_TUPLE = ("original", "reply")
GENERATORS = ("numgen", "jhash", "symhash")
_FIB = ("saddr", "daddr", "mark", "iif", "oif")
_OPERATORS = ("&", "|", "^", "<<", ">>")


def read_expression(cursor: Cursor) -> Any:
    """What is read of a packet, joined by dots, with bits masked."""
    parts = [_masked(cursor)]
    while cursor.accept("."):
        parts.append(_masked(cursor))
    return parts[0] if len(parts) == 1 else {"concat": parts}


def _masked(cursor: Cursor) -> Any:
    found = _primary(cursor)
    while operator := cursor.accept(*_OPERATORS):
        found = {operator: [found, _operand(cursor)]}
    return found


def _operand(cursor: Cursor) -> Any:
    """What bits are masked with: a number, or flags."""
    closed = bool(cursor.accept("("))
    found = [plain_value(cursor)]
    while closed and cursor.accept("|", ","):
        found.append(plain_value(cursor))
    while not closed and cursor.accept(","):
        found.append(plain_value(cursor))
    if closed:
        cursor.expect(")")
    return found[0] if len(found) == 1 else found


def _primary(cursor: Cursor) -> Any:
    if cursor.quoted():
        raise GrammarError("a string in place of an expression")
    word = cursor.take()
    if word == "meta":
        return {"meta": {"key": cursor.take()}}
    if word in _BARE_META:
        return {"meta": {"key": word}}
    if word == "ct":
        return _connection(cursor)
    if word == "fib":
        return _route_lookup(cursor)
    if word == "rt" and cursor.peek() in _ROUTE:
        return {"rt": {"key": cursor.take()}}
    if word == "tcp" and cursor.accept("option"):
        return _tcp_option(cursor)
    if word == "ip" and cursor.accept("option"):
        return {"ip option": {"name": cursor.take(), "field": cursor.take()}}
    if word in _HEADERS:
        return {"payload": {"protocol": word, "field": cursor.take()}}
    if word in (*_EXTENSIONS, "rt"):
        return {"exthdr": {"name": word, "field": cursor.take()}}
    if word in ("socket", "osf"):
        return {word: {"key": cursor.take()}}
    if word.startswith("@") and "," in (cursor.peek(), cursor.peek(1)):
        return _raw(cursor, word)
    if word in GENERATORS:
        return _generator(cursor, word)
    raise GrammarError(f"{word!r} in place of an expression")


def _connection(cursor: Cursor) -> Any:
    body: dict[str, Any] = {}
    if direction := cursor.accept(*_TUPLE):
        body["dir"] = direction
        if family := cursor.accept("ip", "ip6"):
            body["family"] = family
    return {"ct": {"key": cursor.take(), **body}}


def _route_lookup(cursor: Cursor) -> Any:
    flags = [cursor.expect(*_FIB)]
    while cursor.accept("."):
        flags.append(cursor.expect(*_FIB))
    return {"fib": {"result": cursor.take(), "flags": flags}}


def _tcp_option(cursor: Cursor) -> Any:
    body = {"name": cursor.take()}
    if cursor.peek() not in ("exists", "missing", "set", "==", "!=") and not cursor.done:
        body["field"] = cursor.take()
    return {"tcp option": body}


def _raw(cursor: Cursor, word: str) -> Any:
    """``@th,0,16``: bits of a header by place."""
    parts = [word.removeprefix("@")]
    while cursor.accept(","):
        parts.append(cursor.take())
    base, offset, length = parts
    return {"payload": {"base": base, "offset": int(offset), "len": int(length)}}


def _generator(cursor: Cursor, word: str) -> Any:
    """``numgen inc mod 2 offset 1``, ``jhash ip saddr . ip daddr mod 2``."""
    words: list[str] = []
    while not cursor.done and cursor.peek() not in ("vmap", "map", "set", "==", "!=", "{"):
        words.append(cursor.take())
    told = dict(itertools.pairwise(words))
    numbers = {name: int(told[name]) for name in ("mod", "offset") if told.get(name, "").isdigit()}
    return {word: {"text": " ".join(words), **numbers}}


def read_map(cursor: Cursor) -> Any:
    """What stands behind ``map`` or ``vmap``: a name, or elements."""
    if cursor.peek() == "{":
        return {"set": read_elements(cursor)}
    return cursor.take()
