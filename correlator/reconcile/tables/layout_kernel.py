"""The same loop as :mod:`correlator.reconcile.tables.layout`, compiled."""

from __future__ import annotations

from numba import njit

from correlator.reconcile.tables import layout

lay_out = njit(cache=True, nogil=True)(layout.lay_out)
