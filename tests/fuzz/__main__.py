"""``python -m tests.fuzz --minutes 10 --seed 1 [--only readers]``: see the package."""

from __future__ import annotations

import argparse
import os
import sys
import time

os.environ.setdefault("NUMBA_BOUNDSCHECK", "1")  # before anything is compiled

from tests.fuzz.run import Tally, fuzz_readers, fuzz_replays, limit_memory

SHARE = 0.5
"""Of the time, for readers; the rest is for whole replays."""
ENDLESS = 1 << 60


def main() -> int:
    """Status 1 where there is a finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--only", choices=("readers", "replays"))
    chosen = parser.parse_args()
    readers, replays = Tally(), Tally()
    limit_memory()
    begun = time.monotonic()
    seconds = chosen.minutes * 60
    if chosen.only != "replays":
        share = 1.0 if chosen.only else SHARE
        fuzz_readers(chosen.seed, ENDLESS, begun + share * seconds, readers)
    if chosen.only != "readers":
        fuzz_replays(chosen.seed, ENDLESS, begun + seconds, replays)
    day = time.strftime("%Y-%m-%d", time.gmtime())
    print(f"{day} seed {chosen.seed}, {(time.monotonic() - begun) / 60:.1f} min")
    for what, tally in (("readers", readers), ("replays", replays)):
        if tally.inputs:
            print(f"{what}: {tally.line()}")
        for problem, kept in tally.findings.items():
            print(f"  {problem}: {kept}")
    return bool(readers.findings or replays.findings)


if __name__ == "__main__":
    sys.exit(main())
