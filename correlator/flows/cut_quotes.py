"""ICMP errors whose quote was cut by the snap length: whose packet they quote, told by its
identification.

An error quotes the IP header of a packet and eight bytes behind it (RFC 792). Where a capture kept
the header only, the ports are missing; the addresses and the identification are there, and a
tap has shown the packet itself just before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from correlator.flows.keys import mix

if TYPE_CHECKING:
    import pandas as pd

    from correlator.arrays import Bools, Ints

ANSWERED_NS = 1_000_000_000
"""An error is sent at most this long after the packet that it quotes, but for one that waited for a
neighbour in vain."""
PORTED = (1, 6, 17, 58)


def complete_quotes(
    packets: pd.DataFrame, source: Ints, destination: Ints, quoted: tuple[Ints, Ints]
) -> tuple[Ints, Ints, Bools]:
    """(source, destination) endpoints that each frame quotes, with ports where those were cut and
    one packet alone can be meant; and which are still without. All (n,), as the arguments."""
    quoted_source, quoted_destination = (ends.copy() for ends in quoted)
    p = {name: packets[name].to_numpy() for name in _FIELDS}
    cut = np.isin(p["inner_protocol"], PORTED) & (p["inner_sport"] == 0) & (p["inner_dport"] == 0)
    if not cut.any():
        return quoted_source, quoted_destination, cut
    name = mix(p["protocol"], p["src"], p["dst"], p["ip_id"])
    order = np.lexsort((p["time"], name))
    for row in np.flatnonzero(cut).tolist():
        asked = mix(*([p[f"inner_{field}"][row]] for field in ("protocol", "src", "dst", "ip_id")))
        low, high = (np.searchsorted(name[order], asked[0], side=s) for s in ("left", "right"))
        ago = p["time"][row] - p["time"][order[low:high]]
        seen = order[low:high][(ago >= 0) & (ago <= ANSWERED_NS)]
        if len(seen) and len(np.unique(source[seen])) == len(np.unique(destination[seen])) == 1:
            quoted_source[row], quoted_destination[row] = source[seen[0]], destination[seen[0]]
            cut[row] = False
    return quoted_source, quoted_destination, cut


_FIELDS = (
    "time",
    "protocol",
    "src",
    "dst",
    "ip_id",
    "inner_protocol",
    "inner_src",
    "inner_dst",
    "inner_sport",
    "inner_dport",
    "inner_ip_id",
)
