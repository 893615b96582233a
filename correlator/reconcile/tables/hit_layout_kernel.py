"""The same loop as :mod:`correlator.reconcile.tables.hit_layout`, compiled."""

from __future__ import annotations

from correlator.decode.compiled import allocating
from correlator.reconcile.tables import hit_layout

lay_out = allocating(hit_layout.lay_out)
