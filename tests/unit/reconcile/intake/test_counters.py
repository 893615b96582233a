"""Movements of counters, entry by entry, are what the readings say."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from correlator.firewall import parse_iptables_save
from correlator.firewall.samples.log import CounterLog
from correlator.firewall.samples.series import Series, compact, concat
from correlator.reconcile.intake.counters import UNBOUNDED, Counters, read_counters
from correlator.reconcile.intake.generations import Register, register

RULES = [
    parse_iptables_save(
        "*filter\n:INPUT ACCEPT\n" + "".join(f"-A INPUT -p {name}\n" for name in names) + "COMMIT\n"
    )
    for names in (("tcp", "udp"), ("udp", "icmp"), ("tcp",))
]
VALUE = st.one_of(st.just(0), st.integers(0, 3), st.integers(0, 2**59))
Cell = tuple[int, int, int, int] | None
"""(least packets, most packets, least bytes, most bytes), or None where the entry is not there."""


@st.composite
def logs(draw: st.DrawFn) -> tuple[CounterLog, Register, list[list[Cell]]]:
    """A log of up to three generations, and what each sample shows of each entry of the
    register."""
    kinds = draw(st.lists(st.integers(0, 2), min_size=1, max_size=3))
    rulesets = tuple(RULES[kind] for kind in kinds)
    entries = register(rulesets)
    exact, whole, mix = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    layers: list[list[Any]] = [[], [], [], []]
    table: list[list[Cell]] = []
    generation: list[int] = []
    for number, (ruleset, of) in enumerate(zip(rulesets, entries.of, strict=True)):
        samples = draw(st.integers(1, 5))
        values = np.zeros((4, samples, len(ruleset.entries)), dtype=np.int64)
        for column in range(len(of)):
            moves = draw(st.booleans())
            for row in range(samples):
                again = row and not moves and draw(st.integers(0, 9))
                low, size = (
                    values[::2, row - 1, column].tolist() if again else (draw(VALUE), draw(VALUE))
                )
                width = 0 if exact or again else draw(st.integers(0, 2))
                values[:, row, column] = (
                    values[:, row - 1, column] if again else (low, low + width, size, size + width)
                )
        for row in range(samples):
            cells: list[Cell] = [None] * len(entries)
            for column, entry in enumerate(of.tolist()):
                cells[entry] = tuple(values[:, row, column].tolist())  # type: ignore[assignment]
            table.append(cells)
        generation += [number] * samples
        matrices = [
            values[0],
            values[0] if exact else values[1],
            values[2],
            values[2] if exact else values[3],
        ]
        for layer, matrix in zip(
            layers, matrices if whole and not (mix and number) else compact(matrices), strict=True
        ):
            layer.append(matrix)
    time = np.arange(len(generation), dtype=np.int64) * 100
    numbers = np.array(generation, dtype=np.int32)
    return (
        CounterLog(rulesets, time, time + 1, numbers, *map(tuple, layers), "save"),
        entries,
        table,
    )


def wanted(
    table: list[list[Cell]], what: int
) -> tuple[list[list[int]], list[list[int]], list[list[bool]]]:
    """(least, most, reset) movement of every interval and entry, from the definition; ``what``: 0
    packets, 2 bytes."""
    least, most, resets = [], [], []
    for old, new in pairwise(table):
        fell = [
            a is not None and b is not None and (b[1] < a[0] or b[3] < a[2])
            for a, b in zip(old, new, strict=True)
        ]
        lows, highs = [], []
        for a, b, lost in zip(old, new, fell, strict=True):
            before, after = (cell[what : what + 2] if cell else (0, 0) for cell in (a, b))
            lows.append(after[0] if lost else max(after[0] - before[1], 0))
            both = a is not None and b is not None
            highs.append(int(UNBOUNDED) if any(fell) and both else max(after[1] - before[0], 0))
        least.append(lows)
        most.append(highs)
        resets.append(fell)
    return least, most, resets


@settings(max_examples=250, deadline=None)
@given(logs())
def test_movements_are_what_the_definition_says(
    made: tuple[CounterLog, Register, list[list[Cell]]],
) -> None:
    """Resets lose what was counted before them and leave every other counter open, as policies that
    something zeroes always are; rules that come begin at zero."""
    log, entries, table = made
    counters = read_counters(log, entries)
    intervals, width = len(table) - 1, len(entries)
    present = np.array([[cell is not None for cell in row] for row in table])
    for what, of in ((0, counters.packets_of), (2, counters.bytes_of)):
        least, most, resets = (
            np.array(part, dtype=np.int64).reshape(intervals, width) for part in wanted(table, what)
        )
        both = present[1:] & present[:-1]
        most[both & counters.loose] = UNBOUNDED
        for number in range(width):
            assert [part.tolist() for part in of(number)] == [
                least[:, number].tolist(),
                most[:, number].tolist(),
            ]
            assert np.array_equal(counters.reset_of(number), resets[:, number])
            assert np.array_equal(counters.present_of(number), present[:, number])
            assert np.array_equal(counters.known_of(number), present[1:, number])
        totals = counters.totals()[what // 2]
        for generation in range(len(entries.of)):
            mine = log.generation[1:] == generation
            assert totals[generation].tolist() == [sum(column) for column in least[mine].T.tolist()]
        if not what:
            assert np.array_equal(counters.moved, ((least > 0) | (resets > 0)).any(axis=0))
    assert counters.rounded == any(
        cell is not None and (cell[0] != cell[1] or cell[2] != cell[3])
        for row in table
        for cell in row
    )
    assert_policies(counters, entries, table)


def assert_policies(counters: Counters, entries: Register, table: list[list[Cell]]) -> None:
    """A policy that never shows a count is silent; nothing else is."""
    for number, one in enumerate(entries.entries):
        shown = [cell[1] if cell else 0 for cell in (row[number] for row in table)]
        assert counters.silent[number] == (one.number == 0 and not any(shown))
        assert counters.first_zero[number] == (one.number == 0 and not shown[0])


def test_what_stands_still_is_not_held() -> None:
    """Of a thousand columns two move: two are held, of bytes as of packets, and a still one costs
    nothing to look at."""
    packets = np.tile(np.arange(1000), (500, 1))
    packets[:, 7] += np.arange(500)
    packets[250:, 900] += 1
    ruleset = parse_iptables_save(
        "*filter\n:INPUT -\n"
        + "".join(f"-A INPUT -s 10.0.0.0/{i}\n" for i in range(1000))
        + "COMMIT\n"
    )
    time = np.arange(500, dtype=np.int64)
    log = CounterLog(
        (ruleset,),
        time,
        time,
        np.zeros(500, dtype=np.int32),
        (packets,),
        (packets,),
        (packets * 60,),
        (packets * 60,),
        "save",
    )
    counters = read_counters(log, register((ruleset,)))
    assert counters.moving.tolist() == [7, 900]
    assert all(layer.moving.shape == (500, 2) for layer in counters.values)
    assert counters.values[0] is counters.values[1]
    low, high = counters.packets_of(3)
    assert low is high
    assert low.strides == (0,)
    assert counters.packets_of(7)[0].sum() == 499
    assert counters.bytes_of(900)[0].sum() == 60


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(1, 4), st.data())
def test_series_are_their_matrices(lengths: list[int], width: int, data: st.DataObject) -> None:
    """However a matrix is cut, compacted and joined, every way of looking at it gives the whole
    one's values."""
    small = st.integers(0, 1)
    rows = data.draw(
        st.lists(
            st.lists(small, min_size=width, max_size=width),
            min_size=sum(lengths),
            max_size=sum(lengths),
        )
    )
    whole = np.array(rows, dtype=np.int64)
    parts = [compact((part, part + 5)) for part in np.split(whole, np.cumsum(lengths)[:-1])]
    for layer, matrix in zip(concat(parts), (whole, whole + 5), strict=True):
        assert isinstance(layer, Series)
        assert layer.shape == matrix.shape
        assert np.array_equal(np.asarray(layer), matrix)
        entries = np.array(
            data.draw(st.lists(st.integers(0, width - 1), max_size=5)), dtype=np.int64
        )
        assert np.array_equal(layer.take(entries), matrix[:, entries])
        assert np.array_equal(layer[:, width - 1], matrix[:, width - 1])
        assert np.array_equal(layer[1:], matrix[1:])
