"""Random conditions of iptables rules: what a rule in some place may ask of a packet."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Words:
    """What random rules may speak of. ``sets`` grows: name -> (type, lines for ipset restore)."""

    r: random.Random
    addresses: list[str]
    ports: list[int]
    bridges: list[str]
    sets: dict[str, tuple[str, list[str]]] = field(default_factory=dict)
    chains: int = 0

    def pick(self, *words: object) -> str:
        """One of these."""
        return str(self.r.choice(words))

    def maybe(self, chance: float) -> bool:
        """True by that chance."""
        return self.r.random() < chance

    def address(self) -> str:
        """An address of the network."""
        return self.r.choice(self.addresses)

    def prefix(self, *lengths: int) -> str:
        """A network around one of the addresses."""
        length = self.r.choice(lengths or (32, 32, 32, 30, 24, 16, 12, 8))
        return str(ipaddress.ip_network(f"{self.address()}/{length}", strict=False))

    def port(self) -> int:
        """A port that somebody serves, or not."""
        return self.r.choice(self.ports)


@dataclass(frozen=True)
class Place:
    """Where a rule stands: its table and the one hook from which its chain is reached."""

    table: str
    hook: str


Condition = Callable[[Words, Place, str], str]
"""Words, place, ``! `` or nothing -> one condition; nothing where it does not go there."""
INCOMING = ("PREROUTING", "INPUT", "FORWARD")
OUTGOING = ("FORWARD", "OUTPUT", "POSTROUTING")


def _source(w: Words, _p: Place, no: str) -> str:
    return f"{no}-s {w.prefix()}"


def _target(w: Words, _p: Place, no: str) -> str:
    return f"{no}-d {w.prefix()}"


def _interface(w: Words, p: Place, no: str) -> str:
    names = [
        "eth0",
        *w.bridges,
        *(["lo"] if w.maybe(0.3) else []),
        *(["br-+"] if w.maybe(0.2) else []),
    ]
    if p.hook in INCOMING and (p.hook not in OUTGOING or w.maybe(0.6)):
        return f"{no}-i {w.pick(*names)}"
    return f"{no}-o {w.pick(*names)}" if p.hook in OUTGOING else ""


def _range(w: Words, _p: Place, no: str) -> str:
    low = ipaddress.ip_address(w.address())
    high = low + int(w.pick(0, 1, 5, 60, 3000))
    return f"-m iprange {no}{w.pick('--src-range', '--dst-range')} {low}-{high}"


STATES = {
    "NEW": 22,
    "ESTABLISHED": 15,
    "RELATED,ESTABLISHED": 18,
    "INVALID": 10,
    "RELATED": 7,
    "DNAT": 10,
    "SNAT": 6,
    "UNTRACKED": 4,
    "NEW,INVALID": 4,
    "INVALID,UNTRACKED": 2,
    "NEW,DNAT": 2,
}
"""States -> how often rules ask for them."""


def _state(w: Words, _p: Place, no: str) -> str:
    states = w.r.choices(list(STATES), list(STATES.values()))[0]
    old = "NAT" not in states and w.maybe(0.15)
    return f"-m state {no}--state {states}" if old else f"-m conntrack {no}--ctstate {states}"


def _tracked(w: Words, _p: Place, no: str) -> str:
    address = w.prefix()
    side = w.pick("--ctorigsrc", "--ctorigdst", "--ctreplsrc", "--ctrepldst")
    port = w.pick("--ctorigdstport", "--ctreplsrcport")
    one = w.pick(
        f"{no}{side} {address}",
        f"{no}{side} {address}",
        f"{no}{port} {w.port()}",
        "--ctdir ORIGINAL",
        "--ctdir REPLY",
        f"{no}--ctstatus {w.pick('SEEN_REPLY', 'ASSURED', 'CONFIRMED', 'NONE')}",
        f"{no}--ctproto {w.pick('tcp', 'udp', 'icmp')}",
        f"{no}--ctstate NEW --ctorigdst {address}",
        "--ctexpire 0:100",
    )
    return f"-m conntrack {one}"


def _mark(w: Words, _p: Place, no: str) -> str:
    return (
        f"-m mark {no}--mark {w.pick('0x1', '0x2/0x2', '0x0', '0x10/0xff', '0x1/0x1', '0x0/0xf')}"
    )


def _connmark(w: Words, _p: Place, no: str) -> str:
    return f"-m connmark {no}--mark {w.pick('0x1', '0x2/0x2', '0x0', '0x7', '0x0/0xf')}"


def _limit(w: Words, _p: Place, _no: str) -> str:
    rate = w.pick("1/sec", "5/sec", "10/min", "1/hour", "50/sec")
    return f"-m limit --limit {rate} --limit-burst {w.pick(1, 2, 5, 10)}"


def _hashlimit(w: Words, _p: Place, _no: str) -> str:
    how = f"--hashlimit-{w.pick('upto', 'above')} {w.pick('2/sec', '10/min')}"
    name = f"--hashlimit-mode srcip --hashlimit-name hl{w.r.randint(1, 99)}"
    return f"-m hashlimit {how} --hashlimit-burst {w.pick(2, 5)} {name}"


def _statistic(w: Words, _p: Place, no: str) -> str:
    if w.maybe(0.5):
        share = w.pick("0.5", "0.33333333349", "0.1", "0.9")
        return f"-m statistic --mode random {no}--probability {share}"
    every = w.r.randint(2, 4)
    return f"-m statistic --mode nth {no}--every {every} --packet {w.r.randint(0, every - 1)}"


def _recent(w: Words, _p: Place, _no: str) -> str:
    what = w.pick(
        "--set",
        "--rcheck --seconds 60",
        "--update --seconds 2 --hitcount 3",
        "--rcheck",
        "--remove",
    )
    return f"-m recent --name r{w.pick(1, 2)} {what} {w.pick('--rsource', '--rdest')}"


def _length(w: Words, _p: Place, no: str) -> str:
    length = w.pick("0:60", "40:52", "53:1500", "100", "1501:65535", "60", "52")
    return f"-m length {no}--length {length}"


def _ttl(w: Words, _p: Place, no: str) -> str:
    exactly = [f"{no}--ttl-eq {hops}" for hops in (64, 63)]
    return f"-m ttl {w.pick(*exactly, '--ttl-lt 64', '--ttl-lt 5', '--ttl-gt 63')}"


def _service(w: Words, _p: Place, no: str) -> str:
    return w.pick(
        f"-m tos {no}--tos {w.pick('0x10/0x3f', '0x00/0xff', '0x08/0xff')}",
        f"-m dscp {no}--dscp {w.pick('0x00', '0x2e', '0x04')}",
        f"-m dscp {no}--dscp-class {w.pick('EF', 'CS1', 'AF11')}",
    )


def _set(w: Words, _p: Place, no: str) -> str:
    if len(w.sets) < 4 and (not w.sets or w.maybe(0.5)):
        _make_set(w)
    name = w.pick(*w.sets)
    side = w.pick("src", "dst")
    if "," in w.sets[name][0]:
        side += f",{w.pick('src', 'dst')}"
    return f"-m set {no}--match-set {name} {side}"


def _make_set(w: Words) -> None:
    name, kind = (
        f"s{len(w.sets) + 1}",
        w.pick("hash:ip", "hash:net", "hash:ip,port", "hash:net,port", "bitmap:port"),
    )
    lines = [f"create {name} {kind}" + (" range 0-65535" if kind == "bitmap:port" else "")]
    for _ in range(3):
        where = w.address() if "ip" in kind else w.prefix(32, 24, 16) if "net" in kind else ""
        port = (
            f"{w.pick('tcp', 'udp')}:{w.port()}"
            if "," in kind
            else str(w.port())
            if "bitmap" in kind
            else ""
        )
        lines.append(f"add {name} {','.join(part for part in (where, port) if part)} -exist")
    w.sets[name] = (kind, lines)


def _comment(w: Words, _p: Place, _no: str) -> str:
    return f'-m comment --comment "{w.pick("a b", "x", "it is -j DROP", "50% off", "semi;colon")}"'


def _address_type(w: Words, _p: Place, no: str) -> str:
    kinds = (
        "--dst-type LOCAL",
        "--src-type LOCAL",
        "--dst-type UNICAST",
        "--dst-type BROADCAST",
        "--dst-type MULTICAST",
    )
    return f"-m addrtype {no}{w.pick(*kinds)}"


def _packet_type(w: Words, _p: Place, no: str) -> str:
    return f"-m pkttype {no}--pkt-type {w.pick('unicast', 'broadcast', 'multicast')}"


def _hardware(w: Words, p: Place, no: str) -> str:
    good = p.hook in INCOMING and w.maybe(0.4)
    return (
        f"-m mac {no}--mac-source {w.pick('02:42:ac:11:00:02', '02:00:00:00:01:01')}"
        if good
        else ""
    )


def _owner(w: Words, p: Place, no: str) -> str:
    what = w.pick("--uid-owner 0", "--uid-owner 1000", "--socket-exists")
    return f"-m owner {no}{what}" if p.hook in ("OUTPUT", "POSTROUTING") else ""


def _rare(w: Words, p: Place, no: str) -> str:
    first = p.table in ("raw", "mangle") and p.hook == "PREROUTING"
    return w.pick(
        "-m cpu --cpu 0",
        f"-m quota --quota {w.pick(500, 5000)}",
        "-m u32 --u32 0x6&0xff=0x6",
        f"-m connlimit --connlimit-above {w.pick(1, 3)} --connlimit-mask 32 --connlimit-saddr",
        "-m connbytes --connbytes 3 --connbytes-mode packets --connbytes-dir both",
        '-m string --string "xxxx" --algo bm --to 200',
        f"-m physdev {no}--physdev-is-bridged",
        '-m helper --helper "ftp"',
        f"-m realm {no}--realm 0x0",
        "-m time --datestart 2020-01-01T00:00:00",
        f"-m rpfilter {w.pick('', '--invert', '--loose')}" if first else "-m cpu --cpu 1",
        "-m socket --nowildcard" if p.hook in ("PREROUTING", "INPUT") else "-m cpu --cpu 0",
    )


def _ports(protocol: str) -> Condition:
    def condition(w: Words, _p: Place, no: str) -> str:
        port = w.port()
        around = f"{max(1, port - w.r.randint(0, 500))}:{port + w.r.randint(0, 800)}"
        value = w.r.choices(
            [str(port), around, f"{port}:", f":{port}", "32768:60999"], [60, 20, 5, 5, 10]
        )[0]
        return f"-m {protocol} {no}{w.pick('--dport', '--dport', '--dport', '--sport')} {value}"

    return condition


def _multiport(w: Words, _p: Place, no: str) -> str:
    ports = [str(port) for port in w.r.sample(sorted(set(w.ports)), 3)]
    if w.maybe(0.3):
        ports[-1] = "1024:9999"
    side = w.pick("--dports", "--dports", "--sports", "--ports")
    return f"-m multiport {no}{side} {','.join(ports)}"


def _flags(w: Words, _p: Place, no: str) -> str:
    some = w.pick("SYN", "ACK", "RST", "FIN,ACK", "SYN,ACK", "NONE", "RST,ACK")
    return w.pick(
        f"-m tcp {no}--syn",
        f"-m tcp {no}--tcp-flags SYN,RST,ACK,FIN {some}",
        f"-m tcp {no}--tcp-option {w.pick(2, 3, 4, 8, 5)}",
        f"-m tcp {no}--tcp-flags PSH PSH",
        f"-m tcp {no}--tcp-flags ALL {w.pick('NONE', 'ALL', 'FIN,PSH,URG', 'ACK')}",
        f"-m tcpmss {no}--mss {w.pick('1460', '536:1460', '1200:1500')}",
    )


def _icmp(w: Words, _p: Place, no: str) -> str:
    return f"-m icmp {no}--icmp-type {w.pick('8', '0', '3', '3/3', '11', 'any', '3/1', '13')}"


GENERAL: tuple[Condition, ...] = (
    _source,
    _target,
    _interface,
    _interface,
    _range,
    _state,
    _state,
    _tracked,
    _mark,
    _connmark,
    _limit,
    _hashlimit,
    _statistic,
    _recent,
    _length,
    _ttl,
    _service,
    _set,
    _comment,
    _address_type,
    _packet_type,
    _hardware,
    _owner,
    _rare,
)
OF_PROTOCOL: dict[str, tuple[Condition, ...]] = {
    "tcp": (_ports("tcp"), _ports("tcp"), _multiport, _flags),
    "udp": (_ports("udp"), _ports("udp"), _multiport),
    "icmp": (_icmp,),
}


def conditions(w: Words, place: Place) -> tuple[str, str]:
    """(the conditions of one random rule, the protocol that they settle or nothing)."""
    count = w.r.choices([0, 1, 2, 3], [8, 45, 33, 14])[0]
    protocol = w.r.choices(["", "tcp", "udp", "icmp"], [55, 25, 15, 5])[0] if count else ""
    kinds: list[Condition] = []
    if protocol:
        kinds.append(w.r.choice(OF_PROTOCOL[protocol]))
    kinds += w.r.sample(GENERAL, count - len(kinds))
    unique = list(dict.fromkeys(kinds))
    parts = [kind(w, place, "! " if w.maybe(0.22) else "") for kind in unique]
    if protocol:
        parts.insert(0, f"-p {protocol}")
    elif w.maybe(0.08):
        parts.insert(0, f"{w.pick('', '! ')}-p {w.pick('tcp', 'udp', 'icmp', 'sctp', '47')}")
    return " ".join(part for part in parts if part), protocol
