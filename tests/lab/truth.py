"""Kernel trace -> hits.csv: what every rule counted, per connection and direction; checked against
the counters."""

from __future__ import annotations

import csv
import ipaddress
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from tests.lab.net import Lab
from tests.lab.trace import FAMILIES, IP6, OWN_TABLE, POLICY, RULE, SEEN, Event, events

PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}
HOP_BY_HOP, ICMP6 = 0, 58
EARLY = "early"
"""The chain of nft's own that is ahead of conntrack."""
Tuple = tuple[str, str, int, str, int]
Key = tuple[Tuple, str, str, str, str]
Names = dict[tuple[str, str, int], str]


@dataclass(frozen=True)
class Standing:
    """A rule that stands there now, and what its counter says."""

    table: str
    chain: str
    handle: int
    text: str
    packets: int


def standing_rules(lab: Lab, six: bool = False) -> list[Standing]:
    """The host's rules of IPv4, or of IPv6, from nft's handles and iptables-save's order."""
    texts: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
    table = ""
    for line in lab.run(
        "host", "ip6tables-nft-save" if six else "iptables-nft-save", "-c"
    ).splitlines():
        rule = re.match(r"\[(\d+):\d+\] -A (\S+) ?(.*)", line)
        if line.startswith("*"):
            table = line[1:]
        elif rule:
            texts[table, rule[2]].append((rule[3], int(rule[1])))
    found = []
    for table in ("raw", "mangle", "nat", "filter", "security"):
        family = "ip6" if six else "ip"
        listed = lab.run("host", "nft", "-a", "list", "table", family, table, check=False)
        chain, number = "", 0
        for line in listed.splitlines():
            opened = re.match(r"\tchain (\S+) \{", line)
            handle = re.match(r"\t\t(?!type ).*# handle (\d+)$", line)
            if opened:
                chain, number = opened[1], 0
            elif handle:
                text, packets = texts[table, chain][number]
                found.append(Standing(table, chain, int(handle[1]), text, packets))
                number += 1
    return found


def rule_names(lab: Lab, six: bool = False) -> Names:
    """(table, chain, handle) -> rule text."""
    return {(rule.table, rule.chain, rule.handle): rule.text for rule in standing_rules(lab, six)}


def _own_tuple(event: Event) -> Tuple:
    header, transport = event.header, event.transport
    if header[0] >> 4 == 6:
        return _own_tuple6(header, transport)
    protocol = header[9]
    sport = dport = 0
    if protocol in (6, 17, 132) and len(transport) >= 4:
        sport, dport = int.from_bytes(transport[:2], "big"), int.from_bytes(transport[2:4], "big")
    source, target = (str(ipaddress.IPv4Address(header[i : i + 4])) for i in (12, 16))
    return PROTOCOLS.get(protocol, str(protocol)), source, sport, target, dport


def _own_tuple6(header: bytes, transport: bytes) -> Tuple:
    """MLD alone stands behind a hop-by-hop header here."""
    protocol = ICMP6 if header[6] == HOP_BY_HOP else header[6]
    sport = dport = 0
    if protocol in (6, 17) and len(transport) >= 4:
        sport, dport = int.from_bytes(transport[:2], "big"), int.from_bytes(transport[2:4], "big")
    source, target = (str(ipaddress.IPv6Address(header[i : i + 16])) for i in (8, 24))
    return PROTOCOLS.get(protocol, str(protocol)), source, sport, target, dport


def _length(event: Event) -> int:
    """Bytes as its counter counts them."""
    if event.header[0] >> 4 == 6:
        return int.from_bytes(event.header[4:6], "big") + 40
    return int.from_bytes(event.header[2:4], "big")


def read_truth(
    trace: Path, names: Names | None, six: bool = False, spelled: dict[str, Names] | None = None
) -> dict[Key, list[int]]:
    """(tuple, direction, table, chain, rule) -> [packets, bytes], of IPv4's tables, or IPv6's.
    Without ``names``: of all, named with their family, and rules by their handle, but for those
    that are ``spelled`` (what stands before a table's name -> names)."""
    connections: dict[int, Tuple] = {}
    first: dict[int, Event] = {}
    current: dict[int, Event] = {}
    early: dict[int, list[tuple[Event, str, int]]] = defaultdict(list)
    hits: dict[Key, list[int]] = defaultdict(lambda: [0, 0])
    counted: list[tuple[int, bool, str, str, str, int]] = []
    looked: set[int] = set()

    def give_up(packet: int) -> None:
        """No connection came: conntrack called the packet INVALID, does not track it, or raw
        dropped it before conntrack could look: then nobody called it anything, and it is the
        client's."""
        waiting = early.pop(packet, [])
        ahead = all(event.table.endswith("raw") or event.chain == EARLY for event, *_ in waiting)
        unseen = packet not in looked and ahead
        for event, text, length in waiting:
            key = (
                _own_tuple(first.get(packet, event)),
                "original" if unseen else "untracked",
                event.table,
                event.chain,
                text,
            )
            hits[key][0] += 1
            hits[key][1] += length

    for event in events(trace):
        if names is not None and (event.family == IP6) != six:
            continue
        if event.header:
            if event.table == OWN_TABLE and not event.chain.startswith(SEEN):
                give_up(event.packet)
                looked.discard(event.packet)
                first[event.packet] = event
            current[event.packet] = event
        if event.table == OWN_TABLE and not event.chain.startswith(SEEN):
            continue
        looked |= {event.packet} if event.chain.startswith(SEEN) else set()
        shown = current[
            event.packet
        ]  # the first event of a chain's walk bears the headers and the connection
        if shown.connection and not shown.reply and shown.connection not in connections:
            connections[shown.connection] = _own_tuple(first.get(event.packet, shown))
        if shown.connection:  # what raw counted before conntrack looked is the same connection's
            for before, text, length in early.pop(event.packet, []):
                counted.append(
                    (shown.connection, shown.reply, before.table, before.chain, text, length)
                )
        if (
            event.kind not in (POLICY, RULE)
            or (event.kind == RULE and not event.handle)
            or event.table == OWN_TABLE
        ):
            continue  # a rule without a handle is the end of a chain
        if names is None:
            event = replace(event, table=FAMILIES[event.family] + event.table)
        text = "policy"
        if event.kind == RULE and names is not None:
            text = names[event.table, event.chain, event.handle]
        elif event.kind == RULE:
            known = (spelled or {}).get(FAMILIES[event.family], {})
            bare = event.table.removeprefix(FAMILIES[event.family])
            text = known.get((bare, event.chain, event.handle), f"handle {event.handle}")
        length = _length(shown)
        if shown.connection:
            counted.append((shown.connection, shown.reply, event.table, event.chain, text, length))
        else:
            early[event.packet].append(
                (replace(event, header=shown.header, transport=shown.transport), text, length)
            )
    for packet in list(early):
        give_up(packet)
    for number, reply, table, chain, text, length in counted:
        key = (connections[number], "reply" if reply else "original", table, chain, text)
        hits[key][0] += 1
        hits[key][1] += length
    return dict(hits)


def write_truth(hits: dict[Key, list[int]], path: Path) -> None:
    """hits.csv in the form that the scorer reads."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "protocol",
                "src",
                "sport",
                "dst",
                "dport",
                "direction",
                "table",
                "chain",
                "rule",
                "packets",
                "bytes",
            ]
        )
        for ((protocol, src, sport, dst, dport), direction, table, chain, rule), (
            packets,
            size,
        ) in sorted(hits.items()):
            writer.writerow(
                [protocol, src, sport, dst, dport, direction, table, chain, rule, packets, size]
            )
