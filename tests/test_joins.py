"""Joining with other tools: Community IDs against Wireshark's, conn.log against a reader of Zeek's
logs."""

from __future__ import annotations

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from parsezeeklogs import read_zeek

import correlator
from correlator.dataset.schema import EXPORTS
from correlator.report.machine import export_table
from correlator.report.zeek import FIELDS
from tests.conftest import CAPTURES
from tests.test_cli import refused, run

with_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
SIDES = ["community_id", "community_id_reply"]


def named_by_tshark(pcap: Path) -> pd.DataFrame:
    """``frame``, Wireshark's Community ID of it and the ICMP type; what a sensor at that interface
    would log."""
    command = [
        "tshark",
        "--enable-protocol",
        "communityid",
        "-r",
        str(pcap),
        "-T",
        "fields",
        "-E",
        "occurrence=f",
    ]
    command += [
        word for field in ("frame.number", "communityid", "icmp.type") for word in ("-e", field)
    ]
    rows = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    found = pd.DataFrame([row.split("\t") for row in rows], columns=["frame", "id", "icmp"])
    return found.assign(frame=found["frame"].astype("int64"), interface=pcap.stem)


def sensors(folder: Path) -> pd.DataFrame:
    """The same of every interface of a recording, with the connection that each frame belongs
    to."""
    logs = pd.concat(
        [
            named_by_tshark(pcap)
            for pcap in sorted(folder.glob("*.pcap"))
            if pcap.stat().st_size > 24
        ]
    )
    packets = correlator.load(folder).packets.astype({"interface": "object"})
    return logs.merge(
        packets[["interface", "frame", "connection", "state", "direction"]],
        on=["interface", "frame"],
    )


def conn_log(path: Path) -> list[dict[str, object]]:
    """What a reader of Zeek's logs makes of a file."""
    return list(read_zeek(str(path)))


@with_tshark
def test_every_frame_bears_an_id_of_its_connection(recorded: Path) -> None:
    """On whichever interface a sensor sits, the Community ID that it logs is one of the
    connection's two.

    But for one place: replies received on a bridge whose connection had both ends translated;
    br_netfilter has put back one of them there and not yet the other (docs/wireshark.md)."""
    table = correlator.load(recorded).table("connections").set_index("connection").astype(str)
    table = table.assign(
        twice=(table["src"] != table["reply_dst"]) & (table["dst"] != table["reply_src"])
    )
    seen = sensors(recorded)
    seen = seen[(seen["id"] != "") & (seen["state"] != "RELATED") & (seen["connection"] > 0)]
    both = seen.join(table[[*SIDES, "twice"]], on="connection")
    both = both[~both["twice"] | (both["direction"] == "original")]
    assert len(both) >= 4  # the smallest recording has no more
    assert ((both["id"] == both["community_id"]) | (both["id"] == both["community_id_reply"])).all()
    inet = table.index[table["protocol"].isin(["tcp", "udp", "icmp"])]
    assert set(both["connection"]) >= set(inet)


@with_tshark
@pytest.mark.parametrize(
    ("name", "outcome"), [("published", "DNAT"), ("user", "DNAT"), ("published", "MASQUERADE")]
)
def test_a_log_of_either_side_joins(name: str, outcome: str, tmp_path: Path) -> None:
    """A sensor outside and one on the bridge log different addresses of a translated connection: by
    Community ID both join the same row of conn.log, each on its own side."""
    path = tmp_path / "conn.log"
    assert (
        run("export", CAPTURES / name, "connections", "--format", "zeek", "-o", path).returncode
        == 0
    )
    rows = [
        row
        for row in conn_log(path)
        if row["outcome"] == outcome and row["in_interface"] and row["out_interface"]
    ]
    outside, bridge = (
        set(named_by_tshark(CAPTURES / name / f"{side}.pcap")["id"]) for side in ("eth0", "docker0")
    )
    first, second = (outside, bridge) if outcome == "DNAT" else (bridge, outside)
    assert rows
    for row in rows:
        assert row["community_id"] != row["community_id_reply"]
        assert row["community_id"] in first - second
        assert row["community_id_reply"] in second - first


def test_conn_log_says_what_the_table_says(recorded: Path, tmp_path: Path) -> None:
    """Read back by a reader of Zeek's logs, every connection is there with its tuple, counts,
    times, outcome and IDs."""
    analysis = correlator.load(recorded)
    path = tmp_path / "conn.log"
    assert export_table(analysis, "connections", path, "zeek") == len(analysis.connections)
    rows, table = conn_log(path), analysis.table("connections")
    assert [row["connection"] for row in rows] == table["connection"].tolist()
    assert len({row["uid"] for row in rows}) == len(rows)
    for row, own in zip(rows, table.itertuples(), strict=True):
        assert list(row) == list(FIELDS)
        assert (row["id.orig_h"], row["id.resp_h"]) == (own.src, own.dst)
        assert (row["reply.resp_h"], row["reply.orig_h"]) == (own.reply_src, own.reply_dst)
        if own.protocol in ("tcp", "udp"):
            assert (row["proto"], row["id.orig_p"], row["id.resp_p"]) == (
                own.protocol,
                own.sport,
                own.dport,
            )
            assert (row["reply.orig_p"], row["reply.resp_p"]) == (own.reply_dport, own.reply_sport)
        assert (row["orig_pkts"], row["resp_pkts"]) == (own.packets_original, own.packets_reply)
        assert (row["orig_ip_bytes"], row["resp_ip_bytes"]) == (own.bytes_original, own.bytes_reply)
        assert (row["outcome"], row["rule"] or "", row["status"]) == (
            own.outcome,
            own.rule,
            own.status,
        )
        assert (row["community_id"], row["community_id_reply"]) == (
            own.community_id,
            own.community_id_reply,
        )
        if row["duration"] is not None:
            assert abs(_seconds(row["duration"]) - (own.last_seen - own.first_seen) / 1e9) < 1e-6
        assert abs(_seconds(row["ts"]) - own.first_seen / 1e9) < 1e-5


def _seconds(value: object) -> float:
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).timestamp()
    return float(getattr(value, "total_seconds", lambda: value)())  # type: ignore[arg-type]


def test_conn_state_is_zeeks() -> None:
    """What was seen of each connection has the name that Zeek's documentation gives it."""
    published = correlator.load(CAPTURES / "published")
    flows = published.connections.join(published.flows())
    answered = flows[
        (flows["outcome"] == "DNAT")
        & (flows["protocol"] == "tcp")
        & (flows["state"] == "established")
    ]
    assert set(answered["conn_state"]) == {"SF"}
    assert set(answered["history"]) == {"ShADadFf"}
    assert set(
        flows[(flows["outcome"] == "dropped") & (flows["protocol"] == "tcp")]["conn_state"]
    ) == {"S0"}
    assert set(
        flows[(flows["protocol"] == "tcp") & (flows["state"] == "refused")]["conn_state"]
    ) == {"REJ"}
    assert set(flows[flows["protocol"] == "icmp"]["conn_state"]) == {"OTH"}
    pings = flows[flows["protocol"] == "icmp"]
    assert set(zip(pings["source_port"], pings["destination_port"], strict=True)) == {
        (8, 0)
    }  # echo, answered by echo reply
    older = correlator.load(CAPTURES / "older")
    midstream = older.connections.join(older.flows())
    midstream = midstream[(midstream["state"] == "older") & (midstream["protocol"] == "tcp")]
    assert not midstream["history"].str.contains("[Sh]").any()
    reuse = correlator.load(CAPTURES / "reuse")
    reset = reuse.connections.join(reuse.flows())
    assert {"RSTO", "SF"} <= set(reset["conn_state"])


def test_conn_log_is_the_same_each_time(tmp_path: Path) -> None:
    """Two exports of one recording are the same bytes, and begin with Zeek's header."""
    one, other = tmp_path / "a.log", tmp_path / "b.log"
    run("export", CAPTURES / "published", "connections", "--format", "zeek", "-o", one)
    run(
        "export", CAPTURES / "published", "--format", "zeek", "-o", other
    )  # the format names the table
    assert one.read_bytes() == other.read_bytes()
    lines = one.read_text().splitlines()
    assert lines[0] == "#separator \\x09"
    assert [line.split("\t")[0] for line in lines if line.startswith("#")] == [
        "#separator \\x09",
        "#set_separator",
        "#empty_field",
        "#unset_field",
        "#path",
        "#open",
        "#fields",
        "#types",
        "#close",
    ]


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_a_format_can_be_named(form: str, tmp_path: Path) -> None:
    """--format writes that format, whatever the file is called."""
    named, plain = tmp_path / "table.out", tmp_path / f"table.{form}"
    run("export", CAPTURES / "ttl", "connections", "--format", form, "-o", named)
    run("export", CAPTURES / "ttl", "connections", "-o", plain)
    assert named.read_bytes() == plain.read_bytes() != b""


def test_replay_json_has_the_ids() -> None:
    """The report for machines joins too."""
    rows = json.loads(run("replay", CAPTURES / "ttl", "--json").stdout)["connections"]
    assert list(rows[0]) == list(EXPORTS["connections"])


def test_refusals(tmp_path: Path) -> None:
    """A format that is none, and one that this table does not have."""
    path = tmp_path / "x.log"
    assert "expected one of csv, json, parquet, zeek" in refused(
        "export", CAPTURES / "ttl", "hits", "--format", "xml", "-o", path
    )
    assert "is a format of connections" in refused(
        "export", CAPTURES / "ttl", "hits", "--format", "zeek", "-o", path
    )
    assert "is a format of tables" in refused(
        "export", CAPTURES / "ttl", "pcapng", "--format", "csv", "-o", path
    )
    assert not list(tmp_path.iterdir())
