"""All languages in which rules are read, in the order in which they are tried: a new one is a file
beside this, and a line here."""

from __future__ import annotations

from correlator.firewall.languages import iptables_listing, iptables_save, iptables_spec
from correlator.firewall.languages.counted import Language

LANGUAGES: tuple[Language, ...] = (
    iptables_listing.LANGUAGE,
    iptables_spec.LANGUAGE,
    iptables_save.LANGUAGE,
)


def language_of(text: str) -> Language:
    """The language of a snapshot; the last where none fits: its reader says what is wrong."""
    return next((one for one in LANGUAGES if one.begins.search(text)), LANGUAGES[-1])


def commands() -> str:
    """What prints them, the usual ones: ``iptables-save -c or iptables -L -n -v``."""
    return f"{iptables_save.LANGUAGE.command} or {iptables_listing.LANGUAGE.command}"
