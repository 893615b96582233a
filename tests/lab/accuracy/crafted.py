"""Packets made by hand: what no ordinary program sends, and the kernel judges all the same."""

from __future__ import annotations

import random
import socket
import struct
from itertools import pairwise
from typing import Any

ICMP, TCP, UDP, SCTP, GRE = 1, 6, 17, 132, 47
MORE_FRAGMENTS = 0x2000


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def crc32c(data: bytes) -> bytes:
    """SCTP's checksum (RFC 9260, appendix A)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x82F63B78 if crc & 1 else crc >> 1
    return struct.pack("<I", crc ^ 0xFFFFFFFF)


def ipv4(
    source: str,
    target: str,
    protocol: int,
    body: bytes,
    ttl: int = 64,
    fragment: int = 0,
    ident: int = 0,
    options: bytes = b"",
) -> bytes:
    """A datagram."""
    words = 5 + len(options) // 4
    header = (
        struct.pack(
            ">BBHHHBBH4s4s",
            0x40 | words,
            0,
            words * 4 + len(body),
            ident or random.randint(1, 65535),
            fragment,
            ttl,
            protocol,
            0,
            socket.inet_aton(source),
            socket.inet_aton(target),
        )
        + options
    )
    return header[:10] + struct.pack(">H", checksum(header)) + header[12:] + body


def _summed(source: str, target: str, protocol: int, body: bytes, at: int, bad: bool) -> bytes:
    pseudo = (
        socket.inet_aton(source)
        + socket.inet_aton(target)
        + struct.pack(">BBH", 0, protocol, len(body))
    )
    value = (checksum(pseudo + body) or 0xFFFF) ^ (0x1234 if bad else 0)
    return body[:at] + struct.pack(">H", value) + body[at + 2 :]


def segment(
    source: str,
    target: str,
    ports: tuple[int, int],
    flags: int,
    numbers: tuple[int, int],
    payload: bytes = b"",
    bad: bool = False,
    options: bytes = b"",
) -> bytes:
    """A TCP segment; ``numbers`` are sequence and acknowledgement."""
    words = 5 + len(options) // 4
    head = struct.pack(
        ">HHIIBBHHH", *ports, *(n & 0xFFFFFFFF for n in numbers), words << 4, flags, 64240, 0, 0
    )
    return _summed(source, target, TCP, head + options + payload, 16, bad)


def datagram(
    source: str,
    target: str,
    ports: tuple[int, int],
    payload: bytes,
    bad: bool = False,
    unsummed: bool = False,
    length: int = -1,
) -> bytes:
    """A UDP datagram; ``length``: what its header says."""
    head = struct.pack(">HHHH", *ports, 8 + len(payload) if length < 0 else length, 0)
    return head + payload if unsummed else _summed(source, target, UDP, head + payload, 6, bad)


def icmp(kind: int, code: int, rest: bytes, bad: bool = False) -> bytes:
    """An ICMP message."""
    body = struct.pack(">BBH", kind, code, 0) + rest
    return body[:2] + struct.pack(">H", checksum(body) ^ (0x55 if bad else 0)) + body[4:]


class Crafted:
    """The packets of one act, each as a list of datagrams to send one after the other.

    ``act`` has ``host``, ``port``, ``sport``, ``flags``, ``size``, ``ttl``, ``peer``."""

    def __init__(self, act: dict[str, Any], source: str, r: random.Random) -> None:
        self.act, self.source, self.r = act, source, r
        self.target, self.ports = act["host"], (act["sport"], act["port"])
        self.payload = b"r" * act["size"]

    def make(self, number: int) -> list[bytes]:
        """Packet ``number`` of the act."""
        made = getattr(self, f"_{self.act['what']}")(number)
        return made if isinstance(made, list) else [made]

    def _ip(self, protocol: int, body: bytes, **more: Any) -> bytes:
        return ipv4(self.source, self.target, protocol, body, **{"ttl": self.act["ttl"], **more})

    def _segment(self, flags: int, **more: Any) -> bytes:
        numbers = (self.r.getrandbits(32), self.r.getrandbits(32) if flags & 16 else 0)
        ports = more.pop("ports", self.ports)
        return self._ip(TCP, segment(self.source, self.target, ports, flags, numbers, **more))

    def _udp(self, payload: bytes, **more: Any) -> bytes:
        return self._ip(UDP, datagram(self.source, self.target, self.ports, payload, **more))

    def _tcp(self, _number: int) -> bytes:
        return self._segment(self.act["flags"], payload=self.payload)

    def _half(self, number: int) -> bytes:
        options = self.r.choice([b"", b"\x02\x04\x05\xb4", b"\x02\x04\x05\xb4\x01\x03\x03\x07"])
        return self._segment(2, options=options, ports=(self.ports[0] + number, self.ports[1]))

    def _badsum_tcp(self, _number: int) -> bytes:
        return self._segment(2, payload=self.payload, bad=True)

    def _badsum_udp(self, _number: int) -> bytes:
        return self._udp(b"1" + self.payload, bad=True)

    def _zerosum_udp(self, _number: int) -> bytes:
        return self._udp(b"1" + self.payload, unsummed=True)

    def _sctp(self, _number: int) -> bytes:
        chunk = struct.pack(">BBHIIHHI", 1, 0, 20, 0x1234, 65536, 10, 10, self.r.getrandbits(32))
        head = struct.pack(">HHI", *self.ports, 0)
        return self._ip(SCTP, head + crc32c(head + b"\0" * 4 + chunk) + chunk)

    def _gre(self, _number: int) -> bytes:
        return self._ip(GRE, struct.pack(">HH", 0, 0x0800) + self.payload)

    def _proto(self, _number: int) -> bytes:
        return self._ip(
            self.r.choice([50, 51, 89, 253, 4, 41, 136, 33]), b"\0\1\0\2\0\3\0\4" + self.payload
        )

    def _pieces(self) -> list[bytes]:
        payload = b"1" + b"f" * self.r.choice([40, 300, 2000])
        body = datagram(self.source, self.target, self.ports, payload)
        cuts = [0, self.r.choice([8, 16, 24, 32]), *([1024] if len(body) > 1200 else []), len(body)]
        ident = self.r.randint(1, 65535)
        return [
            self._ip(
                UDP,
                body[a:b],
                ident=ident,
                fragment=a // 8 | (MORE_FRAGMENTS if b < len(body) else 0),
            )
            for a, b in pairwise(cuts)
        ]

    def _frag(self, _number: int) -> list[bytes]:
        pieces = self._pieces()
        return pieces[::-1] if self.r.random() < 0.4 else pieces

    def _frag_lost(self, _number: int) -> list[bytes]:
        pieces = self._pieces()
        return pieces[:-1] if self.r.random() < 0.5 else pieces[1:]

    def _icmp(self, _number: int) -> bytes:
        kinds = ((13, 0), (15, 0), (17, 0), (8, 0), (0, 0), (5, 1), (9, 0), (42, 0), (8, 3))
        rest = struct.pack(">HH", self.r.randint(1, 65000), 1) + b"\0" * 12 + self.payload
        return self._ip(ICMP, icmp(*self.r.choice(kinds), rest, self.r.random() < 0.15))

    def _icmp_error(self, number: int) -> list[bytes]:
        """An error about a datagram that was sent first, or about nothing at all."""
        asked = (self.ports[0] + number, self.ports[1])
        first = ipv4(
            self.source, self.target, UDP, datagram(self.source, self.target, asked, b"1err")
        )
        quoted = ipv4(
            self.target, self.source, UDP, datagram(self.target, self.source, asked[::-1], b"1err")
        )
        kinds = ((3, 3), (3, 4), (3, 13), (11, 0), (11, 1), (12, 0), (3, 1), (4, 0))
        cut = 28 + self.r.choice([0, 4])
        error = self._ip(ICMP, icmp(*self.r.choice(kinds), struct.pack(">I", 0) + quoted[:cut]))
        return [first, error] if self.r.random() < 0.7 else [error]

    def _short(self, _number: int) -> bytes:
        tcp = segment(self.source, self.target, self.ports, 2, (1, 0))
        return self.r.choice(
            [
                self._ip(TCP, b"\0\1\0\2\0\3"),
                self._ip(TCP, tcp[:12] + b"\xf0\2\0\0\0\0\0\0"),
                self._ip(UDP, b"\0\1\0"),
                self._udp(b"abc", length=200),
                self._udp(b"abc", length=4),
                self._ip(ICMP, b"\x08\0"),
            ]
        )

    def _options(self, _number: int) -> bytes:
        options = self.r.choice([b"\x07\x07\x04\0\0\0\0\0", b"\1\1\1\0", b"\x94\x04\0\0"])
        return self._ip(
            UDP, datagram(self.source, self.target, self.ports, b"1opt"), options=options
        )

    def _spoof(self, _number: int) -> bytes:
        self.source = self.r.choice(
            [self.act["peer"], "10.99.1.2", "172.17.0.77", "127.0.0.1", "8.8.8.8"]
        )
        return self._udp(b"1spoof") if self.r.random() < 0.6 else self._segment(2)
