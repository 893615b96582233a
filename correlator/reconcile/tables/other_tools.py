"""What other tools call a connection: Community ID, ports as Zeek has them, Zeek's conn_state and
history.

Zeek's words are made from what was seen, by Zeek's own rules (base/protocols/conn/main.zeek,
``conn_state``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator.dataset import schema
from correlator.endpoints import address_of, port_of
from correlator.flows.community_id import ICMP, ICMP6, PORTED, community_ids, icmp_ports
from correlator.flows.conntrack import RELATED_KIND, REPLY, UNTRACKED
from correlator.reconcile.tables.columns import table
from correlator.reconcile.tables.walked import first_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Bools, Ints
    from correlator.reconcile.possible.decided import Ordinary
    from correlator.reconcile.tables.attribution import Attribution
    from correlator.reconcile.tables.numbering import Numbering
    from correlator.reconcile.verdict import Decided

TCP, UDP = 6, 17
ECHO = 8
"""The ICMP type that opens an ordinary connection."""
FIN, SYN, RST, ACK = 1, 2, 4, 16
LETTERS = b"SHADFR"
OPENS, ANSWERS, ENDS, RESETS = (LETTERS.index(letter) for letter in b"SHFR")
INACTIVE, PARTIAL, SYN_SENT, ESTABLISHED, CLOSED, RESET = range(6)


def flows_table(decided: Decided, attribution: Attribution) -> pd.DataFrame:
    """One row a connection, as :data:`correlator.dataset.schema.FLOWS` declares it."""
    count = int(attribution.connection.max()) if len(attribution) else 0
    first = first_of(attribution, count)
    protocol = attribution.protocol[first]
    ends = tuple(
        getattr(attribution, name)[first] for name in ("client", "dialled", "server", "seen")
    )
    client, dialled, _, _ = ends
    source, target, one_way = _icmp(decided, attribution, count)
    flat = np.isin(protocol, (ICMP, ICMP6))
    ids = _ids(protocol, ends, source, target, one_way)
    ported = np.isin(protocol, PORTED)
    state, history = _zeek(decided, attribution, protocol, count)
    columns: dict[str, Any] = {
        "community_id": ids[:count],
        "community_id_reply": ids[count:],
        "source_port": np.where(ported, _port(flat, source, client), -1),
        "destination_port": np.where(ported, _port(flat, target, dialled), -1),
        "conn_state": pd.Categorical(state),
        "history": history,
    }
    return table(columns, schema.FLOWS)


def _ids(
    protocol: Ints, ends: tuple[Ints, ...], source: Ints, target: Ints, one_way: Bools
) -> npt.NDArray[Any]:
    """Community IDs (2n,): of the n original tuples, then of the reply tuples. ``ends``: client,
    dialled, server, seen; ``source`` and ``target``: what stands for ports of ICMP."""
    (client, dialled, server, seen), flat = ends, np.isin(protocol, (ICMP, ICMP6))
    return community_ids(
        np.r_[protocol, protocol],
        address_of(np.r_[client, seen]),
        np.r_[_port(flat, source, client), _port(flat, source, seen)],
        address_of(np.r_[dialled, server]),
        np.r_[_port(flat, target, dialled), _port(flat, target, server)],
        np.r_[one_way & flat, one_way & flat],
    )


def community_table(
    own: pd.DataFrame, ordinary: Ordinary | None, numbering: Numbering, begin: int, end: int
) -> pd.DataFrame:
    """The columns :data:`correlator.dataset.schema.COMMUNITY` of connections with numbers from
    ``begin`` up to ``end``, in their order; ``own``: :func:`flows_table`."""
    numbers = numbering.attributed[1:]
    mine = (numbers >= begin) & (numbers < end)
    found = {name: np.full(end - begin, "", dtype=object) for name in schema.COMMUNITY}
    for name, column in found.items():
        column[numbers[mine] - begin] = own[name].to_numpy()[mine]
    owners = numbering.owners_between(begin, end)
    if ordinary is not None and len(owners):
        c, at = ordinary.folded.connections[owners], numbering.ordinary[owners] - begin
        n = len(c)
        source, target, one_way = icmp_ports(np.full(n, ECHO), np.zeros(n, dtype=np.int64))
        ends = tuple(c[name].astype(np.int64) for name in ("client", "dialled", "server", "seen"))
        ids = _ids(c["protocol"].astype(np.int64), ends, source, target, one_way)
        for name, part in zip(schema.COMMUNITY, (ids[:n], ids[n:]), strict=True):
            found[name][at] = part
    return pd.DataFrame(found)


def _port(flat: Bools, icmp: Ints, end: Ints) -> Ints:
    return np.where(flat, icmp, port_of(end))


def _own(decided: Decided, attribution: Attribution) -> Bools:
    """Packets that are the connection's own, (k,): not ICMP errors about it."""
    own: Bools = (decided.scene.crossings.kind[attribution.crossing] != RELATED_KIND) | (
        attribution.direction == UNTRACKED
    )
    return own


def _icmp(decided: Decided, attribution: Attribution, count: int) -> tuple[Ints, Ints, Bools]:
    """(source port, destination port, one-way) that ICMP's type stands for, seen from the client,
    (count,)."""
    v = decided.explored.rows.columns
    order = np.lexsort(
        (np.arange(len(attribution)), ~_own(decided, attribution), attribution.connection)
    )
    _, at = np.unique(attribution.connection[order], return_index=True)
    row = attribution.row[order[at]]
    six = v["protocol"][row] == ICMP6
    source, target, one_way = icmp_ports(v["icmp_type"][row], v["icmp_code"][row], six)
    back = (attribution.direction[order[at]] == REPLY) & ~one_way
    return np.where(back, target, source), np.where(back, source, target), one_way


def _zeek(
    decided: Decided, attribution: Attribution, protocol: Ints, count: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """(conn_state, history) of every connection, (count,)."""
    own = np.flatnonzero(_own(decided, attribution) & (attribution.direction != UNTRACKED))
    number, reply = attribution.connection[own] - 1, attribution.direction[own] == REPLY
    crossings = decided.scene.crossings
    shown = np.where(crossings.entered, crossings.came_in, crossings.left)[
        attribution.crossing[own]
    ]
    payload = decided.scene.packets["payload_length"].to_numpy()[shown]
    flags = decided.explored.rows.columns["tcp_flags"][attribution.row[own]]
    tcp, udp = protocol[number] == TCP, protocol[number] == UDP
    syn, ack = flags & SYN > 0, flags & ACK > 0
    marks = np.stack(
        [
            tcp & syn & ~ack,
            tcp & syn & ack,
            tcp & ack & (flags & (SYN | FIN | RST) == 0) & (payload == 0),
            (tcp & (payload > 0)) | udp,
            tcp & (flags & FIN > 0),
            tcp & (flags & RST > 0),
        ],
        axis=1,
    )

    def any_of(pick: Bools) -> Bools:
        return np.bincount(number[pick], minlength=count) > 0

    sides = [_side(any_of, marks, side, which) for which, side in ((0, ~reply), (1, reply))]
    o, r = sides
    idle_o, idle_r = (
        o <= PARTIAL,
        r <= PARTIAL,
    )  # as Zeek has it: who never opened counts as inactive
    state = np.select(
        [
            protocol == UDP,
            protocol != TCP,
            (r == RESET) & (o == SYN_SENT),
            (r == RESET) & idle_o,
            r == RESET,
            (o == RESET) & idle_r,
            o == RESET,
            (r == CLOSED) & (o == CLOSED),
            (o == CLOSED) & idle_r,
            o == CLOSED,
            (r == CLOSED) & idle_o,
            r == CLOSED,
            (o == SYN_SENT) & (r == INACTIVE),
            (o == ESTABLISHED) & (r == ESTABLISHED),
        ],
        [
            np.select([~_idle(o) & ~_idle(r), ~_idle(o), ~_idle(r)], ["SF", "S0", "SHR"], "OTH"),
            "OTH",
            "REJ",
            "RSTRH",
            "RSTR",
            "RSTOS0",
            "RSTO",
            "SF",
            "SH",
            "S2",
            "SHR",
            "S3",
            "S0",
            "S1",
        ],
        "OTH",
    )
    return state.astype(object), _history(number, reply, marks, count)


def _idle(state: Ints) -> Bools:
    """Whether an end sent nothing."""
    idle: Bools = state == INACTIVE
    return idle


def _side(any_of: Any, marks: Bools, side: Bools, which: int) -> Ints:
    """How far an end of a connection got (Zeek's endpoint state), (count,)."""
    syn, synack = any_of(marks[:, OPENS]), any_of(marks[:, ANSWERS])
    opened = np.where(
        synack & (syn | (which == 1)), ESTABLISHED, np.where(syn & (which == 0), SYN_SENT, PARTIAL)
    )
    ended = [~any_of(side), any_of(marks[:, RESETS] & side), any_of(marks[:, ENDS] & side)]
    return np.select(ended, [INACTIVE, RESET, CLOSED], opened).astype(np.int64)


def _history(number: Ints, reply: Bools, marks: Bools, count: int) -> npt.NDArray[Any]:
    """The first occurrence of every letter of either end, in order; lower case for the replying
    end."""
    packet, letter = np.nonzero(marks)
    code = (number[packet] * 2 + reply[packet]) * len(LETTERS) + letter
    _, first = np.unique(code, return_index=True)
    first = first[np.lexsort((first, number[packet[first]]))]
    owner = number[packet[first]]
    place = np.arange(len(first)) - np.searchsorted(owner, owner)
    text = np.zeros((count, 2 * len(LETTERS)), dtype=np.uint8)
    text[owner, place] = (
        np.frombuffer(LETTERS, dtype=np.uint8)[letter[first]] + 32 * reply[packet[first]]
    )
    return text.view(f"S{2 * len(LETTERS)}")[:, 0].astype(str).astype(object)
