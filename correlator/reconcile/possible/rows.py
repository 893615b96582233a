"""Rows: crossings under their alternatives, as far as rules can see them.

::

    pair -> alternatives (k,) -> rows (m,): each crossing of the pair under each alternative"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from correlator.addresses import END_OF_IPV4, is_ipv6, is_loopback
from correlator.endpoints import NOWHERE, address_of, pack, port_of
from correlator.flows.conntrack import ASIDE, ICMP, ICMP6, RELATED_KIND, REPLY, S_RELATED
from correlator.flows.frames.direction import BRIDGED
from correlator.flows.pairs import REFUSED, REFUSED6
from correlator.reconcile.possible.floods import copies
from correlator.reconcile.possible.openings import for_groups

if TYPE_CHECKING:
    from correlator.arrays import Bools, Ints
    from correlator.reconcile.possible.alternatives import Alternatives, Hypothesis
    from correlator.reconcile.possible.scene import Scene

LEAVES_NO, LEAVES_YES, LEAVES_UNWATCHED = 0, 1, 2


@dataclass(frozen=True)
class Rows:
    """Crossings under their alternatives; every array has shape (m,). Endpoints are split into
    address and port.

    ``crossing`` and ``alternative`` say whose row it is. ``to_*`` is the destination after
    destination NAT and ``from_*`` the source after source NAT (-1: the wire does not tell).
    ``client`` ... ``server`` are the connection's endpoints for rules that ask for tuples."""

    crossing: Ints
    alternative: Ints
    program: Ints
    columns: dict[str, Ints]

    def __len__(self) -> int:
        return len(self.crossing)


def expand(
    scene: Scene,
    hypotheses: list[Hypothesis],
    alternatives: Alternatives,
    program_of: Ints,
    connmark: Ints,
) -> Rows:
    """The rows of all alternatives. ``program_of`` (n,): index of the program that saw each
    crossing; ``connmark`` (n,): each crossing's connection mark (-1 unknown)."""
    crossings = scene.crossings
    by_pair = np.argsort(crossings.pair, kind="stable")
    count = int(crossings.pair.max()) + 1 if len(crossings) else 0
    starts = np.searchsorted(crossings.pair[by_pair], np.arange(count + 1))
    sizes = starts[alternatives.pair + 1] - starts[alternatives.pair]
    alternative = np.repeat(np.arange(len(alternatives.pair)), sizes)
    within = np.arange(len(alternative)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    crossing = by_pair[starts[alternatives.pair[alternative]] + within]
    columns: dict[str, Ints] = {}
    hypothesis_of = alternatives.hypothesis[alternative]
    for number, hypothesis in enumerate(hypotheses):
        rows = np.flatnonzero(hypothesis_of == number)
        part = _columns(
            scene,
            hypothesis,
            crossing[rows],
            alternatives.dialled[alternative[rows]],
            alternatives.client[alternative[rows]],
            connmark[crossing[rows]],
        )
        for name, values in part.items():
            columns.setdefault(name, np.zeros(len(crossing), dtype=np.int64))[rows] = values
    return Rows(crossing, alternative, program_of[crossing], columns)


def _columns(
    scene: Scene, hypothesis: Hypothesis, at: Ints, door: Ints, hidden: Ints, connmark: Ints
) -> dict[str, Ints]:
    """What rules can see of these crossings, before they are binned."""
    c, labels, ends = scene.crossings, hypothesis.labels, hypothesis.ends
    shown = np.where(c.entered, c.came_in, c.left)[at]
    entered, sent = c.entered[at], c.sent[at]
    direction, state = labels.direction[at], labels.state[at]
    client = np.where(hidden == NOWHERE, ends.client[at], hidden)
    server, seen = ends.server[at], ends.seen[at]
    dialled = np.where(ends.dialled[at] == NOWHERE, door, ends.dialled[at])
    dialled = np.where(dialled == NOWHERE, server, dialled)
    related = (state == S_RELATED) & (c.kind[at] == RELATED_KIND)
    loose = (direction > REPLY) | related  # its own tuple, as the wire shows it
    reply = direction == REPLY
    new_walk = labels.destination_nat[at]
    known_server = np.where((server == NOWHERE) & ~new_walk, dialled, server)
    known_seen = np.where((seen == NOWHERE) & ~labels.source_nat[at], client, seen)
    source = np.where(reply, np.where(known_server == NOWHERE, dialled, known_server), client)
    target = np.where(reply, np.where(known_seen == NOWHERE, client, known_seen), dialled)
    into = np.where(reply, client, known_server)
    onto = np.where(reply, dialled, known_seen)
    own_source = np.where(entered, c.in_source[at], c.out_source[at])
    own_target = np.where(entered, c.in_destination[at], c.out_destination[at])
    # an error behind a bridge's PREROUTING shows the restored destination: before, it was what the
    # server saw
    restored = (
        related
        & entered
        & c.after_prerouting[at]
        & reply
        & (address_of(own_target) == address_of(client))
    )
    portless = pack(address_of(seen), np.zeros_like(seen))
    before = np.where(restored & (seen != NOWHERE), portless, own_target)
    source = np.where(loose, own_source, source)
    target = np.where(loose, np.where(related, before, own_target), target)
    into = np.where(loose, np.where(sent, c.out_destination[at], own_target), into)
    onto = np.where(loose, np.where(sent, c.out_source[at], NOWHERE), onto)
    p = {name: scene.packets[name].to_numpy()[shown].astype(np.int64) for name in _FIELDS}
    transit = ~entered & ~np.isin(
        address_of(source), np.array(sorted(scene.host.local), dtype=np.int64)
    )
    transit &= ~is_loopback(address_of(source)) & (
        state != S_RELATED
    )  # a reset of REJECT bears the server's address
    transit &= address_of(source) != END_OF_IPV4  # who has no address yet sends from ::
    flooded = copies(scene)[at]
    transit |= flooded
    inside = flooded | (
        entered
        & (scene.in_code[at] == scene.out_code[at])
        & scene.sight.bridge[np.maximum(scene.in_code[at], 0)]
    )
    bridged = (scene.sight.wire[shown] == BRIDGED) | inside
    in_code = np.where(entered, scene.in_code[at], np.where(transit, ends.in_code[at], NOWHERE))
    in_code = np.where(flooded, scene.out_code[at], in_code)
    in_code = _routed(scene, address_of(source), transit, in_code)
    control = np.where(is_ipv6(address_of(own_source)), ICMP6, ICMP)
    protocol = np.where(c.kind[at] == RELATED_KIND, control, c.protocol[at])
    protocol = np.where(c.kind[at] == ASIDE, p["protocol"], protocol)
    result = {
        "protocol": protocol,
        "src": address_of(source),
        "sport": port_of(source),
        "dst": address_of(target),
        "dport": port_of(target),
        "to": np.where(into == NOWHERE, NOWHERE, address_of(into)),
        "to_port": port_of(into),
        "from": np.where(onto == NOWHERE, NOWHERE, address_of(onto)),
        "from_port": port_of(onto),
        "state": state,
        "reply": reply.astype(np.int64),
        "seen_reply": labels.seen_reply[at].astype(np.int64),
        "destination_nat": new_walk.astype(np.int64),
        "source_nat": labels.source_nat[at].astype(np.int64),
        "enters": ((entered & ~c.loop[at]) | transit).astype(np.int64),
        "loops": c.loop[at].astype(np.int64),
        "bridged": bridged.astype(np.int64),
        "in_code": in_code,
        "out_code": np.where(sent, scene.out_code[at], NOWHERE),
        "leaves": np.where(c.loop[at], LEAVES_UNWATCHED, np.where(sent, LEAVES_YES, LEAVES_NO)),
        "ttl": p["ttl"] + (transit & ~flooded),
        "length": p["length"],
        "tos": p["tos"],
        "tcp_flags": p["tcp_flags"],
        "tcp_option_kinds": p["tcp_option_kinds"],
        "icmp_type": p["icmp_type"],
        "icmp_code": p["icmp_code"],
        "mac": p["mac_src"],
        "packet_type": _packet_type(p, entered),
        "malformed": p["malformed"],
        "fragment": (p["fragment_offset"] > 0).astype(np.int64),
        "indivisible": p["length"] * p["dont_fragment"],
        "extensions": p["extensions"],
        "flooded": flooded.astype(np.int64),
        "aside": (c.kind[at] == ASIDE).astype(np.int64),
        "connmark": connmark,
        "attached": _attached(scene, at, state == S_RELATED, p).astype(np.int64),
        "joined": (hypothesis.joined | ~for_groups(scene)[at]).astype(np.int64),
        "client": client,
        "dialled": dialled,
        "seen": np.where(known_seen == NOWHERE, client, known_seen),
        "server": np.where(known_server == NOWHERE, dialled, known_server),
        "dnat": ((dialled != server) & (server != NOWHERE) & ~new_walk).astype(np.int64),
        "snat": ((client != seen) & (seen != NOWHERE) & ~labels.source_nat[at]).astype(np.int64),
    }
    flat = np.isin(
        protocol, (ICMP, ICMP6)
    )  # the id stands for both ports, and NAT rewrites it once for both
    for name in ("sport", "dport", "to_port", "from_port"):
        result[name] = np.where(flat, 0, result[name])
    return {name: np.asarray(values, dtype=np.int64) for name, values in result.items()}


def _attached(scene: Scene, at: Ints, related: Bools, p: dict[str, Ints]) -> Bools:
    """Which are errors or resets that the kernel sent with the connection of what they are about.
    A socket's refusal is not: what is delivered has let go of its connection (nf_reset_ct)."""
    c = scene.crossings
    said = (p["icmp_type"] << 8) | p["icmp_code"]
    refusal = np.where(is_ipv6(address_of(c.quoted_source[at])), said == REFUSED6, said == REFUSED)
    local = np.array(sorted(scene.host.local), dtype=np.int64)
    refusal &= np.isin(address_of(c.quoted_destination[at]), local)
    attached: Bools = ~c.entered[at] & ~c.loop[at] & related & ~refusal
    return attached


def _routed(scene: Scene, address: Ints, transit: Bools, in_code: Ints) -> Ints:
    """Where no tap saw a forwarded packet come in: the interface that the route back to its source
    names."""
    unseen = transit & (in_code < 0)
    if not unseen.any():
        return in_code
    codes = {name: code for code, name in enumerate(scene.names)}
    found, inverse = np.unique(address[unseen], return_inverse=True)
    routes = [scene.host.route(int(a)) for a in found]
    told = np.array(
        [codes.get(r.device, -1) if r is not None else -1 for r in routes], dtype=np.int64
    )
    result = in_code.copy()
    result[unseen] = told[inverse]
    return result


_FIELDS = (
    "protocol",
    "ttl",
    "length",
    "tos",
    "tcp_flags",
    "tcp_option_kinds",
    "icmp_type",
    "icmp_code",
    "mac_src",
    "mac_dst",
    "packet_type",
    "malformed",
    "fragment_offset",
    "dont_fragment",
    "extensions",
)


def _packet_type(p: dict[str, Ints], entered: Bools) -> Ints:
    """skb->pkt_type of received frames (eth_type_trans): 0 to this host, 1 broadcast, 2 multicast;
    -1 unknown."""
    group = (p["mac_dst"] >> 40) & 1
    told = np.where(
        p["mac_dst"] == 0xFFFFFFFFFFFF,
        1,
        np.where(group == 1, 2, np.where(p["mac_dst"] > 0, 0, -1)),
    )
    return np.where(entered, np.where(p["packet_type"] >= 0, p["packet_type"], told), -1)
