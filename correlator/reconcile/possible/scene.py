"""What stays the same under every hypothesis: packets, where they were seen, and their host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from correlator.arrays import Ints
    from correlator.firewall.view import Host
    from correlator.flows.conntrack_events import Witness
    from correlator.flows.frames.direction import Sight
    from correlator.flows.pairs import Crossings


@dataclass(frozen=True)
class Setting:
    """What a walk asks beside the packet: the host, names of interfaces by code, those that were
    captured; and conntrack."""

    host: Host
    names: tuple[str, ...]
    watched: frozenset[str]
    witness: Witness | None


@dataclass(frozen=True)
class Scene:
    """What does not change between readings: the packets, where they were seen, the host around
    them."""

    packets: pd.DataFrame
    crossings: Crossings
    sight: Sight
    host: Host
    names: tuple[str, ...]
    in_code: Ints
    out_code: Ints
    watched: frozenset[str]
    witness: Witness | None = None
