"""Scoring in a process of its own: what hangs or dies while it loads can be ended.

``python -m tests.lab.accuracy.scorer`` reads one JSON line a question and writes one a score."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from tests.lab.accuracy.variations import about, make
from tests.lab.net import ROOT

LIMIT = 90.0
"""Seconds that one recording may take to load."""
Answer = dict[str, Any]
"""``counts``, ``wrong``, ``seconds``; ``refused`` or ``failed`` instead: why there are none."""


class Scorer:
    """Asks the process, and starts another where it is gone."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None

    def ask(self, case: Path, variation: str, work: Path) -> Answer | None:
        """The score of a variation; None where it does not apply to the case."""
        if not make(case, variation, work):
            return None
        if self.process is None or self.process.poll() is not None:
            command = [sys.executable, "-m", "tests.lab.accuracy.scorer"]
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                start_new_session=True,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        question = {"case": str(case), "listed": variation == "listing", "folder": str(work)}
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], LIMIT)
        line = self.process.stdout.readline() if ready else ""
        if not line:
            self.close()
            return {"failed": "took too long" if not ready else "died", "seconds": LIMIT}
        answer: Answer = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def answer(question: dict[str, Any]) -> Answer:
    """Load and score."""
    import correlator
    from correlator.errors import CorrelatorError
    from tests.lab.accuracy.score import score

    begun, case = time.monotonic(), Path(question["case"])
    try:
        analysis = correlator.load(question["folder"])
        found = score(case, analysis, about(case), question["listed"])
    except CorrelatorError as error:
        return {"refused": str(error), "seconds": time.monotonic() - begun}
    except Exception:
        return {"failed": traceback.format_exc()[-1500:], "seconds": time.monotonic() - begun}
    return {"counts": dict(found.counts), "wrong": found.wrong, "seconds": time.monotonic() - begun}


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line)), default=int), flush=True)
