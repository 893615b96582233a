"""The samples of a session: read many at once, they are what was sampled, and what they say read
line by line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from correlator.errors import InputError
from correlator.firewall.samples import session as sample_log
from correlator.firewall.samples.log import CounterLog
from correlator.firewall.samples.session import read_sample_logs

RULES = (
    "*filter\n:INPUT DROP\n:mine -\n-A INPUT -j mine\n-A mine -p udp\nCOMMIT\n*nat\n:INPUT "
    "ACCEPT\n-A INPUT -p tcp\nCOMMIT\n",
    "*filter\n:INPUT DROP\n:mine -\n-A INPUT -j mine\nCOMMIT\n",
)
COUNTING = (
    ("filter/INPUT:policy", "filter/INPUT:1", "filter/mine:1", "nat/INPUT:policy", "nat/INPUT:1"),
    ("filter/INPUT:policy", "filter/INPUT:1"),
)
"""The lines that count, as they stand in the files."""
BEGIN = 1_790_000_000_000_000_000
COUNT = st.one_of(st.integers(0, 5), st.integers(0, 2**63 - 2))


@st.composite
def recordings(
    draw: st.DrawFn,
) -> tuple[list[dict[str, Any]], dict[str, list[tuple[int, np.ndarray]]]]:
    """What a recorder writes; and of every backend (ruleset, values (lines, 2)) of every sample."""
    records: list[dict[str, Any]] = []
    truth: dict[str, list[tuple[int, np.ndarray]]] = {}
    current: dict[str, tuple[int, np.ndarray]] = {}
    for number in range(draw(st.integers(1, 25))):
        backend = draw(st.sampled_from(["nft", "nft", "legacy"]))
        if backend not in current or draw(st.integers(0, 7)) == 0:
            which = draw(st.integers(0, 1))
            records.append(
                {"backend": backend, "ruleset": number, "file": f"{which}.rules", "uncounted": [0]}
            )
            current[backend] = which, np.zeros((len(COUNTING[which]), 2), dtype=np.int64)
            if draw(st.integers(0, 5)) == 0:
                continue
        which, values = current[backend]
        values = values.copy()
        for line in draw(st.lists(st.integers(0, len(COUNTING[which]) - 1), max_size=3)):
            values[line] = draw(COUNT), draw(COUNT)
        changed = np.flatnonzero((values != current[backend][1]).any(axis=1))
        record: dict[str, Any] = {
            "backend": backend,
            "begin": BEGIN + number * 100,
            "end": BEGIN + number * 100 + 1,
        }
        if draw(st.integers(0, 3)) == 0:
            record["late"] = 7
        records.append(
            record | {"counters": np.column_stack([changed, values[changed]]).ravel().tolist()}
        )
        current[backend] = which, values
        truth.setdefault(backend, []).append((which, values))
    return records, truth


def write(folder: Path, text: str | bytes) -> Path:
    for number, rules in enumerate(RULES):
        (folder / f"{number}.rules").write_text(rules)
    (folder / "samples.jsonl").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def lines(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records)


def refuse(*_: object) -> None:
    raise sample_log._UncommonError


@pytest.fixture(params=["many", "each"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By either of the readers alone."""
    unused = "_read_each" if request.param == "many" else "_read_many"
    monkeypatch.setattr(sample_log, unused, refuse)


@pytest.mark.usefixtures("reading")
@pytest.mark.parametrize("block", [1, 300, 1 << 23])
def test_samples_are_what_was_sampled(
    block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both readers give back every counter of every sample, wherever the steps end."""
    monkeypatch.setattr(sample_log, "BLOCK", block)

    @settings(max_examples=30, deadline=None)
    @given(recordings())
    def check(
        recording: tuple[list[dict[str, Any]], dict[str, list[tuple[int, np.ndarray]]]],
    ) -> None:
        records, truth = recording
        logs = read_sample_logs(write(tmp_path, lines(records)), direct=True)
        assert set(logs) == set(truth)
        for backend, log in logs.items():
            for i, (which, values) in enumerate(truth[backend]):
                g = int(log.generation[i])
                row = i - int(np.searchsorted(log.generation, g))
                order = [COUNTING[which].index(entry.name) for entry in log.rulesets[g].entries]
                np.testing.assert_array_equal(
                    np.stack([log.packets[g][row], log.bytes[g][row]], axis=1), values[order]
                )

    check()


DAMAGE: list[Callable[[str], str]] = [
    lambda text: text[:-3],
    lambda text: text.replace(":[", ": [", 1),
    lambda text: text.replace("[", "[0", 1),
    lambda text: text.replace("]", ",]", 1),
    lambda text: text.replace(",", ",,", 1),
    lambda text: text.replace(":[]", ":[9,1,1]", 1),
    lambda text: text.replace(":[]", ":[-1,5,5]", 1),
    lambda text: text.replace(":[]", ":[1,1]", 1),
    lambda text: text.replace(":[]", ":[1,9223372036854775807,9223372036854775808]", 1),
    lambda text: "\n" + text,
    lambda text: text.replace("1.rules", "none.rules"),
    lambda text: text.replace('"nft"', '"n\\u0066t"', 1),
    lambda text: text.replace('"begin":', '"begin":1e', 1),
    lambda text: text.replace(":[]", ":[1,9223372036854775807,1]", 1),
    lambda text: text.split("\n", 1)[1],
    lambda text: text.replace('"ruleset"', '"other"', 1),
    lambda text: text + "{}\n",
    lambda text: text.replace(":[]", ":[0,1,1,0,2,2]"),
]


def read(folder: Path) -> dict[str, CounterLog] | str:
    try:
        return read_sample_logs(folder, direct=False)
    except InputError as error:
        return str(error)


def test_damaged_lines_are_read_or_refused_alike(tmp_path: Path) -> None:
    """Whatever is done to the file, it is read, or refused in the same words, as line by line."""

    @settings(
        max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(recordings(), st.sampled_from(DAMAGE))
    def check(recording: tuple[list[dict[str, Any]], object], damage: Callable[[str], str]) -> None:
        folder = write(tmp_path, damage(lines(recording[0])))
        many = read(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sample_log, "_read_many", refuse)
            each = read(folder)
        if isinstance(many, str) or isinstance(each, str):
            assert many == each
            return
        assert list(many) == list(each)
        for ours, theirs in zip(many.values(), each.values(), strict=True):
            for name in ("begin", "end", "generation", "packets", "bytes"):
                for a, b in zip(getattr(ours, name), getattr(theirs, name), strict=True):
                    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
            rest: dict[str, Any] = dict.fromkeys(
                ("begin", "end", "generation", "packets", "bytes", "packets_high", "bytes_high"), ()
            )
            assert replace(ours, **rest) == replace(theirs, **rest)

    check()
