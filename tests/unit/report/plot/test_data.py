"""The numbers of a picture, against the kernel's trace, the tables, and what was done to a
recording."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import correlator
from correlator.errors import InputError
from correlator.firewall.languages.iptables_short import short_rule
from correlator.reconcile.analysis import Analysis
from correlator.report.plot.bands import CROWD, EACH
from correlator.report.plot.data import ROWS, timeline_data
from correlator.report.plot.model import Row, TimelineData
from correlator.report.plot.selection import Choice
from tests.altered import altered
from tests.conftest import CAPTURES
from tests.truth import IGMP, read_truth
from tests.unit.report.sessions import (
    GAP,
    load,
    lossy,
    samples,
    shift,
    tiled,
    with_log,
    without_counters,
)


@pytest.fixture(scope="module")
def gap(tmp_path_factory: pytest.TempPathFactory) -> TimelineData:
    """``published`` of which the frames of 0.2 s are lost."""
    return timeline_data(correlator.load(lossy(tmp_path_factory.mktemp("gap") / "case")))


def row_of(data: TimelineData, name: str) -> Row:
    """The row so named."""
    return next(row for row in data.rows if row.name == name)


def sums(row: Row) -> tuple[float, float, float, float]:
    """(explained, over, under, unconfirmed) of all bins."""
    return tuple(
        float(values.sum()) for values in (row.explained, row.over, row.under, row.unconfirmed)
    )  # type: ignore[return-value]


def test_rows_hold_what_the_kernel_traced(recorded: Path) -> None:
    """Packets of every row, in all its bins and as its number, are what the kernel's trace says of
    that rule."""
    analysis = load(recorded.name)
    truth: Counter[tuple[str, str, str]] = Counter()
    for key, (packets, _) in read_truth(recorded / "truth" / "hits.csv").items():
        truth[key[6], key[7], key[8]] += packets
    multicast = analysis.hits[analysis.hits["protocol"] == IGMP]
    for hit in multicast.itertuples():  # the trace began after these were sent
        truth[str(hit.table), str(hit.chain), str(hit.rule)] += int(hit.packets)
    numbered = {
        (f"{r.table}/{r.chain}:{r.rule_number or 'policy'}", int(r.generation)): r
        for r in analysis.rules.itertuples()
    }
    drawn: Counter[tuple[str, str, str]] = Counter()
    for row in timeline_data(analysis).rows:
        rule = next(
            numbered[row.name, g]
            for g in range(analysis.generations)[::-1]
            if (row.name, g) in numbered
        )
        text = row_text(analysis, row) or str(rule.rule)
        drawn[row.table, str(rule.chain), re.sub(r"\s+", " ", text.replace('"', "")).strip()] += (
            row.packets
        )
        explained, over, under, unconfirmed = sums(row)
        assert (over, under) == (0, 0)
        assert explained + unconfirmed == row.packets
    assert +drawn == +truth


def row_text(analysis: Analysis, row: Row) -> str:
    """The rule's text, found by its short name where two generations number two rules alike."""
    table, _, rest = row.name.partition("/")
    chain = rest.rpartition(":")[0]
    mine = analysis.rules[(analysis.rules["table"] == table) & (analysis.rules["chain"] == chain)]
    for r in mine.itertuples():
        name = f"{r.table}/{r.chain}:{r.rule_number or 'policy'}"
        if (
            name == row.name
            and short_rule(int(r.rule_number), str(r.rule), str(r.target)) == row.label
        ):
            return str(r.rule)
    return ""


def test_bins_are_the_counters_intervals() -> None:
    """With few samples a bin is an interval: each of the ledger's lines stands in its own bin,
    whole."""
    analysis = load("published")
    data = timeline_data(analysis)
    assert data.own
    for line in analysis.ledger.itertuples():
        row = row_of(data, f"{line.table}/{line.chain}:{line.rule_number or 'policy'}")
        at = int(
            np.flatnonzero(np.isclose(data.edges, (line.begin - data.start) / 1e9, atol=1e-9))[0]
        )
        assert row.explained[at] + row.unconfirmed[at] == line.explained_packets
        assert data.edges[at + 1] == pytest.approx((line.end - data.start) / 1e9)


def test_what_was_lost_is_the_gap(gap: TimelineData) -> None:
    """Frames that were lost make exactly the difference to the whole recording red, in the
    intervals in which they crossed."""
    whole = timeline_data(load("published"))
    missing = 0
    for row in whole.rows:
        mine = row_of(gap, row.name)
        explained, over, under, unconfirmed = sums(mine)
        assert explained + unconfirmed + over == row.packets
        assert (mine.residual, under) == (row.packets - mine.packets, 0)
        assert mine.counted + unconfirmed == row.packets
        missing += mine.residual
        begin, end = gap.edges[:-1][mine.over > 0], gap.edges[1:][mine.over > 0]
        first = (whole_first() - gap.start) / 1e9
        assert (end > first + GAP[0] / 1e9).all()
        assert (begin < first + GAP[1] / 1e9).all()
    assert missing > 100
    assert f"{missing:,} not explained by any packet" in gap.balance
    assert gap.gaps


def whole_first() -> int:
    """The first packet of the whole recording, epoch ns."""
    return int(load("published").packets["time"].min())


def test_no_red_where_all_is_explained() -> None:
    """A recording that balances has no gap, and says so."""
    data = timeline_data(load("published"))
    assert not data.gaps
    assert data.balance == "702 hits counted, every one explained by packets"


def test_few_connections_stand_alone_in_order() -> None:
    """Each of few connections is a strip of its own in order of time, named by number, client and
    what it dialled."""
    data = timeline_data(load("published"))
    assert [int(band.number[0]) for band in data.bands] == list(range(1, 20))
    assert data.bands[1].label == "#2 tcp 172.31.32.1:41109 → 172.31.37.164:80"
    assert next(band.label for band in data.bands if band.outcome == "dropped").endswith(
        " by DOCKER-USER:1"
    )
    assert data.title == "19 connections: 9 DNAT, 5 local, 4 MASQUERADE, 1 dropped"


def test_many_connections_are_lanes_then_densities() -> None:
    """Outcomes are strips, what was refused on top; spans in lanes while they can be told apart,
    else how many were open."""
    analysis = tiled(70)
    data = timeline_data(analysis)
    assert [band.outcome for band in data.bands] == ["dropped", "DNAT", "MASQUERADE", "local"]
    assert {band.outcome: len(band) for band in data.bands} == analysis.connections[
        "outcome"
    ].value_counts().to_dict()
    assert sum(len(band) for band in data.bands) == len(analysis.connections) == 19 * 70
    dnat = data.bands[1]
    assert dnat.lane is None
    assert dnat.open.max() <= len(dnat)
    assert not data.own
    assert not data.gaps
    some = timeline_data(analysis, Choice(end="+100s"))
    lanes = some.bands[1]
    assert lanes.lane is not None
    assert sum(len(band) for band in some.bands) > EACH
    assert len(lanes) <= CROWD * lanes.lanes


def test_hits_are_marks_while_they_are_few() -> None:
    """A rule that few connections hit shows each; one that many hit shows none, and loses no packet
    by it."""
    data = timeline_data(load("published"))
    drop = row_of(data, "filter/DOCKER-USER:1")
    assert drop.drops
    assert drop.marks is not None
    assert (drop.marks.packets.tolist(), drop.marks.outcome) == ([2], ("dropped",))
    many = timeline_data(tiled(70))
    assert row_of(many, "nat/DOCKER:2").marks is None
    assert row_of(many, "nat/DOCKER:2").packets == 70 * row_of(data, "nat/DOCKER:2").packets


def test_generations_are_lines_and_rows_end_with_their_rules() -> None:
    """Rules replaced in mid-run: the change lies between the two samples that differ, and each
    rule's line is where it was."""
    data = timeline_data(load("replaced"))
    (change,) = data.changes
    assert change.text == "+2 \N{MINUS SIGN}2"
    logs = samples((CAPTURES / "replaced" / "counters.log").read_text())
    rule_lines = [re.sub(r"\[\d+:\d+\]", "", part.split("\n", 1)[1]) for part in logs]
    times = [
        tuple(round(float(t) * 1e9) for t in re.findall(r"=(\d+\.\d+)", part.split("\n")[0]))
        for part in logs
    ]
    at = next(i for i in range(1, len(logs)) if rule_lines[i] != rule_lines[i - 1])
    assert change.begin == pytest.approx((times[at - 1][0] - data.start) / 1e9, abs=1e-6)
    assert change.end == pytest.approx((times[at][1] - data.start) / 1e9, abs=1e-6)
    ends = {row.label.split("DNAT ")[1]: row.there for row in data.rows if "DNAT" in row.label}
    assert ends["172.17.0.2:80"] == ((0.0, change.middle),)
    assert ends["172.17.0.3:8080"] == ((change.middle, data.end),)
    assert row_of(data, "filter/FORWARD:1").there == ((0.0, data.end),)


def test_resets_are_marked_once() -> None:
    """Counters set to zero show where they were found reset, and a rule that did nothing but be
    reset has no row."""
    data = timeline_data(load("zeroed"))
    notes = load("zeroed").ledger
    reset = set(((notes[notes["note"] == "reset"]["end"] - data.start) / 1e9).round(6))
    assert {round(t, 6) for row in data.rows for t in row.resets.tolist()} == reset
    assert all(row.packets for row in data.rows)


def test_hits_outside_of_the_samples_are_not_confirmed(tmp_path: Path) -> None:
    """Where the log spans a part of the packets only, the rest is drawn as confirmed by no counter,
    and not as red."""
    late = with_log(tmp_path / "late", lambda text: "".join(samples(text)[4:22]))
    data = timeline_data(correlator.load(late))
    assert not data.gaps
    assert data.covered is not None
    first, last = data.covered
    assert data.begin < first < last < data.end
    middle = (data.edges[:-1] + data.edges[1:]) / 2
    for row in data.rows:
        inside = (middle > first) & (middle < last)
        assert not row.explained[~inside].any()
        assert not row.unconfirmed[inside].any()
    assert row_of(data, "filter/FORWARD:1").unconfirmed.sum() > 0


def test_without_counters_hits_alone_are_drawn(tmp_path: Path) -> None:
    """Rules and packets alone: the same packets a row, compared with nothing, and the picture says
    so."""
    data = timeline_data(correlator.load(without_counters(tmp_path / "rules")))
    assert not data.compared
    assert data.covered is None
    assert data.balance == "no counters confirm these hits"
    assert {row.name: row.packets for row in data.rows} == {
        r.name: r.packets for r in timeline_data(load("published")).rows
    }
    assert all(row.counted == -1 for row in data.rows)


def test_a_shifted_clock_moves_nothing_and_is_said(tmp_path: Path) -> None:
    """Counters whose clock is 3.217 s ahead give the same rows, and the offset with its bounds
    stands below the picture."""
    data = timeline_data(
        correlator.load(with_log(tmp_path / "shift", lambda text: shift(text, 3_217_000_000)))
    )
    plain = timeline_data(load("published"))
    assert [(row.name, row.packets, row.residual) for row in data.rows] == [
        (r.name, r.packets, 0) for r in plain.rows
    ]
    assert re.match(
        r"Clock: counters \+3\.21\d* s against packets, between \+3\.21\d* s and \+3\.22\d* s",
        data.notes[0],
    )


def test_one_rule_shows_its_connections() -> None:
    """--rule: that row alone, still against its counter, and the connections that hit it."""
    analysis = load("published")
    data = timeline_data(analysis, Choice(rules=("nat/DOCKER:2",)))
    hits = analysis.hits
    mine = hits[(hits["chain"] == "DOCKER") & (hits["table"] == "nat") & (hits["rule_number"] == 2)]
    assert [row.name for row in data.rows] == ["nat/DOCKER:2"]
    assert {int(n) for band in data.bands for n in band.number} == set(mine["connection"])
    assert data.rows[0].counted == data.rows[0].packets == mine["packets"].sum()
    assert data.title.startswith("9 connections that hit nat/DOCKER:2: ")


def test_a_rule_that_nothing_hit_is_an_empty_row() -> None:
    """--rule of a rule that is there and never moved shows it with nothing in it."""
    data = timeline_data(load("published"), Choice(rules=("filter/FORWARD:6",)))
    assert [(row.name, row.packets, row.peak) for row in data.rows] == [
        ("filter/FORWARD:6", 0, 0.0)
    ]
    assert data.bands == ()
    assert data.title == "0 connections that hit filter/FORWARD:6"


def test_one_client_shows_what_it_hit() -> None:
    """--client: its connections and their hits, which are not compared with counters that count all
    clients."""
    analysis = load("published")
    data = timeline_data(analysis, Choice(client="172.31.40.9"))
    mine = analysis.hits[analysis.hits["src"] == "172.31.40.9"]
    assert {int(n) for band in data.bands for n in band.number} == set(mine["connection"])
    assert sum(row.packets for row in data.rows) == mine["packets"].sum()
    assert not data.compared
    assert any("all clients" in note for note in data.notes)


def test_a_window_shows_what_lies_in_it() -> None:
    """--from and --to: connections and intervals that reach into the window, and no others."""
    analysis = load("published")
    data = timeline_data(analysis, Choice(begin="09:15:36.5", end="+2.3s"))
    begin, end = data.start + round(data.begin * 1e9), data.start + round(data.end * 1e9)
    table, ledger = analysis.connections, analysis.ledger
    mine = table[(table["last_seen"] >= begin) & (table["first_seen"] <= end)]
    assert {int(n) for band in data.bands for n in band.number} == set(mine["connection"])
    lines = ledger[(ledger["end"] > begin) & (ledger["begin"] < end)]
    assert sum(row.counted for row in data.rows) == lines["counted_packets"].sum()
    assert 0 < len(mine) < len(table)


def test_names_that_are_not_there_are_refused() -> None:
    """Rules and clients that are not there, each with what there is."""
    for choice, says in (
        (Choice(rules=("nat/DOCKER:99",)), "nat/DOCKER:99: no such rule: chains of nat: "),
        (Choice(rules=("frob/X:1",)), "no such table"),
        (Choice(rules=("DOCKER",)), "is no rule's name"),
        (Choice(client="1.2.3.4"), "no connection of client 1.2.3.4: clients are 172."),
    ):
        with pytest.raises(InputError, match=re.escape(says)):
            timeline_data(load("published"), choice)


def test_nothing_to_draw_is_said() -> None:
    """A window in which nothing happened is refused, and so is a session that holds neither packets
    nor counters."""
    analysis = load("published")
    with pytest.raises(InputError, match="nothing to plot: no connection and no hit"):
        timeline_data(analysis, Choice(begin="+3.6s", end="+3.7s"))
    empty = altered(analysis, connections=analysis.connections.iloc[:0], covered=None)
    with pytest.raises(InputError, match="holds no packet and no counters"):
        timeline_data(empty)


def test_a_session_without_a_packet_is_all_red() -> None:
    """Counters alone: no connection, and everything that was counted is a residual."""
    whole = load("published")
    ledger = whole.ledger.assign(
        explained_packets=0, residual_packets=whole.ledger["counted_packets"]
    )
    bare = altered(
        whole, connections=whole.connections.iloc[:0], hits=whole.hits.iloc[:0], ledger=ledger
    )
    data = timeline_data(bare)
    assert data.bands == ()
    assert sum(row.residual for row in data.rows) == 702
    assert data.title == f"0 connections; {len(data.rows)} rules counted what no packet explains"


def test_too_many_rules_leave_out_the_quiet_ones(
    gap: TimelineData, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """More rules than can be read: what does not balance and what drops stays, and how many are
    left out is said."""
    assert ROWS >= 60
    monkeypatch.setattr("correlator.report.plot.data.ROWS", 22)
    data = timeline_data(correlator.load(lossy(tmp_path / "case")))
    red = [row.name for row in gap.rows if row.gaps or row.drops]
    assert len(data.rows) == 22
    assert set(red) <= {row.name for row in data.rows}
    assert any(f"{len(gap.rows) - 22} rules more moved" in note for note in data.notes)
    assert [row.name for row in data.rows] == [
        row.name for row in gap.rows if row.name in {r.name for r in data.rows}
    ]
