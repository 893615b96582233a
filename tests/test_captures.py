"""The shipped recordings replayed: with counters, with listings only, with rules only, shifted, shuffled, damaged."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

import correlator
from tests.conftest import CAPTURES
from tests.truth import assert_right, compare

OFFSET_NS, PPM = 3_217_000_000, 40


def test_replay_equals_the_kernels_trace(recorded: Path) -> None:
    """Every recording replays to exactly what the kernel traced when it was made, with no residual."""
    analysis = correlator.load(recorded)
    assert_right(analysis.hits, recorded / "truth" / "hits.csv")
    assert not (analysis.ledger["residual_packets"] != 0).any()
    assert set(analysis.hits["status"].unique()) == {"exact"}


def test_recordings_hold_what_they_claim() -> None:
    """The cases are what their names say: ports were rewritten, tuples used again, choices made, datagrams cut."""
    collision = correlator.load(CAPTURES / "collision").connections
    assert ((collision["sport"] != collision["reply_dport"]) & (collision["protocol"] != "2")).any()
    reuse = correlator.load(CAPTURES / "reuse").connections
    assert reuse.duplicated(["protocol", "src", "sport", "dst", "dport"]).any()
    balance = correlator.load(CAPTURES / "balance").connections
    assert balance[balance["outcome"] == "DNAT"]["reply_src"].nunique() == 3
    assert (correlator.load(CAPTURES / "older").connections["state"] == "older").sum() >= 4
    fragments = correlator.load(CAPTURES / "fragments")
    assert fragments.packets["length"].max() > 1500
    assert correlator.load(CAPTURES / "replaced").generations > 1
    assert (correlator.load(CAPTURES / "zeroed").ledger["note"] == "reset").any()
    assert set(correlator.load(CAPTURES / "user").connections["outcome"]) >= {"dropped", "rejected", "DNAT"}
    assert (correlator.load(CAPTURES / "ttl").connections["outcome"] == "expired").any()


@pytest.mark.parametrize("name", ["published", "user", "balance", "collision", "fragments", "ttl", "reuse"])
def test_listings_are_enough(name: str, tmp_path: Path) -> None:
    """Where only iptables -L listings were kept, one a second, the same hits come out."""
    folder = shutil.copytree(CAPTURES / name, tmp_path / name)
    (folder / "counters.log").unlink()
    found = compare(correlator.load(folder).hits, folder / "truth" / "hits.csv")
    assert (found.missing, found.wrong, found.extra) == ([], [], [])


@pytest.mark.parametrize("name", ["published", "collision", "fragments", "ttl", "reuse"])
def test_rules_alone_are_unverified(name: str, tmp_path: Path) -> None:
    """With a ruleset and no counters the hits are the same, and no row calls itself exact."""
    folder = shutil.copytree(CAPTURES / name, tmp_path / name)
    text = (folder / "counters.log").read_text().split("# sample")[1].split("\n", 1)[1]
    (folder / "rules.v4").write_text(re.sub(r"^\[\d+:\d+\] ", "", text, flags=re.MULTILINE))
    (folder / "counters.log").unlink()
    (folder / "listing.log").unlink()
    analysis = correlator.load(folder)
    found = compare(analysis.hits, folder / "truth" / "hits.csv")
    assert (found.missing, found.wrong) == ([], [])
    assert "exact" not in set(analysis.hits["status"].unique())


def _shift(text: str) -> str:
    first: list[int] = []

    def move(found: re.Match[str]) -> str:
        time = int(found[1]) * 10**9 + int(found[2])
        first.append(time)
        time += OFFSET_NS + (time - first[0]) * PPM // 10**6
        return f"{time // 10**9}.{time % 10**9:09d}"

    return "\n".join(
        re.sub(r"(\d+)\.(\d{9})", move, line) if line.startswith("# sample") else line for line in text.splitlines()
    ) + "\n"  # fmt: skip


def test_a_shifted_clock_is_found(recorded: Path, tmp_path: Path) -> None:
    """A counter log of another clock gives the same hits, and the true offset lies within the reported bounds."""
    folder = shutil.copytree(recorded, tmp_path / recorded.name)
    log = folder / "counters.log"
    log.write_text(_shift(log.read_text()))
    analysis = correlator.load(folder)
    assert_right(analysis.hits, folder / "truth" / "hits.csv")
    clock = analysis.clock
    assert clock.source == "estimated"
    assert clock.low is not None
    assert clock.high is not None
    assert clock.low <= OFFSET_NS <= clock.high
    assert clock.drift_low_ppm <= PPM <= clock.drift_high_ppm
    assert abs(clock.offset - OFFSET_NS) < 150_000_000


def _without_sample(text: str, number: int) -> str:
    parts = re.split(r"(?=^# sample)", text, flags=re.MULTILINE)
    return "".join(part for i, part in enumerate(part for part in parts if part) if i != number)


def test_a_missing_snapshot_changes_no_hit(tmp_path: Path) -> None:
    """One snapshot less makes two intervals one: every hit stays, no residual appears."""
    folder = shutil.copytree(CAPTURES / "published", tmp_path / "case")
    log = folder / "counters.log"
    before = correlator.load(CAPTURES / "published")
    log.write_text(_without_sample(log.read_text(), 20))
    analysis = correlator.load(folder)
    assert analysis.samples == before.samples - 1
    assert_right(analysis.hits, folder / "truth" / "hits.csv")
    assert not (analysis.ledger["residual_packets"] != 0).any()


def _without_frame(data: bytes, number: int) -> bytes:
    position, index = 24, 1
    while True:
        size = 16 + int.from_bytes(data[position + 8 : position + 12], "little")
        if index == number:
            return data[:position] + data[position + size :]
        position, index = position + size, index + 1


def test_a_lost_packet_is_the_residual(tmp_path: Path) -> None:
    """A packet missing from both taps is missing from the rules it hit, and nowhere else; the rest stays right."""
    folder = shutil.copytree(CAPTURES / "published", tmp_path / "case")
    before = correlator.load(folder)
    packets = before.packets
    lost = packets[(packets["protocol"] == "tcp") & (packets["state"] == "ESTABLISHED") & (packets["direction"] == "reply")]
    crossing = int(lost["crossing"].iloc[2])
    for frame in packets[packets["crossing"] == crossing].itertuples():
        pcap = folder / f"{frame.interface}.pcap"
        pcap.write_bytes(_without_frame(pcap.read_bytes(), int(frame.frame)))
    connection = int(packets[packets["crossing"] == crossing]["connection"].iloc[0])
    path = next(p for p in before.paths(connection) if p.direction == "reply" and p.state == "ESTABLISHED")
    expected = {(s.table, s.chain, s.rule_number) for s in path.steps if s.kind == "rule"}
    after = correlator.load(folder)
    off = after.ledger[after.ledger["residual_packets"] != 0]
    assert {(r.table, r.chain, r.rule_number) for r in off.itertuples()} == expected
    assert set(off["residual_packets"]) == {1}
    found = compare(after.hits, folder / "truth" / "hits.csv")
    assert found.extra == []
    assert {key[6:8] for key, want, have in found.wrong if want[0] - have[0] == 1} == {key[6:8] for key, *_ in found.wrong}


@pytest.mark.parametrize(("name", "step"), [("published", 4), ("user", 3), ("replaced", 13), ("older", 11)])
def test_one_frame_less_makes_nothing_else_wrong(name: str, step: int, tmp_path: Path) -> None:
    """Whichever frame is taken out of whichever pcap: no row appears that the kernel does not have, and what is missing
    is that one packet, named by a residual of the rules it hit; where its other sight tells all, nothing is missing."""
    source = CAPTURES / name
    packets = correlator.load(source).packets
    for number, frame in enumerate(packets.iloc[::step].itertuples()):
        folder = Path(shutil.copytree(source, tmp_path / str(number)))
        pcap = folder / f"{frame.interface}.pcap"
        pcap.write_bytes(_without_frame(pcap.read_bytes(), int(frame.frame)))
        analysis = correlator.load(folder)
        found = compare(analysis.hits, folder / "truth" / "hits.csv")
        off = analysis.ledger[analysis.ledger["residual_packets"] != 0]
        assert found.extra == []
        assert all(want[0] - have[0] in (0, 1) for _, want, have in found.wrong), frame
        short = {key[6:8] for key in found.missing} | {key[6:8] for key, *_ in found.wrong}
        assert {(str(row.table), str(row.chain)) for row in off.itertuples()} <= short or not short
        assert bool(short) <= bool(len(off)), frame
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["published", "balance", "collision"])
def test_order_does_not_matter(name: str, tmp_path: Path) -> None:
    """Frames of equal standing in another order in the file (times alone tell their order) give the same hits."""
    folder = shutil.copytree(CAPTURES / name, tmp_path / "case")
    for pcap in folder.glob("*.pcap"):
        data, position, records = pcap.read_bytes(), 24, []
        while position < len(data):
            size = 16 + int.from_bytes(data[position + 8 : position + 12], "little")
            records.append(data[position : position + size])
            position += size
        pcap.write_bytes(data[:24] + b"".join(reversed(records)))
    one, other = correlator.load(CAPTURES / name).hits, correlator.load(folder).hits
    columns = [c for c in one.columns if c != "connection"]
    key = ["src", "sport", "dst", "dport", "direction", "table", "chain", "rule_number"]
    one, other = (frame[columns].astype(str).sort_values(key, ignore_index=True) for frame in (one, other))
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("name", ["published", "user", "ttl", "fragments"])
def test_without_facts_nothing_becomes_wrong(name: str, tmp_path: Path) -> None:
    """Without addr.json and its like the host is worked out from rules and packets, the report says so, and no row
    that claims to be exact is wrong."""
    folder = shutil.copytree(CAPTURES / name, tmp_path / "case")
    for fact in ("addr.json", "link.json", "route.json", "sysctl.txt"):
        (folder / fact).unlink()
    analysis = correlator.load(folder)
    assert analysis.inferred
    found = compare(analysis.hits, folder / "truth" / "hits.csv")
    assert (found.wrong, found.extra, found.missing) == ([], [], [])
