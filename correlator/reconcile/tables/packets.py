"""The packets table: every frame with its connection and what conntrack called it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from correlator.dataset import schema
from correlator.flows.conntrack import STATE_NAMES
from correlator.flows.frames.direction import IN, OUT
from correlator.reconcile.tables.columns import DIRECTIONS, address, categorical, protocol, table

if TYPE_CHECKING:
    from correlator.reconcile.possible.scene import Scene
    from correlator.reconcile.tables.attribution import Attribution


def packets_table(scene: Scene, attribution: Attribution) -> pd.DataFrame:
    """Every frame with its connection and what conntrack called it."""
    packets = scene.packets
    count = len(packets)
    connection, direction = np.zeros(count, dtype=np.int64), np.full(count, 2, dtype=np.int64)
    state, crossing = np.full(count, 4, dtype=np.int64), np.zeros(count, dtype=np.int64)
    for rows in (scene.crossings.came_in, scene.crossings.left):
        seen = rows[attribution.crossing]
        good = seen >= 0
        connection[seen[good]] = attribution.connection[good]
        direction[seen[good]] = attribution.direction[good]
        state[seen[good]] = attribution.state[good]
        crossing[seen[good]] = attribution.crossing[good] + 1
    wire = np.select([scene.sight.wire == IN, scene.sight.wire == OUT], ["in", "out"], "")
    columns = {
        "time": packets["time"].to_numpy(),
        "interface": categorical(
            packets["interface"].to_numpy().astype(np.int64), lambda i: scene.names[i]
        ),
        "frame": packets["frame"].to_numpy(),
        "wire": pd.Categorical([str(word) for word in wire]),
        "protocol": categorical(packets["protocol"].to_numpy().astype(np.int64), protocol),
        "src": categorical(packets["src"].to_numpy().astype(np.int64), address),
        "sport": packets["sport"].to_numpy(),
        "dst": categorical(packets["dst"].to_numpy().astype(np.int64), address),
        "dport": packets["dport"].to_numpy(),
        "length": packets["length"].to_numpy(),
        "connection": connection,
        "direction": pd.Categorical.from_codes(direction, categories=list(DIRECTIONS)),
        "crossing": crossing,
        "state": pd.Categorical.from_codes(state, categories=list(STATE_NAMES)),
    }
    return table(columns, schema.PACKETS)
