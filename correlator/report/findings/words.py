"""The words of findings: how many connections, of whom, to where; lists that end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import numpy as np

from correlator.report.units import plural

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis

LISTED = 3
PORTED = ("tcp", "udp", "sctp", "dccp", "udplite")


def listed(items: Iterable[str], what: str = "", bound: int = LISTED) -> str:
    """``a``, ``a and b``, ``a, b, c and 4 more ports``."""
    found = list(dict.fromkeys(items))
    if len(found) > bound:
        more = plural(len(found) - bound, f"more {what}") if what else f"{len(found) - bound:,} more"
        return f"{', '.join(found[:bound])} and {more}"
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def door(analysis: Analysis, protocol: object, address: object, port: object) -> str:
    """``172.31.37.164:80``, ``web (172.17.0.2):53/udp``, ``10.0.0.1 (icmp)``."""
    name, kind = analysis.named(address), str(protocol)
    if kind not in PORTED:
        return f"{name} ({kind if kind == 'icmp' else f'protocol {kind}'})"
    return f"{name}:{port}" + ("" if kind == "tcp" else f"/{kind}")


def doors(analysis: Analysis, frame: pd.DataFrame, side: str = "dialled") -> str:
    """Where these connections went: as ``dialled``, or the ``server`` behind NAT."""
    columns = ["protocol", *(("dst", "dport") if side == "dialled" else ("reply_src", "reply_sport"))]
    rows = frame[columns].drop_duplicates()
    bare = ~rows["protocol"].isin(PORTED)
    if bare.any():  # an id is no port
        rows = rows.assign(**{columns[2]: rows[columns[2]].where(~bare, 0)}).drop_duplicates()
    return listed((door(analysis, *row) for row in rows.itertuples(index=False)), "place")


def clients(analysis: Analysis, frame: pd.DataFrame) -> str:
    """``172.31.40.9``, ``this host``, ``A, B, C and 5 more clients``."""
    sources = frame["src"].drop_duplicates().astype(str)
    return listed((who(analysis, source) for source in sources), "client")


def who(analysis: Analysis, address: str) -> str:
    """``this host (172.17.0.1)``, ``web (172.17.0.2)``, ``10.0.0.9``."""
    return f"this host ({address})" if analysis.host.is_local(int(IPv4Address(address))) else analysis.named(address)


def connections_of(analysis: Analysis, frame: pd.DataFrame) -> str:
    """``3 connections from A to B:80``."""
    return f"{plural(len(frame), 'connection')} from {clients(analysis, frame)} to {doors(analysis, frame)}"


def was(frame: Sequence[object] | pd.DataFrame) -> str:
    """The verb that goes with so many."""
    return "was" if len(frame) == 1 else "were"


def picked(frame: pd.DataFrame, mask: Iterable[bool]) -> pd.DataFrame:
    """The rows for which ``mask`` holds; an empty frame stays one."""
    return frame[np.array(list(mask), dtype=bool)]


def counted(text: str, frame: pd.DataFrame) -> str:
    """``{it}`` in a text as it is said of so many."""
    return text.replace("{it}", "it" if len(frame) == 1 else "them")


def sentence(text: str) -> str:
    """With a capital, where it does not begin with a rule's name."""
    return text if "/" in text.split(" ", 1)[0] else text[:1].upper() + text[1:]


def numbers(frame: pd.DataFrame) -> tuple[int, ...]:
    """Their numbers."""
    return tuple(int(number) for number in frame["connection"])


def unproven(status: str) -> str:
    """What has to be said beside rows that no counter confirms."""
    return " No counter confirms it: this is what the rules say." if status == "unverified" else ""
