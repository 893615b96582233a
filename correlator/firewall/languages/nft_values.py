"""Values as nftables names them, and as numbers (nft(8), libnftables-json(5))."""

from __future__ import annotations

from typing import Any

from correlator.firewall.conditions.headers import Field, Range
from correlator.firewall.conditions.keyed import DeviceKey, Key, NumberKey, Part, Row, StateKey
from correlator.firewall.values import (
    PROTOCOLS,
    parse_address,
    parse_number,
    parse_port,
    service_class,
)

TCP_FLAGS = {"fin": 1, "syn": 2, "rst": 4, "psh": 8, "ack": 16, "urg": 32, "ecn": 64, "cwr": 128}
PACKET_TYPES = {"host": 0, "unicast": 0, "broadcast": 1, "multicast": 2, "other": 3}
ICMP_TYPES = {
    "echo-reply": 0,
    "destination-unreachable": 3,
    "source-quench": 4,
    "redirect": 5,
    "echo-request": 8,
    "router-advertisement": 9,
    "router-solicitation": 10,
    "time-exceeded": 11,
    "parameter-problem": 12,
    "timestamp-request": 13,
    "timestamp-reply": 14,
    "info-request": 15,
    "info-reply": 16,
    "address-mask-request": 17,
    "address-mask-reply": 18,
}
ICMP6_TYPES = {
    "destination-unreachable": 1,
    "packet-too-big": 2,
    "time-exceeded": 3,
    "parameter-problem": 4,
    "echo-request": 128,
    "echo-reply": 129,
    "mld-listener-query": 130,
    "mld-listener-report": 131,
    "mld-listener-done": 132,
    "mld-listener-reduction": 132,
    "nd-router-solicit": 133,
    "nd-router-advert": 134,
    "nd-neighbor-solicit": 135,
    "nd-neighbor-advert": 136,
    "nd-redirect": 137,
    "router-renumbering": 138,
    "ind-neighbor-solicit": 141,
    "ind-neighbor-advert": 142,
    "mld2-listener-report": 143,
}
ICMP6_CODES = {
    "no-route": 0,
    "admin-prohibited": 1,
    "addr-unreachable": 3,
    "port-unreachable": 4,
    "policy-fail": 5,
    "reject-route": 6,
}
"""Names of IPv6's types and codes are IPv4's with other numbers (nft(8), ICMPV6 TYPE TYPE)."""
ICMP_CODES = {
    "net-unreachable": 0,
    "host-unreachable": 1,
    "prot-unreachable": 2,
    "port-unreachable": 3,
    "frag-needed": 4,
    "net-prohibited": 9,
    "host-prohibited": 10,
    "admin-prohibited": 13,
}
_WIDEST = (1 << 48) - 1


class UnknownValueError(ValueError):
    """It says what this version has never heard of."""


def part_of(key: Key, value: Any) -> Part:
    """What one key has to read to meet a value: a range of numbers, or a name. Raises
    :class:`UnknownValueError` (or ValueError) where nobody knows."""
    if isinstance(value, dict):
        return _compound(key, value)
    if isinstance(key, DeviceKey):
        return _name(value)
    if isinstance(key, StateKey):
        return _name(value).upper()
    if isinstance(key, NumberKey):
        return _number(key, value)
    return (0, _WIDEST)


def row_of(keys: tuple[Key, ...], value: Any) -> Row:
    """The same of several keys: what they have to read together."""
    value = bare(value)
    parts = value["concat"] if isinstance(value, dict) and "concat" in value else [value]
    if len(parts) != len(keys):
        raise UnknownValueError(f"{len(parts)} values for {len(keys)} keys")
    return tuple(part_of(key, bare(part)) for key, part in zip(keys, parts, strict=True))


def bare(element: Any) -> Any:
    """An element without its counter, timeout and comment."""
    while isinstance(element, dict) and "elem" in element:
        element = element["elem"]["val"]
    return element


def span_of(key: Key, value: Any) -> Range:
    """A range of numbers."""
    part = part_of(key, value)
    if isinstance(part, str):
        raise UnknownValueError(part)
    return part


def flags_of(value: Any) -> int:
    """The bits of TCP flags: one name, several, or a number."""
    if isinstance(value, list):
        return sum({flags_of(one) for one in value})
    if isinstance(value, dict) and "|" in value:
        return sum({flags_of(one) for one in value["|"]})
    if isinstance(value, str) and not value[:1].isdigit():
        if value not in TCP_FLAGS:
            raise UnknownValueError(value)
        return TCP_FLAGS[value]
    return _plain(value)


def _compound(key: Key, value: dict[str, Any]) -> Part:
    if "range" in value:
        low, high = (span_of(key, one) for one in value["range"])
        return low[0], high[1]
    if "prefix" in value:
        address = value["prefix"]
        return parse_address(f"{address['addr']}/{address['len']}")
    raise UnknownValueError(str(value)[:40])


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise UnknownValueError(str(value)[:40])
    return value


def _number(key: NumberKey, value: Any) -> Range:
    """One number, as its field spells it."""
    field = key.field
    if field in (Field.SOURCE, Field.DESTINATION):
        return parse_address(_name(value))
    if isinstance(value, str) and not value[:1].isdigit():
        number = _named(key, value)
    elif field is Field.MAC_SOURCE and isinstance(value, str):
        number = parse_number(value.replace(":", ""), _WIDEST, 16)
    else:
        number = _plain(value)
    return number, number


def _named(key: NumberKey, word: str) -> int:
    field = key.field
    names: dict[Field, dict[str, int]] = {
        Field.PROTOCOL: PROTOCOLS,
        Field.NEXT_HEADER: PROTOCOLS,
        Field.PACKET_TYPE: PACKET_TYPES,
        Field.ICMP_TYPE: ICMP6_TYPES if key.of_icmp6 else ICMP_TYPES,
        Field.ICMP_CODE: ICMP6_CODES if key.of_icmp6 else ICMP_CODES,
    }
    if field in (Field.SOURCE_PORT, Field.DESTINATION_PORT):
        try:
            return parse_port(word)
        except OSError:
            raise UnknownValueError(word) from None
    if field is Field.TCP_FLAGS:
        return flags_of(word)
    try:
        return service_class(word) if field is Field.TOS else names[field][word]
    except KeyError:
        raise UnknownValueError(word) from None


def _plain(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise UnknownValueError(str(value)[:40])
    return parse_number(str(value), _WIDEST, 0)
