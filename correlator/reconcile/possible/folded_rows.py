"""Rows of folded connections: a packet of each connection and class, as far as rules can see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.endpoints import address_of, port_of
from correlator.reconcile.possible.rows import LEAVES_YES, Rows

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Ints
    from correlator.flows.fold.folded import Folded

ICMP = 1


def join_rows(parts: list[Rows]) -> Rows:
    """Rows of several stages as one."""
    columns = {
        name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns
    }
    program = np.concatenate([part.program for part in parts])
    return Rows(np.arange(len(program)), np.zeros_like(program), program, columns)


def expand_rows(folded: Folded, connection: Ints, kind: Ints, stage: int = 0) -> Rows:
    """Packets of these connections and kinds (both (m,)) in a stage, as
    :func:`correlator.reconcile.possible.rows.expand` would make them."""
    c, k = folded.connections[connection], folded.kinds[kind]
    reply = k["direction"] == 1
    client, dialled, server, seen = (
        c[name].astype(np.int64) for name in ("client", "dialled", "server", "seen")
    )
    source, target = np.where(reply, server, client), np.where(reply, seen, dialled)
    into, onto = np.where(reply, client, server), np.where(reply, dialled, seen)
    protocol = k["protocol"].astype(np.int64)
    flat = protocol == ICMP
    n = len(connection)
    zero, one = np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.int64)
    nat = k["nat"].astype(np.int64)
    columns: dict[str, npt.NDArray[np.integer]] = {
        "protocol": protocol,
        "src": address_of(source),
        "sport": np.where(flat, 0, port_of(source)),
        "dst": address_of(target),
        "dport": np.where(flat, 0, port_of(target)),
        "to": address_of(into),
        "to_port": np.where(flat, 0, port_of(into)),
        "from": address_of(onto),
        "from_port": np.where(flat, 0, port_of(onto)),
        "state": k["state"],
        "reply": reply.astype(np.int64),
        "seen_reply": k["seen_reply"],
        "destination_nat": nat,
        "source_nat": nat,
        "enters": one,
        "loops": zero,
        "bridged": zero,
        "in_code": k["in_code"],
        "out_code": k["out_code"],
        "leaves": one * LEAVES_YES,
        "ttl": k["ttl"],
        "length": k["length"],
        "tos": k["tos"],
        "tcp_flags": k["flags"],
        "tcp_option_kinds": k["option_kinds"],
        "icmp_type": np.where(flat, k["icmp_type"], -1),
        "icmp_code": np.where(flat, 0, -1),
        "mac": zero,
        "packet_type": zero,
        "malformed": zero,
        "fragment": zero,
        "indivisible": zero,
        "connmark": zero,
        "joined": one,
        "attached": zero,
        "aside": zero,
        "flooded": zero,
        "extensions": zero,
        "client": client,
        "dialled": dialled,
        "seen": seen,
        "server": server,
        "dnat": (dialled != server) & (nat == 0),
        "snat": (client != seen) & (nat == 0),
    }
    return Rows(
        np.arange(n),
        zero,
        zero + stage,
        {name: np.asarray(values, dtype=np.int64) for name, values in columns.items()},
    )
