"""Nothing that an input says moves the terminal, forges a line or runs in a spreadsheet, whatever
is written of it."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import xml.dom.minidom
from pathlib import Path

import pytest
from click.testing import CliRunner

from correlator import load
from correlator.cli import commands
from correlator.decode import read_frames
from correlator.reconcile.analysis import Analysis
from correlator.report.annotated import export_pcapng
from correlator.report.machine import export_table, replay_json
from correlator.report.page.render import render_page
from correlator.report.plot import write_plot
from correlator.report.show import render_client, render_connection, render_rule
from correlator.report.terminal import render_replay

SHUT = Path(__file__).parents[1] / "captures" / "shut"
EVIL = "\x1b]0;PWN\x07\x1b[2J\u202e\x9b\x7f"
FORGED = "\ncounters  0 residuals"
INTERFACE = f"=cmd|{EVIL}{FORGED}"
READ = EVIL.replace("\x1b[2J", "")
"""What is read of it in a log: what moves a terminal's cursor is taken out, as of a typescript."""
CHAIN = f"USER{EVIL}"
COMMENT = f'-m comment --comment "{EVIL}" '
TABLES = ("hits", "connections", "ledger", "packets", "rules")
SEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Analysis:
    """A recording whose interface, rules and containers are named by an enemy."""
    folder = tmp_path_factory.mktemp("hostile") / f"folder{EVIL}{FORGED}"
    shutil.copytree(SHUT, folder, ignore=shutil.ignore_patterns("truth", "listing.log"))
    (folder / "br-app.pcap").rename(folder / f"{INTERFACE}.pcap")
    for name in ("addr.json", "link.json", "route.json"):
        text = (folder / name).read_text().replace('"br-app"', json.dumps(INTERFACE))
        (folder / name).write_text(text)
    log = (folder / "counters.log").read_text()
    log = log.replace("-A DOCKER-USER -j", f"-A DOCKER-USER {COMMENT}-j")
    log = log.replace("DOCKER-USER", CHAIN)
    log = log.replace("-A DOCKER -i docker0", f"-A DOCKER =1+1|'{EVIL}'!A0 -i docker0")
    (folder / "counters.log").write_text(log)
    containers = [
        {"name": f"@web{EVIL}{FORGED}", "networks": {"a": "172.17.0.2", "b": "172.18.0.2"}}
    ]
    (folder / "docker.json").write_text(json.dumps(containers))
    return load(folder)


def test_the_enemy_is_in_it(hostile: Analysis) -> None:
    """The tables hold what the input said, as it said it."""
    assert any(EVIL in name for name in hostile.interfaces)
    assert hostile.rules["rule"].astype(str).str.contains(READ, regex=False).any()
    assert any(EVIL in name for name in hostile.containers.values())


def test_text_is_printable_and_no_line_is_forged(hostile: Analysis) -> None:
    """Reports hold printable characters and their own line ends: none begins as the enemy's."""
    client = str(hostile.connections["src"].iloc[-1])
    texts = [
        render_replay(hostile, everything=True),
        render_client(hostile, client),
        render_rule(hostile, f"filter/USER{READ}:1"),
        *(render_connection(hostile, n + 1) for n in range(len(hostile.connections))),
    ]
    for text in texts:
        assert all(line.isprintable() for line in text.split("\n"))
        assert not re.search(r"^counters  0 residuals", text, re.MULTILINE)
    assert "\\x1b]0;PWN\\x07" in texts[0]


@pytest.mark.parametrize("table", TABLES)
def test_csv_is_no_formula_and_no_escape(hostile: Analysis, tmp_path: Path, table: str) -> None:
    """No cell but a number begins as a formula does; rules' texts stand behind a space."""
    export_table(hostile, table, tmp_path / "t.csv")
    text = (tmp_path / "t.csv").read_text()
    assert not SEEN.search(text)
    rows = list(csv.reader(text.splitlines()))
    assert {len(row) for row in rows} == {len(rows[0])}
    for cell in {cell for row in rows for cell in row}:
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")) or re.fullmatch(r"-\d+", cell)
    export_table(hostile, table, tmp_path / "raw.csv", raw=True)
    with (tmp_path / "raw.csv").open(newline="") as file:
        plain = list(csv.DictReader(file))
    column = "rule" if "rule" in plain[0] else "interface"
    assert {row[column] for row in plain} == set(hostile.table(table)[column].astype(str))


def test_both_writers_of_csv_write_the_same(
    hostile: Analysis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few rows are written by Python, many by compiled code: the same bytes."""
    from correlator.report import writers

    for table in TABLES:
        export_table(hostile, table, tmp_path / "few.csv")
        with monkeypatch.context() as patched:
            patched.setattr(writers, "MANY", 0)
            export_table(hostile, table, tmp_path / "many.csv")
        assert (tmp_path / "few.csv").read_bytes() == (tmp_path / "many.csv").read_bytes()


@pytest.mark.parametrize("table", TABLES)
def test_json_escapes_what_it_holds(hostile: Analysis, tmp_path: Path, table: str) -> None:
    """JSON is ASCII without control characters, and reads back as it was."""
    export_table(hostile, table, tmp_path / "t.json")
    for text in ((tmp_path / "t.json").read_text(), replay_json(hostile)):
        assert text.isascii()
        assert not SEEN.search(text)
        json.loads(text)
    assert any(EVIL in name for name in json.loads(replay_json(hostile))["interfaces"])


def test_zeek_escapes_what_it_holds(hostile: Analysis, tmp_path: Path) -> None:
    """A conn.log has a line a connection and its fields, whatever stands in them."""
    export_table(hostile, "connections", tmp_path / "conn.log", "zeek")
    text = (tmp_path / "conn.log").read_text()
    assert not SEEN.search(text)
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(rows) == len(hostile.connections)
    assert "\\x1b]0;PWN\\x07\\x1b[2J\\xe2\\x80\\xae" in text


def test_packet_comments_are_printable(hostile: Analysis, tmp_path: Path) -> None:
    """Comments hold no escape, and the file still tells the interface's name."""
    export_pcapng(hostile, tmp_path / "x.pcapng")
    data = (tmp_path / "x.pcapng").read_bytes()
    assert b"\\x1b]0;PWN" in data
    names = {one.name for one in read_frames(tmp_path / "x.pcapng").interfaces}
    assert data.count(b"\x1b]0;PWN") == sum(EVIL in name for name in names)


def test_pictures_and_pages_show_it(hostile: Analysis, tmp_path: Path) -> None:
    """SVG is well-formed XML, and neither it nor the page holds a character that is not seen."""
    write_plot(hostile, tmp_path / "x.svg")
    svg = (tmp_path / "x.svg").read_text()
    xml.dom.minidom.parseString(svg)
    assert not SEEN.search(svg)
    page = render_page(hostile)
    assert not SEEN.search(page)
    assert "\\x1b]0;PWN" in page


def test_what_goes_wrong_is_one_line(tmp_path: Path) -> None:
    """An error that names what an enemy named is one printable line."""
    folder = tmp_path / f"folder{EVIL}{FORGED}"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"format": 99, "tool": EVIL + FORGED}))
    with pytest.raises(Exception, match="is format 99") as caught:
        load(folder)
    assert str(caught.value).isprintable()


def test_names_that_are_no_unicode_are_shown(tmp_path: Path) -> None:
    """A file's name may be any bytes: all reports can be written."""
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    shutil.copytree(SHUT, folder, ignore=shutil.ignore_patterns("truth"))
    (folder / "br-app.pcap").rename(folder / os.fsdecode(b"br-\xff.pcap"))
    for arguments in (
        ["replay", str(folder)],
        ["replay", "--json", str(folder)],
        ["report", str(folder), "-o", str(folder / "x.html")],
        ["plot", str(folder), "-o", str(folder / "x.svg")],
        *(["export", str(folder), table, "-o", str(folder / "x.csv")] for table in TABLES),
        *(["export", str(folder), table, "-o", str(folder / "x.json")] for table in TABLES),
        ["export", str(folder), "connections", "--format", "zeek", "-o", str(folder / "x.log")],
        ["export", str(folder), "pcapng", "-o", str(tmp_path / "x.pcapng")],
    ):
        result = CliRunner().invoke(commands, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
