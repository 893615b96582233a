"""An hour of samples of a thousand rules, as text and as a session's samples: how long and how
large is reading it?

    python benchmarks/hour.py [samples] [rules] [a FOLDER to keep]

Each case is read in a process of its own, three times: the least time of parsing and of
read_counters, and the most memory beyond what the imports take. What was read is checked against
what was planned. The text of the whole hour is 3 GB."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.firewall.samples.log import CounterLog

    Ints = npt.NDArray[np.int64]

BEGIN_NS, INTERVAL_NS, TAKES_NS = 1_790_000_000_000_000_000, 100_000_000, 2_000_000
FEW = 20
BLOCK = 500


def rule_lines(rules: int) -> list[str]:
    """The filter table of a host with many published ports; the counting lines are FORWARD's policy
    and the rules."""
    lines = ["*filter", ":FORWARD DROP", ":DOCKER - [0:0]", "-A FORWARD -o docker0 -j DOCKER"]
    net = ((number // 250, number % 250 + 2) for number in range(rules - 1))
    lines += [
        f"-A DOCKER -d 172.17.{a}.{b}/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport "
        f"{8000 + a * 250 + b} -j ACCEPT"
        for a, b in net
    ]
    return [*lines, "COMMIT"]


def plan(samples: int, rules: int, moving: int, seed: int = 1) -> Iterator[Ints]:
    """Counters of the counting lines, int64 (n, rules + 1, 2), in blocks; ``moving`` rules move in
    every sample."""
    rng = np.random.default_rng(seed)
    state = np.zeros((rules + 1, 2), dtype=np.int64)
    state[1:] = rng.integers(0, 10**6, (rules, 2))
    for begin in range(0, samples, BLOCK):
        n = min(BLOCK, samples - begin)
        packets = np.zeros((n, rules + 1), dtype=np.int64)
        packets[:, 1 : moving + 1] = rng.integers(1, 40, (n, moving))
        step = np.stack([packets, packets * rng.integers(52, 1500, (n, rules + 1))], axis=2)
        values = state + np.cumsum(step, axis=0)
        yield values
        state = values[-1]


def stamp(ns: int) -> str:
    """Epoch seconds."""
    return f"{ns // 10**9}.{ns % 10**9:09d}"


def write_text(path: Path, samples: int, rules: int, moving: int) -> None:
    """What a loop of ``iptables-save -c`` would have printed."""
    lines = rule_lines(rules)
    still = len(lines)
    begin = BEGIN_NS
    with path.open("w") as file:
        for block in plan(samples, rules, moving):
            for values in block.tolist():
                if still == len(lines):
                    tail = "\n".join(
                        f"[{p}:{b}] {line}"
                        for (p, b), line in zip(
                            values[moving + 1 :], lines[3 + moving :], strict=False
                        )
                    )
                    tail = "\n" + tail + "\nCOMMIT\n" if tail else "\nCOMMIT\n"
                    still = 0
                head = f"# sample begin={stamp(begin)} end={stamp(begin + TAKES_NS)}\n*filter\n"
                head += f":FORWARD DROP [{values[0][0]}:{values[0][1]}]\n"
                moved = "\n".join(
                    f"[{p}:{b}] {line}"
                    for (p, b), line in zip(
                        values[1 : moving + 1], lines[3 : 3 + moving], strict=True
                    )
                )
                file.write(f"{head}:DOCKER - [0:0]\n{moved}{tail}")
                begin += INTERVAL_NS


def write_session(folder: Path, samples: int, rules: int, moving: int) -> None:
    """What ``correlator capture`` would have recorded of the counters."""
    (folder / "rulesets").mkdir(parents=True)
    (folder / "rulesets" / "nft-1.rules").write_text("\n".join(rule_lines(rules)) + "\n")
    before = np.zeros((rules + 1, 2), dtype=np.int64)
    begin = BEGIN_NS
    with (folder / "samples.jsonl").open("w") as file:
        file.write(
            json.dumps(
                {"backend": "nft", "ruleset": 1, "file": "rulesets/nft-1.rules"},
                separators=(",", ":"),
            )
            + "\n"
        )
        for block in plan(samples, rules, moving):
            for values in block:
                changed = np.flatnonzero((values != before).any(axis=1))
                counters = ",".join(
                    map(str, np.column_stack([changed, values[changed]]).ravel().tolist())
                )
                file.write(
                    f'{{"backend":"nft","begin":{begin},"end":{begin + TAKES_NS},'
                    f'"counters":[{counters}]}}\n'
                )
                before, begin = values, begin + INTERVAL_NS


def read(path: Path) -> CounterLog:
    """As replay does."""
    from correlator.firewall.samples.log import parse_counter_log
    from correlator.firewall.samples.session import read_sample_logs

    return (
        read_sample_logs(path, direct=True)["nft"]
        if path.is_dir()
        else parse_counter_log(path.read_bytes(), str(path))
    )


def most_memory() -> int:
    """This process's peak so far in kB (getrusage would tell the parent's, from before the
    fork)."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def measure(path: Path, repeat: int) -> None:
    """Print (s to parse, s to read the counters, MB at the peak, packets in all)."""
    from correlator.firewall.samples import session as sample_log
    from correlator.reconcile.intake.counters import read_counters
    from correlator.reconcile.intake.generations import register

    assert sample_log
    imports = most_memory()
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        log = read(path)
        parsed = time.perf_counter()
        counters = read_counters(log, register(log.rulesets))
        times.append((parsed - begin, time.perf_counter() - parsed))
        peak = most_memory()
        total = int(counters.totals()[0].sum())
        del log, counters
    print(json.dumps([*map(min, zip(*times, strict=True)), (peak - imports) / 1024, total]))


def main() -> None:
    """Write, read, print."""
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 36_000
    rules = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(sys.argv[3]) if len(sys.argv) > 3 else Path(name)
        for form, write in (("session", write_session), ("text", write_text)):
            for moving in (FEW, rules):
                path = folder / f"{form}-{samples}-{rules}-{moving}"
                if not path.exists():
                    write(path, samples, rules, moving)
                size = (path / "samples.jsonl" if path.is_dir() else path).stat().st_size
                done = subprocess.run(
                    [sys.executable, __file__, "--measure", str(path)],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                parse, counters, peak, total = json.loads(done.stdout)
                first = last = np.zeros(0)
                for block in plan(samples, rules, moving):
                    first, last = first if len(first) else block[0], block[-1]
                right = "right" if total == int((last - first)[:, 0].sum()) else "WRONG"
                print(
                    f"{form:8} {size / 1e6:7.0f} MB, {samples:,} samples, {moving:,} of {rules:,} "
                    f"rules move: "
                    f"parse {parse:.2f} s, read_counters {counters:.2f} s, peak {peak:,.0f} MB, "
                    f"{right}",
                    flush=True,
                )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(Path(sys.argv[2]), 3)
    else:
        main()
