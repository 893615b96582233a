"""The words of findings: how many connections, of whom, to where; lists that end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from correlator.report.findings.rules import value
from correlator.report.units import plural

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis

LISTED = 3
PORTED = ("tcp", "udp")


def listed(items: Iterable[str], what: str = "", bound: int = LISTED) -> str:
    """``a``, ``a and b``, ``a, b, c and 4 more clients``."""
    found = list(dict.fromkeys(items))
    if len(found) > bound:
        more = (
            plural(len(found) - bound, f"more {what}") if what else f"{len(found) - bound:,} more"
        )
        return f"{', '.join(found[:bound])} and {more}"
    return " and ".join([", ".join(found[:-1]), found[-1]] if len(found) > 1 else found)


def door(analysis: Analysis, protocol: object, address: object, port: object) -> str:
    """``172.31.37.164:80``, ``web (172.17.0.2):53/udp``, ``10.0.0.1 (icmp)``."""
    name, kind = analysis.named(address), str(protocol)
    if kind not in PORTED:
        return f"{name} ({kind if kind == 'icmp' else f'protocol {kind}'})"
    return f"{name}:{port}" + ("" if kind == "tcp" else f"/{kind}")


def doors(analysis: Analysis, frame: pd.DataFrame, server: bool = False) -> str:
    """What these connections dialled, or with ``server`` who was behind it."""
    address, port = ("reply_src", "reply_sport") if server else ("dst", "dport")
    rows = frame[["protocol", address, port]].drop_duplicates()
    return listed((door(analysis, *row) for row in rows.itertuples(index=False)), "place")


def ports(frame: pd.DataFrame) -> str:
    """``tcp port 80``, ``tcp ports 80 and 81 and udp port 53``."""
    said = []
    for protocol, part in frame.groupby("protocol", observed=True, sort=False):
        numbers_ = [str(port) for port in sorted(part["dport"].unique())]
        said.append(f"{protocol} port{'' if len(numbers_) == 1 else 's'} {listed(numbers_)}")
    return " and ".join(said)


def who(analysis: Analysis, address: object) -> str:
    """``this host (172.17.0.1)``, ``web (172.17.0.2)``, ``10.0.0.9``."""
    return (
        f"this host ({address})"
        if analysis.host.is_local(value(str(address)))
        else analysis.named(address)
    )


def clients(analysis: Analysis, frame: pd.DataFrame) -> str:
    """``172.31.40.9``, ``this host (127.0.0.1)``, ``A, B, C and 5 more clients``."""
    return listed((who(analysis, source) for source in frame["src"].drop_duplicates()), "client")


def connections_of(analysis: Analysis, frame: pd.DataFrame) -> str:
    """``3 connections from A to B:80``."""
    return (
        f"{plural(len(frame), 'connection')} from {clients(analysis, frame)} to "
        f"{doors(analysis, frame)}"
    )


def was(frame: pd.DataFrame) -> str:
    """The verb that goes with so many."""
    return "was" if len(frame) == 1 else "were"


def picked(frame: pd.DataFrame, mask: Iterable[bool]) -> pd.DataFrame:
    """The rows for which ``mask`` holds; an empty frame stays one."""
    return frame[np.fromiter(mask, dtype=bool)]


def said(analysis: Analysis, text: str, frame: pd.DataFrame) -> str:
    """A text with ``{it}``, ``{ports}`` and ``{server}`` filled in as they are of these
    connections."""
    text = text.replace("{it}", "it" if len(frame) == 1 else "them")
    text = text.replace("{ports}", ports(frame)) if "{ports}" in text else text
    return (
        text.replace("{server}", doors(analysis, frame, server=True))
        if "{server}" in text
        else text
    )


def sentence(text: str) -> str:
    """With a capital, where it does not begin with a rule's name."""
    return text if "/" in text.split(" ", 1)[0] else text[:1].upper() + text[1:]


def numbers(frame: pd.DataFrame) -> tuple[int, ...]:
    """Their numbers."""
    return tuple(frame["connection"].tolist())


def unproven(frame: pd.DataFrame) -> str:
    """What has to be said beside rows that no counter confirms."""
    return (
        " No counter confirms it: this is what the rules say."
        if (frame["status"] == "unverified").any()
        else ""
    )
