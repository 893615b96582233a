"""Rulesets: their model, the readers of what iptables prints, and the walk of one packet. Pure: no
pandas, no files."""

from correlator.firewall.languages.iptables_save import parse_iptables_save, write_iptables_save
from correlator.firewall.model import Chain, Entry, Match, Option, Rule, Ruleset, Target

__all__ = [
    "Chain",
    "Entry",
    "Match",
    "Option",
    "Rule",
    "Ruleset",
    "Target",
    "parse_iptables_save",
    "write_iptables_save",
]
