"""The highest packet rate at which a capture holds every packet: scapy's AsyncSniffer, correlator,
tcpdump.

All listen to the receiving end of one veth in turn; a rule in raw drops the packets behind the
taps, so that nothing else works on them, and counts them: a packet is lost where the rule counted
it and the file does not hold it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.flood import SPLIT
from tests.lab.net import HOST, ROOT, Lab

MAC = "02:00:00:00:00:02"

RULES = """*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -i eth0 -p udp -m udp --dport 9 -j DROP
COMMIT
"""
TAIL_S = 1.3
"""Until the watched tool is stopped: tcpdump keeps back about a second of what it saw."""
FULL = 0.97
"""Of the asked rate, or the generator is at its end."""
CLOSE = 1.04
"""How near two rates are before the search stops."""


@dataclass(frozen=True)
class Tool:
    """Something that captures: its ``name``, and the ``words`` that start it (FOLDER stands for
    where it writes)."""

    name: str
    words: tuple[str, ...]
    first: float
    """Where the search begins, packets a second."""


OURS = (sys.executable, "-m", "benchmarks.observers", "correlator", "FOLDER/session", "eth0")
TCPDUMP = (
    "tcpdump",
    "-p",
    "-i",
    "eth0",
    "-s",
    "128",
    "-Z",
    "root",
    "--time-stamp-precision=nano",
    "-w",
    "FOLDER/packets.pcap",
)
TOOLS = (
    Tool(
        "scapy AsyncSniffer",
        (sys.executable, "-m", "benchmarks.observers", "scapy", "FOLDER/packets.pcap", "eth0"),
        1_000,
    ),
    Tool("correlator", OURS, 100_000),
    Tool("tcpdump -w", TCPDUMP, 100_000),
    Tool("tcpdump -w -B 32768", (*TCPDUMP, "-B", "32768"), 100_000),
)


@dataclass(frozen=True)
class Trial:
    """One run: packets a second that were sent, how many the rule counted and the file holds, and
    the tool's processor seconds while they were sent."""

    rate: float
    counted: int
    held: int
    processor: float

    @property
    def lost(self) -> int:
        """Packets that the file does not hold."""
        return self.counted - self.held


def processor_seconds(pid: int) -> float:
    """User and system time of a process so far, and of its children that have ended (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def observed(lab: Lab, words: tuple[str, ...], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The host's namespace with an observer that has said a line; it is ended by SIGINT, and must
    end well."""
    command = [word.replace("FOLDER", str(folder)) for word in words]
    process = subprocess.Popen(
        ["ip", "netns", "exec", lab.space("host"), *command],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = process.stderr.readline()
    try:
        if process.poll() is not None:
            raise RuntimeError(f"{' '.join(command)}: {(said + process.stderr.read()).decode()}")
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)}: {said.decode()}")


@contextmanager
def flood_lab() -> Iterator[Lab]:
    """A host with one interface, whose raw table counts and drops what comes in to port 9, and a
    generator's namespace."""
    with Lab({}) as lab:
        lab.rules(RULES)
        lab.run("host", "ip", "link", "set", "eth0", "address", MAC)
        lab.run("out", "ip", "link", "set", "eth0", *SPLIT)
        lab.run(
            "out", "ip", "neigh", "replace", HOST, "lladdr", MAC, "dev", "eth0", "nud", "permanent"
        )
        yield lab


def counted(lab: Lab) -> int:
    """Packets that the rule counted so far."""
    found = re.search(
        r"\[(\d+):\d+\] -A PREROUTING -i eth0",
        lab.run("host", "iptables-nft-save", "-c", "-t", "raw"),
    )
    assert found is not None
    return int(found[1])


def held(folder: Path) -> int:
    """Packets in what a tool wrote, as capinfos counts them (the generator's are the only ones on
    that link)."""
    path = next(
        path
        for path in (folder / "packets.pcap", folder / "session" / "packets.pcapng")
        if path.exists()
    )
    shown = subprocess.run(
        ["capinfos", "-TmrcM", str(path)], capture_output=True, text=True, check=True
    ).stdout
    return int(shown.strip().split(",")[1])


def run_trial(lab: Lab, tool: Tool, rate: float, seconds: float, folder: Path) -> Trial:
    """Send at ``rate`` for ``seconds`` while ``tool`` captures into ``folder``."""
    before = counted(lab)
    with observed(lab, tool.words, folder) as process:
        used = processor_seconds(process.pid)
        sent, took = map(
            float,
            lab.run(
                "out", sys.executable, "-m", "benchmarks.flood", HOST, str(rate), str(seconds)
            ).split(),
        )
        time.sleep(TAIL_S)
        used = processor_seconds(process.pid) - used
    passed = counted(lab) - before
    if passed != sent:
        raise RuntimeError(
            f"{sent:.0f} packets were sent and {passed} arrived: the link itself loses packets"
        )
    return Trial(sent / took, passed, held(folder), used)


def highest_lossless(lab: Lab, tool: Tool, seconds: float) -> tuple[Trial, bool]:
    """(the fastest run without a loss, whether the generator was at its end there).

    Rates are doubled until packets are lost twice, then bisected: another process may have had the
    processor once."""
    best: Trial | None = None
    low, high, rate = 0.0, 0.0, tool.first
    while not high or high / low > CLOSE:
        trial = _better_of_two(lab, tool, rate, seconds)
        if trial.lost:
            high = rate
            low = low or rate / 16
        else:
            best = trial if best is None or trial.rate > best.rate else best
            low = rate
            if trial.rate < FULL * rate:
                return best, True
        rate = rate * 2 if not high else (low * high) ** 0.5
        if high and rate < 200:
            raise RuntimeError(f"{tool.name} loses packets at any rate")
    if best is None:
        raise RuntimeError(f"{tool.name} loses packets at any rate that was tried")
    return best, False


def _better_of_two(lab: Lab, tool: Tool, rate: float, seconds: float) -> Trial:
    for last in (False, True):
        folder = Path(tempfile.mkdtemp(prefix="bench"))
        try:
            trial = run_trial(lab, tool, rate, seconds, folder)
        finally:
            shutil.rmtree(folder)
        if not trial.lost or last:
            return trial
    raise AssertionError
