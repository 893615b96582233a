"""nftables' statements -> effects (libnftables-json(5), STATEMENTS)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from correlator.firewall.conditions.headers import Field, Range
from correlator.firewall.conditions.keyed import NumberKey, OfFamily, Row
from correlator.firewall.conditions.ternary import Condition, Unknown
from correlator.firewall.effects.dispatch import Choice, Dispatch
from correlator.firewall.effects.fields import CopyMark, NoTrack, WriteBits, WriteUnknown
from correlator.firewall.effects.nat import ANYWHERE, ANYWHERE6, Nat, NatKind, NatRange
from correlator.firewall.effects.verdicts import Jump, OutOfSight, Reject, Verdict
from correlator.firewall.languages.nft_keys import is_protocol, keys_of, outcomes
from correlator.firewall.languages.nft_matches import Lookup, listed
from correlator.firewall.languages.nft_sets import NamedSet
from correlator.firewall.languages.nft_values import bare, part_of, row_of, span_of
from correlator.firewall.languages.nft_words import rule_words
from correlator.firewall.languages.nft_words import value as words
from correlator.firewall.model import Effect
from correlator.firewall.values import ALL_BITS, parse_number

Lowered = tuple[tuple[Condition, ...], tuple[Effect, ...]]
"""(what a statement asks before it does anything, what it does)."""
NOTHING: Lowered = ((), ())
_ADDRESS, _PORT = NumberKey(Field.DESTINATION), NumberKey(Field.DESTINATION_PORT)
_NO_SIGHT = ("queue", "tproxy", "synproxy", "fwd", "dup", "flow", "xt", "secmark", "osf")
_QUIET = ("log", "notrack", "last", "ct helper", "ct timeout", "ct expectation", "comment")
_LIMITS = ("limit", "quota", "ct count", "meter", "connlimit")
_VERDICTS = {"accept": Verdict.ACCEPT, "drop": Verdict.DROP, "return": Verdict.RETURN}


def lower(statement: dict[str, Any], lookup: Lookup) -> Lowered:
    """One statement that is neither a match nor a counter; out of sight where nobody knows it."""
    ((kind, body),) = statement.items()
    if kind in _VERDICTS:
        return (), (_VERDICTS[kind],)
    if kind in ("jump", "goto"):
        return (), (Jump(body["target"], kind == "goto"),)
    if kind == "continue":
        return NOTHING
    if kind == "notrack":
        return (), (NoTrack(),)
    if kind in _QUIET:
        return NOTHING
    if kind in _LIMITS:
        return (Unknown(rule_words([statement])),), ()
    if kind == "xt" and isinstance(body, dict) and body.get("type") == "match":
        return (Unknown(rule_words([statement])),), ()
    if kind in _NO_SIGHT:
        return (), (OutOfSight(rule_words([statement])),)
    known = _STATEMENTS.get(kind)
    if known is None:
        return (Unknown(rule_words([statement])),), (OutOfSight(rule_words([statement])),)
    try:
        return known(str(kind), body, lookup)
    except (ValueError, OSError, KeyError, TypeError, IndexError):
        return (Unknown(rule_words([statement])),), (OutOfSight(rule_words([statement])),)


def _change_of_set(_kind: str, body: dict[str, Any], _lookup: Lookup) -> Lowered:
    """A set that is full ends the rule (nft_dynset.c)."""
    needs = tuple(need for read in keys_of(bare(body["elem"])) for need in read.needs)
    return (*needs, Unknown(rule_words([{"set": body}]))), ()


def _vmap(_kind: str, body: dict[str, Any], lookup: Lookup) -> Lowered:
    """A verdict by what is read; what the map does not have ends the rule."""
    reads = keys_of(body["key"])
    keys = tuple(read.key for read in reads)
    needs = tuple(need for read in reads for need in read.needs)
    members = _members(body["data"], lookup)
    asked = listed(keys, members, negated=False)
    elements = (*members.always, *members.perhaps)
    rows = tuple(row_of(keys, element[0]) for element in elements)
    choices = tuple(_choice(element[1]) for element in elements)
    effects: tuple[Effect, ...] = (Dispatch(keys, rows, choices),)
    if members.open_ended:
        return (*needs, Unknown(rule_words([{"vmap": body}]))), (OutOfSight(words(body["data"])),)
    return (needs if _always(body["key"], members) else (*needs, asked)), effects


def _members(data: Any, lookup: Lookup) -> NamedSet:
    if isinstance(data, str):
        return lookup.named(data)
    return NamedSet(tuple([bare(element[0]), element[1]] for element in data["set"]))


def _always(key: Any, members: NamedSet) -> bool:
    """Whether a map holds whatever a generator may give."""
    numbers = outcomes(key)
    if numbers is None:
        return False
    spans = [span_of(_PORT, element[0]) for element in members.always]
    return all(any(low <= number <= high for low, high in spans) for number in numbers)


def _choice(statement: dict[str, Any]) -> Choice:
    ((kind, body),) = statement.items()
    if kind in ("jump", "goto"):
        return Jump(body["target"], kind == "goto")
    return _VERDICTS.get(kind)


def _mangle(_kind: str, body: dict[str, Any], _lookup: Lookup) -> Lowered:
    """What is written into a packet, or its connection."""
    (read,) = keys_of(body["key"])
    key = read.key
    if isinstance(key, NumberKey) and key.field in (Field.MARK, Field.CONNMARK):
        return read.needs, (_mark(key.field, body["value"]),)
    if isinstance(key, NumberKey) and key.field is Field.TOS:
        low, _ = span_of(key, body["value"])
        return read.needs, (WriteBits(Field.TOS, 3, low << 2),)
    if isinstance(key, NumberKey) and key.field is Field.TTL:
        return read.needs, (WriteUnknown(Field.TTL),)
    named = body["key"]
    if "tcp option" in named or "ct" in named or "meta" in named:
        return read.needs, ()
    payload = named.get("payload") or {}
    if payload.get("protocol") in ("ether", "ip6") or payload.get("field") in ("ecn", "checksum"):
        return read.needs, ()
    return read.needs, (OutOfSight(words(named)),)


def _mark(field: Field, value: Any) -> Effect:
    """A mark as what is kept and what is flipped of the old one, or a copy of the other mark."""
    own, other = ("meta", "ct") if field is Field.MARK else ("ct", "meta")
    if isinstance(value, int | str):
        return WriteBits(field, 0, parse_number(str(value), ALL_BITS, 0))
    found = _bits(value, own)
    if found is not None:
        return WriteBits(field, *found)
    found = _bits(value, other)
    if found is not None and found[1] == 0:
        return CopyMark(field is Field.MARK, taken=found[0])
    return WriteUnknown(field)


def _bits(value: Any, kind: str) -> tuple[int, int] | None:
    """``(old & keep) ^ flip`` of the mark of that kind; None where it is something else."""
    if not isinstance(value, dict):
        return None
    if (value.get(kind) or {}) == {"key": "mark"}:
        return ALL_BITS, 0
    for operator in ("&", "|", "^"):
        if operator in value:
            before, operand = _bits(value[operator][0], kind), value[operator][1]
            if before is None or not isinstance(operand, int):
                return None
            keep, flip = before
            if operator == "&":
                return keep & operand, flip & operand
            return (
                (keep, flip ^ operand)
                if operator == "^"
                else (keep & ~operand & ALL_BITS, flip & ~operand | operand)
            )
    return None


def _nat(kind: str, body: dict[str, Any] | None, lookup: Lookup) -> Lowered:
    """A translation; a map without what is read ends the rule."""
    body = body or {}
    named = NatKind[kind.upper()]
    family = str(body.get("family", "" if "addr" not in body else lookup.family))
    if family == "inet":
        family = "ip6" if _is_ip6(body["addr"]) else "ip"
    if family not in ("", lookup.packets):
        return _asked_by_map(body.get("addr"), lookup), (Nat(named, (), foreign=True),)
    if "netmap" in _listed(body.get("flags", [])):
        return (Unknown(rule_words([{kind: body}])),), (OutOfSight(rule_words([{kind: body}])),)
    ports = _ports(body.get("port"))
    address = body.get("addr")
    if isinstance(address, dict) and "map" in address:
        return _mapped(named, address["map"], ports, lookup)
    spans = part_of(_ADDRESS, address) if address is not None else None
    assert not isinstance(spans, str)
    ranges = (NatRange(spans, ports),) if spans is not None or ports is not None else ()
    return (), (Nat(named, ranges),)


def _asked_by_map(address: Any, lookup: Lookup) -> tuple[Condition, ...]:
    """That a map holds what is read; nothing where an address is named."""
    if not isinstance(address, dict) or "map" not in address:
        return ()
    reads = keys_of(address["map"]["key"])
    needs = tuple(need for read in reads for need in read.needs)
    members = _members(address["map"]["data"], lookup)
    return (*needs, listed(tuple(read.key for read in reads), members, negated=False))


def _is_ip6(address: Any) -> bool:
    return isinstance(address, str) and ":" in address


def _mapped(named: NatKind, body: dict[str, Any], ports: Range | None, lookup: Lookup) -> Lowered:
    reads = keys_of(body["key"])
    keys = tuple(read.key for read in reads)
    needs = tuple(need for read in reads for need in read.needs)
    members = _members(body["data"], lookup)
    elements = (*members.always, *members.perhaps)
    rows: tuple[Row, ...] = tuple(row_of(keys, element[0]) for element in elements)
    ranges = tuple(_range_of(element[1], ports) for element in elements)
    if members.open_ended:
        anywhere = ANYWHERE if lookup.packets == "ip" else ANYWHERE6
        ranges = (*ranges, NatRange(anywhere, ports))
        return (*needs, Unknown(words(body["data"]))), (Nat(named, ranges),)
    nat = Nat(named, ranges, keys=keys, rows=rows)
    if _always(body["key"], members):
        return needs, (nat,)
    return (*needs, listed(keys, members, negated=False)), (nat,)


def _range_of(target: Any, ports: Range | None) -> NatRange:
    """What an element of a map leads to: an address, or an address and a port."""
    parts = target["concat"] if isinstance(target, dict) and "concat" in target else [target]
    address = span_of(_ADDRESS, parts[0])
    return NatRange(address, _ports(parts[1]) if len(parts) > 1 else ports)


def _ports(value: Any) -> Range | None:
    if value is None:
        return None
    return span_of(_PORT, value)


def _reject(_kind: str, body: dict[str, Any] | None, _lookup: Lookup) -> Lowered:
    """nft asks for what each answer needs, and does not list that (stmt_evaluate_reject)."""
    body = body or {}
    kind = body.get("type", "")
    if kind == "tcp reset":
        return (is_protocol(6),), (Reject("tcp-reset"),)
    needs: tuple[Condition, ...] = ()
    if kind in ("icmp", "icmpv6"):
        needs = (OfFamily("ip" if kind == "icmp" else "ip6"),)
    return needs, (Reject(str(body.get("expr", "port-unreachable"))),)


def _listed(flags: Any) -> list[Any]:
    return flags if isinstance(flags, list) else [flags]


_STATEMENTS: dict[str, Callable[[str, Any, Lookup], Lowered]] = {
    "set": _change_of_set,
    "map": _change_of_set,
    "vmap": _vmap,
    "mangle": _mangle,
    "dnat": _nat,
    "snat": _nat,
    "masquerade": _nat,
    "redirect": _nat,
    "reject": _reject,
}
