"""``exact`` is a proof: whatever is taken out of a recording or put into it, no row that claims it
differs from what the kernel counted."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import correlator
from correlator.errors import CorrelatorError
from tests.conftest import CAPTURES
from tests.lab.accuracy.score import false_claims, read_claims, read_kernel
from tests.mutations import MUTATIONS, Mutation

RECORDED = sorted(path.parent.name for path in CAPTURES.glob("*/truth"))
SEEDS = range(3)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a fresh copy of a shipped recording, beside all others."""
    root = tmp_path_factory.mktemp("mutated")

    def copy(name: str) -> Path:
        for path in CAPTURES.glob("*/truth"):
            if not (root / path.parent.name).exists() or path.parent.name == name:
                shutil.rmtree(root / path.parent.name, ignore_errors=True)
                shutil.copytree(path.parent, root / path.parent.name)
        return root / name

    return copy


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.__name__)
def test_what_is_exact_is_right_whatever_a_recording_lacks(
    mutation: Mutation, seed: int, recordings: Callable[[str], Path]
) -> None:
    """A row that cannot be proven any more is open, or the recording is refused: never wrong."""
    r = random.Random(f"{mutation.__name__}-{seed}")
    name = r.choice(RECORDED)
    folder = recordings(name)
    shutil.move(folder / "truth", folder.parent / f"{name}-truth")
    try:
        done = mutation(folder, r)
        try:
            claims = read_claims(correlator.load(folder), {})
        except CorrelatorError:
            return
        kernel = read_kernel(folder.parent / f"{name}-truth" / "hits.csv")
        assert (name, done, false_claims(kernel, claims)) == (name, done, [])
    finally:
        shutil.rmtree(folder.parent / f"{name}-truth")
