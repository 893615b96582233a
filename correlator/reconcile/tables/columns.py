"""Numbers -> the words that tables show."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from correlator import addresses
from correlator.endpoints import address_of, port_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Ints
    from correlator.dataset.schema import Columns

    Integers = npt.NDArray[np.integer[Any]]

PROTOCOL_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}
DIRECTIONS = ("original", "reply", "untracked")


def address(value: int) -> str:
    """An address as it is written; empty for an unknown one."""
    return addresses.text(value) if addresses.is_ipv6(value) else _dotted(value)


@lru_cache(maxsize=65536)
def _dotted(value: int) -> str:
    return addresses.text(value)


def endpoint(value: int) -> str:
    """``address:port`` of an endpoint."""
    return f"{address(address_of(value))}:{port_of(value)}"


def protocol(number: int) -> str:
    """``tcp``, ``udp``, ``icmp`` or the number."""
    return PROTOCOL_NAMES.get(number, str(number))


def categorical(values: Integers, name: Any) -> pd.Categorical:
    """Integers as a categorical of what ``name`` calls them."""
    codes, found = pd.factorize(values)
    number: dict[str, int] = {}
    position = np.zeros(max(len(found), 1), dtype=np.int32)
    for at in np.argsort(found).tolist():
        position[at] = number.setdefault(name(int(found[at])), len(number))
    return pd.Categorical.from_codes(
        position[codes] if len(codes) else codes, categories=list(number)
    )


def tuple_columns(
    numbers: Integers, client: Ints, dialled: Ints, server: Ints, seen: Ints
) -> dict[str, Any]:
    """The columns of an original and a reply tuple."""
    columns: dict[str, Any] = {"protocol": categorical(numbers, protocol)}
    for prefix, one, other in (("", client, dialled), ("reply_", server, seen)):
        for side, ends in (("src", one), ("dst", other)):
            columns[f"{prefix}{side}"] = categorical(address_of(ends), address)
            columns[f"{prefix}{'sport' if side == 'src' else 'dport'}"] = port_of(ends).astype(
                np.int32
            )
    return columns


def table(columns: dict[str, Any], schema: Columns) -> pd.DataFrame:
    """A DataFrame with exactly the columns and dtypes that a schema declares, each column by itself
    in memory; what it is made from is taken out of ``columns``."""
    return pd.DataFrame(
        {name: _typed(columns.pop(name), dtype) for name, (dtype, _) in schema.items()}, copy=False
    )


def _typed(values: Any, dtype: str) -> pd.Series:
    """A column; it keeps nothing alive of which it is a part."""
    if dtype == "category":
        return pd.Series(
            values, dtype=None if isinstance(values, pd.Categorical) else dtype, copy=False
        )
    found = np.array(values, dtype=dtype, order="C", copy=None)
    return pd.Series(found if found.base is None else found.copy(), dtype=dtype, copy=False)


def join_tables(tables: list[pd.DataFrame], by: str) -> pd.DataFrame:
    """Tables of one schema as one, ordered by a column; rows that share its value stay in their
    order. The tables are used up."""
    from pandas.api.types import union_categoricals

    filled = [part for part in tables if len(part)]
    if len(filled) < 2:
        return filled[0] if filled else tables[0]
    tables.clear()  # so that each column can go when it is done
    order = np.argsort(np.concatenate([part[by].to_numpy() for part in filled]), kind="stable")
    columns: dict[str, Any] = {}
    for name, dtype in filled[0].dtypes.items():
        parts = [part.pop(name) for part in filled]
        if isinstance(dtype, pd.CategoricalDtype):
            columns[str(name)] = union_categoricals(parts).take(order)
        else:
            columns[str(name)] = pd.Series(np.concatenate(parts)[order], dtype=dtype, copy=False)
    return pd.DataFrame(columns, copy=False)
