"""The same loop as :mod:`correlator.reconcile.tables.layout`, compiled."""

from __future__ import annotations

from correlator.decode.compiled import allocating
from correlator.reconcile.tables import layout

lay_out = allocating(layout.lay_out)
