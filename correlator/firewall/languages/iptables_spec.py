"""``iptables -S -v`` output, as iptables-save would have printed it.

It prints rules as iptables-save does, but with their counters between the words (``-c packets
bytes``) and without tables: as in a listing, base chains tell which table it is (iptables(8),
--list-rules)."""

from __future__ import annotations

import re

from correlator.errors import InputError
from correlator.firewall.languages.counted import Counted, Language
from correlator.firewall.languages.iptables_listing import completed, table_with
from correlator.firewall.languages.iptables_save import SaveReader
from correlator.firewall.model import Ruleset

_POLICY = re.compile(r"-P (\S+) (\S+) -c (\d{1,20}) (\d{1,20})$")
_CHAIN = re.compile(r"-N (\S+)$")
_RULE = re.compile(r"(-A \S+(?: .*?)?) -c (\d{1,20}) (\d{1,20})( .*)?$")
_TRANSLATES = re.compile(r" -j (?:DNAT|SNAT|MASQUERADE|REDIRECT)\b")


class SpecReader:
    """Snapshots of iptables -S -v; each text without its numbers is parsed once."""

    def __init__(self, source: str) -> None:
        self.saves = SaveReader(source)
        self.known: dict[int, Ruleset] = {}
        self.warnings: list[str] = []

    def read(self, text: str, line: int) -> Counted:
        """One snapshot; tables that were not listed may be there all the same."""
        saved = as_saved(text, f"{self.saves.source}, snapshot at line {line}")
        counted = self.saves.read(saved, line)
        if id(counted.ruleset) not in self.known:
            ruleset, missing = completed(counted.ruleset)
            self.known[id(counted.ruleset)] = ruleset
            self.warnings += [one for one in missing if one not in self.warnings]
        return Counted(self.known[id(counted.ruleset)], counted.values)


def as_saved(text: str, source: str) -> str:
    """The snapshot as iptables-save -c prints it."""
    tables: list[list[str]] = []
    for line in (raw.strip() for raw in text.splitlines()):
        if not line.startswith("-"):
            continue
        policy, rule, chain = _POLICY.match(line), _RULE.match(line), _CHAIN.match(line)
        if policy:
            if not tables or not tables[-1][-1].startswith(":"):
                tables.append([])
            tables[-1].append(f":{policy[1]} {policy[2]} [{policy[3]}:{policy[4]}]")
        elif rule and tables:
            tables[-1].append(f"[{rule[2]}:{rule[3]}] {rule[1]}{rule[4] or ''}")
        elif chain and tables:
            tables[-1].append(f":{chain[1]} - [0:0]")
        else:
            raise InputError(f"{source}: not a line of `iptables -S -v`: {line[:60]!r}")
    used: set[str] = set()
    lines: list[str] = []
    for group in tables:
        base = tuple(one[1:].split()[0] for one in group if one[0] == ":" and " - " not in one)
        table = table_with(base, any(map(_TRANSLATES.search, group)), used)
        if table is None:
            raise InputError(f"{source}: cannot tell which table {', '.join(base)} belongs to")
        used.add(table)
        lines += [f"*{table}", *group, "COMMIT"]
    return "\n".join(lines) + "\n"


LANGUAGE = Language(
    "spec",
    "iptables -S -v",
    re.compile(r"^-P \S+ \S+ -c \d", re.MULTILINE),
    SpecReader,
    lambda text: not text.endswith("\n"),
    False,
)
