"""Cases of what people ask about: why a client gets no answer, who hides it, why a rule did not
stop it.

``python -m tests.lab NAME OUT`` records one, as those of :mod:`tests.lab.cases`.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.lab.cases import PY, client, hairpin_rules, publish, published_rules, serve
from tests.lab.net import HOST, OUTSIDE, Lab
from tests.lab.record import Recorder

A, B = OUTSIDE
OTHER_HOST = "172.31.37.165"
PROXY = "/usr/sbin/docker-proxy"
SLOW = 0.4
"""Seconds between samples of cases that wait for clients to give up."""


def ask(
    lab: Lab, space: str, kind: str, target: str, port: int, **options: object
) -> subprocess.Popen[bytes]:
    """Start one client and do not wait for it."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return lab.start(space, PY, "-m", "tests.lab.traffic", kind, target, str(port), *words)


def second_bridge(rules: str, bridge: str, subnet: str) -> str:
    """The same for one more bridge, as Docker adds it: isolated from docker0."""
    return (
        rules.replace(
            "-A POSTROUTING -s 172.17.0.0/16",
            f"-A POSTROUTING -s {subnet} ! -o {bridge} -j MASQUERADE\n-A POSTROUTING -s "
            f"172.17.0.0/16",
        )
        .replace(
            "-A DOCKER -i docker0 -j RETURN\n",
            f"-A DOCKER -i {bridge} -j RETURN\n-A DOCKER -i docker0 -j RETURN\n",
        )
        .replace(
            "-A FORWARD -o docker0 -m conntrack",
            f"-A FORWARD -o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A "
            f"FORWARD -o {bridge} -j DOCKER\n"
            f"-A FORWARD -i {bridge} ! -o {bridge} -j ACCEPT\n-A FORWARD -i {bridge} -o {bridge} "
            f"-j ACCEPT\n"
            "-A FORWARD -o docker0 -m conntrack",
        )
        .replace(
            "-A DOCKER-ISOLATION-STAGE-1 -i docker0",
            f"-A DOCKER-ISOLATION-STAGE-1 -i {bridge} ! -o {bridge} -j DOCKER-ISOLATION-STAGE-2\n"
            "-A DOCKER-ISOLATION-STAGE-1 -i docker0",
        )
        .replace(
            "-A DOCKER-ISOLATION-STAGE-2 -o docker0",
            f"-A DOCKER-ISOLATION-STAGE-2 -o {bridge} -j DROP\n-A DOCKER-ISOLATION-STAGE-2 -o "
            f"docker0",
        )
    )


def shut(folder: Path) -> None:
    """Every door that is shut: raw drops it, the network is isolated, the port is not published, or
    on another address, or its DNAT has no ACCEPT."""
    rules = published_rules(("tcp", 80, "172.17.0.2", 80))
    rules = second_bridge(rules, "br-app", "172.18.0.0/16")
    only = (
        f"-A DOCKER -d {OTHER_HOST}/32 ! -i br-app -p tcp -m tcp --dport 5432 -j DNAT "
        f"--to-destination 172.18.0.2:5432\n"
    )
    half = (
        "-A DOCKER ! -i br-app -p tcp -m tcp --dport 8443 -j DNAT --to-destination 172.18.0.2:443\n"
    )
    rules = rules.replace("-A DOCKER ! -i docker0", f"{only}{half}-A DOCKER ! -i docker0", 1)
    raw = (
        "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A PREROUTING -d 172.17.0.2/32 ! "
        "-i docker0 -j DROP\nCOMMIT\n"
    )
    with Lab({"docker0": 1, "br-app": 1}) as lab:
        lab.run("host", "ip", "addr", "add", f"{OTHER_HOST}/16", "dev", "eth0")
        lab.run("out", "ip", "route", "add", "172.16.0.0/13", "via", HOST)
        lab.rules(raw + rules)
        serve(lab, "c1", "tcp:80")
        serve(lab, "c2", "tcp:80", "tcp:5432")
        with Recorder(lab, folder, ("eth0", "docker0", "br-app"), interval=SLOW):
            assert client(lab, "out", "tcp", HOST, 80, source=A) == 1
            waiting = [
                ask(lab, "out", "tcp", "172.17.0.2", 80, source=A),
                ask(lab, "c1", "tcp", "172.18.0.2", 80),
                ask(lab, "out", "tcp", "172.18.0.2", 9000, source=A),
                ask(lab, "out", "tcp", HOST, 8443, source=B),
                ask(lab, "out", "tcp", HOST, 5432, source=A),
            ]
            for process in waiting:
                process.wait(20)


def ufw(folder: Path) -> None:
    """UFW's chains at INPUT deny a client and a port; published ports go past them, what the host
    serves does not."""
    chains = ("ufw-before-input", "ufw-user-input", "ufw-after-input")
    rules = published_rules(("tcp", 80, "172.17.0.2", 80)).replace(
        ":INPUT ACCEPT [0:0]\n:FORWARD", ":INPUT DROP [0:0]\n:FORWARD"
    )
    rules = rules.replace(
        ":DOCKER-USER", "".join(f":{chain} - [0:0]\n" for chain in chains) + ":DOCKER-USER"
    )
    rules = rules.replace(
        "-A DOCKER-USER -j RETURN\n",
        "-A DOCKER-USER -j RETURN\n"
        + "".join(f"-A INPUT -j {chain}\n" for chain in chains)
        + "-A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n"
        f"-A ufw-user-input -s {B}/32 -j DROP\n"
        "-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT\n"
        "-A ufw-user-input -p tcp -m tcp --dport 80 -j DROP\n",
    )
    with Lab() as lab:
        lab.rules(rules)
        serve(lab, "c1", "tcp:80")
        serve(lab, "host", "tcp:22", "tcp:8000")
        with Recorder(lab, folder, interval=SLOW):
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=2) == 2
            assert client(lab, "out", "tcp", HOST, 80, source=B, count=2) == 2
            assert client(lab, "out", "tcp", HOST, 22, source=A) == 1
            waiting = [
                ask(lab, "out", "tcp", HOST, 22, source=B),
                ask(lab, "out", "tcp", HOST, 8000, source=A),
            ]
            for process in waiting:
                process.wait(20)


def proxy(folder: Path) -> None:
    """Docker's own docker-proxy: for loopback, for containers, and on a port that is published on
    loopback only."""
    rules = published_rules(("tcp", 80, "172.17.0.2", 80))
    only = (
        "-A DOCKER -d 127.0.0.1/32 ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT "
        "--to-destination 172.17.0.2:80\n"
    )
    rules = rules.replace("-A DOCKER ! -i docker0", f"{only}-A DOCKER ! -i docker0", 1)
    with Lab({"docker0": 2}) as lab:
        lab.rules(rules)
        serve(lab, "c1", "tcp:80")
        for address, port in (("0.0.0.0", "80"), ("127.0.0.1", "8080")):
            words = (
                f"{PROXY} -proto tcp -host-ip {address} -host-port {port} -container-ip "
                f"172.17.0.2 -container-port 80"
            )
            lab.start("host", "sh", "-c", f"exec {words} 3>/dev/null")
        time.sleep(0.5)
        with Recorder(lab, folder, ("eth0", "docker0", "lo"), interval=SLOW):
            assert client(lab, "out", "tcp", HOST, 80, source=A) == 1
            assert client(lab, "host", "tcp", "127.0.0.1", 80, count=2) == 2
            assert client(lab, "host", "tcp", "127.0.0.1", 8080) == 1
            assert client(lab, "c2", "tcp", HOST, 80) == 1
            assert client(lab, "c1", "tcp", HOST, 80) == 1
            assert client(lab, "out", "tcp", HOST, 8080, source=A) == 0


def inside(folder: Path) -> None:
    """Hairpin without docker-proxy, with bridged frames past netfilter: what goes round through the
    host shows on docker0."""
    with Lab({"docker0": 2}, {"net.bridge.bridge-nf-call-iptables": "0"}) as lab:
        lab.rules(hairpin_rules())
        serve(lab, "c1", "tcp:80")
        with Recorder(lab, folder, ("eth0", "docker0"), interval=SLOW):
            assert client(lab, "out", "tcp", HOST, 80, source=A) == 1
            assert client(lab, "c1", "tcp", HOST, 80, count=2) == 2
            client(lab, "c2", "tcp", HOST, 80)


MODERN = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -p tcp -m tcp --dport 80 -j DROP
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 172.18.0.0/16 ! -o br-app -j MASQUERADE
{nat}COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-INTERNAL - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
{accepts}-A DOCKER ! -i docker0 -o docker0 -j DROP
-A DOCKER ! -i br-app -o br-app -j DROP
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER-BRIDGE -o br-app -j DOCKER
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-CT -o br-app -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-INTERNAL
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-FORWARD -i br-app -j ACCEPT
-A DOCKER-INTERNAL ! -s 172.19.0.0/16 -o br-in -j DROP
-A DOCKER-INTERNAL ! -d 172.19.0.0/16 -i br-in -j DROP
-A DOCKER-USER -s 172.17.0.2/32 -p tcp -m tcp --sport 83 -j DROP
COMMIT
"""


def modern(folder: Path) -> None:
    """Rules in the manner of Docker 29: direct access dropped in raw and in DOCKER, an internal
    network, no RETURN before DNAT; published ports on which nothing listens, that do not answer, or
    whose answers a rule drops."""
    ports = [publish("tcp", port, "172.17.0.2", port) for port in (80, 81, 82, 83)]
    app = tuple(line.replace("docker0", "br-app") for line in publish("tcp", 84, "172.18.0.2", 80))
    nat, accepts = ("".join(pair[i] for pair in [*ports, app]) for i in (0, 1))
    with Lab({"docker0": 1, "br-app": 1, "br-in": 1}) as lab:
        lab.run("out", "ip", "route", "add", "172.16.0.0/13", "via", HOST)
        lab.rules(MODERN.format(nat=nat, accepts=accepts))
        lab.run(
            "c1", "sysctl", "-qw", "net.ipv4.tcp_synack_retries=0"
        )  # none comes while the recording ends
        lab.run("c1", "iptables-nft", "-A", "INPUT", "-p", "tcp", "--dport", "82", "-j", "DROP")
        serve(lab, "c1", "tcp:80", "tcp:82", "tcp:83")
        serve(lab, "c2", "tcp:80")
        serve(lab, "c3", "tcp:80")
        words = (
            f"{PROXY} -proto tcp -host-ip 0.0.0.0 -host-port 84 -container-ip 172.18.0.2 "
            f"-container-port 80"
        )
        lab.start("host", "sh", "-c", f"exec {words} 3>/dev/null")
        time.sleep(0.5)
        with Recorder(lab, folder, ("eth0", "docker0", "br-app", "br-in"), interval=0.8):
            assert client(lab, "c2", "tcp", HOST, 84) == 1
            waiting = [
                ask(lab, space, "tcp", target, port)
                for space, target, port in (
                    ("out", HOST, 81),
                    ("out", HOST, 82),
                    ("out", HOST, 83),
                    ("out", "172.17.0.2", 80),
                    ("out", "172.17.0.2", 9000),
                    ("c1", "172.19.0.2", 80),
                    ("c3", A, 8080),
                    ("c2", "172.17.0.2", 9000),
                )
            ]
            for process in waiting:
                process.wait(20)


FLOW = """
import socket, sys, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((sys.argv[1], int(sys.argv[4]))); s.settimeout(0.1)
for i in range(int(sys.argv[5])):
    s.sendto(b"hello %d" % i, (sys.argv[2], int(sys.argv[3])))
    try: s.recv(4096)
    except OSError: pass
    time.sleep(0.15)
"""  # noqa: E501 - a text as it is read


def stale(folder: Path) -> None:
    """Datagrams of flows that are older than the rule that should catch them: conntrack keeps the
    old answer."""
    first, second = ("udp", 5353, "172.17.0.2", 53), ("udp", 5353, "172.17.0.3", 53)
    new = publish("udp", 5354, "172.17.0.2", 53)
    with Lab({"docker0": 2}) as lab:
        lab.rules(published_rules(first))
        serve(lab, "c1", "udp:53")
        serve(lab, "c2", "udp:53")
        serve(lab, "host", "udp:5354")
        with Recorder(lab, folder, interval=0.25) as recorder:
            talkers = [
                lab.start("out", PY, "-c", FLOW, A, HOST, port, sport, "16")
                for port, sport in (("5353", "45001"), ("5354", "45002"))
            ]
            time.sleep(0.8)
            for line in new:
                table = "nat" if "DNAT" in line else "filter"
                lab.iptables("-t", table, *line.replace("-A DOCKER", "-I DOCKER 1", 1).split())
            for old, line in zip(publish(*first), publish(*second), strict=True):
                table = "nat" if "DNAT" in line else "filter"
                lab.iptables("-t", table, *line.split())
                lab.iptables("-t", table, *old.replace("-A ", "-D ", 1).split())
            recorder.note_rules()
            time.sleep(0.4)
            lab.run("out", PY, "-c", FLOW, B, HOST, "5353", "45003", "2")
            lab.run("out", PY, "-c", FLOW, B, HOST, "5354", "45004", "2")
            for talker in talkers:
                talker.wait(20)


FORGED = """
import sys
from scapy.all import Ether, IP, TCP, get_if_hwaddr, sendp
mac, source, target, port, bad = sys.argv[1:6]
packet = IP(src=source, dst=target) / TCP(sport=50000, dport=int(port), flags="S")
raw = bytearray(bytes(packet))
if bad == "ip": raw[10] ^= 0xff
if bad == "tcp": raw[36] ^= 0xff
for _ in range(2):
    sendp(Ether(dst=mac, src=get_if_hwaddr("eth0"), type=0x800) / bytes(raw), iface="eth0", verbose=False)
"""  # noqa: E501 - a text as it is read


def gone(folder: Path, bad: str = "") -> None:
    """Packets that come in and never leave, with no rule to blame: the reverse path filter, no
    route, a neighbour that is not there, a checksum."""
    settings = {f"net.ipv4.conf.{name}.rp_filter": "1" for name in ("all", "default", "eth0")}
    with Lab(sysctls=settings) as lab:
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80), ("tcp", 81, "172.17.0.9", 80)))
        lab.run("out", "ip", "addr", "add", "10.99.0.1/32", "dev", "eth0")
        lab.run("host", "ip", "route", "add", "10.99.0.0/16", "via", "172.17.0.2")
        lab.run("out", "ip", "route", "add", "10.50.0.0/16", "via", HOST)
        serve(lab, "c1", "tcp:80")
        mac = lab.run("host", "cat", "/sys/class/net/eth0/address").strip()
        with Recorder(lab, folder, interval=SLOW):
            assert client(lab, "out", "tcp", HOST, 80, source=A) == 1
            waiting = [
                ask(lab, "out", "tcp", HOST, 80, source="10.99.0.1"),
                ask(lab, "out", "tcp", HOST, 81, source=B),
                ask(lab, "out", "tcp", "10.50.0.1", 80, source=A),
            ]
            for process in waiting:
                process.wait(20)
            time.sleep(1.7)  # the kernel gives up on the neighbour after three seconds
            lab.run(
                "out", "ping", "-c", "1", "-t", "1", "-W", "1", "-I", A, "10.50.0.1", check=False
            )
            if bad:
                lab.run("out", PY, "-c", FORGED, mac, A, HOST, "80", bad)


GROUPS = """
import sys
from scapy.all import Ether, IP, UDP, get_if_hwaddr, sendp
mac, target, port = sys.argv[1:4]
head = Ether(dst=mac, src=get_if_hwaddr("eth0"))
for source in ("224.0.0.5", "255.255.255.255"):
    datagram = IP(src=source, dst=target) / UDP(sport=50001, dport=int(port)) / b"hello"
    sendp(head / datagram, iface="eth0", verbose=False)
"""


def unrouted(folder: Path) -> None:
    """Datagrams that a group and everybody seem to have sent, which nothing routes."""
    with Lab() as lab:
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80)))
        serve(lab, "host", "udp:5353")
        mac = lab.run("host", "cat", "/sys/class/net/eth0/address").strip()
        with Recorder(lab, folder, interval=SLOW):
            assert client(lab, "c1", "tcp", A, 8080) == 0
            lab.run("out", PY, "-c", GROUPS, mac, HOST, "5353")


def ahead(folder: Path) -> None:
    """Answers that a rule ahead of conntrack drops."""
    drop = f"*raw\n-A PREROUTING -s {B}/32 -i eth0 -p tcp -m tcp --sport 8080 -j DROP\nCOMMIT\n"
    with Lab() as lab:
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80)) + drop)
        serve(lab, "out", "tcp:8080")
        with Recorder(lab, folder, interval=SLOW):
            assert client(lab, "c1", "tcp", A, 8080) == 1
            ask(lab, "c1", "tcp", B, 8080).wait(20)


def redirected(folder: Path) -> None:
    """What a container sends elsewhere is led to the host itself, as a cache or a proxy does it,
    ahead of the bridge's tap; the answers bear the address that was dialled."""
    rules = published_rules(("tcp", 80, "172.17.0.2", 80))
    lead = "-A PREROUTING -i docker0 -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 3128\n"
    rules = rules.replace("-A OUTPUT ! -d", f"{lead}-A OUTPUT ! -d", 1)
    with Lab() as lab:
        lab.rules(rules)
        serve(lab, "host", "tcp:3128")
        with Recorder(lab, folder, interval=SLOW):
            assert client(lab, "c1", "tcp", A, 80, count=2) == 2
            assert client(lab, "c1", "tcp", "198.51.100.7", 80) == 1


def marked(folder: Path) -> None:
    """The first datagram marks its connection; the ICMP error that answers it bears the mark."""
    marks = (
        "*mangle\n-A PREROUTING -m connmark --mark 0x2/0x2\n"
        "-A FORWARD -i eth0 -j CONNMARK --set-xmark 0x2/0x2\nCOMMIT\n"
    )
    with Lab() as lab:
        lab.rules(published_rules(("udp", 53, "172.17.0.2", 53)) + marks)
        with Recorder(lab, folder, interval=SLOW):
            lab.run("out", PY, "-c", FLOW, A, HOST, "53", "45005", "2")


def answers_untracked(folder: Path) -> None:
    """Answers to the host that conntrack is told not to follow: what acknowledges them is
    INVALID."""
    apart = f"*raw\n-A PREROUTING -s {B}/32 -i eth0 -p tcp -m tcp --sport 8080 -j NOTRACK\nCOMMIT\n"
    count = "*mangle\n-A OUTPUT -m conntrack --ctstate INVALID\nCOMMIT\n"
    with Lab() as lab:
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80)) + apart + count)
        serve(lab, "out", "tcp:8080")
        with Recorder(lab, folder, interval=SLOW):
            assert client(lab, "host", "tcp", B, 8080, count=2) == 2


def attached(folder: Path) -> None:
    """Errors and resets that the kernel makes have the connection of what they are about ahead of
    raw, where NOTRACK passes them by; the refusal of a socket has none."""
    raw = "*raw\n-A OUTPUT -m conntrack --ctstate RELATED\n-A OUTPUT -j NOTRACK\nCOMMIT\n"
    rejects = (
        "-A FORWARD -p udp -m udp --dport 1001 -j REJECT --reject-with icmp-port-unreachable\n"
        "-A INPUT -p tcp -m tcp --dport 1004 -j REJECT --reject-with tcp-reset\n"
    )
    rules = published_rules(("tcp", 80, "172.17.0.2", 80))
    rules = rules.replace("-A FORWARD -j DOCKER-USER", f"{rejects}-A FORWARD -j DOCKER-USER", 1)
    with Lab() as lab:
        lab.rules(rules + raw)
        with Recorder(lab, folder, interval=SLOW):
            assert client(lab, "c1", "udp", A, 1001) == 0
            assert client(lab, "out", "tcp", HOST, 1004, source=A) == 0
            assert client(lab, "out", "udp", HOST, 1006, source=A) == 0
            assert client(lab, "out", "tcp", HOST, 1007, source=A) == 0
            lab.run("c1", "ping", "-c", "1", "-t", "1", "-W", "1", A, check=False)


ASKED: dict[str, Callable[[Path], None]] = {
    f.__name__: f for f in (shut, modern, ufw, proxy, inside, stale, gone, unrouted)
}
