"""Coloring rules for Wireshark (its ``colorfilters`` format) that tell by packet comments what
became of each packet.

The first rule that fits wins. Colors are Okabe and Ito's, which people of any color vision can tell
apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Coloring:
    """``where`` is a display filter; colors are (red, green, blue), 0 to 255."""

    name: str
    where: str
    background: tuple[int, int, int]
    foreground: tuple[int, int, int] = BLACK


RULES = (
    Coloring("correlator: ambiguous", 'frame.comment matches "^ambiguous: "', (240, 228, 66)),
    Coloring("correlator: dropped", 'frame.comment contains " DROP"', (213, 94, 0), WHITE),
    Coloring("correlator: rejected", 'frame.comment contains " REJECT"', (204, 121, 167)),
    Coloring(
        "correlator: came in, never left",
        'frame.comment contains "| not seen leaving" or frame.comment contains "| time to live '
        'ran out" or '
        'frame.comment contains "| no route"',
        (230, 159, 0),
    ),
    Coloring(
        "correlator: destination translated",
        'frame.comment contains " DNAT" or frame.comment contains " REDIRECT"',
        (86, 180, 233),
    ),
    Coloring(
        "correlator: source translated",
        'frame.comment contains " MASQUERADE" or frame.comment contains " SNAT"',
        (0, 114, 178),
        WHITE,
    ),
    Coloring("correlator: hit no rule", 'frame.comment contains "no rule"', (153, 153, 153)),
    Coloring("correlator: accepted", 'frame.comment contains " ACCEPT"', (218, 240, 230)),
    Coloring("correlator: not seen by rules", "!frame.comment", (242, 242, 242), (110, 110, 110)),
)


def write_rules(path: Path) -> None:
    """Write the file."""
    lines = [
        "# Coloring rules for what `correlator export PATH pcapng` writes; View > Coloring Rules "
        "> Import."
    ]
    lines += [
        f"@{rule.name}@{rule.where}@{_color(rule.background)}{_color(rule.foreground)}"
        for rule in RULES
    ]
    path.write_text("\n".join(lines) + "\n")


def _color(value: tuple[int, int, int]) -> str:
    """Components have 16 bits there."""
    return f"[{','.join(str(part * 257) for part in value)}]"
