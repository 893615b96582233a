"""pcap and pcapng bytes -> one columnar packet table."""

from correlator.decode.capture import Capture, concat, interface_name, read_packets
from correlator.decode.columns import COLUMNS
from correlator.decode.frames import Interface

__all__ = ["COLUMNS", "Capture", "Interface", "concat", "interface_name", "read_packets"]
