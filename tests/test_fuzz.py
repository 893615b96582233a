"""A short fuzz of every reader and of whole replays; `make fuzz` goes on for as long as asked."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.fuzz import run
from tests.fuzz.targets import readers, stand

SAMPLES = sorted((Path(__file__).parent / "fuzz" / "samples").glob("*-*"))


def test_readers_end_with_an_answer_or_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3,000 inputs of one seed give no traceback, take no 10 s, and both readers of packets
    agree."""
    monkeypatch.setattr(run, "FOUND", tmp_path)
    tally = run.Tally()
    run.fuzz_readers(1, 3000, time.monotonic() + 120, tally)
    assert tally.findings == {}
    assert set(tally.inputs) == {target.name for target in readers()}


def test_replays_end_with_a_report_or_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 recordings with damaged files are replayed and reported, or refused in a line."""
    monkeypatch.setattr(run, "FOUND", tmp_path)
    tally = run.Tally()
    run.fuzz_replays(1, 12, time.monotonic() + 120, tally)
    assert tally.findings == {}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_what_was_found_is_mended(sample: Path, tmp_path: Path) -> None:
    """Inputs that broke a reader once, made as small as they get."""
    name = sample.name.partition("-")[0]
    target = next(one for one in readers() if one.name == name)
    stand(target, tmp_path)
    (tmp_path / target.file).write_bytes(sample.read_bytes())
    assert run.attempt(lambda: target.run(tmp_path))[1] == ""


def test_inputs_are_the_same_for_a_seed() -> None:
    """What is found can be found again."""
    for target in readers():
        one, other = (target.input(random.Random(7)) for _ in range(2))
        assert one == other
