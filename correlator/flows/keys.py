"""What names a packet, and a pair of endpoints, wherever they are seen: hashes of what stays the
same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from correlator.arrays import Ints

WINDOW_NS = 200_000_000
"""No packet is taken for another's other sight after this long (crossing took 8 us to 4 ms when
measured)."""


def mix(*columns: npt.ArrayLike) -> npt.NDArray[np.uint64]:
    """A 64-bit hash of rows; columns are integers of any dtype, shape (n,)."""
    total: npt.NDArray[np.uint64] | None = None
    for column in columns:
        value = np.asarray(column).astype(np.uint64, copy=False)
        with np.errstate(over="ignore"):
            total = (
                value * np.uint64(0x9E3779B97F4A7C15)
                if total is None
                else (total ^ value) * np.uint64(0xBF58476D1CE4E5B9)
            )
            total = total ^ (total >> np.uint64(31))
    assert total is not None
    return total


def invariant_key(packets: pd.DataFrame) -> npt.NDArray[np.uint64]:
    """What NAT and forwarding leave alone, hashed; uint64 (n,)."""
    names = (
        "protocol",
        "ip_id",
        "seq",
        "ack",
        "tcp_flags",
        "payload_length",
        "payload_hash",
        "icmp_type",
        "icmp_code",
        "inner_protocol",
        "inner_ip_id",
        "fragment_offset",
    )
    return mix(*(packets[name].to_numpy() for name in names))


def pair_name(protocol: Ints, a: Ints, b: Ints) -> npt.NDArray[np.uint64]:
    """A name for an unordered pair of endpoints of a protocol; uint64 (n,)."""
    return mix(protocol, np.minimum(a, b), np.maximum(a, b))
