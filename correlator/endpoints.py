"""Endpoints: an address (:mod:`correlator.addresses`) and a port in one int64.

::

    63      62 ................. 16 15 ....... 0
    | sign | address (47 bits)     | port      |

Endpoints so are compared, sorted and hashed like numbers, and by address before port. -1
(:data:`NOWHERE`) is an endpoint that nothing tells; its address is -1 too. ICMP has no ports: the
id of a query stands for both.

These are plain expressions, of one number or of arrays of int64, so that compiled loops are made
from the very same functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from correlator import addresses

if TYPE_CHECKING:
    from correlator.arrays import Ints

NOWHERE = np.int64(-1)
"""An endpoint that nothing tells."""
PORT_BITS = 16
HIGHEST_PORT = (1 << PORT_BITS) - 1

Number = TypeVar("Number", int, "Ints")


def pack(address: Number, port: Number) -> Number:
    """The endpoint of an address and a port (0 to 65535)."""
    return address << PORT_BITS | port


def address_of(endpoint: Number) -> Number:
    """The address of an endpoint; -1 of :data:`NOWHERE`."""
    return endpoint >> PORT_BITS


def port_of(endpoint: Number) -> Number:
    """The port of an endpoint; means nothing of :data:`NOWHERE`."""
    return endpoint & HIGHEST_PORT


def text(endpoint: int) -> str:
    """``address:port``."""
    return f"{addresses.text(address_of(endpoint))}:{port_of(endpoint)}"
