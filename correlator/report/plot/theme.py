"""Colours, sizes and shapes. Outcomes are Okabe and Ito's colour-blind safe palette, each with a
shape of its own."""

from __future__ import annotations

from dataclasses import dataclass

from correlator.errors import InputError

MARKERS = {
    "DNAT": "o",
    "REDIRECT": "h",
    "MASQUERADE": "^",
    "SNAT": "d",
    "docker-proxy": "D",
    "forwarded": ">",
    "local": "s",
    "dropped": "X",
    "rejected": "P",
    "lost": "v",
    "expired": "*",
    "untracked": "p",
    "unknown": "8",
}
HATCHES = {
    "REDIRECT": "\\\\\\\\",
    "MASQUERADE": "////",
    "SNAT": "....",
    "docker-proxy": "xxxx",
    "forwarded": "----",
    "local": "....",
    "rejected": "++++",
    "lost": "oo",
    "expired": "**",
}
"""A second channel for areas, where colours may be lost: in print."""


@dataclass(frozen=True)
class Theme:
    """``width`` in inches, ``size`` the base font in points, ``row`` a rule's height in inches,
    ``label`` the share of the width for labels; the rest are colours. ``hatched``: areas carry a
    pattern beside their colour."""

    name: str
    width: float
    size: float
    row: float
    label: float
    dpi: int
    background: str
    ink: str
    muted: str
    grid: str
    line: str
    area: str
    dense: str
    loose: str
    gap: str
    shade: str
    change: str
    warning: str
    outcomes: dict[str, str]
    hatched: bool = False

    def colour(self, outcome: str) -> str:
        """The colour of an outcome."""
        return self.outcomes.get(outcome, self.muted)


_OUTCOMES = {
    "DNAT": "#0072B2",
    "REDIRECT": "#56B4E9",
    "MASQUERADE": "#009E73",
    "SNAT": "#009E73",
    "docker-proxy": "#E69F00",
    "forwarded": "#56B4E9",
    "local": "#8A8F98",
    "dropped": "#D55E00",
    "rejected": "#D55E00",
    "lost": "#CC79A7",
    "expired": "#CC79A7",
    "untracked": "#B5A900",
    "unknown": "#B5A900",
}
_BRIGHT = {
    "DNAT": "#4FA8E0",
    "REDIRECT": "#A6D8F5",
    "MASQUERADE": "#2CC79B",
    "SNAT": "#2CC79B",
    "docker-proxy": "#F5B82E",
    "forwarded": "#A6D8F5",
    "local": "#A7AEB7",
    "dropped": "#FF8A3D",
    "rejected": "#FF8A3D",
    "lost": "#E3A0C5",
    "expired": "#E3A0C5",
    "untracked": "#F0E442",
    "unknown": "#F0E442",
}
"""The same hues, light enough for a dark ground."""

LIGHT = Theme(
    "light",
    13.0,
    8.5,
    0.27,
    0.37,
    110,
    background="#FFFFFF",
    ink="#1B1F24",
    muted="#6A737D",
    grid="#E6E8EB",
    line="#33475B",
    area="#B9C7D6",
    dense="#6F879F",
    loose="#B9C7D6",
    gap="#C8102E",
    shade="#F4F5F7",
    change="#7A3E9D",
    warning="#8A5A00",
    outcomes=_OUTCOMES,
)
DARK = Theme(
    "dark",
    13.0,
    8.5,
    0.27,
    0.37,
    110,
    background="#14181D",
    ink="#E8EAED",
    muted="#98A1AB",
    grid="#2B3138",
    line="#C3D3E3",
    area="#47607A",
    dense="#8FA9C4",
    loose="#47607A",
    gap="#FF4D5E",
    shade="#1D2228",
    change="#CE9BEA",
    warning="#F0C05A",
    outcomes={**_OUTCOMES, **_BRIGHT},
)
PRINT = Theme(
    "print",
    7.2,
    6.2,
    0.185,
    0.40,
    300,
    background="#FFFFFF",
    ink="#000000",
    muted="#505050",
    grid="#DDDDDD",
    line="#000000",
    area="#C4C4C4",
    dense="#6E6E6E",
    loose="#C4C4C4",
    gap="#C8102E",
    shade="#F3F3F3",
    change="#5B2A7A",
    warning="#5A3A00",
    outcomes=_OUTCOMES,
    hatched=True,
)
THEMES = {theme.name: theme for theme in (LIGHT, DARK, PRINT)}


def find_theme(name: str) -> Theme:
    """The theme of that name. Raises :class:`~correlator.errors.InputError` for another one."""
    if name not in THEMES:
        raise InputError(f"--theme {name}: is no theme: expected one of {', '.join(THEMES)}")
    return THEMES[name]
