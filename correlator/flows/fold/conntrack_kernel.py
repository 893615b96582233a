"""The same conntrack as :mod:`correlator.flows.conntrack`, compiled into the fold's loop."""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from correlator.decode.compiled import INNER, part
from correlator.flows import conntrack
from correlator.flows.conntrack import TRANSITIONS

for helper in (conntrack.open_entry, conntrack.follow_tcp, conntrack.timeout_of):
    register_jitable(**INNER, forceinline=True)(helper)  # they call each other by their names

judge = part(conntrack.judge)
tcp_kind = part(conntrack.tcp_kind)

TABLE = np.array(TRANSITIONS, dtype=np.int64)
"""As :func:`judge` takes it here."""
