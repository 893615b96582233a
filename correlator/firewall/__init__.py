"""Rulesets, the counters that were read of them, and the walk of one packet through them.

Nothing here knows pandas, connections or reports. In the order in which it builds up::

    hooks      where base chains stand: hook, priority, type
    view       one packet as rules see it, and the host around it
    values     addresses, ports and marks as text spells them; sets: members of ipsets
    conditions what a rule asks, as data; each compiles into a three-valued predicate
    effects    what a rule does, as data: verdicts, NAT, what is written into a packet
    model      rules, chains, rulesets: no language owns them
    languages  one reader for each way in which rules are written (readers.py lists them)
    published  which endpoints DNAT rules publish, and how a packet gets to such a rule
    samples    logs of counters over time, in any of the languages
    walk       a packet through hook after hook: every path that rules and wire allow

Terminology::

    rule       one line of a chain: conditions and effects, and the words that it was written in
    entry      what counts: a rule, or the policy of a base chain
    base chain a chain that stands at a hook; the others are jumped to
    condition  true, false or unknown of one packet; what nobody knows is unknown, never false
    effect     what a rule does; none: it only counts
    verdict    accept, drop or return
    snapshot   what one reading of the counters printed, behind its time
    template   a snapshot without its numbers: snapshots alike are read many at once
    passage    one packet's way as the wire saw it
    path       one way through the rules that fits a passage; ``End`` says how it ended
"""

from correlator.firewall.languages.iptables_save import parse_iptables_save, write_iptables_save
from correlator.firewall.model import Chain, Entry, Rule, Ruleset

__all__ = ["Chain", "Entry", "Rule", "Ruleset", "parse_iptables_save", "write_iptables_save"]
