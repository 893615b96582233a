"""What of a recording a user may have saved: each variation is a folder to load."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FACTS = ("addr.json", "link.json", "route.json", "sysctl.txt", "ipsets.txt")


@dataclass(frozen=True)
class About:
    """What a scorer has to know of a recording: whether rules changed, and the tables listed."""

    seed: int
    changes: bool
    tables: tuple[str, ...]


def about(case: Path) -> About:
    """Of a recorded case."""
    said = json.loads((case / "truth" / "about.json").read_text())
    return About(said["seed"], said["changes"], tuple(said["tables"]))


def _pcaps(case: Path) -> list[str]:
    return sorted(path.name for path in case.glob("*.pcap"))


def _full(case: Path, _about: About) -> list[str]:
    return [*_pcaps(case), *FACTS, "counters.log", "listing.log", "rules.v4"]


def _nofacts(case: Path, _about: About) -> list[str]:
    return [*_pcaps(case), "counters.log", "listing.log"]


def _listing(case: Path, _about: About) -> list[str]:
    return [*_pcaps(case), *FACTS, "listing.log"]


def _rules(case: Path, known: About) -> list[str]:
    """Rules without counters tell nothing of rules that changed."""
    return [] if known.changes else [*_pcaps(case), *FACTS, "rules.v4"]


def _any(_case: Path, _about: About) -> list[str]:
    return [*FACTS, "counters.log", "rules.v4", "truth/any.pcap"]


def _lossy(case: Path, known: About) -> list[str]:
    """One interface was not captured."""
    pcaps = [name for name in _pcaps(case) if name != "lo.pcap"]
    gone = random.Random(f"{known.seed}-lossy").choice(pcaps)
    return [name for name in _full(case, known) if name != gone]


def _ports(case: Path, known: About) -> list[str]:
    """The bridges' ports beside the bridges."""
    ports = [f"truth/{path.name}" for path in (case / "truth").glob("veth*.pcap")]
    return [*_full(case, known), *ports] if ports else []


VARIATIONS: dict[str, Callable[[Path, About], list[str]]] = {
    "full": _full,
    "nofacts": _nofacts,
    "listing": _listing,
    "any": _any,
    "lossy": _lossy,
    "rules": _rules,
    "ports": _ports,
}
"""Name -> the files that it has (none: it does not apply)."""
USUAL = ("full", "nofacts", "listing", "any", "lossy", "rules")


def make(case: Path, variation: str, folder: Path) -> bool:
    """Make the variation's folder; false where it does not apply to the case."""
    names = VARIATIONS[variation](case, about(case))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in names:
        if (case / name).exists():
            shutil.copy(case / name, folder)
    return bool(names)
