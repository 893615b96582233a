"""How ``nft list ruleset`` shows a counter: what a recording writes and a replay reads.

Counters of a listing are numbered from 0 as they stand there."""

from __future__ import annotations

import re

NUMBERS = re.compile(r"(\bpackets )(\d+)( bytes )(\d+)")
"""A counter; packets in group 2, bytes in group 4."""
PASSING = re.compile(r"(\b(?:used|expires) )\S+")
"""What else of a listing passes with time."""


def stilled(text: str) -> str:
    """A listing without what changes by itself: all counters show zero."""
    return PASSING.sub(r"\g<1>0", NUMBERS.sub(r"\g<1>0\g<3>0", text))
