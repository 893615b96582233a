"""iptables-save text <-> :class:`~correlator.firewall.model.Ruleset`.

The grammar is that of iptables-save(8) and iptables-restore(8)::

    # comment
    *TABLE
    :CHAIN POLICY [packets:bytes]
    [packets:bytes] -A CHAIN [! ]OPTION value... -j TARGET [OPTION value...]
    COMMIT

Options of extensions nobody has heard of keep their text: the rule stays whole, and its condition
is unknown."""

from __future__ import annotations

import re

from correlator.errors import InputError
from correlator.firewall.model import Chain, Match, Option, Rule, Ruleset, Target

BUILTIN = {
    "-s": ("source", "-s"),
    "--source": ("source", "-s"),
    "--src": ("source", "-s"),
    "-d": ("destination", "-d"),
    "--destination": ("destination", "-d"),
    "--dst": ("destination", "-d"),
    "-i": ("in-interface", "-i"),
    "--in-interface": ("in-interface", "-i"),
    "-o": ("out-interface", "-o"),
    "--out-interface": ("out-interface", "-o"),
    "-p": ("protocol", "-p"),
    "--protocol": ("protocol", "-p"),
    "--proto": ("protocol", "-p"),
    "-f": ("fragment", "-f"),
    "--fragment": ("fragment", "-f"),
}
"""Options that iptables itself has, as (name of the match, canonical spelling)."""

ARITY = {
    "-f": 0,
    "--syn": 0,
    "--tcp-flags": 2,
    "--match-set": 2,
    "--set-xmark": 1,
    "--log-tcp-sequence": 0,
    "--log-tcp-options": 0,
    "--log-ip-options": 0,
    "--log-uid": 0,
    "--log-macdecode": 0,
    "--clamp-mss-to-pmtu": 0,
    "--random": 0,
    "--random-fully": 0,
    "--persistent": 0,
    "--save-mark": 0,
    "--restore-mark": 0,
    "--notrack": 0,
    "--checksum-fill": 0,
    "--rcheck": 0,
    "--update": 0,
    "--set": 0,
    "--remove": 0,
    "--rttl": 0,
    "--rsource": 0,
    "--rdest": 0,
    "--physdev-is-bridged": 0,
    "--physdev-is-in": 0,
    "--physdev-is-out": 0,
    "--limit-iface-in": 0,
    "--limit-iface-out": 0,
    "--validmark": 0,
    "--loose": 0,
    "--accept-local": 0,
    "--invert": 0,
    "--reap": 0,
    "--strict": 0,
    "--next": 0,
    "--transparent": 0,
    "--nowildcard": 0,
    "--restore-skmark": 0,
    "--datestop-next": 0,
    "--contiguous": 0,
    "--kerneltz": 0,
    "--socket-exists": 0,
    "--ecn-tcp-cwr": 0,
    "--ecn-tcp-ece": 0,
    "--ecn-tcp-remove": 0,
    "--add-set": 2,
    "--del-set": 2,
    "--map-set": 2,
    "--exist": 0,
    "--return-nomatch": 0,
    "--update-counters": 0,
    "--update-subcounters": 0,
    "--selctx-save": 0,
    "--save": 0,
    "--restore": 0,
    "--zone-orig": 1,
    "--connlimit-saddr": 0,
    "--connlimit-daddr": 0,
    "--bytecode": 1,
    "--rt-0-res": 0,
    "--nodst": 0,
    "--no-change": 0,
    "--hashlimit-rate-match": 0,
    "--name": 1,
}
"""How many values an option takes where it is not one."""

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
COUNTERS = re.compile(r"^\[(\d+):(\d+)\]\s*")
_CHAIN = re.compile(r"^:(\S+)\s+(\S+)(?:\s+\[(\d+):(\d+)\])?\s*$")
APPEND = re.compile(r"^(?:-A|--append)\s+(\S+)\s*(.*?)\s*$", re.DOTALL)


class _Reader:
    """Reads one rule's words in order: ``texts`` as they stand, ``values`` without quotes and
    backslashes, and whether an option ``begins`` with them."""

    def __init__(self, text: str) -> None:
        self.texts: list[str] = []
        self.values: list[str] = []
        self.begins: list[bool] = []
        for quoted, plain in _TOKEN.findall(text):
            if plain:
                self.texts.append(plain)
                self.values.append(plain)
                self.begins.append(
                    plain == "!" or (plain[0] == "-" and len(plain) > 1 and not _is_number(plain))
                )
            else:
                self.texts.append(f'"{quoted}"')
                self.values.append(re.sub(r"\\(.)", r"\1", quoted) if "\\" in quoted else quoted)
                self.begins.append(False)
        self.count = len(self.texts)
        self.at = 0

    @property
    def more(self) -> bool:
        return self.at < self.count

    def is_option(self) -> bool:
        """Whether an option starts here (perhaps behind ``!``)."""
        return self.at < self.count and self.begins[self.at]

    def option(self) -> tuple[Option, str]:
        """The next option with its values, and its text."""
        start, texts = self.at, self.texts
        negated = texts[start] == "!"
        self.at += negated
        if not self.more:
            return Option("!", ()), "!"
        name = texts[self.at]
        self.at += 1
        values: list[str] = []
        if "=" in name and name.startswith("--"):
            name, _, joined = name.partition("=")
            values = [joined] if joined else []
        if self.more and texts[self.at] == "!" and not negated and ARITY.get(name, 1):
            after = texts[self.at + 1] if self.at + 1 < self.count else None
            if after is not None and not after.startswith("-"):  # the old order: --dport ! 80
                negated = True
                self.at += 1
        wanted = ARITY.get(BUILTIN[name][1] if name in BUILTIN else name)
        while (
            self.at < self.count
            and not self.begins[self.at]
            and (wanted is None or len(values) < wanted)
        ):
            values.append(self.values[self.at])
            self.at += 1
        return Option(name, tuple(values), negated), " ".join(texts[start : self.at])


def _is_number(text: str) -> bool:
    return text[1:].replace(".", "", 1).isdigit()


def parse_rule(table: str, chain: str, number: int, text: str) -> Rule:
    """One rule from the text behind ``-A CHAIN ``."""
    reader = _Reader(text)
    matches: list[Match] = []
    target = Target("")
    protocol = ""
    name, options, texts = "", list[Option](), list[str]()

    def close() -> None:
        nonlocal name, options, texts
        if name:
            understood = all(len(o.values) <= ARITY.get(o.name, 1) for o in options)
            matches.append(
                Match(name, " ".join([f"-m {name}", *texts]), tuple(options), understood)
            )
        name, options, texts = "", [], []

    while reader.more:
        if not reader.is_option():  # a stray word: whatever it belongs to is not understood
            word = reader.texts[reader.at]
            reader.at += 1
            close()
            matches.append(Match(word, word, (), False))
            continue
        option, spelled = reader.option()
        if option.name in ("-j", "--jump", "-g", "--goto"):
            close()
            target = _target(option, reader)
        elif option.name in ("-m", "--match"):
            close()
            name = option.value
        elif option.name in BUILTIN and not (name and option.name in ("--source", "--destination")):
            close()
            kind, spelling = BUILTIN[option.name]
            matches.append(Match(kind, spelled, (Option(spelling, option.values, option.negated),)))
            protocol = option.value if kind == "protocol" else protocol
        elif option.name in ("-c", "--set-counters"):
            close()
        else:
            if not name:
                name = protocol or "unknown"
            options.append(option)
            texts.append(spelled)
    close()
    return Rule(table, chain, number, text, tuple(matches), target)


def _target(jump: Option, reader: _Reader) -> Target:
    options = []
    while reader.more:
        if not reader.is_option():
            reader.at += 1
            continue
        options.append(reader.option()[0])
    return Target(jump.value, tuple(options), jump.name in ("-g", "--goto"))


def parse_iptables_save(text: str, source: str = "rules") -> Ruleset:
    """The ruleset of an iptables-save text, with or without counters.

    Raises :class:`~correlator.errors.InputError` naming the line that is neither comment, table,
    chain nor rule."""
    policies: dict[tuple[str, str], str | None] = {}
    rules: dict[tuple[str, str], list[Rule]] = {}
    table = ""
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("*"):
            table = line[1:].strip()
        elif line == "COMMIT":
            table = ""
        elif not table:
            raise InputError(
                f"{source}: line {number} stands outside of a table: expected iptables-save output"
            )
        elif line.startswith(":"):
            chain = _CHAIN.match(line)
            if chain is None:
                raise InputError(f"{source}: line {number} is not a chain: {line[:60]!r}")
            policies[table, chain[1]] = None if chain[2] == "-" else chain[2]
            rules.setdefault((table, chain[1]), [])
        else:
            found = APPEND.match(COUNTERS.sub("", line))
            if found is None:
                raise InputError(
                    f"{source}: line {number} is not a rule of iptables-save: {line[:60]!r}"
                )
            key = (table, found[1])
            policies.setdefault(key, None)
            known = rules.setdefault(key, [])
            known.append(parse_rule(table, found[1], len(known) + 1, found[2]))
    if not policies:
        raise InputError(f"{source}: holds no table: expected iptables-save output")
    return Ruleset(
        tuple(Chain(t, c, policy, tuple(rules[t, c])) for (t, c), policy in policies.items())
    )


def write_iptables_save(ruleset: Ruleset) -> str:
    """iptables-save text of a ruleset, without counters."""
    lines: list[str] = []
    for table in ruleset.tables:
        chains = [chain for chain in ruleset.chains if chain.table == table]
        lines.append(f"*{table}")
        lines += [f":{chain.name} {chain.policy or '-'} [0:0]" for chain in chains]
        lines += [
            f"-A {rule.chain} {rule.text}".rstrip() for chain in chains for rule in chain.rules
        ]
        lines.append("COMMIT")
    return "\n".join(lines) + "\n"
