"""How long an answer may be awaited before it is missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from correlator.reconcile.analysis import Analysis

PATIENCE_NS = 1_000_000_000
"""A SYN is sent again after a second (RFC 6298)."""


def overdue(analysis: Analysis, frame: pd.DataFrame) -> pd.DataFrame:
    """Those rows of the connections table that had the time to be answered: asked more than once,
    or a second before the recording ended."""
    if frame.empty:
        return frame
    end = int(analysis.connections["last_seen"].max())
    return frame[(frame["packets_original"] > 1) | (frame["first_seen"] < end - PATIENCE_NS)]
