"""Recording a case: what a user of plain tools saves, and beside it in ``truth/`` what only the
kernel knows."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.lab.accuracy.case import Case
from tests.lab.accuracy.kernel import Names, packets, unbalanced, write_hits
from tests.lab.accuracy.network import CaseNetwork
from tests.lab.net import sh
from tests.lab.trace import TRACE_TABLE
from tests.lab.truth import Standing, standing_rules

TAIL = 1.3
"""Seconds that tcpdump is left after the last packet; ended earlier, it loses them."""
KEPT = ("net.bridge", "net.ipv4.ip_forward ", "net.ipv4.conf", "net.netfilter")
"""What is saved of ``sysctl -a``."""


class NotRecordedError(Exception):
    """Why a case came to nothing."""


@dataclass(frozen=True)
class Recorded:
    """``refused``: rules that iptables did not take. ``disturbed``: why the recording cannot be
    held against its truth (another process took the time that it needed); nothing where it can."""

    packets: int
    rows: int
    refused: int
    disturbed: str


class Recording:
    """One case, recorded into ``folder``."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.folder, self.truth = case, folder, folder / "truth"
        self.names: Names = {}
        self.refused = 0
        self.moved_late = False

    def run(self) -> Recorded:
        """Record it. Raises NotRecordedError."""
        self.truth.mkdir(parents=True)
        self.case.write(self.folder / "case.json")
        about = {
            "seed": self.case.seed,
            "changes": bool(self.case.changes),
            "tables": self.case.plan.tables,
        }
        (self.truth / "about.json").write_text(json.dumps(about) + "\n")
        try:
            self.net = CaseNetwork(self.case)
            with self.net:
                self._prepare()
                self._go()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            raise NotRecordedError(str(error)[:300]) from error
        found = packets(self.truth / "trace.bin", self.names)
        rows = write_hits(found, self.log, self.truth / "hits.csv")
        (self.truth / "trace.bin").unlink()
        zeroed = any(" -Z" in line for _, lines, _ in self.case.changes for line in lines)
        off = unbalanced(found, self.first, self.last, zeroed)
        disturbed = "; ".join(off[:3]) or (
            "something moved at the end" if self.moved_late else self._lost()
        )
        return Recorded(len(found), rows, self.refused, disturbed)

    # ---- before the traffic

    def _prepare(self) -> None:
        net, case = self.net, self.case
        if case.sets:
            net.run("host", "ipset", "restore", "-exist", stdin="\n".join(case.sets) + "\n")
        self._load_rules()
        for chain in ("INPUT", "FORWARD", "OUTPUT") if case.plan.set_policies else ():
            policy = net.run("host", "iptables", "-S", chain).split()[2]
            net.run("host", "iptables", "-P", chain, policy)
        self.agents = []
        for member in case.network.members:
            agent = net.talk(member, "tests.lab.accuracy.agent", self.truth / f"agent-{member}.err")
            mine = [act for act in case.acts if act["who"] == member]
            self._tell(agent, json.dumps({"servers": case.servers[member], "acts": mine}))
            self.agents.append(agent)
        self._hear("servers")
        net.run("host", "nft", "-f", "-", stdin=TRACE_TABLE)  # conntrack works from here on
        self._tell_all("go")
        self._hear("ready")
        if any(act.get("before") for act in case.acts):
            self._wait_until_still(1.1, 1)

    def _load_rules(self) -> None:
        """Load what iptables takes; the lines that it refuses are left out."""
        lines = list(self.case.rules)
        for _ in range(40):
            try:
                self.net.run("host", "iptables-nft-restore", stdin="\n".join(lines) + "\n")
                return
            except RuntimeError as error:
                line = re.search(r"line:? (\d+)", str(error))
                if not line or not lines[int(line[1]) - 1].startswith("-A"):
                    raise
                del lines[int(line[1]) - 1]
                self.refused += 1
        raise RuntimeError("too many rules refused")

    def _facts(self) -> None:
        space = self.net.space("host")
        words = {
            "addr": ["addr"],
            "link": ["-d", "link"],
            "route": ["route", "show", "table", "all"],
        }
        for name, asked in words.items():
            (self.folder / f"{name}.json").write_text(sh("ip", "-n", space, "-j", *asked))
        settings = self.net.run("host", "sysctl", "-a", check=False).splitlines(keepends=True)
        (self.folder / "sysctl.txt").write_text("".join(s for s in settings if s.startswith(KEPT)))
        if self.case.sets:
            (self.folder / "ipsets.txt").write_text(self.net.run("host", "ipset", "save"))
        saved = self.net.run("host", "iptables-nft-save").splitlines(keepends=True)
        (self.folder / "rules.v4").write_text("".join(s for s in saved if not s.startswith("#")))

    # ---- the traffic

    def _go(self) -> None:
        self._facts()
        tracer = self.net.start(
            "host", sys.executable, "-m", "tests.lab.trace", str(self.truth / "trace.bin")
        )
        log = self.truth / "conntrack.log"
        with log.open("wb") as file:
            self.net.start(
                "host", "conntrack", "-E", "-b", "16777216", "-o", "id", stdout=file.fileno()
            )
        older = self.net.run("host", "conntrack", "-L", "-o", "id", check=False)
        self._wait_for(self.truth / "trace.bin", 6)
        self.first = self._note_rules()
        self._sample()
        dumps = self._tap()
        self._play()
        self._wait_until_still(0.25, 4)
        last = self._counted()
        time.sleep(TAIL)
        for dump in dumps:
            self.net.stop(dump, signal.SIGINT)
        self.last = self._note_rules()
        self.moved_late = self._counted() != last
        time.sleep(0.25)
        self.net.stop(tracer)
        self.log = older + log.read_text()

    def _sample(self) -> None:
        plan = self.case.plan
        words = [
            str(self.folder),
            str(plan.period),
            ",".join(plan.tables),
            *(["exact"] if plan.exact else []),
        ]
        self.net.start("host", sys.executable, "-m", "tests.lab.sampler", *words)
        self._wait_for(self.folder / "counters.log", 1)

    def _tap(self) -> list[subprocess.Popen[bytes]]:
        """tcpdump on every interface; on ``any`` and the bridges' ports into ``truth/``, from where
        variations take them."""
        net, plan, n = self.net, self.case.plan, self.case.network
        ports = [net.port(i, name) for i, name in enumerate(n.containers)] if plan.ports else []
        usual = ["eth0", *(["eth1"] if n.beyond else []), *n.bridges, "lo"]
        dumps, precision = [], "micro" if plan.micro else "nano"
        for name in (*usual, *ports, "any"):
            folder = self.folder if name in usual else self.truth
            words = [
                "tcpdump",
                *([] if plan.promiscuous else ["-p"]),
                "-i",
                name,
                "-n",
                "-s",
                str(plan.snap),
            ]
            words += ["-B", "8192", f"--time-stamp-precision={precision}", "-Z", "root"]
            words += ["-y", plan.link] if name == "any" else []
            errors = (self.truth / f"tcpdump-{name}.err").open("w")
            words = [
                "ip",
                "netns",
                "exec",
                net.space("host"),
                *words,
                "-w",
                str(folder / f"{name}.pcap"),
            ]
            dump = subprocess.Popen(
                words, stderr=errors, stdout=subprocess.DEVNULL, start_new_session=True
            )
            errors.close()
            net.processes.append(dump)
            dumps.append(dump)
        for name in (*usual, *ports, "any"):
            self._wait_for(self.truth / f"tcpdump-{name}.err", 1, "listening on")
        time.sleep(0.35)
        return dumps

    def _play(self) -> None:
        """The traffic, and the changes of rules within it."""
        start = time.time() + 0.05
        self._tell_all(str(start))
        for at, lines, rules in self.case.changes:
            time.sleep(max(0.0, start + at - time.time()))
            self._note_rules()
            for line in lines:
                self.net.run("host", "sh", "-c", line, check=False)
            if rules:
                self.net.run(
                    "host", "iptables-nft-restore", "-n", stdin="\n".join(rules) + "\n", check=False
                )
            self._note_rules()
        self._hear("done")

    def _note_rules(self) -> list[Standing]:
        rules = standing_rules(self.net)
        self.names |= {(rule.table, rule.handle): (rule.chain, rule.text) for rule in rules}
        return rules

    def _counted(self) -> list[str]:
        saved = self.net.run("host", "iptables-nft-save", "-c").splitlines()
        return [line for line in saved if line.startswith("[")]

    def _wait_until_still(self, pause: float, times: int) -> None:
        """Until counters stand still for so many pauses, six seconds at most."""
        until, last, still = time.monotonic() + 6, self._counted(), 0
        while still < times and time.monotonic() < until:
            time.sleep(pause)
            now = self._counted()
            still = still + 1 if now == last else 0
            last = now

    def _lost(self) -> str:
        said = [path.read_text() for path in self.truth.glob("tcpdump-*.err")]
        lost = sum(
            int(n) for text in said for n in re.findall(r"(\d+) packets dropped by kernel", text)
        )
        return f"tcpdump lost {lost} packets" if lost else ""

    # ---- talking with the members

    def _tell(self, agent: subprocess.Popen[str], line: str) -> None:
        assert agent.stdin is not None
        agent.stdin.write(line + "\n")
        agent.stdin.flush()

    def _tell_all(self, line: str) -> None:
        for agent in self.agents:
            self._tell(agent, line)

    def _hear(self, word: str) -> None:
        for agent in self.agents:
            assert agent.stdout is not None
            if agent.stdout.readline().strip() != word:
                raise RuntimeError(f"a member does not say {word}")

    def _wait_for(self, path: Path, size: int, words: str = "") -> None:
        until = time.monotonic() + 20
        while (
            not path.exists()
            or path.stat().st_size < size
            or words not in path.read_text("latin-1")
        ):
            if time.monotonic() > until:
                raise RuntimeError(f"{path.name} does not come")
            time.sleep(0.02)
