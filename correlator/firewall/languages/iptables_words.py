"""A rule of iptables told apart into its words: matches, target, and the options of each.

The grammar is that of iptables(8)::

    [! ]OPTION value... -m MATCH [! ]OPTION value... -j TARGET OPTION value...

What an option means is told elsewhere (:mod:`~correlator.firewall.languages.iptables_conditions`,
:mod:`~correlator.firewall.languages.iptables_effects`)."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a match or target: ``! --dport 80`` is ``Option("--dport", ("80",),
    negated=True)``."""

    name: str
    values: tuple[str, ...] = ()
    negated: bool = False

    @property
    def value(self) -> str:
        """The first value, or the empty string for an option without one."""
        return self.values[0] if self.values else ""


@dataclass(frozen=True, slots=True)
class Match:
    """One match of a rule.

    ``name`` is the extension behind ``-m`` (``tcp``, ``conntrack``, ...), or for the options that
    iptables itself has: ``source`` (-s), ``destination`` (-d), ``in-interface`` (-i),
    ``out-interface`` (-o), ``protocol`` (-p) and ``fragment`` (-f); those have exactly one option,
    named ``-s``, ``-d``, ``-i``, ``-o``, ``-p`` or ``-f``. ``text`` is the match as iptables-save
    writes it. ``understood`` is False where the options could not be told apart (an extension
    nobody has heard of): its text is all that is known of it."""

    name: str
    text: str
    options: tuple[Option, ...] = ()
    understood: bool = True

    def option(self, name: str) -> Option | None:
        """The option of that name, or None."""
        return next((o for o in self.options if o.name == name), None)


@dataclass(frozen=True, slots=True)
class Target:
    """The word behind ``-j`` or ``-g`` (empty for a rule that only counts) with its options."""

    name: str
    options: tuple[Option, ...] = ()
    goto: bool = False

    def option(self, name: str) -> Option | None:
        """The option of that name, or None."""
        return next((o for o in self.options if o.name == name), None)


@dataclass(frozen=True, slots=True)
class Words:
    """A rule's matches in order, and its target."""

    matches: tuple[Match, ...]
    target: Target


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


def rule_words(text: str) -> Words:
    """The words of the text behind ``-A CHAIN ``."""
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
    return Words(tuple(matches), target)


def _target(jump: Option, reader: _Reader) -> Target:
    options = []
    while reader.more:
        if not reader.is_option():
            reader.at += 1
            continue
        options.append(reader.option()[0])
    return Target(jump.value, tuple(options), jump.name in ("-g", "--goto"))
