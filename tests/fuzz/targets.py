"""What is fuzzed: every reader, and whole replays with every report."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from correlator.dataset.facts import read_facts, read_session_facts
from correlator.dataset.session import read_manifest
from correlator.decode import read_packets
from correlator.decode.events import read_events
from correlator.decode.stream import Names, Source, UnusualError
from correlator.firewall.languages.iptables_save import parse_iptables_save
from correlator.firewall.samples.read import parse_counter_log
from correlator.firewall.samples.session import read_sample_logs
from correlator.firewall.sets import parse_sets
from correlator.firewall.walk.program import compile_ruleset
from correlator.flows.conntrack_log import read_conntrack_log
from correlator.flows.fold.plan import FOLDED, UNFOLDED
from correlator.reconcile.loading import load_files
from tests.conftest import CAPTURES
from tests.fuzz.mutate import blocks, mutated

MOST = 60_000
"""Bytes of a seed: small ones are tried more often in the same time."""


@dataclass(frozen=True)
class Target:
    """``run`` reads a folder in which ``file`` (one of its, mutated) lies; ``seeds`` are whole
    inputs of that file, ``text`` where it is one."""

    name: str
    file: str
    run: Callable[[Path], object]
    seeds: tuple[bytes, ...]
    text: bool = True
    made: Callable[[random.Random], bytes] | None = None

    def input(self, rng: random.Random) -> bytes:
        """One input."""
        if self.made is not None and rng.random() < 0.3:
            return self.made(rng)
        return mutated(rng.choice(self.seeds), self.seeds, rng, self.text)


def _seeds(*patterns: str) -> tuple[bytes, ...]:
    found = [path for pattern in patterns for path in sorted(CAPTURES.glob(f"*/{pattern}"))]
    return tuple(dict.fromkeys(path.read_bytes()[:MOST] for path in found))


def _packets(folder: Path) -> None:
    """Both readers: where the fold's takes a file, they see the same frames at the same times."""
    file = folder / "packets"
    whole = read_packets(file, "eth0")
    try:
        source = Source(file, "eth0", "eth0", Names({"eth0": 2}))
        parts = []
        while len(part := source.read()):
            parts.append(part["time"].copy())
    except UnusualError:
        return
    found = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
    theirs = np.sort(whole.packets["time"].to_numpy())
    assert np.array_equal(np.sort(found), theirs), "both readers agree"


def _rules(folder: Path) -> None:
    compile_ruleset(
        parse_iptables_save((folder / "rules.v4").read_bytes().decode("utf-8", "replace"))
    )


def _sets(folder: Path) -> None:
    parse_sets([(folder / "ipsets.txt").read_bytes().decode("utf-8", "replace")])


def _session(folder: Path) -> None:
    read_manifest(folder)
    read_sample_logs(folder, True)


RECORDS = b"".join(
    b'{"backend":"nft","begin":%d,"end":%d,"counters":[%s]}\n' % (i * 10**8, i * 10**8 + 9, values)
    for i, values in enumerate((b"0,1,60,3,2,120", b"", b"0,2,120", b"4,1,40", b"0,3,180"), 17)
)
SAMPLES = b'{"ruleset":1,"backend":"nft","file":"rulesets/a.rules","uncounted":[0]}\n' + RECORDS
MANIFEST = (
    b'{"format":1,"tool":"x","complete":true,"begin":1,"end":2,"interfaces":[{"name":"eth0",'
    b'"link_type":1,"port_of":"","received":1,"dropped":0,"begin":0,"end":0}],"filter":"","snap_length"'
    b':0,"interval":100,"backends":["nft"],"reading":"kernel","command":["a"],"exit_status":0,'
    b'"stopped_by":"command","events_lost":0,"warnings":["w"]}'
)
SETS = (
    b"create a hash:ip family inet hashsize 1024 maxelem 65536\nadd a 10.0.0.0/8\n"
    b"add a 1.2.3.4 nomatch\ncreate b hash:ip,port,net family inet\n"
    b"add b 10.0.0.1,tcp:80,10.0.0.0/24\ncreate c list:set size 8\nadd c a\n"
    b"create d bitmap:port range 0-1024\nadd d 80-90\n"
)
CONNTRACK = (
    b"[1795410714.471286]\t[NEW] tcp 6 120 SYN_SENT src=10.0.0.1 dst=10.0.0.2 sport=1 dport=80 "
    b"[UNREPLIED] src=172.17.0.2 dst=10.0.0.1 sport=80 dport=1\nipv4 2 icmp 1 29 src=10.0.0.1 "
    b"dst=10.0.0.2 type=8 code=0 id=7 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=7 mark=0 use=1\n"
)
JSONS = ("addr.json", "link.json", "route.json")


def readers() -> list[Target]:
    """Every reader of a file."""
    pcaps = _seeds("*.pcap")
    logs = tuple(log[:8000] for log in _seeds("counters.log"))
    listings = tuple(log[:8000] for log in _seeds("listing.log"))
    containers = (b'[{"name": "web", "networks": {"a": "172.17.0.2"}}]',)
    return [
        Target("pcap", "packets", _packets, pcaps, text=False),
        Target("pcapng", "packets", _packets, (blocks(random.Random(1)),), False, blocks),
        Target(
            "events",
            "events",
            lambda f: read_events(f / "events"),
            (blocks(random.Random(2)),),
            False,
            blocks,
        ),
        Target("counters", "counters.log", _log, logs),
        Target("listing", "counters.log", _log, listings),
        Target("rules", "rules.v4", _rules, tuple(log[30:4000] for log in logs)),
        Target("sets", "ipsets.txt", _sets, (SETS,)),
        Target(
            "conntrack",
            "conntrack.log",
            lambda f: read_conntrack_log(f / "conntrack.log", f),
            (CONNTRACK,),
        ),
        *(Target(name, name, read_facts, _seeds(name)) for name in JSONS),
        Target("docker.json", "docker.json", read_facts, containers),
        Target("sysctl.txt", "sysctl.txt", read_facts, _seeds("sysctl.txt")),
        Target("manifest", "manifest.json", _session, (MANIFEST,)),
        Target("samples", "samples.jsonl", _session, (SAMPLES,)),
    ]


def _log(folder: Path) -> None:
    parse_counter_log((folder / "counters.log").read_bytes())


def stand(target: Target, folder: Path) -> None:
    """What else lies in the folder of an input."""
    if target.run is _session:
        (folder / "manifest.json").write_bytes(MANIFEST)
        (folder / "samples.jsonl").write_bytes(SAMPLES)
        (folder / "rulesets").mkdir()
        (folder / "rulesets" / "a.rules").write_bytes(_seeds("counters.log")[0].partition(b"\n")[2])
        read_session_facts(folder)


REPORTS = 12


def reports(folder: Path, how: int, fold: bool) -> None:
    """A whole replay, by the fold or without it: the report, and one of the others."""
    from correlator.report.annotated import export_pcapng
    from correlator.report.machine import export_table, replay_json
    from correlator.report.page.render import render_page
    from correlator.report.plot import write_plot
    from correlator.report.show import render_connection
    from correlator.report.terminal import render_replay

    analysis = load_files(folder, plan=FOLDED if fold else UNFOLDED)
    text = render_replay(analysis, everything=True)
    assert all(line.isprintable() for line in text.split("\n")), "nothing unseen is printed"
    out = folder / "out"
    out.mkdir(exist_ok=True)
    if how < 5:
        export_table(
            analysis, ("hits", "connections", "ledger", "packets", "rules")[how], out / "x.csv"
        )
    elif how == 5:
        export_table(analysis, "connections", out / "x.log", "zeek")
    elif how == 6:
        export_pcapng(analysis, out / "x.pcapng")
    elif how == 7:
        render_page(analysis)
    elif how == 8:
        write_plot(analysis, out / "x.svg")
    elif how == 9 and len(analysis.connections):
        for number in range(1, min(len(analysis.connections), 20) + 1):
            render_connection(analysis, number)
    else:
        replay_json(analysis)


def warm(folder: Path) -> None:
    """Import and compile what replays need: it is not what an input takes."""
    shutil.copytree(CAPTURES / WHOLE[0], folder)
    for how in range(REPORTS):
        reports(folder, how, how % 2 == 0)


WHOLE = ("shut", "gone", "ttl", "proxy", "inside", "stale")


def recording(folder: Path, rng: random.Random) -> str:
    """A recording of which one or two files are mutated, in ``folder``; what was mutated."""
    source = CAPTURES / rng.choice(WHOLE)
    keep = shutil.ignore_patterns("truth", *(("counters.log",) if rng.random() < 0.3 else ()))
    shutil.copytree(source, folder, ignore=keep, dirs_exist_ok=True)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    chosen = rng.sample(files, rng.choice((1, 1, 2)))
    for file in chosen:
        data = file.read_bytes()
        file.write_bytes(mutated(data, (data,), rng, not file.name.endswith(".pcap")))
    return f"{source.name}: {', '.join(file.name for file in chosen)}"
