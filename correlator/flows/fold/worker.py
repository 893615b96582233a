"""The process that folds files for another one: what
:class:`~correlator.flows.fold.process.FoldProcess` runs."""

from __future__ import annotations

import os
import pickle
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from correlator.decode.compiled import is_cached
from correlator.errors import CorrelatorError
from correlator.flows.fold.files import fold_files, reread_files
from correlator.flows.fold.folded import likely_rest

if TYPE_CHECKING:
    from correlator.arrays import Bools
    from correlator.flows.fold.task import Task


def serve() -> None:
    """Do the task that stdin brings; write progress (floats) and the result to stdout, then the
    frames that are asked for.

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
            frames = reread_files(found, task.files, likely) if likely.any() else []
            while True:
                wanted: Bools = pickle.load(sys.stdin.buffer)
                answer(
                    frames
                    if frames and (wanted == likely).all()
                    else reread_files(found, task.files, wanted)
                )
                frames = []
    except (BrokenPipeError, EOFError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody wants more of it
    except CorrelatorError as error:
        answer(error)
    except MemoryError:
        os._exit(1)
    except Exception as error:  # whoever asked says so, as of any defect
        answer(RuntimeError(f"{type(error).__name__} while packets were read: {error}"))


def _warm() -> None:
    """Load the compiled code, by folding nothing. Where none is cached yet, another process
    compiles half of it meanwhile."""
    other = -1 if is_cached() else os.fork()
    if other == 0:
        try:
            _read_nothing()
            _reread_nothing()
        finally:
            os._exit(0)
    _fold_nothing()
    if other > 0:
        os.waitpid(other, 0)
    _read_nothing()


def _fold_nothing() -> None:
    from correlator.flows.fold.fold import Fold
    from correlator.flows.fold.tables import Asked

    nothing = np.zeros(0, dtype=np.int64)
    Fold(Asked(nothing, nothing, 0, nothing)).end(np.zeros(256, dtype=bool))


def _read_nothing() -> None:
    from correlator.decode.records import RECORD, merge, scan_pcap

    none = np.zeros(0, dtype=RECORD)
    own, bytes_of = np.zeros(1, dtype=np.uint8), np.zeros(1, dtype=np.uint8)
    scan_pcap(bytes_of, 0, 0, False, 1, 0, 0, 0, 0, none, own, np.zeros(4, dtype=np.int64))
    merge(none, none, none)


def _reread_nothing() -> None:
    from correlator.decode.records import RECORD
    from correlator.flows.fold.reread_kernel import REREAD, reread_pcap

    names = (np.zeros(2, dtype=np.uint64), np.zeros(2, dtype=np.int32), np.zeros(1, dtype=bool))
    own, bytes_of, out = (np.zeros(1, dtype=np.uint8) for _ in range(3))
    reread_pcap(
        bytes_of,
        0,
        0,
        False,
        1,
        0,
        0,
        *names,
        np.zeros(1, dtype=RECORD),
        own,
        np.zeros(1, dtype=REREAD),
        out,
    )
