"""The same conntrack as :mod:`correlator.flows.conntrack`, compiled into the fold's loop."""

from __future__ import annotations

import numpy as np
from numba.extending import register_jitable

from correlator.decode.compiled import INNER, part
from correlator.flows import conntrack, tcp_window
from correlator.flows.conntrack import TRANSITIONS

for helper in (
    tcp_window.after,
    tcp_window.same,
    tcp_window.begin_window,
    tcp_window.place,
    conntrack.open_entry,
    conntrack.follow_tcp,
    conntrack.reset_state,
    conntrack.kept,
    conntrack.timeout_of,
):
    register_jitable(**INNER)(helper)  # they call each other by their names

judge = part(conntrack.judge)
tcp_kind = part(conntrack.tcp_kind)

TABLE = np.array(TRANSITIONS, dtype=np.int64)
"""As :func:`judge` takes it here."""
