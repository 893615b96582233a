"""Which rules make the kernel follow connections: those that ask conntrack, or translate.

Without any in a family, conntrack does not run there (nf_ct_netns_get): packets belong to no
connection, chains of type nat see none, fragments stay apart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from correlator.firewall.conditions import conntrack
from correlator.firewall.effects.fields import CopyMark, NoTrack
from correlator.firewall.effects.nat import Nat

if TYPE_CHECKING:
    from correlator.firewall.model import Rule

CONDITIONS = (
    conntrack.State,
    conntrack.Mark,
    conntrack.Helper,
    conntrack.Status,
    conntrack.InTuple,
    conntrack.Direction,
)
EFFECTS = (Nat, NoTrack, CopyMark)
WORDS = re.compile(
    r"-m (?:conntrack|state|connmark|connbytes|connlimit|connlabel|helper|cluster)\b"
    r"|-[jg] (?:CT|NOTRACK|CONNMARK|CONNSECMARK|SYNPROXY|MASQUERADE|[DS]NAT|REDIRECT|NETMAP)\b"
)
"""Extensions whose check takes hold of conntrack (xt_*.c), understood or not."""
NFT_WORDS = re.compile(r"\A[^-].*?\bct ")
"""Expressions of nft that read a connection (nft_ct_get_init), as nft writes them."""


def asks_conntrack(rule: Rule) -> bool:
    """Whether a rule makes conntrack run in its family."""
    return (
        any(isinstance(one, CONDITIONS) for one in rule.conditions)
        or any(isinstance(one, EFFECTS) for one in rule.effects)
        or WORDS.search(rule.text) is not None
        or NFT_WORDS.search(rule.text.partition(' comment "')[0]) is not None
    )
