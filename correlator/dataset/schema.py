"""The tables of an analysis: every column, its dtype and what it means.

The documentation and the exports are made from this module, and a test holds every table against
it. Times are epoch nanoseconds on the packets' clock, bytes are IP total lengths (L3), ports of
ICMP are the query's id."""

from __future__ import annotations

Columns = dict[str, tuple[str, str]]

_TUPLE: Columns = {
    "protocol": ("category", "tcp, udp, icmp, or the protocol's number"),
    "src": ("category", "source address of the original tuple (before NAT)"),
    "sport": ("int32", "source port of the original tuple; the id for ICMP queries"),
    "dst": ("category", "destination address of the original tuple: what the client dialled"),
    "dport": ("int32", "destination port of the original tuple; the id for ICMP queries"),
    "reply_src": ("category", "source address of the reply tuple: who answers"),
    "reply_sport": ("int32", "source port of the reply tuple"),
    "reply_dst": ("category", "destination address of the reply tuple: whom the server sees"),
    "reply_dport": ("int32", "destination port of the reply tuple"),
}

CONNECTIONS: Columns = {
    "connection": ("int64", "number of the connection, from 1, in order of first_seen"),
    **_TUPLE,
    "first_seen": ("int64", "time of its first packet, epoch ns"),
    "last_seen": ("int64", "time of its last packet, epoch ns"),
    "packets_original": ("int64", "packets that crossed in the original direction"),
    "packets_reply": ("int64", "packets that crossed in the reply direction"),
    "bytes_original": ("int64", "their bytes (L3)"),
    "bytes_reply": ("int64", "their bytes (L3)"),
    "in_interface": ("category", "where the original direction comes in; empty: sent by this host"),
    "out_interface": (
        "category",
        "where the original direction leaves; empty: delivered to this host, or unknown",
    ),
    "outcome": (
        "category",
        "what became of it: DNAT, MASQUERADE, SNAT, REDIRECT, forwarded, local, docker-proxy, "
        "dropped, rejected, "
        "untracked, lost (came in, never left, no rule to blame)",
    ),
    "rule": (
        "object",
        "table/chain:number of the rule (or policy) that decided the outcome; empty: none",
    ),
    "state": (
        "category",
        "established, half-open, refused, one-way, older (began before the capture)",
    ),
    "linked": (
        "int64",
        "connection that docker-proxy opened for this one, or the other way round; 0: none",
    ),
    "status": ("category", "exact, ambiguous or unverified: the worst of its hits"),
    "open": (
        "category",
        "what is open of it or of any of its hits: rule, direction, src, dst, reply_src, "
        "reply_dst, separated by commas; empty: nothing",
    ),
    "reason": ("object", "why it is not exact; empty where it is"),
}

HITS: Columns = {
    "connection": ("int64", "number of the connection in the connections table"),
    **_TUPLE,
    "direction": (
        "category",
        "original, reply, or untracked: packets that conntrack calls INVALID or does not track",
    ),
    "table": ("category", "table; of another family than IPv4 behind its family: ip6 filter"),
    "chain": ("category", "chain"),
    "rule_number": ("int32", "as iptables -L --line-numbers numbers it; 0 for a policy"),
    "handle": ("int64", "nft's name for the rule in its table; 0: a policy, or a rule of iptables"),
    "rule": ("category", "the text after -A CHAIN in iptables-save, or policy"),
    "target": ("category", "what the rule jumps to, or the policy"),
    "packets": ("int64", "packets of this connection and direction that the rule counted"),
    "bytes": ("int64", "their bytes (L3)"),
    "first_seen": ("int64", "time of the first of them, epoch ns"),
    "last_seen": ("int64", "time of the last of them, epoch ns"),
    "evidence": ("category", "the witnesses that agree: rules, wire, counters"),
    "status": ("category", "exact, ambiguous or unverified"),
    "open": (
        "category",
        "what is open of it: rule (whether, or how often, it was hit), direction, src, dst, "
        "reply_src, reply_dst, separated by commas; empty: nothing",
    ),
}

LEDGER: Columns = {
    "generation": ("int32", "number of the ruleset's generation, from 0"),
    "table": ("category", "iptables table"),
    "chain": ("category", "chain"),
    "rule_number": ("int32", "number in its generation; 0 for a policy"),
    "rule": ("category", "rule text, or policy"),
    "target": ("category", "what the rule jumps to, or the policy"),
    "begin": (
        "int64",
        "end of the reading that opens the interval, epoch ns on the packets' clock",
    ),
    "end": ("int64", "end of the reading that closes it"),
    "counted_packets": (
        "int64",
        "by how much the counter moved (its lower bound where it was rounded)",
    ),
    "counted_packets_high": ("int64", "upper bound of that; the same where the counter is exact"),
    "explained_packets": ("int64", "hits that packets explain"),
    "residual_packets": (
        "int64",
        "counted minus explained; 0 where they agree within what readings can tell",
    ),
    "counted_bytes": ("int64", "by how many bytes the counter moved"),
    "explained_bytes": ("int64", "bytes that packets explain"),
    "residual_bytes": ("int64", "counted minus explained"),
    "note": ("category", "empty, or: reset, not counted, rounded, rule added, rule removed"),
    "connections": ("object", "numbers of the connections that explain it, separated by spaces"),
}

RULES: Columns = {
    "generation": ("int32", "number of the ruleset's generation, from 0"),
    "table": ("category", "iptables table"),
    "chain": ("category", "chain"),
    "rule_number": ("int32", "number in its chain; 0 for a policy"),
    "rule": ("category", "rule text, or policy"),
    "target": ("category", "what the rule jumps to, or the policy"),
    "counted_packets": (
        "int64",
        "by how much its counter moved over the generation; -1 where there were no counters",
    ),
    "explained_packets": ("int64", "hits that packets explain"),
    "residual_packets": ("int64", "counted minus explained"),
    "counted_bytes": (
        "int64",
        "by how many bytes its counter moved; -1 where there were no counters",
    ),
    "explained_bytes": ("int64", "bytes that packets explain"),
    "residual_bytes": ("int64", "counted minus explained"),
    "connections": ("int64", "number of connections that hit it"),
}

PACKETS: Columns = {
    "time": ("int64", "when the interface's tap saw it, epoch ns"),
    "interface": ("category", "interface"),
    "frame": ("int64", "number of the frame in its file, from 1, as Wireshark counts"),
    "wire": (
        "category",
        "in (received by the host), out (sent by it), or empty where nothing tells",
    ),
    "protocol": ("category", "tcp, udp, icmp, or the protocol's number"),
    "src": ("category", "source address on this wire"),
    "sport": ("int32", "source port on this wire; -1 where there is none"),
    "dst": ("category", "destination address on this wire"),
    "dport": ("int32", "destination port on this wire; -1 where there is none"),
    "length": ("int64", "IP total length, bytes"),
    "connection": ("int64", "its connection; 0 where it belongs to none"),
    "direction": ("category", "original, reply or untracked"),
    "crossing": ("int64", "number shared by the frames that are one packet crossing the host"),
    "state": ("category", "NEW, ESTABLISHED, RELATED, INVALID or UNTRACKED, as conntrack saw it"),
}

COMMUNITY: Columns = {
    "community_id": (
        "object",
        "Community ID (v1, seed 0) of the original tuple: what Zeek or Suricata log on the "
        "client's side of the NAT",
    ),
    "community_id_reply": (
        "object",
        "Community ID of the reply tuple: what they log on the server's side (the container's, "
        "behind DNAT); the same where "
        "nothing was translated",
    ),
}
"""Columns that exports of connections and ``Analysis.table("connections")`` have more than
``Analysis.connections``."""

FLOWS: Columns = {
    **COMMUNITY,
    "source_port": (
        "int32",
        "source port as Zeek and Community ID have it: an ICMP message's type; -1 where there is "
        "none",
    ),
    "destination_port": (
        "int32",
        "destination port as they have it: the type that answers an ICMP message, or its code; -1 "
        "where there is none",
    ),
    "conn_state": ("category", "Zeek's conn_state of what was seen: S0, S1, SF, REJ, ..."),
    "history": (
        "object",
        "Zeek's history of what was seen: first occurrences in order, upper case: original; empty "
        "for ICMP",
    ),
}
"""What other tools call a connection (``Analysis.flows()``)."""

TABLES: dict[str, Columns] = {
    "connections": CONNECTIONS,
    "hits": HITS,
    "ledger": LEDGER,
    "packets": PACKETS,
    "rules": RULES,
}

FAMILY: Columns = {
    "family": ("category", "family of the rule's table: ip (IPv4), ip6 (IPv6) or inet (both)")
}
"""Ahead of all others in exports of hits, whose ``table`` then is without its family."""

EXPORTS: dict[str, Columns] = {
    **TABLES,
    "connections": {**CONNECTIONS, **COMMUNITY},
    "hits": {**FAMILY, **HITS},
}
"""The tables as they are exported."""
