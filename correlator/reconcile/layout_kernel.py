"""The same loop as :mod:`correlator.reconcile.layout`, compiled."""

from __future__ import annotations

from numba import njit

from correlator.reconcile import layout

lay_out = njit(cache=True, nogil=True)(layout.lay_out)
