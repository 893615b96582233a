"""A recording ends well, whatever happens to it: the command is waited for, its exit status passed
on, nothing that it started is left behind, and what was recorded is kept."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import correlator
from tests.integration.test_capture_small import CORRELATOR, WEB, _background, _capture, _one_line
from tests.lab.cases import published_rules
from tests.lab.net import ROOT, Lab

pytestmark = pytest.mark.live


def _alive(marker: str) -> list[int]:
    """The processes whose command line has this word."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and marker.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def _wait_until_there(marker: str, seconds: float = 15) -> None:
    """Until the command has begun, and what it starts had the time to."""
    until = time.monotonic() + seconds
    while not _alive(marker):
        assert time.monotonic() < until, "the command did not begin"
        time.sleep(0.05)
    time.sleep(0.5)


def _wait_until_gone(marker: str, seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while _alive(marker):
        assert time.monotonic() < until, f"still there: {_alive(marker)}"
        time.sleep(0.05)


def _manifest(session: Path) -> dict[str, object]:
    return dict(json.loads((session / "manifest.json").read_text()))


@pytest.mark.parametrize(("status", "expected"), [(0, 125), (3, 3)])
def test_a_folder_that_is_removed(status: int, expected: int, tmp_path: Path) -> None:
    """The command runs to its end; its status is passed on, or 125 where it did not fail."""
    session = tmp_path / "s"
    command = f"sleep 0.3; rm -r {session}; sleep 0.3; echo ended; exit {status}"
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        done = _capture(lab, "-i", "eth0", "-o", str(session), "--", "sh", "-c", command)
    assert done.returncode == expected, done.stderr
    assert done.stdout == "ended\n"
    assert f"{session}: was moved or removed while recording" in done.stderr
    assert "Traceback" not in done.stderr


BROKEN = """
import sys
from correlator.capturing.sniffer import Sniffer
take, calls = Sniffer.take, []
def broken(self, until=None):
    calls.append(1)
    if len(calls) > 5:
        raise {error}
    return take(self, until)
Sniffer.take = broken
sys.argv[0] = "correlator"
from correlator.cli import main
main()
"""


@pytest.mark.parametrize("error", ["OSError(75, 'odd')", "KeyError('x')", "MemoryError()"])
def test_an_error_that_nobody_thought_of(error: str, tmp_path: Path) -> None:
    """One line tells of it, the command is waited for and its status passed on, and what was
    recorded before replays."""
    session = tmp_path / "s"
    words = ("capture", "-i", "eth0", "-o", str(session), "--", "sh", "-c", "sleep 1; exit 4")
    code = BROKEN.format(error=error)
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        done = subprocess.run(
            ["ip", "netns", "exec", lab.space("host"), sys.executable, "-c", code, *words],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == 4, done.stderr
    assert "recording stopped; what was written so far replays" in done.stderr
    assert "Traceback" not in done.stderr
    manifest = _manifest(session)
    assert (manifest["complete"], manifest["stopped_by"], manifest["exit_status"]) == (
        False,
        "error",
        4,
    )
    assert any("recording stopped" in warning for warning in correlator.load(session).warnings)


def test_nobody_reads_the_output(tmp_path: Path) -> None:
    """Output that is closed from the start, or that its reader leaves: the command's status is
    passed on, and the session is whole."""
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        for number, streams in enumerate((">&-", "2>&-", "<&- >&- 2>&-", "| true")):
            session = tmp_path / f"s{number}"
            words = f"capture -i eth0 -o {session} -- sh -c 'sleep 0.5; exit 6'"
            line = f"{' '.join(CORRELATOR)} {words} {streams}; exit ${{PIPESTATUS[0]}}"
            done = subprocess.run(
                ["ip", "netns", "exec", lab.space("host"), "bash", "-c", line],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 6, (streams, done.stderr)
            assert "Traceback" not in done.stderr
            assert _manifest(session)["complete"] is True
            assert correlator.load(session).connections.empty


def _on_terminal(lab: Lab, session: Path, *command: str) -> tuple[subprocess.Popen[bytes], int]:
    """(a capture on a terminal of its own, our end of that), once it records."""
    ours, theirs = pty.openpty()
    words = ("-i", "eth0", "-o", str(session), "--", *command)
    heard = ("env", "--default-signal=HUP")  # whoever runs the tests may be deaf to it (nohup)
    inside = (*heard, "ip", "netns", "exec", lab.space("host"), "setsid", "-c", "-w")
    process = subprocess.Popen(
        [*inside, *CORRELATOR, "capture", *words],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    _read_until(ours, b"recording eth0")
    return process, ours


def _read_until(handle: int, text: bytes, seconds: float = 30) -> bytes:
    data, until = b"", time.monotonic() + seconds
    while text not in data and time.monotonic() < until:
        if select.select([handle], [], [], 0.1)[0]:
            try:
                data += os.read(handle, 1 << 16)
            except OSError as error:
                assert error.errno == errno.EIO  # noqa: PT017  the other end is closed
                break
    assert text in data, data
    return data


def test_a_killed_terminal(tmp_path: Path) -> None:
    """A terminal that is closed: the command and what it started end by SIGHUP, the session is
    whole."""
    session = tmp_path / "s"
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        sleeper = f"{tmp_path}/sleeper"
        shutil.copy("/bin/sleep", sleeper)
        process, ours = _on_terminal(lab, session, "sh", "-c", f"{sleeper} 100 & {sleeper} 100")
        _wait_until_there(sleeper)
        os.close(ours)
        process.wait(60)
    _wait_until_gone(sleeper)
    manifest = _manifest(session)
    assert (manifest["stopped_by"], manifest["exit_status"]) == ("SIGHUP", 128 + signal.SIGHUP)
    assert manifest["complete"] is True


def test_a_deaf_command(tmp_path: Path) -> None:
    """A command that does not hear Ctrl-C: a line says that the next one ends the recording, then
    that the next one kills the command; so they do."""
    session = tmp_path / "s"
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        sleeper = f"{tmp_path}/sleeper"
        shutil.copy("/bin/sleep", sleeper)
        deaf = f"trap '' INT; {sleeper} 100 & {sleeper} 100"
        process, ours = _on_terminal(lab, session, "sh", "-c", deaf)
        _wait_until_there(sleeper)
        os.write(ours, b"\x03")
        _read_until(ours, b"Ctrl-C again ends the recording at once")
        assert process.poll() is None
        os.write(ours, b"\x03")
        _read_until(ours, b"Ctrl-C again kills it")
        assert _manifest(session)["complete"] is True
        os.write(ours, b"\x03")
        assert process.wait(60) == 128 + signal.SIGKILL
        os.close(ours)
    _wait_until_gone(sleeper)


def test_signals_reach_all_that_was_started(tmp_path: Path) -> None:
    """SIGTERM ends the command and its children; where the recorder is killed (SIGKILL), they are
    ended too, those that ignore SIGTERM as well. What a command leaves in the background when it
    ends by itself stays."""
    sleeper = f"{tmp_path}/sleeper"
    shutil.copy("/bin/sleep", sleeper)
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        for number, how in ((1, signal.SIGTERM), (2, signal.SIGKILL)):
            session = tmp_path / f"s{number}"
            trap = "" if how == signal.SIGTERM else "trap '' TERM; "
            script = f"{trap}({sleeper} 100 & {sleeper} 100) & {sleeper} 100"
            words = ("-i", "eth0", "-o", str(session), "--", "sh", "-c", script)
            process = _background(lab, *words)
            time.sleep(0.5)
            assert len(_alive(sleeper)) >= 3
            process.send_signal(how)
            process.communicate(timeout=60)
            _wait_until_gone(sleeper)
            assert correlator.load(session).connections.empty
        left = ("sh", "-c", f"{sleeper} 100 >/dev/null 2>&1 & exit 5")
        done = _capture(lab, "-i", "eth0", "-o", str(tmp_path / "s3"), "--", *left)
        assert done.returncode == 5
        [process_left] = _alive(sleeper)
        os.kill(process_left, signal.SIGKILL)


@pytest.mark.parametrize("whole", [False, True], ids=["the recorder", "its guard too"])
def test_killed_at_the_beginning(whole: bool, tmp_path: Path) -> None:
    """SIGKILL at any time of the first half second: no folder, or one that `replay` replays or
    names rightly in one line, and that --force replaces."""
    found = set()
    words = ("-i", "eth0", "--duration", "20s", "-o")
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        command = ["ip", "netns", "exec", lab.space("host"), *CORRELATOR, "capture", *words]
        for number in range(14):
            session = tmp_path / f"s{number}"
            process = subprocess.Popen(
                [*command, str(session)],
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            until = time.monotonic() + 20
            while number and not session.exists():
                assert time.monotonic() < until
            time.sleep(max(number - 1, 0) ** 2 * 0.003)
            (os.killpg if whole else os.kill)(process.pid, signal.SIGKILL)
            process.wait()
            _wait_until_gone(str(session))
            if not session.exists():
                found.add("nothing")
                continue
            replayed = subprocess.run(
                [*CORRELATOR, "replay", str(session)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                check=False,
            )
            if replayed.returncode:
                empty = not any(session.iterdir())
                _one_line(replayed, str(session), "no pcap" if empty else "ended before it")
                found.add("named")
            else:
                assert "not ended properly" in replayed.stdout
                found.add("replayed")
            done = _capture(lab, *words[:2], "--duration", "1ms", "--force", "-o", str(session))
            assert done.returncode == 0, done.stderr
        assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert found <= {"nothing", "named", "replayed"}


def test_exit_statuses(tmp_path: Path) -> None:
    """125: the recording could not begin beside a command; 126 and 127: the command cannot be run;
    its own where it ran. Nothing is left of a recording that did not begin, and what --force was to
    replace is back."""
    session = tmp_path / "s"
    (tmp_path / "text").write_text("no program\n")
    (tmp_path / "text").chmod(0o755)
    (tmp_path / "bad").write_text("#!/no/such/interpreter\n")
    (tmp_path / "bad").chmod(0o755)
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        words = ("-i", "eth0", "-o", str(session))
        assert _capture(lab, *words, "--duration", "1ms").returncode == 0
        kept = (session / "manifest.json").read_bytes()
        for status, options, command in (
            (125, (), ("true",)),
            (125, ("--force", "--filter", "tcp prot 80"), ("true",)),
            (126, ("--force",), (str(tmp_path / "text"),)),
            (127, ("--force",), (str(tmp_path / "bad"),)),
            (127, ("--force",), ("nosuchcommand",)),
        ):
            done = _capture(lab, *words, *options, "--", *command)
            assert done.returncode == status, (command, done.stderr)
            assert "Traceback" not in done.stderr
            assert (session / "manifest.json").read_bytes() == kept
            assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "s", "text"]
        killed = _capture(lab, *words, "--force", "--", "sh", "-c", "kill -USR1 $$")
        assert killed.returncode == 128 + signal.SIGUSR1
