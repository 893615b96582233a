"""Transport checksums, against scapy's own."""

from __future__ import annotations

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.packet import Packet, Raw

from correlator.decode.checksums import address_sums, wrong_checksums

BODY = Raw(b"odd number of bytes")
LAYERS = {"tcp": TCP(sport=1, dport=80), "udp": UDP(sport=1, dport=53), "icmp": ICMP(id=7)}


def wrong(packet: Packet, cut: int = 0, offset: int = 0) -> bool:
    """Whether the packet has a wrong checksum, where it begins so many bytes into the data."""
    raw = bytes(packet)
    data = np.frombuffer(bytes(offset) + raw + bytes(8), dtype=np.uint8)
    protocol = np.array([raw[9]], dtype=np.uint8)
    ends = (np.array([int.from_bytes(raw[i : i + 4], "big")]) for i in (12, 16))
    at, end = np.array([offset + 20]), np.array([offset + len(raw) - cut])
    return bool(
        wrong_checksums(data, at, np.array([len(raw) - 20]), end, protocol, address_sums(*ends))[0]
    )


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("name", LAYERS)
def test_right_and_wrong_are_told_apart(name: str, offset: int) -> None:
    """Scapy's checksum is right; with any byte of the body changed it is wrong."""
    packet = IP(src="10.0.0.1", dst="10.200.0.2") / LAYERS[name] / BODY
    raw = bytearray(bytes(packet))
    assert not wrong(IP(bytes(raw)), offset=offset)
    raw[-3] ^= 0x5A
    assert wrong(IP(bytes(raw)), offset=offset)


@pytest.mark.parametrize("name", ["tcp", "udp"])
def test_one_left_to_hardware_is_not_wrong(name: str) -> None:
    """The pseudo-header's sum alone (CHECKSUM_PARTIAL), as sent between namespaces, is no fault."""
    raw = bytearray(bytes(IP(src="10.0.0.1", dst="10.200.0.2") / LAYERS[name] / BODY))
    words = [*raw[12:20], 0, raw[9], *(len(raw) - 20).to_bytes(2, "big")]
    total = sum(int.from_bytes(words[i : i + 2], "big") for i in range(0, len(words), 2))
    total = (total & 0xFFFF) + (total >> 16)
    place = 20 + (16 if name == "tcp" else 6)
    raw[place : place + 2] = total.to_bytes(2, "big")
    assert not wrong(IP(bytes(raw)))


def test_what_cannot_be_told_is_not_wrong() -> None:
    """A packet that was cut, and UDP without a checksum."""
    packet = IP(src="10.0.0.1", dst="10.0.0.2") / TCP(chksum=1) / BODY
    assert wrong(packet)
    assert not wrong(packet, cut=1)
    assert not wrong(IP(src="10.0.0.1", dst="10.0.0.2") / UDP(chksum=0) / BODY)
