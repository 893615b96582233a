"""Connections as Zeek writes them: conn.log's tab-separated form
(https://docs.zeek.org/en/master/log-formats.html).

What nothing here tells (service, payload bytes) is unset. ``id.*`` is the original tuple, what the
client dialled; the columns behind ``community_id`` are correlator's own: the reply tuple's side,
the outcome and the rule that decided it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator.flows.keys import mix

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from correlator.reconcile.analysis import Analysis

FIELDS = {
    "ts": "time",
    "uid": "string",
    "id.orig_h": "addr",
    "id.orig_p": "port",
    "id.resp_h": "addr",
    "id.resp_p": "port",
    "proto": "enum",
    "service": "string",
    "duration": "interval",
    "orig_bytes": "count",
    "resp_bytes": "count",
    "conn_state": "string",
    "local_orig": "bool",
    "local_resp": "bool",
    "missed_bytes": "count",
    "history": "string",
    "orig_pkts": "count",
    "orig_ip_bytes": "count",
    "resp_pkts": "count",
    "resp_ip_bytes": "count",
    "tunnel_parents": "set[string]",
    "ip_proto": "count",
    "community_id": "string",
    "community_id_reply": "string",
    "reply.orig_h": "addr",
    "reply.orig_p": "port",
    "reply.resp_h": "addr",
    "reply.resp_p": "port",
    "in_interface": "string",
    "out_interface": "string",
    "outcome": "string",
    "rule": "string",
    "state": "string",
    "linked": "count",
    "status": "string",
    "reason": "string",
    "connection": "count",
}
"""Every column with its Zeek type, in order."""

UNSET, EMPTY = "-", "(empty)"
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "ipv6-icmp": 58}
PRIVATE = (
    r"^(?:10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|127\.|169\.254\."
    r"|100\.(?:6[4-9]|[7-9]\d|1[01]\d|12[0-7])\.|f[cd]|fe[89ab]|::1$)"
)
"""What Zeek takes for local where nobody told it otherwise: private address space."""
DIGITS = np.frombuffer(
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", dtype=np.uint8
)
UID_LENGTH = 17
CHUNK = 200_000


def write_conn_log(analysis: Analysis, path: Path) -> None:
    """Write the connections in order of their first packet."""
    table, flows = analysis.connections, analysis.flows()
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(_head(table))
        for begin in range(0, len(table), CHUNK):
            rows = slice(begin, begin + CHUNK)
            part = _columns(table.iloc[rows], flows.iloc[rows])
            file.write("\n".join(map("\t".join, zip(*part, strict=True))) + "\n")
        file.write(f"#close\t{_moment(table['last_seen'].max() if len(table) else 0)}\n")


def _head(table: pd.DataFrame) -> str:
    """Zeek's header. It opens with the first packet and closes with the last, so that a replay
    gives the same bytes."""
    return (
        f"#separator \\x09\n#set_separator\t,\n#empty_field\t{EMPTY}\n#unset_field\t{UNSET}\n"
        f"#path\tconn\n"
        f"#open\t{_moment(table['first_seen'].min() if len(table) else 0)}\n"
        "#fields\t" + "\t".join(FIELDS) + "\n#types\t" + "\t".join(FIELDS.values()) + "\n"
    )


def _moment(time: int) -> str:
    return datetime.fromtimestamp(int(time) // 10**9, UTC).strftime("%Y-%m-%d-%H-%M-%S")


def _columns(table: pd.DataFrame, flows: pd.DataFrame) -> list[list[str]]:
    """Every field of these connections as text, in the order of :data:`FIELDS`."""
    number = table["protocol"].astype(str).map(lambda word: PROTOCOLS.get(word, word)).astype(int)
    known = table["protocol"].isin(list(PROTOCOLS)).to_numpy()
    packets = (table["packets_original"] + table["packets_reply"]).to_numpy()
    icmp = table["protocol"].isin(("icmp", "ipv6-icmp")).to_numpy()
    duration = (table["last_seen"] - table["first_seen"]).to_numpy()
    source, target = flows["source_port"].to_numpy(), flows["destination_port"].to_numpy()
    columns: dict[str, Any] = {
        "ts": _seconds(table["first_seen"].to_numpy()),
        "uid": _uids(table),
        "id.orig_h": table["src"],
        "id.orig_p": np.maximum(source, 0),
        "id.resp_h": table["dst"],
        "id.resp_p": np.maximum(target, 0),
        "proto": np.where(
            known, table["protocol"].astype(str).str.removeprefix("ipv6-"), "unknown_transport"
        ),
        "duration": np.where(packets > 1, _seconds(duration), UNSET),
        "conn_state": flows["conn_state"],
        "local_orig": _local(table["src"]),
        "local_resp": _local(table["dst"]),
        "history": flows["history"],
        "orig_pkts": table["packets_original"],
        "orig_ip_bytes": table["bytes_original"],
        "resp_pkts": table["packets_reply"],
        "resp_ip_bytes": table["bytes_reply"],
        "ip_proto": number,
        "community_id": flows["community_id"],
        "community_id_reply": flows["community_id_reply"],
        "reply.orig_h": table["reply_dst"],
        "reply.orig_p": np.where(icmp, source, table["reply_dport"]),
        "reply.resp_h": table["reply_src"],
        "reply.resp_p": np.where(icmp, target, table["reply_sport"]),
        "linked": np.where(table["linked"] > 0, table["linked"].astype(str), UNSET),
    }
    own = {name: table[name] for name in FIELDS if name in table and name not in columns}
    return [_words({**own, **columns}.get(name), len(table)) for name in FIELDS]


def _words(values: Any, count: int) -> list[str]:
    """Values as Zeek writes them: unset where there is nothing, separators escaped."""
    if values is None:
        return [UNSET] * count
    series = pd.Series(values).astype(str)
    return [_word(word) or UNSET for word in series.tolist()]


def _word(word: str) -> str:
    """Backslashes and what is not printable as Zeek writes bytes: ``\\x1b``."""
    if word.isprintable() and "\\" not in word:
        return word
    return "".join(
        c if c.isprintable() and c != "\\" else "".join(f"\\x{b:02x}" for b in _utf8(c))
        for c in word
    )


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _seconds(nanoseconds: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """Seconds with six digits, as Zeek writes times and intervals (cut, not rounded)."""
    whole, rest = nanoseconds // 10**9, nanoseconds % 10**9 // 1000
    text = np.char.add(np.char.add(whole.astype(str), "."), np.char.zfill(rest.astype(str), 6))
    return text.astype(object)


def _local(address: pd.Series) -> npt.NDArray[Any]:
    words = address.astype("category")
    private = np.asarray(words.cat.categories.astype(str).str.match(PRIVATE), dtype=bool)
    return np.where(private[words.cat.codes.to_numpy()], "T", "F").astype(object)


def _uids(table: pd.DataFrame) -> npt.NDArray[Any]:
    """Names as Zeek gives connections: C and 17 digits of base 62, here of what the connection is
    (the same each time)."""
    ports = [
        table[name].to_numpy().astype(np.int64)
        for name in ("connection", "first_seen", "sport", "dport")
    ]
    addresses = [
        pd.util.hash_array(table[name].astype(str).to_numpy(dtype=object))
        for name in ("src", "dst")
    ]
    words = [mix(*ports, *addresses), mix(*addresses, *ports)]
    text = np.full((len(table), UID_LENGTH + 1), ord("C"), dtype=np.uint8)
    for place in range(UID_LENGTH):
        which = place // 9
        text[:, 1 + place] = DIGITS[words[which] % np.uint64(62)]
        words[which] = words[which] // np.uint64(62)
    return text.view(f"S{UID_LENGTH + 1}")[:, 0].astype(str).astype(object)
