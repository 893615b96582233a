"""A file of 20 GB within 1 GB of memory: ``python -m benchmarks.replay --large`` (20 GB of disk,
some 6 GB of memory to make it).

Whole frames of a million connections, replayed with ``--max-memory 1G``, beside tcpdump over the
same files."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.workload import Answer

CONNECTIONS = 50_000
"""In each GB."""
CROSSING = 1_120
"""Bytes of the two frames of one packet, at so many packets a connection."""
CHECK = (
    "import pickle, sys, correlator; from tests.test_fold import assert_planned\n"
    "answer = pickle.load(sys.stdin.buffer); analysis = correlator.load(sys.argv[1], "
    "max_memory=int(sys.argv[2]))\n"
    "assert_planned(analysis, answer.hits, answer.connections, answer.frames)"
)


def sizes(command: Sequence[str], environment: dict[str, str]) -> tuple[float, list[int], int]:
    """(seconds, largest resident set of each of its processes, and the most that all held of their
    own at once), bytes."""
    begun, peaks, most = time.perf_counter(), dict[int, int](), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    ended = threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.05):
            now = 0
            for pid in _tree(process.pid):
                told = _status(pid)
                peaks[pid] = max(peaks.get(pid, 0), told.get("VmHWM", 0))
                now += told.get("RssAnon", 0)
            most = max(most, now)

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    ended.set()
    watcher.join()
    if status:
        raise SystemExit(f"{command[0]} failed with {status}")
    return time.perf_counter() - begun, list(peaks.values()), most


def _tree(pid: int) -> list[int]:
    """A process and those that it began (proc(5))."""
    try:
        children = [
            int(word)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for word in (task / "children").read_text().split()
        ]
    except OSError:
        return []
    return [pid, *(one for child in children for one in _tree(child))]


def _status(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {
        line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")
    }


def make(folder: Path, gigabytes: float) -> Answer:
    """The recording, made by a process of its own."""
    code = (
        "import pathlib, pickle, sys; from benchmarks.workload import make_workload\n"
        "folder, *words = sys.argv[1:]\n"
        "pickle.dump(make_workload(pathlib.Path(folder), *map(int, words), payload=True), "
        "sys.stdout.buffer)"
    )
    words = [str(folder), str(int(gigabytes * 1e9 / CROSSING)), str(int(gigabytes * CONNECTIONS))]
    answer: Answer = pickle.loads(
        subprocess.run([sys.executable, "-c", code, *words], capture_output=True, check=True).stdout
    )
    return answer


def large(environment: dict[str, str], gigabytes: float, limit: int = 1 << 30) -> None:
    """One line for the table of docs/benchmarks.md. Ends the run where a count is wrong."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        if shutil.disk_usage(folder).free < 1.2e9 * gigabytes:
            raise SystemExit(f"{folder}: too little room for {gigabytes:g} GB")
        answer = make(folder, gigabytes)
        files = sorted(folder.glob("*.pcap"))
        size, frames = sum(file.stat().st_size for file in files), sum(answer.frames.values())
        replay = [
            sys.executable,
            "-m",
            "correlator",
            "replay",
            str(folder),
            "--max-memory",
            str(limit),
        ]
        read = 'for f; do tcpdump -r "$f" -w /dev/null 2> /dev/null; done'
        base, _, _ = sizes(["sh", "-c", read, "sh", *map(str, files)], environment)
        seconds, peaks, most = sizes(replay, environment)
        done = subprocess.run(
            [sys.executable, "-c", CHECK, str(folder), str(limit)],
            input=pickle.dumps(answer),
            check=False,
        )
        if done.returncode:
            raise SystemExit("the answer is wrong")
        print(
            f"{size / 1e9:.1f} GB, {frames:,} frames, {sum(answer.connections.values()):,} "
            f"connections, every count is right: "
            f"tcpdump {base:.1f} s, "
            f"correlator replay {seconds:.1f} s ({seconds / base:.1f} times); peaks of its "
            f"processes "
            f"{' and '.join(f'{peak / 2**20:.0f}' for peak in peaks)} MiB, at once "
            f"{most / 2**20:.0f} MiB"
        )
