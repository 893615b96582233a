"""What conntrack(8) prints, read as one more witness."""

from __future__ import annotations

from pathlib import Path

import pytest

import correlator
from correlator.decode.events import DESTROY, LISTED, NEW
from correlator.errors import InputError
from correlator.flows.conntrack_log import read_conntrack_log
from tests.conftest import CAPTURES
from tests.truth import compare

ALONE = CAPTURES / "partial" / "docker0-alone"
TCP = (
    "tcp      6 {}src=172.31.32.1 dst=172.31.37.164 sport=39788 dport=80 {}src=172.17.0.2 "
    "dst=172.31.32.1 sport=80 dport=39788 {}id=26816610"
)
CLIENT = (172 << 24 | 31 << 16 | 32 << 8 | 1) << 16 | 39788
DIALLED = (172 << 24 | 31 << 16 | 37 << 8 | 164) << 16 | 80
SERVER = (172 << 24 | 17 << 16 | 2) << 16 | 80


def _read(tmp_path: Path, text: str) -> list[tuple[int, ...]]:
    file = tmp_path / "conntrack.log"
    file.write_text(text)
    events, _ = read_conntrack_log(file)
    return [
        tuple(int(column[i]) for column in (events.time, events.kind, events.protocol))
        + tuple(int(c[i]) for c in (events.client, events.dialled, events.server, events.seen))
        for i in range(len(events))
    ]


HALF_PAST = 1_795_410_714_500_000_000
WHEN = "[1795410714.5] "
ROW = (6, CLIENT, DIALLED, SERVER, CLIENT)


@pytest.mark.parametrize(
    ("line", "time", "kind"),
    [
        (
            "[1795410714.471286]\t    [NEW] " + TCP.format("120 SYN_SENT ", "[UNREPLIED] ", ""),
            1795410714471286000,
            NEW,
        ),
        (WHEN + "[DESTROY] " + TCP.format("", "", "[ASSURED] "), HALF_PAST, DESTROY),
        (WHEN + "[UPDATE] " + TCP.format("60 SYN_RECV ", "", ""), HALF_PAST, LISTED),
        ("    [NEW] " + TCP.format("120 SYN_SENT ", "[UNREPLIED] ", ""), 0, LISTED),
        (TCP.format("431999 ESTABLISHED ", "", "[ASSURED] mark=0 use=1 "), 0, LISTED),
        ("ipv4     2 " + TCP.format("431999 ESTABLISHED ", "", "[ASSURED] mark=0 "), 0, LISTED),
    ],
)
def test_every_form_of_line_names_both_tuples(
    line: str, time: int, kind: int, tmp_path: Path
) -> None:
    """Events with and without their time, dumps and /proc: only an event with its time tells when a
    connection began."""
    assert _read(tmp_path, line + "\n") == [(time, kind, *ROW)]


def test_queries_of_icmp_bear_their_id_at_both_ends(tmp_path: Path) -> None:
    """The id behind the tuples is conntrack's own, and no port."""
    line = (
        "[1795410714.471286] [NEW] icmp 1 30 src=172.17.0.2 dst=172.31.32.1 type=8 code=0 id=77 "
        "[UNREPLIED] src=172.31.32.1 dst=172.31.37.164 type=0 code=0 id=78 id=4026531\n"
    )
    (row,) = _read(tmp_path, line)
    assert [end & 0xFFFF for end in row[3:]] == [77, 77, 78, 78]


def test_what_is_no_entry_is_said_and_not_taken(tmp_path: Path) -> None:
    """Dates between dumps, lines cut short, ports of a million and IPv6 make no row."""
    good = TCP.format("120 SYN_SENT ", "", "")
    text = f"1795410714.1\n{good}\n{good[:60]}\n{good.replace('=80', '=1000000')}\n"
    text += "tcp 6 10 CLOSE src=fd00::1 dst=fd00::2 sport=1 dport=2 src=fd00::2 dst=fd00::1 id=1\n"
    file = tmp_path / "conntrack.log"
    file.write_text(text)
    events, warnings = read_conntrack_log(file)
    assert len(events) == 1
    assert warnings == (
        "conntrack.log: 1 lines of IPv6 were left out",
        "conntrack.log: 3 lines are none of conntrack's",
    )


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    """One line names the file and what it should hold."""
    file = tmp_path / "conntrack.log"
    file.write_text("Chain INPUT (policy ACCEPT)\n")
    with pytest.raises(InputError, match="no line is one of conntrack's"):
        read_conntrack_log(file)


def test_docker0_alone_with_conntrack_names_what_was_dialled() -> None:
    """Captured on docker0 alone, the dialled address is not on the wire: conntrack's log settles
    it, and every row is the kernel's own."""
    analysis = correlator.load(ALONE)
    found = compare(analysis.hits, ALONE / "truth" / "hits.csv")
    assert (found.wrong, found.extra) == ([], [])
    published = analysis.connections[analysis.connections["outcome"] == "DNAT"]
    assert len(published) > 10
    assert set(published["dst"]) == {"172.31.37.164"}


def test_a_listed_tuple_that_fits_two_connections_settles_nothing(tmp_path: Path) -> None:
    """Without times, two entries under one pair of endpoints leave open which a packet was of."""
    from correlator.flows.conntrack_events import build_witness

    line = TCP.format("120 SYN_SENT ", "", "")
    file = tmp_path / "conntrack.log"
    file.write_text(line + "\n" + line.replace("dst=172.31.37.164", "dst=172.31.37.165") + "\n")
    events, _ = read_conntrack_log(file)
    assert build_witness(events) is None
