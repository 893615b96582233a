"""Live cases: made here and now in namespaces, and checked against the kernel's own trace of the
same packets."""

from __future__ import annotations

from pathlib import Path

import pytest

import correlator
from tests.lab.cases import CASES, make_case
from tests.truth import assert_right, compare, read_truth

pytestmark = pytest.mark.live

CLAIMS = {
    "published": "a published port with clients everywhere, a drop, a closed port, pings",
    "everywhere": "tcpdump -i any shows a packet up to three times: it counts once",
    "everywhere_v1": "so it does where the cooked header names no interface",
    "balance": "random load balancing with marks is settled by what was seen on the wire",
    "user": "DOCKER-USER drops and rejects, and a LOG whose limit only the counters know",
    "replaced": "rules deleted and inserted in mid-run split the time into generations",
    "zeroed": "iptables -Z in mid-run loses nothing but what it zeroed",
    "collision": "MASQUERADE rewrites a source port that is taken",
    "reuse": "one tuple used again is another connection",
    "older": "connections that began before the capture are attributed without their first packets",
    "fragments": "the frames of a fragmented datagram are one hit of the reassembled length",
    "superpackets": "a super-packet is one packet on the tap and one in the counter",
    "groups": "what is for a multicast group that the host has not joined is NEW each time, and "
    "ends behind PREROUTING",
    "ttl": "time to live runs out after PREROUTING and before FORWARD",
    "churn": "rules come, go and change places, and counters are zeroed, under clients at full "
    "speed",
    "targets": "NOTRACK, connection marks, TCPMSS, REDIRECT and NETMAP over all tables",
    "short": "a thousand short connections at full speed",
}


@pytest.mark.parametrize("name", list(CASES))
def test_hits_equal_the_kernels_trace(name: str, tmp_path: Path) -> None:
    """Every row of every case equals what the kernel traced, none is extra, and every counter is
    explained."""
    folder = make_case(name, tmp_path)
    analysis = correlator.load(folder)
    assert_right(analysis.hits, folder / "truth" / "hits.csv")
    assert not (analysis.ledger["residual_packets"] != 0).any(), CLAIMS[name]
    assert not (analysis.ledger["residual_bytes"] != 0).any(), CLAIMS[name]
    if name == "superpackets":
        assert analysis.packets["length"].max() > 9000


def test_what_no_tap_saw_is_the_residual(tmp_path: Path) -> None:
    """Traffic between containers of one bridge does not show on the bridge: the ledger says how
    many hits nobody explains and of which rules, and every row that is there is right."""
    folder = make_case("hairpin", tmp_path)
    analysis = correlator.load(folder)
    found = compare(analysis.hits, folder / "truth" / "hits.csv")
    assert (found.wrong, found.extra) == ([], [])
    unseen = sum(
        read_truth(folder / "truth" / "hits.csv")[key][0]
        for key in found.missing
        if key[8] != "policy"
    )
    rules = analysis.rules[analysis.rules["rule_number"] > 0]
    assert unseen > 0
    assert int(rules["residual_packets"].sum()) == unseen


def test_truth_adds_up_to_the_counters(tmp_path: Path) -> None:
    """The trace itself is whole: what it counts per rule is what the kernel's counters moved by."""
    folder = make_case("published", tmp_path)
    analysis = correlator.load(folder)
    traced: dict[tuple[str, str, str], int] = {}
    for key, (packets, _) in read_truth(folder / "truth" / "hits.csv").items():
        traced[key[6], key[7], key[8]] = traced.get((key[6], key[7], key[8]), 0) + packets
    igmp = analysis.hits[analysis.hits["protocol"] == "2"]
    for row in analysis.rules.itertuples():
        rule = str(row.rule).replace('"', "")
        before = int(
            igmp[
                (igmp["chain"] == row.chain)
                & (igmp["table"] == row.table)
                & (igmp["rule"] == row.rule)
            ]["packets"].sum()
        )
        if row.rule_number:
            assert (
                row.counted_packets
                == traced.get((str(row.table), str(row.chain), rule), 0) + before
            )
