"""Tables of nft's own, as ``nft -a list ruleset`` prints them, and which counter of the kernel's
each of the counters in the text is.

nft reads only and takes no lock. It is run once a generation, not once a sample."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from correlator.capturing.rules_text import run
from correlator.dataset.listed_counters import NUMBERS, stilled

Table = tuple[str, str]
"""(family, name)."""
Counter = tuple[str, str, str, int | str, int]
"""A counter of the kernel's: ``rule``, family, table, handle, its number among the rule's (from 0);
or ``object``, family, table, name, 0."""
_BLOCK = re.compile(r"^table (\S+) (\S+) \{")
_PART = re.compile(r"^\t(chain|counter) (\S+) \{")
_HANDLE = re.compile(r" # handle (\d+)$")


@dataclass(frozen=True, slots=True)
class Listing:
    """``text`` of tables, and for each counter in it, in order, which of the kernel's it is (None:
    one of a set's elements, which is not read)."""

    text: str = ""
    counters: tuple[Counter | None, ...] = ()


def list_native(nft: str, left_out: Collection[Table]) -> Listing:
    """All tables but those that are ``left_out``. Raises
    :class:`~correlator.errors.CorrelatorError` where nft fails."""
    return listing_of(run([nft, "-a", "list", "ruleset"]), left_out)


def listing_of(printed: str, left_out: Collection[Table]) -> Listing:
    """What is kept of a listing, with counters that show zero."""
    kept: list[str] = []
    counters: list[Counter | None] = []
    family = table = ""
    part: tuple[str, str] | None = None
    for line in printed.splitlines():
        begins = _BLOCK.match(line)
        if begins:
            family, table = begins[1], begins[2]
        if not table or (family, table) in left_out:
            continue
        opens = _PART.match(line)
        part = (opens[1], opens[2]) if opens else None if line.startswith("\t}") else part
        counters += _counters(line, family, table, part)
        kept.append(line)
    return Listing(stilled("\n".join(kept) + "\n") if kept else "", tuple(counters))


def _counters(
    line: str, family: str, table: str, part: tuple[str, str] | None
) -> list[Counter | None]:
    """Those of one line: of a rule, by its handle; of a counter that has a name."""
    found = NUMBERS.findall(line)
    if not found or part is None:
        return [None] * len(found)
    if part[0] == "counter":
        return [("object", family, table, part[1], 0)]
    handle = _HANDLE.search(line)
    if handle is None:
        return [None] * len(found)
    return [("rule", family, table, int(handle[1]), number) for number in range(len(found))]
