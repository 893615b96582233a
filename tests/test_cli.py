"""The command line: what it prints, what it writes, and one clear line for every kind of bad
input."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from correlator.dataset.schema import EXPORTS
from tests.conftest import CAPTURES
from tests.mutations import frames_of

CASE = CAPTURES / "published"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The installed command, as a user runs it."""
    command = [str(Path(sys.executable).with_name("correlator")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def refused(*arguments: object) -> str:
    """The one line that a refusal prints; asserts that it is one, with exit code 2 and nothing on
    standard output."""
    done = run(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("correlator: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """A copy of a recording to be damaged."""
    return Path(shutil.copytree(CASE, tmp_path / "case"))


def test_replay_answers_first() -> None:
    """The report begins with sentences that answer, then how many connections did what, and that
    every counted hit is explained."""
    text = run("replay", CASE).stdout
    lines = text.splitlines()
    assert lines[0].startswith("19 connections in ")
    assert lines[3] == "Findings"
    assert lines[4].startswith(
        "  * 1 connection from 172.31.40.9 to 172.31.37.164:80 was dropped by "
        "filter/DOCKER-USER:1 (-s "
    )
    counts = lines[lines.index("", 4) :]
    assert any("DNAT to 172.17.0.2:80" in line and "nat/DOCKER:2" in line for line in counts[:3])
    assert any("dropped by" in line and "filter/DOCKER-USER:1" in line for line in counts[:7])
    assert any("(100%), no residual" in line for line in counts[:9])
    assert (
        "Findings" not in run("replay", CAPTURES / "zeroed").stdout
    )  # where all is well nothing is said


def test_show_begins_with_the_findings_that_concern() -> None:
    """Of a connection, a client or a rule: those that it backs, and no others."""
    case = CAPTURES / "ufw"
    past = (
        "  * UFW did not stop 2 connections from 172.31.40.9 to 172.31.37.164:80: nat/DOCKER:2 "
        "sent them through FORWARD to"
    )
    rule = run("show", case, "--rule", "filter/ufw-user-input:1").stdout.splitlines()
    client = run("show", case, "--client", "172.31.40.9").stdout.splitlines()
    number = next(line for line in client if line.startswith("connection ")).split()[1].rstrip(":")
    connection = run("show", case, "--connection", number).stdout.splitlines()
    for lines, count in ((rule, 2), (client, 2), (connection, 1)):
        assert lines[0] == "Findings"
        assert past in lines
        assert sum(line.startswith("  * ") for line in lines) == count
    assert connection[connection.index("") + 1].startswith(f"connection {number}: tcp 172.31.40.9:")
    assert run("show", case, "--rule", "nat/POSTROUTING:1").stdout.startswith(
        "nat/POSTROUTING:1  -s 172.17.0.0/16"
    )


def test_replay_json_is_one_object() -> None:
    """--json prints one object with the summary and the tables."""
    report = json.loads(run("replay", CASE, "--json").stdout)
    assert report["summary"]["residuals"] == 0
    assert {
        "kind": "dropped",
        "connections": [9],
        "rules": ["filter/DOCKER-USER:1"],
    }.items() <= report["findings"][0].items()
    assert len(report["connections"]) == 19
    assert {"rule", "evidence", "status"} <= set(report["hits"][0])


def test_show_connection_names_every_rule_and_the_translation() -> None:
    """One connection hook by hook: rules with their text, what NAT did, the evidence."""
    text = run("show", CASE, "--connection", 2).stdout
    assert (
        "nat/DOCKER:2  ! -i docker0 -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.17.0.2:80"
        in text
    )
    assert "NAT: destination 172.31.37.164:80 -> 172.17.0.2:80" in text
    assert "evidence: rules,wire,counters; exact" in text


def test_show_rule_lists_its_connections() -> None:
    """A rule names the connections that moved its counter."""
    text = run("show", CASE, "--rule", "filter/DOCKER-USER:1").stdout
    assert "2 counted, 2 explained, 1 connection" in text
    assert "172.31.40.9" in text


def test_show_client_lists_its_connections() -> None:
    """All connections of a client."""
    assert run("show", CASE, "--client", "172.31.40.9").stdout.count("connection ") >= 2


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_plot_writes_a_picture(ending: str, tmp_path: Path) -> None:
    """The timeline is a picture of its kind, by the file's ending."""
    path = tmp_path / f"timeline.{ending}"
    assert run("plot", CASE, "-o", path).returncode == 0
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")


@pytest.mark.parametrize(
    "chosen",
    [
        ("--rule", "nat/DOCKER:2", "--rule", "filter/FORWARD:policy", "--theme", "dark"),
        ("--client", "172.31.40.9", "--theme", "print"),
        ("--from", "09:15:34.8", "--to", "+2.5s"),
    ],
)
def test_plot_shows_what_was_chosen(chosen: tuple[str, ...], tmp_path: Path) -> None:
    """Rules, a client, a stretch of time and a theme can be chosen; each gives a picture of its
    own."""
    part, whole = tmp_path / "part.svg", tmp_path / "whole.svg"
    assert run("plot", CASE, "-o", part, *chosen).stdout == f"wrote {part}\n"
    assert run("plot", CASE, "-o", whole).returncode == 0
    assert part.read_bytes() != whole.read_bytes()


def test_plot_refuses_in_one_line(tmp_path: Path) -> None:
    """Rules, clients, times, themes and files that are none are refused by name, and nothing is
    written."""
    path = tmp_path / "t.png"

    def refusal(*chosen: object) -> str:
        return refused("plot", CASE, "-o", path, *chosen)

    assert "nat/DOCKER:99: no such rule: chains of nat" in refusal("--rule", "nat/DOCKER:99")
    assert "DOCKER: is no rule's name" in refusal("--rule", "DOCKER")
    assert "no connection of client 1.2.3.4: clients are 172." in refusal("--client", "1.2.3.4")
    assert "--from +3s is not before --to +1s" in refusal("--from", "+3s", "--to", "+1s")
    assert (
        "--from 08:00:00: lies outside of the session, which is 09:15:34.499 to 09:15:38.998"
        in refusal("--from", "08:00:00")
    )
    assert "--to +1h: lies outside" in refusal("--to", "+1h")
    assert "--to noon: is no time: expected HH:MM:SS" in refusal("--to", "noon")
    assert "--theme neon: is no theme" in refusal("--theme", "neon")
    assert "nothing to plot" in refusal("--from", "+3.6s", "--to", "+3.7s")
    assert "unknown ending '.gif'" in refused("plot", CASE, "-o", tmp_path / "t.gif")
    assert "does not exist" in refused("plot", CASE, "-o", tmp_path / "no" / "t.png")
    assert "is a folder" in refused("plot", CASE, "-o", folder_named(tmp_path / "folder.png"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.png"]
    assert list((tmp_path / "folder.png").iterdir()) == []


def folder_named(path: Path) -> Path:
    """An empty folder of that name."""
    path.mkdir()
    return path


@pytest.mark.parametrize("name", list(EXPORTS))
def test_export_writes_every_table_alike(name: str, tmp_path: Path) -> None:
    """csv, json and parquet hold the same rows, with the declared columns."""
    frames = []
    for ending, read in (
        ("csv", pd.read_csv),
        ("json", pd.read_json),
        ("parquet", pd.read_parquet),
    ):
        path = tmp_path / f"{name}.{ending}"
        assert run("export", CASE, name, "-o", path).returncode == 0
        frames.append(read(path))
        assert list(frames[-1].columns) == list(EXPORTS[name])
    assert len({len(frame) for frame in frames}) == 1


def test_files_named_one_by_one_are_the_folder() -> None:
    """--pcap, --counters and --facts give what PATH gives."""
    pcaps = [
        word
        for name in ("eth0", "docker0", "lo")
        for word in ("--pcap", f"{name}={CASE / name}.pcap")
    ]
    one = run(
        "replay", *pcaps, "--counters", CASE / "counters.log", "--facts", CASE
    ).stdout.splitlines()[2:]
    assert one == run("replay", CASE).stdout.splitlines()[2:]


def test_clock_offset_can_be_given() -> None:
    """--clock-offset is taken and said."""
    assert "as given" in run("replay", CASE, "--clock-offset", "2ms").stdout


def test_a_ring_of_files_is_one_capture(case: Path) -> None:
    """`tcpdump -C` writes eth0.pcap, eth0.pcap1, and so on, and a ring (`-W`) begins anew at its
    first file: the report is that of the one file, whichever file is the oldest."""
    whole = run("replay", case).stdout
    path = case / "eth0.pcap"
    head, frames = frames_of(path)
    third = len(frames) // 3
    parts = (frames[2 * third :], frames[:third], frames[third : 2 * third])
    path.unlink()
    for number, part in enumerate(parts):
        (case / f"eth0.pcap{number or ''}").write_bytes(head + b"".join(part))
    assert run("replay", case).stdout == whole


def test_gzipped_pcaps_are_read(case: Path) -> None:
    """A gzipped pcap is read as it is."""
    plain = run("replay", case).stdout
    for pcap in case.glob("*.pcap"):
        (case / f"{pcap.name}.gz").write_bytes(gzip.compress(pcap.read_bytes()))
        pcap.unlink()
    assert run("replay", case).stdout == plain


def test_a_cut_pcap_is_read_up_to_the_cut(case: Path) -> None:
    """A truncated pcap is used as far as it goes, and the report warns."""
    pcap = case / "eth0.pcap"
    pcap.write_bytes(pcap.read_bytes()[:-7])
    done = run("replay", case)
    assert done.returncode == 0
    assert "warning   " in done.stdout
    assert "eth0.pcap: cut short at byte" in done.stdout


def test_a_cut_log_is_read_up_to_the_cut(case: Path) -> None:
    """A last snapshot that is cut is left out, with a warning."""
    log = case / "counters.log"
    log.write_text(log.read_text()[:-300])
    done = run("replay", case)
    assert done.returncode == 0
    assert "is cut short: left out" in done.stdout


def test_missing_inputs_are_named(tmp_path: Path, case: Path) -> None:
    """What is missing is said, and what to do."""
    assert "no such folder" in refused("replay", tmp_path / "nowhere")
    assert "no pcap there" in refused("replay", tmp_path)
    assert "nothing to replay" in refused("replay")
    assert "no such file" in refused(
        "replay", "--pcap", tmp_path / "no.pcap", "--counters", CASE / "counters.log"
    )
    assert "no such file" in refused("replay", case, "--counters", tmp_path / "no.log")
    for name in ("counters.log", "listing.log"):
        (case / name).unlink()
    assert "neither counters nor rules" in refused("replay", case)


def test_files_of_another_kind_are_refused(case: Path) -> None:
    """Empty files and files of another kind are refused by name."""
    (case / "eth0.pcap").write_bytes(b"")
    assert "eth0.pcap: is empty" in refused("replay", case)
    (case / "eth0.pcap").write_text("hello, I am no capture\n")
    assert "neither pcap nor pcapng" in refused("replay", case)
    (case / "eth0.pcap").write_bytes((CASE / "eth0.pcap").read_bytes()[:10])
    assert "cut within its file header" in refused("replay", case)
    shutil.copy(CASE / "eth0.pcap", case / "eth0.pcap")
    (case / "counters.log").write_text("")
    assert "counters.log: is empty" in refused("replay", case)
    shutil.copy(CASE / "eth0.pcap", case / "counters.log")
    assert "counters.log" in refused("replay", case)
    (case / "counters.log").write_text("nothing of iptables\n")
    assert "is not a counter log" in refused("replay", case)


def test_a_log_without_times_is_refused(case: Path) -> None:
    """Counters without times cannot be aligned."""
    text = "".join(
        line
        for line in (CASE / "counters.log").read_text().splitlines(keepends=True)
        if line[0] != "#"
    )
    (case / "counters.log").write_text(text)
    assert "has no times: put `date" in refused("replay", case)


def test_a_log_without_counters_is_refused(case: Path) -> None:
    """iptables-save without -c is told what it lacks."""
    text = (CASE / "counters.log").read_text()
    (case / "counters.log").write_text(
        "\n".join(
            line.partition("] ")[2] if line[:1] == "[" else line for line in text.splitlines()
        )
        + "\n"
    )
    assert "use iptables-save -c" in refused("replay", case)


def test_broken_facts_are_refused(case: Path) -> None:
    """JSON that is none, or of another kind, is refused by name and line."""
    (case / "addr.json").write_text("[{ nope")
    assert "addr.json: line 1 is not JSON" in refused("replay", case)
    (case / "addr.json").write_text('{"a": 1}')
    assert "save it with ip -j" in refused("replay", case)


def test_a_pcap_of_another_host_is_refused(case: Path) -> None:
    """Frames none of which bears the host's own address are of another host."""
    links = json.loads((case / "link.json").read_text())
    for link in links:
        if link["ifname"] in ("eth0", "docker0"):
            link["address"] = "02:de:ad:be:ef:01"
    addresses = json.loads((case / "addr.json").read_text())
    for link in addresses:
        if link["ifname"] in ("eth0", "docker0"):
            link["address"] = "02:de:ad:be:ef:01"
    (case / "link.json").write_text(json.dumps(links))
    (case / "addr.json").write_text(json.dumps(addresses))
    assert "these pcaps are of another host" in refused("replay", case)


def test_a_log_that_does_not_fit_is_refused(case: Path) -> None:
    """Counters that moved while none of these packets was there do not fit, and that is said."""
    other = (CAPTURES / "ttl" / "counters.log").read_text()
    (case / "counters.log").write_text(other)
    done = run("replay", case, "--clock-offset", "0")
    assert done.returncode == 2
    assert "do not fit" in done.stderr


def test_a_full_disk_is_one_line() -> None:
    """Where the report cannot be written, that is said in one line, with a non-zero exit code."""
    command = [str(Path(sys.executable).with_name("correlator")), "replay", str(CASE)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "correlator: No space left on device\n")


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    """Rules, connections, clients, tables, endings and times that are none."""
    assert "no such rule" in refused("show", CASE, "--rule", "nat/DOCKER:99")
    assert "is no rule's name" in refused("show", CASE, "--rule", "DOCKER")
    assert "no connection 99" in refused("show", CASE, "--connection", 99)
    assert "no connection of client 1.2.3.4" in refused("show", CASE, "--client", "1.2.3.4")
    assert "name one of" in refused("show", CASE)
    assert "name a table" in refused("export", CASE, "hats", "-o", tmp_path / "h.csv")
    assert "unknown ending" in refused("export", CASE, "hits", "-o", tmp_path / "h.xls")
    assert "unknown ending" in refused("plot", CASE, "-o", tmp_path / "t.bmp")
    assert "does not exist" in refused("export", CASE, "hits", "-o", tmp_path / "no" / "h.csv")
    assert "is no time" in refused("replay", CASE, "--clock-offset", "soon")
    assert list(tmp_path.iterdir()) == []


def test_a_defect_is_one_line_and_a_way_to_report_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody thought of is one printable line and status 70; CORRELATOR_DEBUG shows where."""
    import correlator.cli as cli

    def fails(*_: object, **__: object) -> None:
        raise KeyError("\x1b[2J\n" + "x" * 1000)

    monkeypatch.setattr(cli.commands, "main", fails)
    for debug, shown in ((None, 1), ("0", 1), ("1", 5)):
        monkeypatch.setattr("os.environ", {} if debug is None else {"CORRELATOR_DEBUG": debug})
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr().err
        assert ended.value.code == 70
        assert all(line.isprintable() for line in said.split("\n"))
        assert said.split("\n")[-2].startswith("correlator: KeyError: '\\x1b[2J")
        assert len(said.split("\n")[-2]) < 400
        assert said.count("\n") >= shown
        assert ("Traceback" in said) == (debug == "1")


def test_a_defect_of_the_reading_process_is_told_by_its_asker() -> None:
    """What the process that reads packets did not expect, or refuses, is raised here, in one."""
    from correlator.errors import InputError
    from correlator.flows.fold.process import FoldProcess

    worker = FoldProcess()
    worker._send("no task")
    with pytest.raises(RuntimeError, match="while packets were read"):
        worker.fold(None)
    assert InputError("a\nb").args == ("a\nb",)
    assert str(InputError("a\nb")) == "a\\nb"
