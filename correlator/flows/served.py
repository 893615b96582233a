"""The process that folds files for another one: what :class:`~correlator.flows.aside.Aside` runs."""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from correlator.flows.folded_files import fold_files, likely_rest, pick_files

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.flows.folded_files import Task


def serve() -> None:
    """Do the task that stdin brings; write progress (floats) and the result to stdout, then the frames that are asked for.

    The compiled code is loaded before the task comes: whoever sends it has to read counters first.
    """
    told = [-1.0]

    def answer(what: object) -> None:
        pickle.dump(what, sys.stdout.buffer, protocol=5)
        sys.stdout.buffer.flush()

    def tell(_: str, part: float) -> None:
        if part >= told[0] + 0.01:
            told[0] = part
            answer(float(part))

    try:
        _warm()
        task: Task = pickle.load(sys.stdin.buffer)
        found = fold_files(task, tell)
        if found is None:
            answer(found)
        else:
            answer(replace(found, folded=found.folded.handed_over()))
            likely = likely_rest(found.folded)  # while the asker works out what it wants
            found = replace(found, folded=found.folded.names_only())
            frames = pick_files(found, task.files, likely) if likely.any() else []
            while True:
                wanted: npt.NDArray[np.bool_] = pickle.load(sys.stdin.buffer)
                answer(frames if frames and (wanted == likely).all() else pick_files(found, task.files, wanted))
                frames = []
    except (BrokenPipeError, EOFError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody wants more of it


def _warm() -> None:
    """Load the compiled code, by folding nothing."""
    from correlator.decode.records import RECORD, merge, scan_pcap
    from correlator.flows.fold import Asked, Fold

    none, nothing = np.zeros(0, dtype=RECORD), np.zeros(0, dtype=np.int64)
    one, bytes_of = np.zeros(1, dtype=np.uint8), np.zeros(1, dtype=np.uint8)
    scan_pcap(bytes_of, 0, 0, False, 1, 0, 0, 0, 0, none, one, np.zeros(4, dtype=np.int64))
    merge(none, none, none)
    Fold(Asked(nothing, nothing, 0)).end(np.zeros(256, dtype=bool))
