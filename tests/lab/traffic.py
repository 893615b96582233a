"""Servers and clients, run inside namespaces: ``python -m tests.lab.traffic serve ...`` and ``...
tcp|udp ...``."""

from __future__ import annotations

import argparse
import contextlib
import selectors
import socket
import sys
import time


def listening(door: str, family: socket.AddressFamily) -> socket.socket:
    """A socket behind ``tcp:PORT`` or ``udp:PORT``."""
    kind, _, port = door.partition(":")
    sock = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(("", int(port)))
    if kind == "tcp":
        sock.listen(512)
    return sock


def of(address: str) -> socket.AddressFamily:
    """The family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def serve(doors: list[str], reply: int, six: bool = False) -> None:
    """Answer on every ``tcp:PORT`` and ``udp:PORT`` of IPv4 (``six``: and of IPv6): ``reply`` bytes
    for what comes in, then close. Runs for ever."""
    selector = selectors.DefaultSelector()
    for family in (socket.AF_INET, socket.AF_INET6) if six else (socket.AF_INET,):
        for door in doors:
            kind = door.partition(":")[0]
            selector.register(listening(door, family), selectors.EVENT_READ, kind)
    print("ready", flush=True)
    while True:
        for key, _ in selector.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            with contextlib.suppress(OSError):
                if key.data == "udp":
                    data, peer = sock.recvfrom(65535)
                    sock.sendto(data[: max(reply, 1)], peer)
                elif key.data == "tcp":
                    peer_socket, _ = sock.accept()
                    selector.register(peer_socket, selectors.EVENT_READ, "peer")
                else:
                    data = sock.recv(65536)
                    if data:
                        sock.sendall(b"r" * reply)
                    else:
                        selector.unregister(sock)
                        sock.close()


def tcp(
    source: str,
    target: str,
    port: int,
    count: int,
    size: int,
    sport: int,
    gap: float,
    reset: bool,
    http: bool,
) -> int:
    """``count`` connections one after the other: send (``http``: a request for /), read an answer,
    close. Returns how many were answered."""
    good = 0
    for i in range(count):
        sock = socket.socket(of(target))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(1.5)
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if source or sport:
            sock.bind((source, sport))
        with contextlib.suppress(OSError):
            sock.connect((target, port))
            sock.sendall(
                b"GET / HTTP/1.0\r\n\r\n" if http else f"request {i} ".encode().ljust(size, b"x")
            )
            if sock.recv(65536):
                good += 1
            if not reset:
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
        sock.close()
        time.sleep(gap)
    return good


def udp(source: str, target: str, port: int, count: int, size: int, sport: int, gap: float) -> int:
    """``count`` datagrams from one socket, each answered or not. Returns how many were."""
    sock = socket.socket(of(target), socket.SOCK_DGRAM)
    sock.bind((source, sport))
    sock.settimeout(0.4)
    good = 0
    for i in range(count):
        sock.sendto(f"datagram {i} ".encode().ljust(size, b"x"), (target, port))
        with contextlib.suppress(OSError):
            good += bool(sock.recv(65536))
        time.sleep(gap)
    return good


def load(source: str, target: str, port: int, rate: int, seconds: float) -> int:
    """``rate`` connections a second for ``seconds``, each a request, an answer and a close. Returns
    how many were answered."""
    selector = selectors.DefaultSelector()
    begun, opened, good = time.monotonic(), 0, 0
    while True:
        now = time.monotonic() - begun
        due = int(min(now, seconds) * rate)
        while opened < due:
            opened += 1
            sock = socket.socket()
            sock.setblocking(False)
            if source:
                sock.setsockopt(
                    socket.IPPROTO_IP, 24, 1
                )  # IP_BIND_ADDRESS_NO_PORT: the port is chosen at connect
                sock.bind((source, 0))
            sock.connect_ex((target, port))
            selector.register(sock, selectors.EVENT_WRITE)
        for key, events in selector.select(0.001):
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            try:
                if events & selectors.EVENT_WRITE:
                    sock.send(b"hello")
                    sock.shutdown(socket.SHUT_WR)
                    selector.modify(sock, selectors.EVENT_READ, True)
                    continue
                if sock.recv(65536):
                    good += 1
                    continue
            except OSError:
                pass
            selector.unregister(sock)
            sock.close()
        if now > seconds + 3 or (now > seconds and not selector.get_map()):
            return good


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("serve", "tcp", "udp", "load"))
    parser.add_argument("words", nargs="*")
    for name, kind, default in (
        ("source", str, ""),
        ("count", int, 1),
        ("size", int, 40),
        ("sport", int, 0),
        ("gap", float, 0.01),
        ("reply", int, 200),
        ("rate", int, 1000),
        ("seconds", float, 10.0),
    ):
        parser.add_argument(f"--{name}", type=kind, default=default)
    parser.add_argument("--reset", action="store_true")
    parser.add_argument("--http", action="store_true")
    parser.add_argument("--six", action="store_true")
    a = parser.parse_args()
    if a.what == "serve":
        serve(a.words, a.reply, a.six)
        return
    target, port = a.words[0], int(a.words[1])
    if a.what == "load":
        good = load(a.source, target, port, a.rate, a.seconds)
    elif a.what == "tcp":
        good = tcp(a.source, target, port, a.count, a.size, a.sport, a.gap, a.reset, a.http)
    else:
        good = udp(a.source, target, port, a.count, a.size, a.sport, a.gap)
    print(good)
    sys.exit(0)


if __name__ == "__main__":
    main()
