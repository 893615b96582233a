"""One member of a case's network: its servers, and what it sends when.

``python -m tests.lab.accuracy.agent`` reads a plan (one JSON line: ``servers`` and ``acts``) and
goes on line by line as it is told: ``servers`` -> (go) -> ``ready`` -> (time of the start) ->
``done``."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from tests.lab.accuracy.case import SECONDS, Act
from tests.lab.accuracy.crafted import TCP, Crafted, checksum, ipv4, segment

PATIENCE = 3.0
Begun = Callable[[], None]
"""Called after an act's first exchange: an act from before the recording waits there."""


def _nothing() -> None:
    pass


def reset_on_close(stream: socket.socket) -> None:
    """Close by RST."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class Servers:
    """Answers in threads: TCP sends as many bytes as a line asks for, UDP sends a datagram back as
    often as its first byte says, a relay passes on."""

    def __init__(self, plan: dict[str, list[Any]]) -> None:
        for port in plan.get("tcp", []):
            self._listen("0.0.0.0", port, self._answer)
        for port in plan.get("udp", []):
            self._bound("0.0.0.0", port, self._echo)
        for protocol, address, port, to, to_port in plan.get("relay", []):
            with contextlib.suppress(OSError):
                if protocol == "tcp":
                    self._listen(address, port, partial(self._relay, (to, to_port)))
                else:
                    self._bound(address, port, partial(self._pass_on, (to, to_port)))

    def _listen(self, address: str, port: int, serve: Callable[[socket.socket], None]) -> None:
        server = socket.create_server((address, port), backlog=512)

        def accept() -> None:
            while True:
                client, _ = server.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()

    def _bound(self, address: str, port: int, serve: Callable[[socket.socket], None]) -> None:
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind((address, port))
        threading.Thread(target=serve, args=(server,), daemon=True).start()

    def _answer(self, client: socket.socket) -> None:
        client.settimeout(6)
        with client, contextlib.suppress(OSError, ValueError), client.makefile("rb") as lines:
            for line in lines:
                size = int(line)
                if size < 0:
                    reset_on_close(client)
                    return
                client.sendall(b"x" * size)

    def _echo(self, server: socket.socket) -> None:
        while True:
            with contextlib.suppress(OSError):
                data, peer = server.recvfrom(65535)
                for _ in range(data[0] % 4 if data else 0):
                    server.sendto(data, peer)

    def _relay(self, to: tuple[str, int], client: socket.socket) -> None:
        with (
            client,
            contextlib.suppress(OSError),
            socket.create_connection(to, timeout=1.5) as beyond,
        ):
            back = threading.Thread(target=self._pump, args=(beyond, client), daemon=True)
            back.start()
            self._pump(client, beyond)
            back.join(PATIENCE)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _pass_on(self, to: tuple[str, int], server: socket.socket) -> None:
        beyond: dict[tuple[str, int], socket.socket] = {}

        def back(stream: socket.socket, peer: tuple[str, int]) -> None:
            with contextlib.suppress(OSError):
                while True:
                    server.sendto(stream.recv(65535), peer)

        while True:
            with contextlib.suppress(OSError):
                data, peer = server.recvfrom(65535)
                if peer not in beyond:
                    beyond[peer] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    beyond[peer].connect(to)
                    threading.Thread(target=back, args=(beyond[peer], peer), daemon=True).start()
                beyond[peer].send(data)


class Agent:
    """The acts of one member; each kind of act is a method."""

    def __init__(self) -> None:
        self.end = float("inf")

    def _socket(self, act: Act, kind: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, kind)
        made.settimeout(0.9 if kind == socket.SOCK_STREAM else 0.25)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for key, option in (("tos", socket.IP_TOS), ("ttl", socket.IP_TTL)):
            if key in act:
                made.setsockopt(socket.IPPROTO_IP, option, act[key])
        if "sport" in act:
            made.bind(("", act["sport"]))
        return made

    def tcp(self, act: Act, begun: Begun = _nothing) -> None:
        """``n`` connections, ``together`` at a time."""
        left = iter(range(act["n"]))
        lock = threading.Lock()

        def work() -> None:
            while time.time() < self.end:
                with lock:
                    if next(left, None) is None:
                        return
                with contextlib.suppress(OSError), self._socket(act, socket.SOCK_STREAM) as stream:
                    self._exchange(act, stream, begun)
                time.sleep(act.get("pause", 0))

        workers = [threading.Thread(target=work) for _ in range(act["together"])]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

    def _exchange(self, act: Act, stream: socket.socket, begun: Begun) -> None:
        stream.connect((act["host"], act["port"]))
        for number in range(act.get("requests", 1)):
            stream.sendall(b"%d\n" % act["size"])
            left = act["size"]
            while left > 0 and (data := stream.recv(65536)):
                left -= len(data)
            if not number:
                begun()
            time.sleep(act.get("gap", 0))
        time.sleep(act.get("hold", 0))
        if act.get("close") == "rst":
            reset_on_close(stream)
        elif act.get("close") == "half":
            stream.shutdown(socket.SHUT_WR)
            time.sleep(0.2)

    def udp(self, act: Act, begun: Begun = _nothing) -> None:
        """``n`` datagrams, each answered ``copies`` times."""
        with self._socket(act, socket.SOCK_DGRAM) as stream:
            to = (act["host"], act["port"])
            if act.get("connected"):
                stream.connect(to)
            for number in range(act["n"]):
                data = bytes([ord("0") + 4 * (number % 8) + act["copies"]]) + b"u" * (
                    act["size"] - 1
                )
                with contextlib.suppress(OSError):
                    stream.send(data) if act.get("connected") else stream.sendto(data, to)
                    stream.recv(65535)
                if not number:
                    begun()
                time.sleep(act["gap"])
                if time.time() > self.end:
                    return

    def ping(self, act: Act, _begun: Begun = _nothing) -> None:
        """``n`` echo requests."""
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
            raw.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, act["ttl"])
            ident = random.randint(1, 65000)
            for number in range(act["n"]):
                body = struct.pack(">BBHHH", 8, 0, 0, ident, number + 1) + b"p" * act["size"]
                body = body[:2] + struct.pack(">H", checksum(body)) + body[4:]
                with contextlib.suppress(OSError):
                    raw.sendto(body, (act["host"], 0))
                time.sleep(act["gap"])

    def group(self, act: Act, _begun: Begun = _nothing) -> None:
        """``n`` datagrams to a multicast group or to everybody."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            for _ in range(act["n"]):
                with contextlib.suppress(OSError):
                    stream.sendto(b"group", (act["host"], act["port"]))
                time.sleep(0.1)

    def raw(self, act: Act, _begun: Begun = _nothing) -> None:
        """``n`` crafted packets."""
        source = _source_for(act["host"])
        if source:
            crafted = Crafted(act, source, random.Random(act["seed"]))
            for number in range(act["n"]):
                for packet in crafted.make(number):
                    _send(packet, act["host"])
                    time.sleep(0.02)
                time.sleep(act["gap"])

    def oow(self, act: Act, _begun: Begun = _nothing) -> None:
        """A connection, and within it segments that lie outside of its window or have a wrong
        checksum."""
        what, to = act["what"], (act["host"], act["port"])
        flags = {"rst": 4, "data": 0x18, "syn": 2, "ack": 0x10, "badsum": 0x10}[what]
        with contextlib.suppress(OSError), self._socket(act, socket.SOCK_STREAM) as stream:
            stream.connect(to)
            stream.sendall(b"100\n")
            stream.recv(1000)
            source, numbers = (
                stream.getsockname()[0],
                (random.getrandbits(32), random.getrandbits(32)),
            )
            payload = b"junk" if what == "data" else b""
            ports = (act["sport"], act["port"])
            odd = segment(source, act["host"], ports, flags, numbers, payload, bad=what == "badsum")
            _send(ipv4(source, act["host"], TCP, odd), act["host"])
            time.sleep(0.05)
            stream.sendall(b"50\n")
            stream.recv(1000)


def _source_for(target: str) -> str:
    """The address that a datagram to there would bear; empty where there is no way."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        stream.connect((target, 9))
        return str(stream.getsockname()[0])
    return ""


def _send(packet: bytes, target: str) -> None:
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw,
    ):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        raw.sendto(packet, (target, 0))


def _act(agent: Agent, act: Act, begun: Begun = _nothing) -> None:
    try:
        getattr(agent, act["kind"])(act, begun)
    except Exception as error:  # whatever one act meets, the others go on
        print(act, repr(error), file=sys.stderr)


def main() -> None:
    """Follow the plan that stands on the first line of input."""
    plan = json.loads(sys.stdin.readline())
    Servers(plan["servers"])
    print("servers", flush=True)
    sys.stdin.readline()
    agent, gate, threads = Agent(), threading.Event(), []
    start = [0.0]

    def before(act: Act, there: threading.Event) -> None:
        def begun() -> None:
            there.set()
            gate.wait()
            time.sleep(max(0.0, start[0] + act["at"] - time.time()))

        _act(agent, act, begun)
        there.set()

    def later(act: Act) -> None:
        time.sleep(max(0.0, start[0] + act["at"] - time.time()))
        _act(agent, act)

    for act in [act for act in plan["acts"] if act.get("before")]:
        there = threading.Event()
        threads.append(threading.Thread(target=before, args=(act, there), daemon=True))
        threads[-1].start()
        there.wait(1.5)
    print("ready", flush=True)
    start[0] = float(sys.stdin.readline())
    agent.end = start[0] + SECONDS
    gate.set()
    for act in [act for act in plan["acts"] if not act.get("before")]:
        threads.append(threading.Thread(target=later, args=(act,), daemon=True))
        threads[-1].start()
    for thread in threads:
        thread.join(max(0.1, agent.end + PATIENCE - time.time()))
    print("done", flush=True)
    sys.stdin.readline()
    os._exit(0)


if __name__ == "__main__":
    main()
