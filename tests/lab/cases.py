"""The cases: what each sets up, and what its clients do. ``python -m tests.lab NAME OUT`` records
one."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lab.net import HOST, OUTSIDE, Lab
from tests.lab.record import Recorder

A, B = OUTSIDE
PY = sys.executable


def docker_rules(published: str, extra_user: str = "", containers: str = "") -> str:
    """What Docker 20.10 writes for one bridge with one published port of 172.17.0.2."""
    return f"""*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A DOCKER -i docker0 -j RETURN
{published}COMMIT
*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER - [0:0]
:DOCKER-ISOLATION-STAGE-1 - [0:0]
:DOCKER-ISOLATION-STAGE-2 - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -o docker0 -j DOCKER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i docker0 -o docker0 -j ACCEPT
{containers}-A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-1 -j RETURN
-A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
-A DOCKER-ISOLATION-STAGE-2 -j RETURN
{extra_user}-A DOCKER-USER -j RETURN
COMMIT
"""


def publish(protocol: str, port: int, server: str, door: int) -> tuple[str, str]:
    """(nat rule, filter rule) of a published port."""
    return (
        f"-A DOCKER ! -i docker0 -p {protocol} -m {protocol} --dport {port} -j DNAT "
        f"--to-destination {server}:{door}\n",
        f"-A DOCKER -d {server}/32 ! -i docker0 -o docker0 -p {protocol} -m {protocol} --dport "
        f"{door} -j ACCEPT\n",
    )


def published_rules(*ports: tuple[str, int, str, int], user: str = "") -> str:
    """Docker's rules for published ports."""
    pairs = [publish(*port) for port in ports]
    return docker_rules("".join(p[0] for p in pairs), user, "".join(p[1] for p in pairs))


def serve(lab: Lab, space: str, *doors: str, reply: int = 200) -> None:
    """Start servers and wait until they listen."""
    process = lab.start(
        space,
        PY,
        "-m",
        "tests.lab.traffic",
        "serve",
        *doors,
        "--reply",
        str(reply),
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()


def client(lab: Lab, space: str, kind: str, target: str, port: int, **options: object) -> int:
    """Run one client to its end; how many of its requests were answered."""
    words: list[str] = []
    for name, value in options.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return int(lab.run(space, PY, "-m", "tests.lab.traffic", kind, target, str(port), *words) or 0)


def published(folder: Path) -> None:
    """Clients outside, on the host and in the container; a closed port; pings; a denied client."""
    user = f"-A DOCKER-USER -s {B}/32 -i eth0 -p tcp -m tcp --dport 80 -j DROP\n"
    with Lab() as lab:
        lab.rules(
            published_rules(
                ("tcp", 80, "172.17.0.2", 80), ("udp", 5353, "172.17.0.2", 53), user=user
            )
        )
        serve(lab, "c1", "tcp:80", "udp:53", reply=900)
        serve(lab, "out", "tcp:8080")
        with Recorder(lab, folder, ("eth0", "docker0", "lo")):
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=6) == 6
            assert client(lab, "out", "udp", HOST, 5353, source=A, count=4) == 4
            client(lab, "out", "tcp", HOST, 80, source=B)
            assert client(lab, "host", "tcp", HOST, 80, count=2) == 2
            assert client(lab, "c1", "tcp", A, 8080, count=3) == 3
            client(lab, "out", "tcp", HOST, 8081, source=A)
            client(lab, "c1", "tcp", HOST, 80)
            lab.run("out", "ping", "-c", "2", "-i", "0.2", "-I", A, HOST)
            lab.run("c1", "ping", "-c", "2", "-i", "0.2", B)
            client(lab, "out", "udp", HOST, 9999, source=B)


SEND = """
import socket, sys, time
for group, port, count in (("224.0.0.251", 5353, 3), ("239.1.2.3", 4000, 3), ("224.0.0.1", 4001, 3)):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
        for i in range(count):
            s.sendto(b"x" * 100, (group, port))
            time.sleep(0.25)
"""  # noqa: E501 - a text as it is read
JOIN = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 4000))
s.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("239.1.2.3") + socket.inet_aton(sys.argv[1]))
print("joined", flush=True)
while True:
    s.recv(2000)
"""  # noqa: E501 - a text as it is read


def groups(folder: Path) -> None:
    """Multicast: what is for a group that the host has not joined ends behind PREROUTING, and
    conntrack forgets it each time."""
    with Lab() as lab:
        lab.rules(
            published_rules(("tcp", 80, "172.17.0.2", 80))
            + "*filter\n-A INPUT -p udp -m udp --dport 4000:5353\nCOMMIT\n"
        )
        member = lab.start("host", PY, "-c", JOIN, HOST, stdout=subprocess.PIPE)
        assert member.stdout is not None
        member.stdout.readline()
        time.sleep(2.5)  # until the host has reported what it joined, twice (RFC 3376, 8.1)
        with Recorder(lab, folder, ("eth0", "docker0", "lo")):
            lab.run("out", PY, "-c", SEND, A)
            lab.run("out", PY, "-c", SEND, A)


def everywhere(folder: Path, link: str = "LINUX_SLL2") -> None:
    """`tcpdump -i any`: one packet shows up to three times, on interfaces that are numbers or
    nothing at all."""
    with Lab({"docker0": 2}) as lab:
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80), ("udp", 5353, "172.17.0.2", 53)))
        serve(lab, "c1", "tcp:80", "udp:53")
        serve(lab, "out", "tcp:8080")
        serve(lab, "host", "tcp:2222")
        with Recorder(lab, folder, ("any",), link=link):
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=3) == 3
            assert client(lab, "out", "udp", HOST, 5353, source=A, count=3) == 3
            assert client(lab, "host", "tcp", HOST, 80, count=2) == 2
            assert client(lab, "host", "tcp", "127.0.0.1", 2222, count=2) == 2
            assert client(lab, "c1", "tcp", A, 8080, count=2) == 2
            lab.run("c2", "ping", "-c", "2", "-i", "0.2", B)


def everywhere_v1(folder: Path) -> None:
    """The same with the older cooked header, which names no interface."""
    everywhere(folder, "LINUX_SLL")


def balance(folder: Path) -> None:
    """kube-proxy's way: random choice among three containers, a mark, MASQUERADE of what bears
    it."""
    nat = "\n".join(
        [
            "*nat",
            *(f":{c} ACCEPT [0:0]" for c in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")),
            *(f":{c} - [0:0]" for c in ("SERVICES", "SVC", "MARKIT", "EP1", "EP2", "EP3", "POST")),
            "-A PREROUTING -j SERVICES",
            "-A OUTPUT -j SERVICES",
            "-A POSTROUTING -j POST",
            f"-A SERVICES -d {HOST}/32 -p tcp -m tcp --dport 80 -j SVC",
            "-A SVC ! -s 172.17.0.0/16 -j MARKIT",
            "-A SVC -m statistic --mode random --probability 0.33333333349 -j EP1",
            "-A SVC -m statistic --mode random --probability 0.50000000000 -j EP2",
            "-A SVC -j EP3",
            "-A MARKIT -j MARK --set-xmark 0x4000/0x4000",
            *(
                line
                for i in (1, 2, 3)
                for line in (
                    f"-A EP{i} -s 172.17.0.{i + 1}/32 -j MARKIT",
                    f"-A EP{i} -p tcp -m tcp -j DNAT --to-destination 172.17.0.{i + 1}:8080",
                )
            ),
            "-A POST -m mark ! --mark 0x4000/0x4000 -j RETURN",
            "-A POST -j MARK --set-xmark 0x4000/0x0",
            "-A POST -j MASQUERADE",
            "COMMIT",
            "*filter",
            *(f":{c} ACCEPT [0:0]" for c in ("INPUT", "FORWARD", "OUTPUT")),
            ":FWD - [0:0]",
            "-A FORWARD -j FWD",
            "-A FWD -m conntrack --ctstate INVALID -j DROP",
            "-A FWD -m mark --mark 0x4000/0x4000 -j ACCEPT",
            "-A FWD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
            "COMMIT\n",
        ]
    )
    with Lab({"docker0": 3}) as lab:
        lab.rules(nat)
        for name in ("c1", "c2", "c3"):
            serve(lab, name, "tcp:8080")
        with Recorder(lab, folder, ("eth0", "docker0", "lo")):
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=20, gap=0.02) == 20
            assert client(lab, "out", "tcp", HOST, 80, source=B, count=10, gap=0.02) == 10
            assert client(lab, "host", "tcp", HOST, 80, count=6) == 6


def user(folder: Path) -> None:
    """DOCKER-USER: drops by address and port, REJECT with a reset and with an ICMP error, a LOG
    with a limit."""
    rules = (
        f"-A DOCKER-USER -s {B}/32 -i eth0 -p tcp -m multiport --dports 80,443 -m comment "
        '--comment "office is blocked" -j DROP\n'
        "-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 81 -j REJECT --reject-with tcp-reset\n"
        "-A DOCKER-USER -i eth0 -p udp -m udp --dport 53 -m length --length 200:1500 "
        "-j REJECT --reject-with icmp-port-unreachable\n"
        "-A DOCKER-USER -i eth0 -p udp -m limit --limit 1/hour --limit-burst 2 -j LOG "
        '--log-prefix "user "\n'
    )
    ports = (
        ("tcp", 80, "172.17.0.2", 80),
        ("tcp", 8181, "172.17.0.2", 81),
        ("udp", 5353, "172.17.0.2", 53),
    )
    with Lab() as lab:
        lab.rules(published_rules(*ports, user=rules))
        serve(lab, "c1", "tcp:80", "tcp:81", "udp:53")
        with Recorder(lab, folder):
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=3) == 3
            client(lab, "out", "tcp", HOST, 80, source=B, count=2)
            client(lab, "out", "tcp", HOST, 8181, source=A, count=3)
            assert client(lab, "out", "udp", HOST, 5353, source=A, count=5, gap=0.15) == 5
            client(lab, "out", "udp", HOST, 5353, source=B, count=2, size=400)


def replaced(folder: Path) -> None:
    """A container is replaced in mid-run: its rules are deleted and others inserted, at another
    address."""
    first, second = ("tcp", 80, "172.17.0.2", 80), ("tcp", 80, "172.17.0.3", 8080)
    with Lab({"docker0": 2}) as lab:
        lab.rules(published_rules(first))
        serve(lab, "c1", "tcp:80")
        serve(lab, "c2", "tcp:8080")
        with Recorder(lab, folder) as recorder:
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=8, gap=0.03) == 8
            for line in publish(*first):
                table = "nat" if "DNAT" in line else "filter"
                lab.iptables("-t", table, *line.replace("-A ", "-D ", 1).split())
            client(lab, "out", "tcp", HOST, 80, source=B)
            for line in publish(*second):
                table = "nat" if "DNAT" in line else "filter"
                lab.iptables("-t", table, *line.replace("-A DOCKER", "-I DOCKER 1", 1).split())
            recorder.note_rules()
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=8, gap=0.03) == 8


def zeroed(folder: Path) -> None:
    """``iptables -Z`` in mid-run, with traffic before, around and after."""
    with Lab() as lab:
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80)))
        serve(lab, "c1", "tcp:80")
        with Recorder(lab, folder):
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=12, gap=0.03) == 12
            lab.iptables("-t", "filter", "-Z")
            lab.iptables("-t", "nat", "-Z")
            assert client(lab, "out", "tcp", HOST, 80, source=B, count=12, gap=0.03) == 12


def collision(folder: Path) -> None:
    """Two containers use one source port towards one server: MASQUERADE rewrites the second."""
    with Lab({"docker0": 3}) as lab:
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80)))
        serve(lab, "out", "tcp:8080", "udp:53")
        with Recorder(lab, folder):
            for _ in range(2):
                for name in ("c1", "c2", "c3"):
                    assert client(lab, name, "tcp", A, 8080, sport=40000, reset=True) == 1
            for name in ("c1", "c2", "c3"):
                assert client(lab, name, "udp", A, 53, sport=5000, count=2) == 2


def reuse(folder: Path) -> None:
    """One tuple several times: after a reset, and as a SYN on TIME_WAIT."""
    with Lab() as lab:
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80)))
        serve(lab, "c1", "tcp:80")
        lab.run("out", "sysctl", "-qw", "net.ipv4.tcp_tw_reuse=1")
        with Recorder(lab, folder):
            for _ in range(3):
                assert client(lab, "out", "tcp", HOST, 80, source=A, sport=41000, reset=True) == 1
            for _ in range(3):
                client(lab, "out", "tcp", HOST, 80, source=A, sport=42000)
                time.sleep(0.2)


def older(folder: Path) -> None:
    """Connections that began before the capture: published, MASQUERADEd and local ones, and UDP
    streams. They go on once all that records does, so that trace and capture see the same."""
    with Lab() as lab, TemporaryDirectory() as between:
        going = Path(between) / "going"
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80), ("udp", 5353, "172.17.0.2", 53)))
        serve(lab, "c1", "tcp:80", "udp:53")
        serve(lab, "out", "tcp:8080")
        serve(lab, "host", "tcp:2222")
        talkers = [
            lab.start(space, PY, "-c", TALK, kind, target, str(port), str(going), source)
            for space, kind, target, port, source in (
                ("out", "tcp", HOST, 80, A),
                ("c1", "tcp", A, 8080, ""),
                ("out", "tcp", HOST, 2222, B),
                ("out", "udp", HOST, 5353, A),
            )
        ]
        time.sleep(1.0)
        with Recorder(lab, folder):
            going.touch()
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=3) == 3
            for talker in talkers:
                talker.wait(20)


TALK = """
import pathlib, socket, sys, time
kind, target, port, going, source = sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:6]
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
if source: s.bind((source, 0))
s.connect((target, port)); s.settimeout(2)
for i in range(16):
    while i == 3 and not pathlib.Path(going).exists(): time.sleep(0.02)
    s.send(b"hello %d" % i); s.recv(4096); time.sleep(0.25)
s.close()
"""


def fragments(folder: Path) -> None:
    """Datagrams and pings larger than the MTU: several frames, one hit."""
    with Lab() as lab:
        lab.rules(published_rules(("udp", 5353, "172.17.0.2", 53)))
        serve(lab, "c1", "udp:53", reply=4000)
        serve(lab, "out", "udp:53", reply=3000)
        with Recorder(lab, folder):
            assert client(lab, "out", "udp", HOST, 5353, source=A, count=4, size=4000) == 4
            assert client(lab, "c1", "udp", A, 53, count=3, size=3500) == 3
            lab.run("out", "ping", "-c", "2", "-i", "0.2", "-s", "3000", "-I", A, HOST)
            lab.run("c1", "ping", "-c", "2", "-i", "0.2", "-s", "2500", B)


def superpackets(folder: Path) -> None:
    """Bulk transfers: segments of up to 64 KiB on the taps (GSO/GRO), one packet each in the
    counters."""
    with Lab() as lab:
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80)))
        serve(lab, "c1", "tcp:80", reply=400_000)
        with Recorder(lab, folder):
            client(lab, "out", "tcp", HOST, 80, source=A, count=3, size=200_000)


def ttl(folder: Path) -> None:
    """Time to live runs out at the host, on the way in and out; traceroute's first hop."""
    with Lab() as lab:
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80)))
        serve(lab, "c1", "tcp:80")
        lab.run("out", "ip", "route", "add", "172.17.0.0/16", "via", HOST)
        with Recorder(lab, folder):
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=2) == 2
            lab.run(
                "out",
                "ping",
                "-c",
                "2",
                "-i",
                "0.2",
                "-t",
                "1",
                "-W",
                "1",
                "-I",
                A,
                "172.17.0.2",
                check=False,
            )
            lab.run("c1", "ping", "-c", "2", "-i", "0.2", "-t", "1", "-W", "1", B, check=False)
            lab.run("c1", "ping", "-c", "1", "-t", "9", B)


def short(folder: Path) -> None:
    """A thousand short connections at full speed, from two clients at once."""
    with Lab() as lab:
        lab.rules(published_rules(("tcp", 80, "172.17.0.2", 80)))
        serve(lab, "c1", "tcp:80")
        with Recorder(lab, folder):
            other = lab.start(
                "out",
                PY,
                "-m",
                "tests.lab.traffic",
                "tcp",
                HOST,
                "80",
                "--source",
                B,
                "--count",
                "500",
                "--gap",
                "0",
            )
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=600, gap=0) == 600
            other.wait(60)


def hairpin_rules() -> str:
    """Docker's rules without its proxy: a container reaches a published port through the host's
    address."""
    rules = published_rules(("tcp", 80, "172.17.0.2", 80)).replace(
        "-A DOCKER -i docker0 -j RETURN\n", ""
    )
    rules = rules.replace(
        "! -i docker0 -p tcp -m tcp --dport 80 -j DNAT", "-p tcp -m tcp --dport 80 -j DNAT"
    ).replace(
        "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n",
        "-A POSTROUTING -o docker0 -m addrtype --src-type LOCAL -j MASQUERADE\n"
        "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n"
        "-A POSTROUTING -s 172.17.0.2/32 -d 172.17.0.2/32 -p tcp -m tcp --dport 80 -j MASQUERADE\n",
    )
    return rules.replace("-A OUTPUT ! -d 127.0.0.0/8", "-A OUTPUT")


def hairpin(folder: Path) -> None:
    """Docker without its proxy: containers reach a published port through the host's address, one
    of them itself."""
    with Lab({"docker0": 2}) as lab:
        lab.rules(hairpin_rules())
        lab.run("host", "ip", "link", "set", "vc1", "type", "bridge_slave", "hairpin", "on")
        serve(lab, "c1", "tcp:80")
        with Recorder(lab, folder, ("eth0", "docker0", "lo")):
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=2) == 2
            client(lab, "c2", "tcp", HOST, 80, count=2)
            client(lab, "c1", "tcp", HOST, 80, count=2)
            assert client(lab, "c2", "tcp", "172.17.0.2", 80, count=2) == 2
            assert client(lab, "host", "tcp", HOST, 80, count=2) == 2


def targets(folder: Path) -> None:
    """All five tables: NOTRACK, connection marks saved and restored, TCPMSS, REDIRECT, NETMAP, a
    chain of LOG."""
    rules = (
        "*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
        "-A PREROUTING -p udp -m udp --dport 9000 -j CT --notrack\n-A OUTPUT -p udp -m udp "
        "--sport 9000 -j CT --notrack\nCOMMIT\n"
        "*mangle\n:PREROUTING ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
        "-A PREROUTING -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff\n"
        "-A PREROUTING -m mark ! --mark 0x0 -j ACCEPT\n"
        f"-A PREROUTING -s {B}/32 -j MARK --set-xmark 0x7/0xffffffff\n"
        "-A PREROUTING -j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff\n"
        "-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu\n"
        "-A POSTROUTING -m connmark --mark 0x7\nCOMMIT\n"
    )
    filters = (
        "-A INPUT -m conntrack --ctstate UNTRACKED\n-A INPUT -p tcp -m tcp --dport 2222 -m "
        "conntrack --ctstate DNAT -j ACCEPT\n"
        '-A FORWARD -m mark --mark 0x7 -j LOG --log-prefix "seven "\n-A FORWARD -j DOCKER-USER\n'
    )
    docker = published_rules(("tcp", 80, "172.17.0.2", 80)).replace(
        "-A FORWARD -j DOCKER-USER\n", filters
    )
    redirect = "-A PREROUTING -i eth0 -p tcp -m tcp --dport 8888 -j REDIRECT --to-ports 2222\n"
    netmap = "-A PREROUTING -d 10.9.0.0/16 -j NETMAP --to 172.17.0.0/16\n"
    docker = docker.replace("-A PREROUTING -m addr", f"{redirect}{netmap}-A PREROUTING -m addr", 1)
    docker = docker.replace(
        "-A FORWARD -i docker0 -o docker0",
        f"-A FORWARD -s {A}/32 -d 172.17.0.2/32 -j ACCEPT\n-A FORWARD -i docker0 -o docker0",
    )
    with Lab() as lab:
        lab.rules(rules + docker)
        lab.run("out", "ip", "route", "add", "10.9.0.0/16", "via", HOST)
        serve(lab, "c1", "tcp:80")
        serve(lab, "host", "tcp:2222", "udp:9000")
        with Recorder(lab, folder, ("eth0", "docker0", "lo")):
            assert client(lab, "out", "tcp", HOST, 80, source=A, count=2) == 2
            assert client(lab, "out", "tcp", HOST, 80, source=B, count=2) == 2
            assert client(lab, "out", "tcp", HOST, 8888, source=A, count=2) == 2
            assert client(lab, "out", "tcp", HOST, 2222, source=B) == 1
            assert client(lab, "out", "udp", HOST, 9000, source=A, count=3) == 3
            assert client(lab, "out", "tcp", "10.9.0.2", 80, source=A, count=2) == 2


def churn(folder: Path) -> None:
    """Clients at full speed while rules come, go and change places, and counters are zeroed under
    them."""
    first, second = ("tcp", 80, "172.17.0.2", 80), ("tcp", 80, "172.17.0.3", 8080)
    with Lab({"docker0": 2}) as lab:
        lab.rules(published_rules(first))
        serve(lab, "c1", "tcp:80")
        serve(lab, "c2", "tcp:8080")
        serve(lab, "out", "tcp:8080")
        with Recorder(lab, folder) as recorder:
            busy = [
                lab.start(
                    space,
                    PY,
                    "-m",
                    "tests.lab.traffic",
                    "tcp",
                    target,
                    port,
                    *more,
                    "--count",
                    "150",
                    "--gap",
                    "0.012",
                )
                for space, target, port, *more in (
                    ("out", HOST, "80", "--source", A),
                    ("out", HOST, "80", "--source", B),
                    ("c1", A, "8080"),
                )
            ]
            time.sleep(0.5)
            lab.iptables("-I", "DOCKER-USER", "1", "-s", f"{B}/32", "-j", "RETURN")
            recorder.note_rules()
            time.sleep(0.45)
            for old, new in zip(publish(*first), publish(*second), strict=True):
                table = "nat" if "DNAT" in old else "filter"
                lab.iptables("-t", table, *new.replace("-A DOCKER", "-I DOCKER 1", 1).split())
                recorder.note_rules()
                lab.iptables("-t", table, *old.replace("-A ", "-D ", 1).split())
            time.sleep(0.5)
            lab.iptables("-Z", "FORWARD")
            time.sleep(0.3)
            lab.iptables("-D", "DOCKER-USER", "1")
            for process in busy:
                process.wait(60)


CASES: dict[str, Callable[[Path], None]] = {
    f.__name__: f
    for f in (
        published,
        groups,
        everywhere,
        everywhere_v1,
        balance,
        user,
        replaced,
        zeroed,
        collision,
        reuse,
        older,
        fragments,
        superpackets,
        ttl,
        short,
        churn,
        targets,
    )
}


UNSEEN: dict[str, Callable[[Path], None]] = {"hairpin": hairpin}
"""Cases in which rules count packets that no tap sees (a bridge's own traffic does not show on the
bridge)."""


def make_case(name: str, folder: Path) -> Path:
    """Record a case into a folder; the folder."""
    {**CASES, **UNSEEN}[name](folder)
    return folder
