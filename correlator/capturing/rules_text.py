"""The text of a ruleset, as the host's own iptables-save prints it, and the lines of it that count.

iptables-save reads only and takes no lock (iptables and iptables-restore do: xtables_lock_or_exit
in iptables/xshared.c). It is run once a generation, not once a sample."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from correlator.capturing.programs import find_program, run_program
from correlator.errors import CorrelatorError

TABLES = ("raw", "mangle", "nat", "filter", "security")
TIMEOUT = 20
Line = tuple[str, str, int]
"""(table, chain, number of the rule; 0 for the policy)."""


@dataclass(frozen=True, slots=True)
class Tools:
    """iptables-save for each backend (None where there is none), what ``iptables --version`` says,
    ip6tables-save of nft's, and nft itself."""

    nft: str | None
    legacy: str | None
    version: str
    nft6: str | None = None
    native: str | None = None


def find_tools() -> Tools:
    """Look for iptables-save of both backends; ``iptables-save`` itself is one of them."""
    plain, version = find_program("iptables-save"), ""
    if plain is not None:
        version = run([plain, "--version"]).strip().replace("iptables-save ", "iptables ")
    nft = find_program("iptables-nft-save") or (plain if "nf_tables" in version else None)
    legacy = find_program("iptables-legacy-save") or (
        plain if plain is not None and "nf_tables" not in version else None
    )
    plain6 = find_program("ip6tables-save") if "nf_tables" in version else None
    nft6 = find_program("ip6tables-nft-save") or plain6
    return Tools(nft, legacy, version, nft6, find_program("nft"))


def run(command: list[str]) -> str:
    """What a program prints. Raises :class:`~correlator.errors.CorrelatorError` where it fails."""
    try:
        done = run_program(command, TIMEOUT)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CorrelatorError(f"{command[0]}: {error}") from None
    if done.returncode:
        raise CorrelatorError(
            f"{command[0]}: "
            f"{done.stderr.strip().splitlines()[0] if done.stderr.strip() else 'failed'}"
        )
    return done.stdout


def print_rules(save: str, counters: bool = False, tables: Sequence[str] | None = None) -> str:
    """What iptables-save prints now; of ``tables`` only, where they are named. Raises
    :class:`~correlator.errors.CorrelatorError` where it fails.

    iptables-legacy-save finds out which tables there are in a file that only root may read: who is
    not root names them."""
    words = [save, "-c"] if counters else [save]
    if tables is None:
        return run(words)
    return "".join(run([*words, "-t", table]) for table in tables)


_CHAIN = re.compile(r"^:(\S+) (\S+)")
_RULE = re.compile(r"^(?:\[\d+:\d+\] )?-A (\S+)")


def counting_lines(text: str) -> list[Line]:
    """Every line of iptables-save output that has a counter, in order: policies of base chains, and
    rules."""
    lines: list[Line] = []
    numbers: dict[tuple[str, str], int] = {}
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            found = _CHAIN.match(line)
            if found is not None and found[2] != "-":
                lines.append((table, found[1], 0))
        else:
            found = _RULE.match(line)
            if found is not None:
                number = numbers[table, found[1]] = numbers.get((table, found[1]), 0) + 1
                lines.append((table, found[1], number))
    return lines


def without_chains(text: str, unreal: set[tuple[str, str]]) -> str:
    """The text without the chain lines of ``unreal`` (table, chain), without comments and without
    counters.

    iptables-nft-save 1.8.9 prints base chains that the kernel does not have.
    """
    kept, table = [], ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            found = _CHAIN.match(line)
            if found is not None and (table, found[1]) in unreal:
                continue
            line = re.sub(r" \[\d+:\d+\]$", " [0:0]", line)
        kept.append(line)
    return "\n".join(kept) + "\n" if kept else ""


def unprintable(text: str) -> list[str]:
    """Tables that iptables-nft-save refuses to print because something else than iptables wrote
    into them."""
    return re.findall(r"^# Table [`'](\w+)' is incompatible", text, re.MULTILINE)
