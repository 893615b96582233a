"""The kernel's trace -> what every rule counted, packet by packet; checked against the counters.

Unlike :mod:`tests.lab.truth` it reads traces of anything: malformed packets, packets that raw
drops, trace ids that come again (the same id is no proof of the same packet)."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from tests.lab.trace import DROP, OWN_TABLE, POLICY, RULE, SEEN, events
from tests.lab.truth import Standing

Names = dict[tuple[str, int], tuple[str, str]]
"""(table, handle) -> (chain, rule text), of every rule that ever stood there."""
Tuple = tuple[int, str, int, str, int]
"""(protocol, source, port, destination, port); ports are 0 but of TCP and UDP."""
ICMP_ERRORS = (3, 4, 5, 11, 12)
DROPS = re.compile(r"-j (DROP|REJECT|SNAT|DNAT|MASQUERADE|REDIRECT|NETMAP)\b")
"""Rules that may drop by their target; another that drops was never counted: its match dropped a
malformed header (hotdrop)."""
ROW = ("protocol", "src", "sport", "dst", "dport", "direction", "table", "chain", "rule")
COUNTS = ("packets", "bytes", "unseeable", "unseeable_bytes")
NUMBERS = {
    "icmp": 1,
    "igmp": 2,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "gre": 47,
    "sctp": 132,
    "udplite": 136,
}


@dataclass
class Packet:
    """One packet from where the trace first met it (``start``: ``pre``, ``out``; nothing where it
    was on its way) on. ``counted``: (table, chain, rule text, bytes, handle). ``looked``: conntrack
    did."""

    start: str
    header: bytes = b""
    transport: bytes = b""
    size: int = 0
    connection: int = 0
    reply: bool = False
    looked: bool = False
    dropped: bool = False
    counted: list[tuple[str, str, str, int, int]] = field(default_factory=list)

    @property
    def own(self) -> Tuple:
        """Its addresses as the trace first saw them."""
        protocol = self.header[9]
        known = protocol in (6, 17) and len(self.transport) >= 4
        ports = [int.from_bytes(self.transport[i : i + 2], "big") if known else 0 for i in (0, 2)]
        source, target = (str(IPv4Address(self.header[i : i + 4])) for i in (12, 16))
        return protocol, source, ports[0], target, ports[1]

    @property
    def error(self) -> bool:
        """Whether it is an ICMP error: it bears another's connection."""
        return self.header[9] == 1 and bool(self.transport) and self.transport[0] in ICMP_ERRORS


def packets(trace: Path, names: Names) -> list[Packet]:
    """Every packet of a trace."""
    current: dict[int, Packet] = {}
    found: list[Packet] = []
    for event in events(trace):
        own = event.table == OWN_TABLE
        opens = own and not event.chain.startswith(SEEN)
        packet = current.get(event.packet)
        if packet is None or (event.header and (opens or not _goes_on(packet, own, event.chain))):
            packet = current[event.packet] = Packet(event.chain if opens else "")
            found.append(packet)
        if event.header:
            packet.header = packet.header or event.header
            packet.transport = packet.transport or event.transport
            packet.size = int.from_bytes(event.header[2:4], "big")
        if event.connection:
            packet.connection, packet.reply = event.connection, event.reply
        packet.looked |= own and not opens
        if own or event.kind not in (POLICY, RULE) or (event.kind == RULE and not event.handle):
            continue  # a rule without a handle is the end of a chain
        chain, text = (
            names[event.table, event.handle] if event.kind == RULE else (event.chain, "policy")
        )
        packet.dropped = event.verdict == DROP
        if event.kind == POLICY or not packet.dropped or DROPS.search(text):
            packet.counted.append((event.table, chain, text, packet.size, event.handle))
    return [packet for packet in found if packet.header]


def _goes_on(packet: Packet, own: bool, chain: str) -> bool:
    """Whether a base chain is in the hook in which the packet was first met: later hooks bear its
    headers and its connection themselves."""
    return own or (packet.start, chain) in (("pre", "PREROUTING"), ("out", "OUTPUT"))


def logged_names(text: str) -> dict[int, Tuple]:
    """conntrack's id -> original tuple, as ``conntrack -o id`` prints them."""
    found: dict[int, Tuple] = {}
    ends = re.compile(
        r"(\w+) +(\d+) .*?src=(\S+) dst=(\S+)(?: sport=(\d+) dport=(\d+))?.*\bid=(\d+)"
    )
    for line in text.splitlines():
        said = ends.search(line)
        if said:
            protocol = NUMBERS.get(said[1], int(said[2]))
            ports = [int(said[i] or 0) if protocol in (6, 17) else 0 for i in (5, 6)]
            found.setdefault(int(said[7]), (protocol, said[3], ports[0], said[4], ports[1]))
    return found


def connection_names(found: Iterable[Packet], log: str) -> dict[int, Tuple]:
    """conntrack's id -> original tuple, as logged, else by its first traced packet."""
    names: dict[int, Tuple] = {}
    for packet in found:
        if packet.connection and not packet.reply and packet.start and not packet.error:
            names.setdefault(packet.connection, packet.own)
    return {**names, **logged_names(log)}


def write_hits(found: Iterable[Packet], log: str, path: Path) -> int:
    """hits.csv; how many rows. ``unseeable``: hits by packets that OUTPUT dropped, which are on no
    wire. A packet that raw dropped ahead of conntrack is the ``original`` of its own tuple."""
    found = list(found)
    names = connection_names(found, log)
    rows: dict[tuple[object, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for packet in found:
        early = not packet.looked and all(hit[0] == "raw" for hit in packet.counted)
        direction = (
            ("reply" if packet.reply else "original")
            if packet.connection
            else ("original" if early else "untracked")
        )
        ends = names.get(packet.connection, packet.own) if packet.connection else packet.own
        hidden = packet.start == "out" and packet.dropped
        for table, chain, text, size, _ in packet.counted:
            row = rows[(*ends, direction, table, chain, text)]
            for at, amount in enumerate((1, size, hidden, size * hidden)):
                row[at] += amount
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*ROW, *COUNTS])
        writer.writerows(
            [*key, *row] for key, row in sorted(rows.items(), key=lambda item: str(item[0]))
        )
    return len(rows)


def unbalanced(
    found: Iterable[Packet], first: list[Standing], last: list[Standing], zeroed: bool
) -> list[str]:
    """Rules whose counter moved otherwise than the traced packets did; a rule that came later began
    at 0. Where counters were ``zeroed``, fewer are no contradiction."""
    begun = {(rule.table, rule.handle): rule.packets for rule in first}
    traced = Counter(
        (table, handle) for p in found for table, _, _, _, handle in p.counted if handle
    )
    wrong = []
    for rule in last:
        moved, saw = (
            rule.packets - begun.get((rule.table, rule.handle), 0),
            traced[rule.table, rule.handle],
        )
        if moved != saw and not (zeroed and moved < saw):
            wrong.append(f"{rule.table}/{rule.chain} {rule.text}: moved by {moved}, traced {saw}")
    return wrong
