"""What an expression of nftables reads of a packet: a key, and what the packet has to be for that
(nft(8), PAYLOAD EXPRESSIONS, META EXPRESSIONS, CONNTRACK EXPRESSIONS)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from correlator.firewall.conditions.headers import Field, ReadableHeader, Within
from correlator.firewall.conditions.keyed import (
    DeviceKey,
    Key,
    NumberKey,
    OfFamily,
    StateKey,
    UnknownKey,
)
from correlator.firewall.conditions.ternary import Condition
from correlator.firewall.languages.nft_words import value as words


@dataclass(frozen=True, slots=True)
class Read:
    """A ``key``, and ``needs``: conditions without which nothing is read, and the rule ends."""

    key: Key
    needs: tuple[Condition, ...] = ()


TRANSPORTS = {"tcp": 6, "udp": 17, "udplite": 136, "sctp": 132, "dccp": 33}
_IP = {
    "saddr": NumberKey(Field.SOURCE),
    "daddr": NumberKey(Field.DESTINATION),
    "protocol": NumberKey(Field.PROTOCOL),
    "length": NumberKey(Field.LENGTH),
    "ttl": NumberKey(Field.TTL),
    "dscp": NumberKey(Field.TOS, 2),
}
_IP6 = {
    "saddr": NumberKey(Field.SOURCE),
    "daddr": NumberKey(Field.DESTINATION),
    "nexthdr": NumberKey(Field.NEXT_HEADER),
    "hoplimit": NumberKey(Field.TTL),
    "dscp": NumberKey(Field.TOS, 2),
}
_PORTS = {"sport": NumberKey(Field.SOURCE_PORT), "dport": NumberKey(Field.DESTINATION_PORT)}
_ICMP = {"type": NumberKey(Field.ICMP_TYPE), "code": NumberKey(Field.ICMP_CODE)}
_ICMP6 = {
    "type": NumberKey(Field.ICMP_TYPE, of_icmp6=True),
    "code": NumberKey(Field.ICMP_CODE, of_icmp6=True),
}
_META: dict[str, Key] = {
    "iifname": DeviceKey(outgoing=False),
    "oifname": DeviceKey(outgoing=True),
    "iif": DeviceKey(outgoing=False),
    "oif": DeviceKey(outgoing=True),
    "l4proto": NumberKey(Field.PROTOCOL),
    "mark": NumberKey(Field.MARK),
    "length": NumberKey(Field.LENGTH),
    "pkttype": NumberKey(Field.PACKET_TYPE),
}
_CT: dict[str, Key] = {"state": StateKey(), "mark": NumberKey(Field.CONNMARK)}


def is_protocol(number: int) -> Within:
    """Its transport protocol is that one."""
    return Within((Field.PROTOCOL,), ((number, number),))


def outcomes(expression: Any) -> range | None:
    """The numbers that a generator gives (``numgen``, ``jhash``, ``symhash``), each of which it may
    give any time; None for what is read of the packet."""
    if not isinstance(expression, dict) or len(expression) != 1:
        return None
    ((kind, body),) = expression.items()
    if kind not in ("numgen", "jhash", "symhash") or not isinstance(body, dict):
        return None
    offset, many = body.get("offset") or 0, body.get("mod")
    return range(offset, offset + many) if isinstance(many, int) else None


def keys_of(expression: Any) -> tuple[Read, ...]:
    """What an expression reads: one thing, or what it joins."""
    if isinstance(expression, dict) and "concat" in expression:
        return tuple(key_of(one) for one in expression["concat"])
    return (key_of(expression),)


def key_of(expression: Any) -> Read:
    """What one expression reads; an unknown key where nobody knows."""
    if isinstance(expression, dict) and len(expression) == 1:
        ((kind, body),) = expression.items()
        if isinstance(body, dict):
            if kind == "payload":
                return _payload(body, expression)
            if kind == "meta" and body.get("key") in _META:
                return Read(_META[body["key"]])
            if kind == "ct" and body.get("key") in _CT and "dir" not in body:
                return Read(_CT[body["key"]])
            if kind == "tcp option":
                return Read(UnknownKey(words(expression)), (is_protocol(6),))
            if kind == "exthdr":
                return Read(UnknownKey(words(expression)), (OfFamily("ip6"),))
    return Read(UnknownKey(words(expression)))


def _payload(body: dict[str, Any], expression: Any) -> Read:
    protocol, field = str(body.get("protocol", "")), str(body.get("field", ""))
    unknown = UnknownKey(words(expression))
    if protocol == "ip":
        return Read(_IP.get(field, unknown), (OfFamily("ip"),))
    if protocol == "ip6":
        return Read(_IP6.get(field, unknown), (OfFamily("ip6"),))
    if protocol in ("icmp", "icmpv6"):
        family, number, keys = ("ip", 1, _ICMP) if protocol == "icmp" else ("ip6", 58, _ICMP6)
        needs = (OfFamily(family), is_protocol(number), ReadableHeader())
        return Read(keys.get(field, unknown), needs)
    if protocol == "th":
        return Read(_PORTS.get(field, unknown), (ReadableHeader(),))
    if protocol in TRANSPORTS:
        flags = NumberKey(Field.TCP_FLAGS) if (protocol, field) == ("tcp", "flags") else unknown
        of_protocol = (is_protocol(TRANSPORTS[protocol]), ReadableHeader())
        return Read(_PORTS.get(field, flags), of_protocol)
    if (protocol, field) == ("ether", "saddr"):
        return Read(NumberKey(Field.MAC_SOURCE))
    return Read(unknown)
