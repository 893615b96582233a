"""nftables' match expressions -> conditions: what ``op``, ``left`` and ``right`` ask of a packet
(libnftables-json(5), MATCH). What nobody knows is unknown."""

from __future__ import annotations

from typing import Any

from correlator.firewall.conditions import conntrack
from correlator.firewall.conditions.headers import Field, Fragment, Masked, Range, Within
from correlator.firewall.conditions.keyed import (
    DeviceKey,
    Key,
    Listed,
    NumberKey,
    OfFamily,
    Row,
    StateKey,
    UnknownKey,
)
from correlator.firewall.conditions.surroundings import AddressType, Device, ReversePath
from correlator.firewall.conditions.ternary import Condition, Unknown
from correlator.firewall.languages.nft_keys import Read, keys_of
from correlator.firewall.languages.nft_sets import NamedSet, SetName, Sets
from correlator.firewall.languages.nft_values import bare, flags_of, row_of, span_of
from correlator.firewall.languages.nft_words import value as words
from correlator.firewall.values import ALL_BITS, parse_number

_EQUAL = {"==": False, "in": False, "!=": True, "!": True}
_ORDER = ("<", ">", "<=", ">=")
_FRAGMENT_OFFSET = 0x1FFF
_FAMILIES = {"ipv4": "ip", "ip": "ip", "ipv6": "ip6", "ip6": "ip6"}
_MOST = (1 << 48) - 1


class Lookup:
    """Finds what an expression names by ``@name``, in the sets of a rule's table; ``packets`` is
    the family of those that walk the rules (``ip``, ``ip6``)."""

    def __init__(self, sets: Sets, family: str, table: str, packets: str = "ip") -> None:
        self.sets, self.family, self.table, self.packets = sets, family, table, packets

    def named(self, name: str) -> NamedSet:
        """The set or map; one of which nothing is known where it was not listed."""
        found: SetName = (self.family, self.table, name.removeprefix("@"))
        return self.sets.get(found, NamedSet(open_ended=True))


def conditions_of(body: dict[str, Any], lookup: Lookup) -> tuple[Condition, ...]:
    """All that a match asks; each has to hold."""
    operator, left, right = str(body.get("op", "==")), body.get("left"), body.get("right")
    reads = keys_of(left if not _masked(left) else _masked(left)[0])
    needs = tuple(need for read in reads for need in read.needs)
    try:
        special = _special(operator, left, right)
        if special is not None:
            return (*needs, *special)
        return (*needs, *_compared(reads, operator, right, lookup))
    except (ValueError, OSError, KeyError, TypeError, IndexError):
        return (*needs, Unknown(f"{words(left)} {operator} {words(right)}"))


def _masked(left: Any) -> list[Any]:
    """[what, mask] of ``what & mask``; empty where it is none."""
    found = left.get("&") if isinstance(left, dict) else None
    return found if isinstance(found, list) and len(found) == 2 else []


def _special(operator: str, left: Any, right: Any) -> tuple[Condition, ...] | None:
    """What is no plain comparison of what is read; None where it is one."""
    negated = _EQUAL.get(operator)
    if _masked(left):
        return (_bits(_masked(left), operator, right),)
    kind, body = next(iter(left.items())) if isinstance(left, dict) and left else ("", None)
    if not isinstance(body, dict):
        return None
    if kind == "fib":
        return (_address_type(body, operator, right),)
    if kind == "meta" and body["key"] in ("nfproto", "protocol"):
        return (OfFamily(_FAMILIES[str(right)], _EQUAL[operator]),)
    if kind == "payload" and (body.get("protocol"), body.get("field")) == ("ether", "type"):
        return (OfFamily(_FAMILIES[str(right)], _EQUAL[operator]),)
    if kind == "payload" and (body.get("protocol"), body.get("field")) == ("tcp", "flags"):
        return (_flags(operator, right),)
    if kind == "ct":
        return _connection(body, negated, right)
    return None


def _bits(masked: list[Any], operator: str, right: Any) -> Condition:
    """``key & mask`` against a value."""
    (read,), mask, negated = keys_of(masked[0]), masked[1], _EQUAL[operator]
    text = f"{words(masked)} {operator} {words(right)}"
    payload = masked[0].get("payload") or {}
    if (payload.get("protocol"), payload.get("field")) == ("ip", "frag-off"):
        if mask == _FRAGMENT_OFFSET and right == 0:
            return Fragment(negated=not negated)
        return Unknown(text)
    if not isinstance(read.key, NumberKey) or read.key.shift:
        return Unknown(text)
    field = read.key.field
    if field is Field.TCP_FLAGS:
        return Masked(field, flags_of(right), flags_of(mask), negated)
    wanted, bits = parse_number(str(right), _MOST, 0), parse_number(str(mask), _MOST, 0)
    if field is Field.CONNMARK:
        return conntrack.Mark(wanted, bits, negated)
    return Masked(field, wanted, bits, negated)


def _flags(operator: str, right: Any) -> Condition:
    """TCP flags: any of those named, or these and no others."""
    if operator == "in":
        return Masked(Field.TCP_FLAGS, 0, flags_of(right), negated=True)
    if operator == "!":
        return Masked(Field.TCP_FLAGS, 0, flags_of(right))
    if isinstance(right, dict) and "set" in right:
        spans = tuple((flags_of(bare(one)),) * 2 for one in right["set"])
        return Within((Field.TCP_FLAGS,), spans, _EQUAL[operator])
    return Masked(Field.TCP_FLAGS, flags_of(right), 0xFF, _EQUAL[operator])


def _address_type(body: dict[str, Any], operator: str, right: Any) -> Condition:
    """``fib daddr type local``, ``fib saddr . iif oif missing``; other results are unknown."""
    flags = body["flags"] if isinstance(body["flags"], list) else [body["flags"]]
    sides = {"saddr": Field.SOURCE, "daddr": Field.DESTINATION}
    side = next((sides[one] for one in flags if one in sides), None)
    rest = {one for one in flags if one not in sides}
    if body["result"] == "oif" and side is Field.SOURCE and rest in ({"iif"}, {"iif", "mark"}):
        if isinstance(right, bool):
            return ReversePath(negated=right == _EQUAL[operator])
        return Unknown(words({"fib": body}))
    limits = {frozenset[str](): "", frozenset({"iif"}): "in", frozenset({"oif"}): "out"}
    if body["result"] != "type" or side is None or frozenset(rest) not in limits:
        return Unknown(words({"fib": body}))
    types = right["set"] if isinstance(right, dict) else [right]
    named = frozenset(str(one).upper() for one in types)
    return AddressType(side, named, _EQUAL[operator], limits[frozenset(rest)])


def _connection(
    body: dict[str, Any], negated: bool | None, right: Any
) -> tuple[Condition, ...] | None:
    """What is asked of the connection; None where it is compared like any number."""
    key, direction = body["key"], body.get("dir")
    if negated is None:
        return None
    if direction is not None:
        family = key.partition(" ")[0] if " " in key else body.get("family", "")
        needs = (OfFamily(family),) if family in ("ip", "ip6") else ()
        return (*needs, _in_tuple(key, direction == "reply", negated, right))
    if key in ("state", "status") and not (isinstance(right, str) and right.startswith("@")):
        named = frozenset(one.upper().replace("-", "_") for one in _names(right))
        made = conntrack.State if key == "state" else conntrack.Status
        return (made(named, negated),)
    if key == "direction":
        return (conntrack.Direction((right == "reply") != negated),)
    if key == "mark" and isinstance(right, int):
        return (conntrack.Mark(right, ALL_BITS, negated),)
    return None


def _in_tuple(key: str, reply: bool, negated: bool, right: Any) -> Condition:
    """A part of a connection's tuple."""
    parts = {
        "saddr": conntrack.TuplePart.SOURCE,
        "daddr": conntrack.TuplePart.DESTINATION,
        "proto-src": conntrack.TuplePart.SOURCE_PORT,
        "proto-dst": conntrack.TuplePart.DESTINATION_PORT,
    }
    named = key.removeprefix("ip ").removeprefix("ip6 ")
    field = Field.SOURCE if named.endswith("addr") else Field.SOURCE_PORT
    return conntrack.InTuple(reply, parts[named], span_of(NumberKey(field), right), negated)


def _names(right: Any) -> list[str]:
    """Words: one, several, or a set of them."""
    if isinstance(right, str):
        return right.split(",")
    if isinstance(right, list):
        return [str(one) for one in right]
    if "|" in right:
        return _names(right["|"])
    return [str(bare(one)) for one in right["set"]]


def _compared(
    reads: tuple[Read, ...], operator: str, right: Any, lookup: Lookup
) -> tuple[Condition, ...]:
    """What is read, against a value, a range, or a set of them."""
    keys = tuple(read.key for read in reads)
    if operator in _ORDER:
        return (_ordered(keys, operator, right),)
    negated = _EQUAL[operator]
    if isinstance(right, str) and right.startswith("@"):
        return (listed(keys, lookup.named(right), negated),)
    elements = right["set"] if isinstance(right, dict) and "set" in right else [right]
    rows = tuple(row_of(keys, one) for one in elements)
    return (_plain(reads, rows, negated),)


def _ordered(keys: tuple[Key, ...], operator: str, right: Any) -> Condition:
    """Less or more than a number."""
    (key,) = keys
    (low, high) = span_of(key, right)
    spans: dict[str, Range] = {
        "<": (0, low - 1),
        "<=": (0, high),
        ">": (high + 1, _MOST),
        ">=": (low, _MOST),
    }
    return Listed(keys, ((spans[operator],),))


def listed(keys: tuple[Key, ...], members: NamedSet, negated: bool) -> Condition:
    """That what is read is in a named set, or not."""
    try:
        always = tuple(row_of(keys, _key_part(one)) for one in members.always)
        perhaps = tuple(row_of(keys, _key_part(one)) for one in members.perhaps)
    except (ValueError, OSError, KeyError, TypeError):
        return Listed(keys, (), negated, open_ended=True)
    return Listed(keys, always, negated, perhaps, members.open_ended)


def _key_part(element: Any) -> Any:
    return element[0] if isinstance(element, list) else element


def _plain(reads: tuple[Read, ...], rows: tuple[Row, ...], negated: bool) -> Condition:
    """The condition that iptables' rules have for the same, where there is one."""
    if len(reads) == 1 and not isinstance(reads[0].key, UnknownKey | StateKey):
        key, parts = reads[0].key, [row[0] for row in rows]
        if isinstance(key, DeviceKey) and len(parts) == 1 and isinstance(parts[0], str):
            prefix = parts[0].endswith("*")
            return Device(key.outgoing, parts[0].removesuffix("*"), prefix, negated)
        ranges = tuple(part for part in parts if not isinstance(part, str))
        if isinstance(key, NumberKey) and _as_number(reads[0]) and len(ranges) == len(parts):
            return Within((key.field,), ranges, negated)
    return Listed(tuple(read.key for read in reads), rows, negated)


def _as_number(read: Read) -> bool:
    """Whether its field holds, of all packets that its needs let through, what is asked for."""
    key = read.key
    if not isinstance(key, NumberKey) or key.shift or key.field is Field.CONNMARK:
        return False
    ports = key.field in (Field.SOURCE_PORT, Field.DESTINATION_PORT)
    return not ports or any(isinstance(need, Within) for need in read.needs)
