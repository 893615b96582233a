"""Replay at memory speed: a workload of known counts, side by side with its peers in the same run.

``python -m benchmarks.replay`` makes a session of a million packets seen on eth0 and again on
docker0 (60,000 connections, the rules of a Docker host, counter samples every 100 ms over ten
minutes), checks that every count of the answer is right, and times it against ``tcpdump -r``,
tshark, nfstream, dpkt and scapy over the same files. ``--growth`` prints how time and memory grow
with packets, rules and samples; ``--profile`` what the time is spent on; ``--large`` replays 20 GB
within 1 GB. Ratios, not seconds, are worth quoting."""

from __future__ import annotations

import argparse
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.large import large
from benchmarks.rulesets import docker_ports, kube_services
from benchmarks.workload import Answer

ROUNDS = 5
SLICE = 20_000
"""Packets of each file that the slow peers read; their times are scaled up."""
FIELDS = (
    "frame.time_epoch",
    "ip.src",
    "ip.dst",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.flags",
    "ip.len",
)
NFSTREAM = (
    "import sys, nfstream; print(sum(1 for path in sys.argv[1:] for _ in "
    "nfstream.NFStreamer(source=path, n_meters=2)))"
)
DPKT = (
    "import sys, dpkt\n"
    "for path in sys.argv[1:]:\n"
    "    for _, data in dpkt.pcap.Reader(open(path, 'rb')): "
    "dpkt.ethernet.Ethernet(data).data.data.flags"
)
SCAPY = (
    "import sys; from scapy.utils import PcapReader; from scapy.layers.inet import TCP; from "
    "scapy.layers.l2 import Ether\n"
    "for path in sys.argv[1:]:\n"
    "    for packet in PcapReader(path): packet[TCP].flags"
)

ENVIRONMENT = {
    name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
}
"""Python's modules are compiled once, as pip leaves them, not in every run."""


def timed(command: Sequence[str], rounds: int = 1) -> tuple[float, int]:
    """(shortest time of some rounds in s, largest resident set of any of its processes in
    bytes)."""
    best, size = float("inf"), 0
    for _ in range(rounds):
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
        )
        _, status, used = os.wait4(process.pid, 0)
        best, size = min(best, time.perf_counter() - begun), max(size, used.ru_maxrss * 1024)
        if status:
            raise SystemExit(f"{command[0]} failed with {status}")
    return best, size


def ours(folder: Path) -> list[str]:
    """From the shell to the finished report."""
    return [sys.executable, "-m", "correlator", "replay", str(folder)]


def tcpdump(files: Sequence[Path]) -> list[str]:
    """The same files, read and written again."""
    return ["sh", "-c", 'for f; do tcpdump -r "$f" -w /dev/null; done', "sh", *map(str, files)]


def make(folder: Path, packets: int, connections: int, **more: object) -> Answer:
    """:func:`benchmarks.workload.make_workload` in a process of its own: what this one once held
    would count as the memory of those that it starts."""
    code = (
        "import pickle, sys; from benchmarks.workload import make_workload\n"
        "words, more = pickle.load(sys.stdin.buffer); pickle.dump(make_workload(*words, **more), "
        "sys.stdout.buffer)"
    )
    task = pickle.dumps(((folder, packets, connections), more))
    answer: Answer = pickle.loads(
        subprocess.run(
            [sys.executable, "-c", code], input=task, capture_output=True, check=True
        ).stdout
    )
    return answer


def check(folder: Path, answer: Answer) -> None:
    """Every count against the generator's own, likewise. Ends the run where one is wrong."""
    code = (
        "import pickle, sys, correlator; from tests.test_fold import assert_right\n"
        "answer = pickle.load(sys.stdin.buffer); analysis = correlator.load(sys.argv[1])\n"
        "assert_right(analysis, answer.hits, answer.connections, answer.frames)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], input=pickle.dumps(answer), check=False
    )
    if done.returncode:
        raise SystemExit("the answer is wrong")


def head(path: Path, packets: int) -> Path:
    """The first packets of a file, in a file of their own beside it."""
    data = path.read_bytes()
    size = 16 + int.from_bytes(data[32:36], "little")
    short = path.with_suffix(".head")
    short.write_bytes(data[: 24 + size * packets])
    return short


def peers(files: Sequence[Path], packets: int) -> list[tuple[str, Callable[[], float]]]:
    """(name, seconds for all packets) of each; those that are slow read a slice, and what they need
    to start is taken off."""
    python = os.environ.get("BENCH_PYTHON", sys.executable)

    def sliced(*command: str) -> float:
        short, shorter = ([str(head(file, n)) for file in files] for n in (SLICE, SLICE // 10))
        few = timed([*command, *shorter])[0]
        for file in files:
            head(file, SLICE)
        many = timed([*command, *short])[0]
        for name in short:
            Path(name).unlink()
        return few + (many - few) / (SLICE * 0.9 * len(files)) * packets

    def tshark(*words: str) -> float:
        return sum(timed(["tshark", "-n", "-r", str(file), *words])[0] for file in files)

    return [
        ("tshark -r -w /dev/null", lambda: tshark("-w", "/dev/null")),
        (
            "tshark -T fields",
            lambda: tshark("-T", "fields", *(word for f in FIELDS for word in ("-e", f))),
        ),
        ("nfstream flows", lambda: timed([python, "-c", NFSTREAM, *map(str, files)])[0]),
        ("dpkt, TCP flags (slice)", lambda: sliced(python, "-c", DPKT)),
        ("scapy, TCP flags (slice)", lambda: sliced(sys.executable, "-c", SCAPY)),
    ]


def compare(packets: int, connections: int, with_peers: bool) -> None:
    """The table of one workload."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        answer = make(folder, packets, connections)
        files, frames = sorted(folder.glob("*.pcap")), sum(answer.frames.values())
        timed(ours(folder))  # compiled code is cached from here on
        check(folder, answer)
        print(f"{frames:,} frames, {connections:,} connections: every count is right")
        both = [(timed(ours(folder)), timed(tcpdump(files))) for _ in range(ROUNDS)]
        best, size = min(one[0] for one, _ in both), max(one[1] for one, _ in both)
        base = min(other[0] for _, other in both)
        median = sorted(one[0] / other[0] for one, other in both)[ROUNDS // 2]
        print(f"{'what':<28} {'s':>8} {'Mpackets/s':>11} {'times tcpdump':>14}")
        rows = [("tcpdump -r -w /dev/null", base), ("correlator replay", best)]
        for what, seconds in rows:
            print(
                f"{what:<28} {seconds:8.2f} {frames / seconds / 1e6:11.2f} {seconds / base:14.1f}"
            )
        peak = f"{size / frames:.0f} bytes a packet at the peak of either process"
        print(f"correlator replay: median of {ROUNDS} rounds {median:.1f} times tcpdump; {peak}")
        for what, run in peers(files, frames) if with_peers else ():
            try:
                seconds = run()
            except (OSError, SystemExit) as error:
                print(f"{what:<28} not here ({error})")
                continue
            print(
                f"{what:<28} {seconds:8.2f} {frames / seconds / 1e6:11.2f} {seconds / base:14.1f}",
                flush=True,
            )


def row(what: str, packets: int, connections: int, certain: bool = True, **more: object) -> None:
    """One line of the growth table. ``certain``: the recording tells every count."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        answer = make(folder, packets, connections, **more)
        if certain:
            check(folder, answer)
        frames = sum(answer.frames.values())
        pairs = [
            (timed(ours(folder)), timed(tcpdump(sorted(folder.glob("*.pcap"))))) for _ in range(3)
        ]
        (seconds, size), _ = min(pairs)
        base = min(other[0] for _, other in pairs)
        log = (folder / "counters.log").stat().st_size / 1e6
        print(
            f"| {what} | {frames / 1e6:.2f} | {connections:,} | {log:.0f} | {seconds:.2f} | "
            f"{seconds / frames * 1e6:.2f} "
            f"| {seconds / base:.1f} | {size / 2**20:.0f} | {size / frames:.0f} |",
            flush=True,
        )


def growth() -> None:
    """How time and memory grow."""
    print(
        "| what | Mframes | connections | log MB | s | us a frame | times tcpdump | peak MiB | "
        "bytes a frame |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for packets in (125_000, 250_000, 500_000, 1_000_000, 2_000_000, 4_000_000):
        row(f"{packets * 2 / 1e6:g} M packets", packets, packets * 60 // 1000)
    every = 10_000_000_000
    row("20 rules, samples every 10 s", 1_000_000, 60_000, interval_ns=every)
    for count in (100, 1_000, 10_000):
        row(
            f"{count:,} rules (Docker's shape)",
            1_000_000,
            60_000,
            interval_ns=every,
            extra=docker_ports(count // 2),
        )
    row(
        "10,000 rules (kube-proxy's shape)",
        1_000_000,
        60_000,
        interval_ns=every,
        extra=kube_services(1_430),
    )
    row("rules change once", 1_000_000, 60_000, changes=1)
    # a counter that goes with its rule takes the last hits with it
    row("rules change 50 times", 1_000_000, 60_000, certain=False, changes=50)
    row("pcaps and counters only", 1_000_000, 60_000, facts=False)
    for interval in (1_000, 100, 10):
        row(f"samples every {interval:,} ms", 250_000, 15_000, interval_ns=interval * 1_000_000)


def profile(packets: int, connections: int) -> None:
    """What the time is spent on, by function."""
    import cProfile
    import pstats

    with tempfile.TemporaryDirectory() as name:
        make(Path(name), packets, connections)
        timed(ours(Path(name)))
        profiler = cProfile.Profile()
        profiler.enable()
        import correlator
        from correlator.report.terminal import render_replay

        render_replay(correlator.load(name))
        profiler.disable()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"in the reading process: {used.ru_utime:.2f} s and {used.ru_stime:.2f} s in the "
            f"kernel, of both runs"
        )
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--packets", type=int, default=1_000_000, help="packets seen on eth0, and again on docker0"
    )
    parser.add_argument("--connections", type=int, default=60_000)
    parser.add_argument("--no-peers", action="store_true", help="tcpdump only")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument(
        "--large",
        type=float,
        metavar="GB",
        nargs="?",
        const=20.0,
        help="a file of 20 GB (or so many)",
    )
    options = parser.parse_args()
    if options.large:
        large(ENVIRONMENT, options.large)
    elif options.growth:
        growth()
    elif options.profile:
        profile(options.packets, options.connections)
    else:
        compare(options.packets, options.connections, not options.no_peers)


if __name__ == "__main__":
    main()
