"""Conditions and targets as ``iptables -L -n`` prints them -> as iptables-save writes them.

One row a phrase, from the ``*_print`` functions of iptables' extensions (libxt_*.c, libipt_*.c) and
checked against iptables 1.8.9, nft and legacy (tests/integration/test_listing_live.py). What no row
knows keeps its text."""

from __future__ import annotations

import re
from collections.abc import Callable

Save = str | Callable[[re.Match[str]], str]

_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")
_PLAIN = re.compile(r"[A-Za-z0-9_-]+\Z")


def quoted(text: str) -> str:
    """A string as iptables-save writes it (xtables_save_string)."""
    return text if _PLAIN.match(text) else '"' + re.sub(r"([\"\\'])", r"\\\1", text) + '"'


def _flags(value: str) -> str:
    if not value.startswith("0x"):
        return value  # by name, where it was listed without -n
    bits = int(value, 16)
    names = [name for i, name in enumerate(_FLAGS) if bits >> i & 1]
    return ",".join(names) if names else "NONE"


def _ports(found: re.Match[str]) -> str:
    """``tcp spts:1:100 dpt:!80 option=8 flags:0x17/0x02``."""
    parts = [f"-m {found[1]}"]
    for phrase in found[2].split():
        name, _, value = phrase.replace("=", ":", 1).partition(":")
        negated, value = ("! ", value[1:]) if value.startswith("!") else ("", value)
        if name == "flags":
            mask, _, compare = value.partition("/")
            value = f"{_flags(mask)} {_flags(compare)}"
        option = {
            "spt": "--sport",
            "spts": "--sport",
            "dpt": "--dport",
            "dpts": "--dport",
            "option": "--tcp-option",
            "flags": "--tcp-flags",
        }[name]
        parts.append(f"{negated}{option} {value}")
    return " ".join(parts)


def _icmp(found: re.Match[str]) -> str:
    negated = "! " if found[1] else ""
    kind = "any" if found[2] == "255" else found[2] + (f"/{found[3]}" if found[3] else "")
    return f"-m icmp {negated}--icmp-type {kind}"


def _addrtype(found: re.Match[str]) -> str:
    parts = ["-m addrtype"]
    for side, negated, types in re.findall(r"(src|dst)-type (!?)(\S+)", found[1]):
        parts.append(f"{'! ' if negated else ''}--{side}-type {types}")
    parts += [f"--limit-iface-{side}" for side in re.findall(r"limit-(in|out)", found[1])]
    return " ".join(parts)


def _conntrack(found: re.Match[str]) -> str:
    parts = ["-m conntrack"]
    for negated, name, value in re.findall(r"(! )?(ct\w+) (\S+)", found[0]):
        parts.append(f"{negated}--{name} {value}")
    return " ".join(parts)


def _ranges(found: re.Match[str]) -> str:
    parts = ["-m iprange"]
    for side, negated, value in re.findall(r"(source|destination) IP range (! )?(\S+)", found[0]):
        parts.append(f"{negated}--{'src' if side == 'source' else 'dst'}-range {value}")
    return " ".join(parts)


def _ttl(found: re.Match[str]) -> str:
    option = {"==": "--ttl-eq", "!=": "! --ttl-eq", "<": "--ttl-lt", ">": "--ttl-gt"}[found[1]]
    return f"-m ttl {option} {found[2]}"


def _limit(found: re.Match[str]) -> str:
    return f"-m limit --limit {found[1]}" + (
        f" --limit-burst {found[2]}" if found[2] not in (None, "5") else ""
    )


def _hashlimit(found: re.Match[str]) -> str:
    kind = "upto" if found[1] == "up to" else "above"
    mode = f" --hashlimit-mode {found[4]}" if found[4] else ""
    return f"-m hashlimit --hashlimit-{kind} {found[2]} --hashlimit-burst {found[3]}{mode}"


def _recent(found: re.Match[str]) -> str:
    parts = [f"-m recent {found[1] or ''}--{ {'CHECK': 'rcheck'}.get(found[2], found[2].lower()) }"]
    for name, option in (("seconds", "seconds"), ("hit_count", "hitcount"), ("name", "name")):
        value = re.search(rf"{name}: (\S+)", found[3])
        if value:
            parts.append(f"--{option} {value[1]}")
    mask, side = re.search(r"mask: (\S+)", found[3]), re.search(r"side: (\S+)", found[3])
    parts.append(f"--mask {mask[1]}" if mask else "")
    parts.append("" if side is None else "--rsource" if side[1] == "source" else "--rdest")
    return " ".join(part for part in parts if part)


def _nth(found: re.Match[str]) -> str:
    return f"-m statistic --mode nth {found[1] or ''}--every {found[2]} --packet {found[3] or 0}"


def _connlimit(found: re.Match[str]) -> str:
    kind = "above" if found[3] == ">" else "upto"
    return (
        f"-m connlimit --connlimit-{kind} {found[4]} --connlimit-mask {found[2]} "
        f"--connlimit-{found[1][0]}addr"
    )


MATCHES: tuple[tuple[str, Save], ...] = (
    (r"/\* (.*?) \*/", lambda m: f"-m comment --comment {quoted(m[1])}"),
    (r"(tcp|udp|sctp|dccp|udplite)((?: (?:[sd]pts?|flags):\S+| option=\S+)+)", _ports),
    (r"icmp ?(!)?type (\d+)(?: code (\d+))?", _icmp),
    (
        r"(tcp|udp|icmp|sctp)(?= |$)",
        lambda m: f"-m {m[1]}" + (" --icmp-type any" if m[1] == "icmp" else ""),
    ),
    (
        r"multiport ([sd]?ports) +(!)?(\S+)",
        lambda m: f"-m multiport {'! ' if m[2] else ''}--{m[1]} {m[3]}",
    ),
    (r"ADDRTYPE match((?: (?:src|dst)-type \S+| limit-(?:in|out))+)", _addrtype),
    (
        r"(?:! )?ct(?:state|proto|status|dir|expire|orig\w+|repl\w+) \S+"
        r"(?: (?:! )?ct(?:state|proto|status|dir|expire|orig\w+|repl\w+) \S+)*",
        _conntrack,
    ),
    (r"(! )?state (\S+)", lambda m: f"-m state {m[1] or ''}--state {m[2]}"),
    (r"(mark|connmark) match +(! )?(0x\S+)", lambda m: f"-m {m[1]} {m[2] or ''}--mark {m[3]}"),
    (r"length (!)?([\d:]+)", lambda m: f"-m length {'! ' if m[1] else ''}--length {m[2]}"),
    (r"TTL match TTL (==|!=|<|>) (\d+)", _ttl),
    (r"(?:source|destination) IP range (?:! )?\S+(?: destination IP range (?:! )?\S+)?", _ranges),
    (
        r"MAC (! ?)?((?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2})",
        lambda m: f"-m mac {'! ' if m[1] else ''}--mac-source {m[2].lower()}",
    ),
    (
        r"PKTTYPE (=|!=) (\w+)",
        lambda m: f"-m pkttype {'! ' if m[1] == '!=' else ''}--pkt-type {m[2]}",
    ),
    (r"tos match ?(!)?(0x\S+)", lambda m: f"-m tos {'! ' if m[1] else ''}--tos {m[2]}"),
    (r"DSCP match (!)?(0x\w+)", lambda m: f"-m dscp {'! ' if m[1] else ''}--dscp {m[2]}"),
    (r"limit: avg (\S+) burst (\d+)", _limit),
    (r"limit: (up to|above) (\S+) burst (\S+)(?: mode (\S+))?", _hashlimit),
    (
        r"(! )?recent: (SET|UPDATE|CHECK|REMOVE)((?: (?:seconds|hit_count|name|side|mask): \S+)*)",
        _recent,
    ),
    (
        r"statistic mode random (! )?probability (\S+)",
        lambda m: f"-m statistic --mode random {m[1] or ''}--probability {m[2]}",
    ),
    (r"statistic mode nth (! )?every (\d+)(?: packet (\d+))?", _nth),
    (r"#conn (src|dst)/(\d+) (>|<=) (\d+)", _connlimit),
    (r"quota: (\d+) bytes", r"-m quota --quota \1"),
    (
        r"PHYSDEV match((?: (?:! )?--physdev-(?:in|out) \S+| (?:! )?--physdev-is-\w+)+)",
        r"-m physdev\1",
    ),
    (r'u32 (! )?"([^"]*)"', lambda m: f'-m u32 {m[1] or ""}--u32 "{m[2]}"'),
    (
        r"(! )?match-set (\S+) ((?:src|dst)(?:,(?:src|dst))*)",
        lambda m: f"-m set {m[1] or ''}--match-set {m[2]} {m[3]}",
    ),
)
"""(phrase as printed, how iptables-save writes it), tried in order at every word."""


def _options(words: str | None) -> str:
    return "".join(f" --{word}" for word in (words or "").split())


def _mark(found: re.Match[str]) -> str:
    verb, value = found[1], found[2]
    if verb == "xset":
        return f"--set-xmark {value}"
    number = int(value, 16)
    return {
        "set": f"--set-xmark {value}/0xffffffff",
        "or": f"--set-xmark {value}/{value}",
        "xor": f"--set-xmark {value}/0x0",
        "and": f"--set-xmark 0x0/{~number & 0xFFFFFFFF:#x}",
    }[verb]


def _log(found: re.Match[str]) -> str:
    flags, level, prefix = int(found[1] or "0", 0), found[2], found[3]
    parts = [f"--log-prefix {quoted(prefix)}"] if prefix is not None else []
    parts += [f"--log-level {level}"] if level not in (None, "4") else []
    names = ("tcp-sequence", "tcp-options", "ip-options", "uid", "", "macdecode")
    parts += [f"--log-{name}" for bit, name in enumerate(names) if name and flags >> bit & 1]
    return " ".join(parts)


def _connmark(found: re.Match[str]) -> str:
    mask = found[2] or "0xffffffff"
    return f"--{found[1]}-mark --nfmask {mask} --ctmask {mask}"


def _nflog(found: re.Match[str]) -> str:
    prefix = re.search(r'nflog-prefix (?:"([^"]*)"|(\S+))', found[0])
    parts = [f"--nflog-prefix {quoted(prefix[1] or prefix[2] or '')}"] if prefix else []
    return " ".join(
        parts
        + [
            f"--nflog-{name} {value}"
            for name, value in re.findall(r"nflog-(group|size|range|threshold) (\d+)", found[0])
        ]
    )


TARGETS: dict[str, tuple[str, Save]] = {
    "DNAT": (
        r"to:(\S+)((?: (?:random|persistent|random-fully))*)",
        lambda m: f"--to-destination {m[1]}{_options(m[2])}",
    ),
    "SNAT": (
        r"to:(\S+)((?: (?:random|persistent|random-fully))*)",
        lambda m: f"--to-source {m[1]}{_options(m[2])}",
    ),
    "NETMAP": (r"to:(\S+)", r"--to \1"),
    "MASQUERADE": (
        r"(?:masq ports: (\S+))?((?: ?(?:random-fully|random))*)",
        lambda m: (f"--to-ports {m[1]}" if m[1] else "") + _options(m[2]),
    ),
    "REDIRECT": (
        r"(?:redir ports (\S+))?((?: ?random)*)",
        lambda m: (f"--to-ports {m[1]}" if m[1] else "") + _options(m[2]),
    ),
    "REJECT": (r"reject-with (\S+)", r"--reject-with \1"),
    "LOG": (r'LOG flags (\w+) level (\w+)(?: prefix "(.*?)")?(?= |$)', _log),
    "NFLOG": (r'(?:nflog-prefix (?:"[^"]*"|\S+) ?)?(?:nflog-\w+ \d+ ?)*', _nflog),
    "MARK": (r"MARK (set|xset|and|or|xor) (\S+)", _mark),
    "CONNMARK": (r"CONNMARK (save|restore)(?: mask (\S+))?(?= |$)", _connmark),
    "TCPMSS": (
        r"TCPMSS (clamp to PMTU|set (\d+))",
        lambda m: f"--set-mss {m[2]}" if m[2] else "--clamp-mss-to-pmtu",
    ),
    "CHECKSUM": (r"CHECKSUM fill", "--checksum-fill"),
    "TOS": (r"TOS set (\S+)", r"--set-tos \1"),
    "DSCP": (r"DSCP set (\S+)", r"--set-dscp \1"),
    "TTL": (r"TTL (set to|increment by|decrement by) (\d+)", lambda m: f"--ttl-{m[1][:3]} {m[2]}"),
    "TEE": (r"TEE gw:(\S+)", r"--gateway \1"),
    "CT": (r"CT ((?:notrack|(?:zone|helper|timeout|mark) \S+ ?)+)", lambda m: "--" + m[1].strip()),
    "SET": (r"(add|del|map)-set (\S+) (\S+)", r"--\1-set \2 \3"),
    "NFQUEUE": (
        r"NFQUEUE num (\d+)( bypass)?",
        lambda m: f"--queue-num {m[1]}" + (" --queue-bypass" if m[2] else ""),
    ),
}
"""target -> (phrase as printed behind the conditions, options as iptables-save writes them)."""

_MATCHES = tuple((re.compile(pattern + r"(?=\s|$)"), save) for pattern, save in MATCHES)
_TARGETS = {
    name: (re.compile(pattern + r"\s*$"), save) for name, (pattern, save) in TARGETS.items()
}
LONGEST_OPTIONS = 512
"""Characters of a target's options, at most: a prefix of NFLOG has 64."""
_XSET = re.compile(r"CONNMARK (set|xset|and|or|xor) (\S+)\s*$")


def _write(save: Save, found: re.Match[str]) -> str:
    return save(found) if callable(save) else found.expand(save)


def to_save(tail: str, target: str) -> tuple[str, str, str, str]:
    """(conditions, target name, target options, what was not understood) of what stands behind the
    addresses."""
    conditions: list[str] = []
    strange: list[str] = []
    rest = tail.strip()
    if target == "CT" and rest == "NOTRACK":
        return "", "NOTRACK", "", ""
    while rest:
        options = _target_options(rest, target)
        if options is not None:
            return " ".join(conditions), target, options, " ".join(strange)
        unclosed = rest.startswith("/*") and "*/" not in rest
        for pattern, save in _MATCHES:
            found = None if unclosed else pattern.match(rest)
            if found:
                conditions.append(_write(save, found))
                rest = rest[found.end() :].strip()
                break
        else:
            word, _, rest = rest.partition(" ")
            strange.append(word)
            rest = rest.strip()
    return " ".join(conditions), target, "", " ".join(strange)


def _target_options(rest: str, target: str) -> str | None:
    if target == "CONNMARK" and (found := _XSET.match(rest)):
        return _mark(found)
    if len(rest) > LONGEST_OPTIONS:
        return None
    known = _TARGETS.get(target)
    if known is None or not (found := known[0].match(rest)) or not found[0]:
        return None
    return _write(known[1], found).strip()
