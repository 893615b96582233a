"""``python -m tests.lab.sampler FOLDER [SECONDS [TABLES [exact]]]``: what a user's script does:
iptables-save -c every 100 ms, -L -n -v every second."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path


def _stamp(ns: int) -> str:
    return f"{ns // 1_000_000_000}.{ns % 1_000_000_000:09d}"


def main(
    folder: Path, interval: float, tables: tuple[str, ...] = ("nat", "filter"), exact: bool = False
) -> None:
    """Sample until SIGTERM, then once more; list these ``tables``, with ``exact`` numbers or
    rounded."""
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    due, listed = time.monotonic(), 0.0
    with (
        (folder / "counters.log").open("w") as counters,
        (folder / "listing.log").open("w") as listing,
    ):
        while True:
            last = stopped
            begin = time.time_ns()
            text = subprocess.run(
                ["iptables-nft-save", "-c"], capture_output=True, text=True, check=True
            ).stdout
            end = time.time_ns()
            text = "".join(
                line for line in text.splitlines(keepends=True) if not line.startswith("#")
            )
            counters.write(f"# sample begin={_stamp(begin)} end={_stamp(end)}\n{text}")
            counters.flush()
            if time.monotonic() - listed >= 1 or last:
                listed = time.monotonic()
                listing.write(
                    subprocess.run(
                        ["date", "--iso-8601=ns"], capture_output=True, text=True, check=True
                    ).stdout.replace(",", ".")
                )
                for table in tables:
                    command = ["iptables-nft", "-t", table, "-L", "-n", "-v", "--line-numbers"]
                    command += ["-x"] if exact else []
                    listing.write(
                        subprocess.run(command, capture_output=True, text=True, check=True).stdout
                    )
                listing.flush()
            if last:
                return
            due = max(due + interval, time.monotonic())
            while time.monotonic() < due and not stopped:
                time.sleep(min(0.01, max(due - time.monotonic(), 0)))


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        float(sys.argv[2]) if len(sys.argv) > 2 else 0.1,
        tuple(sys.argv[3].split(",")) if len(sys.argv) > 3 else ("nat", "filter"),
        "exact" in sys.argv[4:],
    )
