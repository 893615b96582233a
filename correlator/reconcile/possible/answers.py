"""Errors that the host sent about packets which conntrack did not track: they are of no connection.

icmp_send() lets its error share the connection of the packet that it is about (nf_ct_attach). Where
that packet has none, conntrack looks for the quoted tuple the other way round, and finds a
connection only if no NAT lay between (nf_conntrack_inet_error); else the error is INVALID."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from correlator.flows.conntrack import RELATED_KIND, S_INVALID, UNTRACKED
from correlator.flows.keys import mix

if TYPE_CHECKING:
    import pandas as pd

    from correlator.arrays import Bools
    from correlator.flows.labels import Labels
    from correlator.flows.pairs import Crossings


def about_untracked(crossings: Crossings, packets: pd.DataFrame, untracked: Bools) -> Bools:
    """Errors (n,) that the host sent about a packet of those ``untracked`` (n,)."""
    asked = np.flatnonzero(~crossings.entered & (crossings.kind == RELATED_KIND))
    rows = np.flatnonzero(untracked & crossings.entered)
    result = np.zeros(len(crossings), dtype=bool)
    if not len(asked) or not len(rows):
        return result
    quoted = mix(
        crossings.quoted_source[asked],
        crossings.quoted_destination[asked],
        packets["inner_ip_id"].to_numpy()[crossings.left[asked]],
    )
    names = mix(
        crossings.in_source[rows],
        crossings.in_destination[rows],
        packets["ip_id"].to_numpy()[crossings.came_in[rows]],
    )
    result[asked] = np.isin(quoted, names)
    return result


def without_connection(labels: Labels, errors: Bools) -> Labels:
    """The labels with these ``errors`` (n,) as packets that conntrack finds no connection for."""
    if not errors.any():
        return labels
    no = ~errors
    return replace(
        labels,
        direction=np.where(errors, UNTRACKED, labels.direction),
        state=np.where(errors, S_INVALID, labels.state),
        destination_nat=labels.destination_nat & no,
        source_nat=labels.source_nat & no,
        seen_reply=labels.seen_reply & no,
    )
