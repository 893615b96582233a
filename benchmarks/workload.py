"""A seeded workload whose every count is known: clients of a published port, and a container's own
connections.

``make_workload(folder, packets, connections)`` writes eth0.pcap and docker0.pcap (nanoseconds,
headers only), what ``iptables-save -c`` would have printed every 100 ms, and the host's facts; it
returns what the right answer is, from the plan itself: a forwarded packet of each kind hits the
rules that :data:`WAYS` lists."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

BEGIN_NS = 1_790_000_000_000_000_000
LINK, IP, TCP = 14, 20, 32
FRAME = LINK + IP + TCP
HOST, WEB, BRIDGE = 0xAC1F25A4, 0xAC110002, 0xAC110001
CLIENT_NET, SERVER_NET = 0xAC1F2000, 0xC6336400
MACS = {
    "eth0": 0x02AA00000001,
    "docker0": 0x02AA00000002,
    "gateway": 0x02BB00000001,
    "web": 0x02BB00000002,
}
AT_A_TIME = 1 << 18
"""Frames that are made at a time."""
SYN, SYNACK, ACK, DATA, FIN = 0x02, 0x12, 0x10, 0x18, 0x11
FORWARD, DROPPED, OUTBOUND = 0, 1, 2
SHARES = (0.87, 0.03, 0.10)
"""Of the connections: published port, denied client, the container's own."""

RULES = """*nat
:PREROUTING ACCEPT {nat/PREROUTING:policy}
:INPUT ACCEPT {nat/INPUT:policy}
:OUTPUT ACCEPT {nat/OUTPUT:policy}
:POSTROUTING ACCEPT {nat/POSTROUTING:policy}
:DOCKER - [0:0]
{nat/PREROUTING:1} -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
{nat/OUTPUT:1} -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
{nat/POSTROUTING:1} -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
{nat/POSTROUTING:2} -A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE
%COMES%{nat/DOCKER:1} -A DOCKER -i docker0 -j RETURN
{nat/DOCKER:2} -A DOCKER ! -i docker0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80
%NAT%COMMIT
*filter
:INPUT ACCEPT {filter/INPUT:policy}
:FORWARD DROP {filter/FORWARD:policy}
:OUTPUT ACCEPT {filter/OUTPUT:policy}
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
{filter/FORWARD:1} -A FORWARD -j DOCKER-USER
{filter/FORWARD:2} -A FORWARD -j DOCKER-ISOLATION-STAGE-1
{filter/FORWARD:3} -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
{filter/FORWARD:4} -A FORWARD -o docker0 -j DOCKER
{filter/FORWARD:5} -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
{filter/FORWARD:6} -A FORWARD -i docker0 -o docker0 -j ACCEPT
{filter/DOCKER:1} -A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
%FILTER%{filter/DOCKER-ISOLATION-STAGE-1:1} -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
{filter/DOCKER-ISOLATION-STAGE-1:2} -A DOCKER-ISOLATION-STAGE-1 -j RETURN
{filter/DOCKER-ISOLATION-STAGE-2:1} -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
{filter/DOCKER-ISOLATION-STAGE-2:2} -A DOCKER-ISOLATION-STAGE-2 -j RETURN
{filter/DOCKER-USER:1} -A DOCKER-USER -s 172.31.47.0/24 -i eth0 -j DROP
{filter/DOCKER-USER:2} -A DOCKER-USER -j RETURN
COMMIT
"""  # noqa: E501 - a text as it is read
USER, STAGE = (
    ("filter/FORWARD:1", "filter/DOCKER-USER:2"),
    ("filter/FORWARD:2", "filter/DOCKER-ISOLATION-STAGE-1:2"),
)
OUTWARD = (
    "filter/FORWARD:2",
    "filter/DOCKER-ISOLATION-STAGE-1:1",
    "filter/DOCKER-ISOLATION-STAGE-2:2",
    "filter/DOCKER-ISOLATION-STAGE-1:2",
    "filter/FORWARD:5",
)
DNAT = ("nat/PREROUTING:1", "nat/DOCKER:2")
CAME = "nat/POSTROUTING:3"
COMES = (
    f"{{{CAME}}} -A POSTROUTING -d 172.17.0.2/32 -o docker0 -j RETURN\n"
    "[0:0] -A POSTROUTING -s 172.17.0.9/32 -d 172.17.0.9/32 -p tcp -m tcp --dport 8080 -j "
    "MASQUERADE\n",
    "[0:0] -A DOCKER ! -i docker0 -p tcp -m tcp --dport 8081 -j DNAT --to-destination "
    "172.17.0.9:8080\n",
    "[0:0] -A DOCKER -d 172.17.0.9/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 8080 -j "
    "ACCEPT\n",
)
"""Rules that come with another container, in POSTROUTING and both DOCKER chains; and one that a
published SYN meets."""
WAYS: dict[str, tuple[str, ...]] = {
    "published syn": (
        *DNAT,
        *USER,
        *STAGE,
        "filter/FORWARD:4",
        "filter/DOCKER:1",
        "nat/POSTROUTING:policy",
    ),
    "to container": (*USER, *STAGE, "filter/FORWARD:3"),
    "from container": (*USER, *OUTWARD),
    "denied syn": (*DNAT, "filter/FORWARD:1", "filter/DOCKER-USER:1"),
    "outbound syn": ("nat/PREROUTING:policy", *USER, *OUTWARD, "nat/POSTROUTING:1"),
}


@dataclass(frozen=True)
class Answer:
    """What is right: ``hits`` rule -> (packets, bytes), ``connections`` outcome -> number,
    ``frames`` interface -> number."""

    hits: dict[str, tuple[int, int]]
    connections: dict[str, int]
    frames: dict[str, int]


@dataclass(frozen=True)
class _Plan:
    """One row a crossing, in order of time; arrays (n,). ``kind`` of the connection, ``step`` its
    flags."""

    time: Ints
    connection: Ints
    kind: Ints
    reply: npt.NDArray[np.bool_]
    flags: Ints
    seq: Ints
    ack: Ints
    payload: Ints
    late: Ints


def make_workload(
    folder: Path,
    packets: int,
    connections: int,
    seconds: int = 600,
    seed: int = 1,
    interval_ns: int = 100_000_000,
    extra: tuple[str, str] = ("", ""),
    shift_ns: int = 0,
    payload: bool = False,
    changes: int = 0,
    facts: bool = True,
) -> Answer:
    """Write the recording of ``packets`` crossings of ``connections``; ``extra``: more lines for
    nat and filter's DOCKER. With ``payload`` frames are whole. Rules change so many times:
    :data:`COMES` come, go, come again. Without ``facts``, pcaps and counters are all."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    plan = _plan(rng, packets, connections, seconds)
    client = CLIENT_NET + 1 + np.arange(connections) % 3000
    kinds = _kinds(connections)
    port = 32768 + np.arange(connections) // np.where(kinds == FORWARD, 3000, 200) % 28000
    client = np.where(
        kinds == DROPPED, CLIENT_NET + 0xF00 + 1 + np.arange(connections) % 200, client
    )
    client = np.where(kinds == OUTBOUND, SERVER_NET + np.arange(connections) % 200, client)
    frames = {}
    for interface in ("eth0", "docker0"):
        frames[interface] = _write_pcap(
            folder / f"{interface}.pcap", interface, plan, client, port, payload
        )
    cells = _write_log(
        folder / "counters.log", plan, seconds, interval_ns, extra, shift_ns, changes
    )
    if facts:
        _write_facts(folder)
    names = ("DNAT", "dropped", "MASQUERADE")
    counts = {name: int((kinds == kind).sum()) for kind, name in enumerate(names)}
    return Answer(cells, counts, frames)


def _kinds(connections: int) -> Ints:
    """The kind of every connection, evenly mixed."""
    place = (np.arange(connections) * 37) % 100 / 100
    return np.select(
        [place < SHARES[0], place < SHARES[0] + SHARES[1]], [FORWARD, DROPPED], OUTBOUND
    )


def _plan(rng: np.random.Generator, packets: int, connections: int, seconds: int) -> _Plan:
    """Connections of a SYN, an answer, data both ways and FINs; a denied one of its SYN and two
    retransmits."""
    kinds = _kinds(connections)
    free = packets - int(np.where(kinds == DROPPED, 3, 7).sum())
    assert free >= 0, "too few packets for so many connections"
    talking = np.flatnonzero(kinds != DROPPED)
    more = rng.multinomial(free, np.full(len(talking), 1 / len(talking)))
    size = np.where(kinds == DROPPED, 3, 7)
    size[talking] += more
    owner = np.repeat(np.arange(connections), size)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(size) - size, size)
    left = np.repeat(size, size) - place
    kind = kinds[owner]
    denied = kind == DROPPED
    # SYN, SYN+ACK, ACK, data in turn, FIN (client), FIN (server), ACK (client)
    told = [place == 0, place == 1, place == 2, left == 3, left == 2, left == 1]
    reply = np.select(told, [False, True, False, False, True, False], place % 2 == 0)
    reply &= ~denied
    flags = np.select(
        [denied | (place == 0), place == 1, place == 2, left == 3, left == 2, left == 1],
        [SYN, SYNACK, ACK, FIN, FIN, ACK],
        DATA,
    )
    payload = np.where(flags == DATA, rng.integers(1, 1400, len(owner)), 0)
    gap = rng.integers(200_000, 20_000_000, len(owner))
    gap = np.where(denied & (place > 0), 1_000_000_000 * place, gap)
    start = rng.integers(1_000_000_000, (seconds - 10) * 1_000_000_000, connections)
    begins = np.cumsum(size) - size
    passed = np.cumsum(gap)
    time = BEGIN_NS + start[owner] + passed - passed[begins][owner]
    grown = payload + ((flags & 0x03) > 0)
    isn = rng.integers(0, 1 << 32, (2, connections))
    sent = [
        np.cumsum(np.where(reply == way, grown, 0)) - np.where(reply == way, grown, 0)
        for way in (False, True)
    ]
    sent = [total - total[begins][owner] for total in sent]
    sent = [np.where(denied, 0, total) for total in sent]
    mine, theirs = np.where(reply, sent[1], sent[0]), np.where(reply, sent[0], sent[1])
    seq = (np.where(reply, isn[1][owner], isn[0][owner]) + mine) & 0xFFFFFFFF
    ack = (np.where(reply, isn[0][owner], isn[1][owner]) + theirs) & 0xFFFFFFFF
    ack = np.where(flags == SYN, 0, ack)
    late = rng.integers(8_000, 150_000, len(owner))
    order = np.argsort(time, kind="stable")
    return _Plan(
        *(part[order] for part in (time, owner, kind, reply, flags, seq, ack, payload, late))
    )


def _write_pcap(
    path: Path, interface: str, plan: _Plan, client: Ints, port: Ints, payload: bool
) -> int:
    """What tcpdump would have saved there, with ``-s FRAME`` where no ``payload`` is; returns the
    number of frames."""
    inside = interface == "docker0"
    inward = np.where(plan.kind == OUTBOUND, plan.reply, ~plan.reply)  # towards the container
    seen = ~(inside & (plan.kind == DROPPED))
    second = inward == inside  # this interface sees it on its way out of the host
    time = plan.time + np.where(second, plan.late, 0)
    order = np.flatnonzero(seen)[np.argsort(time[seen], kind="stable")]
    with path.open("wb") as file:
        file.write(
            np.array(
                [0xA1B23C4D, 0x00040002, 0, 0, 0x40000 if payload else FRAME, 1], dtype="<u4"
            ).tobytes()
        )
        for begin in range(0, len(order), AT_A_TIME):
            part = order[begin : begin + AT_A_TIME]
            p = _Plan(*(getattr(plan, name)[part] for name in plan.__dataclass_fields__))
            frames = _frames(interface, p, inward[part], second[part], time[part], client, port)
            file.write(_whole(frames, p.payload) if payload else frames.tobytes())
    return len(order)


def _whole(frames: npt.NDArray[np.uint8], payload: Ints) -> bytes:
    """Records with their payload."""
    size = frames.shape[1] + payload
    _put(frames, 8, size - 16, 4, little=True)
    data = np.full(int(size.sum()), ord("x"), dtype=np.uint8)
    data[(np.cumsum(size) - size)[:, None] + np.arange(frames.shape[1])] = frames
    return data.tobytes()


def _frames(
    interface: str,
    p: _Plan,
    inward: npt.NDArray[np.bool_],
    second: npt.NDArray[np.bool_],
    time: Ints,
    client: Ints,
    port: Ints,
) -> npt.NDArray[np.uint8]:
    """Records of packets, headers only."""
    inside = interface == "docker0"
    away, own = client[p.connection], port[p.connection]
    outbound = p.kind == OUTBOUND
    here = WEB if inside else HOST
    there_port, here_port = np.where(outbound, 443, own), np.where(outbound, own, 80)
    source, target = np.where(inward, away, here), np.where(inward, here, away)
    sport, dport = np.where(inward, there_port, here_port), np.where(inward, here_port, there_port)
    frame = np.zeros((len(time), 16 + FRAME), dtype=np.uint8)
    _put(frame, 0, time // 10**9, 4, little=True)
    _put(frame, 4, time % 10**9, 4, little=True)
    total = IP + TCP + p.payload
    _put(frame, 8, np.full(len(time), FRAME), 4, little=True)
    _put(frame, 12, total + LINK, 4, little=True)
    ours, others = MACS[interface], MACS["web" if inside else "gateway"]
    _put(frame, 16, np.where(second, others, ours), 6)
    _put(frame, 22, np.where(second, ours, others), 6)
    _put(frame, 28, np.full(len(time), 0x0800), 2)
    _put(frame, 30, np.full(len(time), 0x45), 1)
    _put(frame, 32, total, 2)
    _put(frame, 34, (p.seq >> 3) + p.connection & 0xFFFF, 2)
    _put(frame, 36, np.full(len(time), 0x4000), 2)
    _put(frame, 38, 64 - second.astype(np.int64), 1)
    _put(frame, 39, np.full(len(time), 6), 1)
    # as between namespaces: the sum of the pseudo-header, which hardware would complete
    words = [part for end in (source, target) for part in (end >> 16, end & 0xFFFF)]
    pseudo = sum(words) + 6 + TCP + p.payload
    for _ in range(2):
        pseudo = (pseudo & 0xFFFF) + (pseudo >> 16)
    for at, values, width in (
        (42, source, 4),
        (46, target, 4),
        (50, sport, 2),
        (52, dport, 2),
        (54, p.seq, 4),
        (58, p.ack, 4),
        (62, np.full(len(time), 0x80), 1),
        (63, p.flags, 1),
        (64, np.full(len(time), 502), 2),
        (66, pseudo, 2),
    ):
        _put(frame, at, values, width)
    frame[:, 70:82] = np.frombuffer(bytes((1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 1)), dtype=np.uint8)
    return frame


def _put(
    frame: npt.NDArray[np.uint8], at: int, values: Ints, width: int, little: bool = False
) -> None:
    for byte in range(width):
        place = at + (byte if little else width - 1 - byte)
        frame[:, place] = (values >> (8 * byte)) & 0xFF


def _names(plan: _Plan) -> Ints:
    """Which of WAYS every crossing takes."""
    inward = np.where(plan.kind == OUTBOUND, plan.reply, ~plan.reply)
    opens = plan.flags == SYN
    return np.select(
        [
            opens & (plan.kind == FORWARD),
            opens & (plan.kind == DROPPED),
            opens & (plan.kind == OUTBOUND),
            inward,
        ],
        [0, 3, 4, 1],
        2,
    )


def _write_log(
    path: Path,
    plan: _Plan,
    seconds: int,
    interval_ns: int,
    extra: tuple[str, str],
    shift_ns: int,
    changes: int,
) -> dict[str, tuple[int, int]]:
    """The snapshots; returns what every rule counted over all of it."""
    texts = [RULES, RULES]
    for marker, more, comes in zip(
        ("%COMES%", "%NAT%", "%FILTER%"), ("", *extra), COMES, strict=True
    ):
        texts = [texts[0].replace(marker, more), texts[1].replace(marker, more + comes)]
    begins = BEGIN_NS + np.arange(0, seconds * 10**9 + 1, interval_ns)
    ends = begins + 2_000_000
    at = np.searchsorted(
        ends - 1_000_000, plan.time, side="left"
    )  # a packet in mid-reading is counted or not
    way, length = _names(plan), IP + TCP + plan.payload
    names = list(WAYS)
    shape = (len(names), len(begins) + 1)
    counts = np.zeros(shape, dtype=np.int64)
    sums = np.zeros(shape, dtype=np.int64)
    np.add.at(counts, (way, at), 1)
    np.add.at(sums, (way, at), length)
    upto, bytes_upto = np.cumsum(counts, axis=1), np.cumsum(sums, axis=1)
    rules = {rule for hits in WAYS.values() for rule in hits}
    totals = {
        rule: (
            sum(upto[n] for n, name in enumerate(names) if rule in WAYS[name]),
            sum(bytes_upto[n] for n, name in enumerate(names) if rule in WAYS[name]),
        )
        for rule in sorted(rules)
    }
    at_change = [(number + 1) * len(begins) // (changes + 1) for number in range(changes)]
    opens = way == names.index("published syn")
    came = _came(plan.time[opens], at[opens], length[opens], begins, ends, at_change)
    if changes:
        totals[CAME] = came[:2]
    with path.open("w") as file:
        pieces = [_pieces(text) for text in texts]
        columns = {rule: [values.tolist() for values in totals[rule]] for rule in totals}
        there = (np.searchsorted(at_change, np.arange(len(begins)), side="right") % 2).tolist()
        for sample in range(len(begins)):
            begin, end = int(begins[sample]) + shift_ns, int(ends[sample]) + shift_ns
            file.write(
                f"# sample begin={begin // 10**9}.{begin % 10**9:09d} "
                f"end={end // 10**9}.{end % 10**9:09d}\n"
            )
            for piece, rule in pieces[there[sample]]:
                file.write(piece)
                if rule is not None:
                    found = columns.get(rule)
                    file.write(f"[{found[0][sample]}:{found[1][sample]}]" if found else "[0:0]")
    counted = {rule: (int(values[0][-1]), int(values[1][-1])) for rule, values in totals.items()}
    return {**counted, CAME: came[2]} if changes else counted


def _came(
    time: Ints, at: Ints, length: Ints, begins: Ints, ends: Ints, at_change: list[int]
) -> tuple[Ints, Ints, tuple[int, int]]:
    """What the rule that comes and goes counts since it last came: packets and bytes at every
    sample; and what it counted in all. ``time``, ``at`` and ``length`` of the packets that meet
    it."""
    packets, sizes, total = (
        np.zeros(len(begins), dtype=np.int64),
        np.zeros(len(begins), dtype=np.int64),
        (0, 0),
    )
    moments = [*((ends[sample - 1] + begins[sample]) // 2 for sample in at_change), 1 << 62]
    for number in range(0, len(at_change), 2):
        mine = (time >= moments[number]) & (time < moments[number + 1])
        total = (total[0] + int(mine.sum()), total[1] + int(length[mine].sum()))
        until = at_change[number + 1] if number + 1 < len(at_change) else len(begins)
        there = slice(at_change[number], until)
        packets[there] = np.cumsum(np.bincount(at[mine], minlength=len(begins) + 1))[there]
        sizes[there] = np.cumsum(np.bincount(at[mine], length[mine], len(begins) + 1))[
            there
        ].astype(np.int64)
    return packets, sizes, total


def _pieces(text: str) -> list[tuple[str, str | None]]:
    """(text before a counter, the rule whose counter follows)."""
    parts: list[tuple[str, str | None]] = []
    while "{" in text:
        before, rest = text.split("{", 1)
        name, text = rest.split("}", 1)
        parts.append((before, name))
    return [*parts, (text, None)]


def _write_facts(folder: Path) -> None:
    """addr.json, link.json and route.json of the host."""

    def mac(number: int) -> str:
        return ":".join(f"{number >> shift & 255:02x}" for shift in range(40, -1, -8))

    def dotted(address: int) -> str:
        return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))

    links, addresses = [], []
    for number, (name, own, length) in enumerate(
        (("lo", 127 << 24 | 1, 8), ("eth0", HOST, 20), ("docker0", BRIDGE, 16)), 1
    ):
        link: dict[str, object] = {
            "ifindex": number,
            "ifname": name,
            "address": mac(MACS.get(name, 0)),
        }
        if name == "docker0":
            link["linkinfo"] = {"info_kind": "bridge"}
        links.append(link)
        addresses.append(
            {**link, "addr_info": [{"family": "inet", "local": dotted(own), "prefixlen": length}]}
        )
    routes = [
        {"dst": "default", "gateway": "172.31.32.1", "dev": "eth0", "table": "main"},
        {
            "dst": "172.17.0.0/16",
            "dev": "docker0",
            "protocol": "kernel",
            "prefsrc": "172.17.0.1",
            "table": "main",
        },
        {
            "dst": "172.31.32.0/20",
            "dev": "eth0",
            "protocol": "kernel",
            "prefsrc": dotted(HOST),
            "table": "main",
        },
        {"type": "local", "dst": dotted(HOST), "dev": "eth0", "table": "local"},
        {"type": "local", "dst": dotted(BRIDGE), "dev": "docker0", "table": "local"},
        {"type": "local", "dst": "127.0.0.0/8", "dev": "lo", "table": "local"},
    ]
    (folder / "link.json").write_text(json.dumps(links))
    (folder / "addr.json").write_text(json.dumps(addresses))
    (folder / "route.json").write_text(json.dumps(routes))
    (folder / "sysctl.txt").write_text("net.bridge.bridge-nf-call-iptables = 1\n")


if __name__ == "__main__":
    import sys

    print(make_workload(Path(sys.argv[1]), *map(int, sys.argv[2:])))
