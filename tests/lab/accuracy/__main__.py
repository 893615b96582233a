"""``python -m tests.lab.accuracy``: how often the product is right, measured; exit status 1 where a
row claims to be exact and is wrong."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from tests.lab.accuracy.batch import Wanted, run, score_folders
from tests.lab.accuracy.variations import USUAL, VARIATIONS


def seeds(text: str) -> list[int]:
    """``1-40,77`` -> the numbers."""
    found: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        found += range(int(low), int(high or low) + 1)
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.accuracy", description=__doc__)
    parser.add_argument(
        "--seeds", type=seeds, default=seeds("1-1000"), help="1-40,77; default: 1-1000"
    )
    parser.add_argument(
        "--minutes", type=float, default=10, help="no case begins later; default: 10"
    )
    parser.add_argument("--variations", default=",".join(USUAL), help=f"of {', '.join(VARIATIONS)}")
    parser.add_argument(
        "--keep", type=Path, help="folder in which the cases stay; default: nowhere"
    )
    parser.add_argument(
        "--score", type=Path, nargs="+", metavar="CASE", help="score kept cases again"
    )
    asked = parser.parse_args()
    variations = tuple(asked.variations.split(","))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # namespaces are deleted on the way out
    with tempfile.TemporaryDirectory(prefix="accuracy-") as temporary:
        folder = asked.keep or Path(temporary)
        if asked.score:
            totals = score_folders(asked.score, variations, Path(temporary) / "work")
            print(totals.table())
            return 1 if totals.exact_wrong else 0
        if os.geteuid():
            parser.error("this needs root, for namespaces of its own: run it with sudo")
        result = run(Wanted(asked.seeds, asked.minutes, variations, folder, asked.keep is not None))
    scored = f"{result.scored[0]} to {result.scored[-1]}" if result.scored else "none"
    cases = f"{len(result.scored)} cases, {len(result.discarded)} discarded"
    print(f"\n{datetime.now(UTC):%Y-%m-%d}, seeds {scored}: {cases}")
    print(result.totals.table())
    return 1 if result.totals.exact_wrong else 0


if __name__ == "__main__":
    sys.exit(main())
