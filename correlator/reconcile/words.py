"""Numbers -> the words that tables show."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.dataset.schema import Columns

    Ints = npt.NDArray[np.int64]

PROTOCOL_NAMES = {1: "icmp", 6: "tcp", 17: "udp"}
DIRECTIONS = ("original", "reply", "untracked")


@lru_cache(maxsize=65536)
def address(value: int) -> str:
    """Dotted form of an IPv4 value; empty for an unknown one."""
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}" if 0 <= value < 1 << 32 else ""


def endpoint(value: int) -> str:
    """``address:port`` of ``address << 16 | port``."""
    return f"{address(value >> 16)}:{value & 0xFFFF}"


def protocol(number: int) -> str:
    """``tcp``, ``udp``, ``icmp`` or the number."""
    return PROTOCOL_NAMES.get(number, str(number))


def categorical(values: Ints, name: Any) -> pd.Categorical:
    """Integers as a categorical of what ``name`` calls them."""
    found, codes = np.unique(values, return_inverse=True)
    words = [name(int(value)) for value in found]
    number: dict[str, int] = {}
    position = np.array([number.setdefault(word, len(number)) for word in words] or [0], dtype=np.int64)
    return pd.Categorical.from_codes(position[codes] if len(codes) else codes, categories=list(number))


def tuple_columns(numbers: Ints, client: Ints, dialled: Ints, server: Ints, seen: Ints) -> dict[str, Any]:
    """The columns of an original and a reply tuple."""
    columns: dict[str, Any] = {"protocol": categorical(numbers, protocol)}
    for prefix, one, other in (("", client, dialled), ("reply_", server, seen)):
        for side, ends in (("src", one), ("dst", other)):
            columns[f"{prefix}{side}"] = categorical(ends >> 16, address)
            columns[f"{prefix}{'sport' if side == 'src' else 'dport'}"] = (ends & 0xFFFF).astype(np.int32)
    return columns


def table(columns: dict[str, Any], schema: Columns) -> pd.DataFrame:
    """A DataFrame with exactly the columns and dtypes that a schema declares."""
    frame = pd.DataFrame({name: columns[name] for name in schema})
    for name, (dtype, _) in schema.items():
        if str(frame[name].dtype) != dtype:
            frame[name] = frame[name].astype(dtype)
    return frame


def join_tables(tables: list[pd.DataFrame], by: str) -> pd.DataFrame:
    """Tables of one schema as one, ordered by a column; rows that share its value stay in their order."""
    from pandas.api.types import union_categoricals

    filled = [part for part in tables if len(part)]
    if len(filled) < 2:
        return filled[0] if filled else tables[0]
    columns: dict[str, Any] = {}
    for name, dtype in filled[0].dtypes.items():
        parts = [part[name] for part in filled]
        if isinstance(dtype, pd.CategoricalDtype):
            columns[str(name)] = union_categoricals(parts)
        else:
            columns[str(name)] = pd.Series(np.concatenate(parts), dtype=dtype)
    return pd.DataFrame(columns).sort_values(by, kind="stable", ignore_index=True)
