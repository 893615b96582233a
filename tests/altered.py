"""Analyses with tables put in the place of their own."""

from __future__ import annotations

import dataclasses
from typing import Any

from correlator.reconcile.analysis import Analysis

FIELDS = {field.name for field in dataclasses.fields(Analysis)}


def altered(analysis: Analysis, **changes: Any) -> Analysis:
    """The analysis with other fields, or other tables where it would write its own."""
    result = dataclasses.replace(
        analysis, **{name: value for name, value in changes.items() if name in FIELDS}
    )
    for name in ("hits", "ledger", "balances", "packets"):
        if name in changes or name in analysis.__dict__:
            result.__dict__[name] = changes.get(name, getattr(analysis, name))
    if "ledger" in changes:
        result.__dict__["balances"] = changes["ledger"].drop(columns="connections")
    return result
