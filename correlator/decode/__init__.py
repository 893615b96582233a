"""pcap and pcapng bytes -> one columnar packet table."""

from correlator.decode.capture import (
    Capture,
    concat,
    interface_name,
    place_in_ring,
    read_frames,
    read_packets,
)
from correlator.decode.columns import COLUMNS
from correlator.decode.frames import Frames, Interface

__all__ = [
    "COLUMNS",
    "Capture",
    "Frames",
    "Interface",
    "concat",
    "interface_name",
    "place_in_ring",
    "read_frames",
    "read_packets",
]
