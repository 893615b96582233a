"""A recording has root's privileges, and nobody else gets anything by them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.integration.test_capture_small import CORRELATOR, WEB, _background, _capture
from tests.lab.cases import published_rules
from tests.lab.net import ROOT, Lab

pytestmark = pytest.mark.live
USER, GROUP = 65534, 65533
AS_SUDO = {"SUDO_UID": str(USER), "SUDO_GID": str(GROUP)}
RECORDING = {"net_admin", "net_raw"}

RACE = """
import contextlib, os, sys
session, victim = sys.argv[1:]
os.setgroups([]), os.setgid(65533), os.setuid(65534)
print("ready", flush=True)
while True:
    for name in ("rulesets", "facts"):
        with contextlib.suppress(OSError):
            os.rename(f"{session}/{name}", f"{session}/{name}-mine")
            os.symlink(victim, f"{session}/{name}")
"""


def test_no_file_of_roots_can_be_had(open_path: Path) -> None:
    """Who ran sudo puts links to a folder of root's in the place of the session's, as soon as they
    are there: nothing is written through them, and root's files stay root's."""
    victim = open_path / "roots"
    victim.mkdir()
    (victim / "nft-1.rules").write_text("secret\n")
    (victim / "nft-1.rules").chmod(0o600)
    quick = []
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        for number in range(5):  # a race: the attacker need not win it on a busy machine
            session = open_path / f"s{number}"
            attacker = subprocess.Popen(
                [sys.executable, "-c", RACE, str(session), str(victim)], stdout=subprocess.PIPE
            )
            assert attacker.stdout is not None
            attacker.stdout.readline()
            done = _capture(lab, "-i", "eth0", "--duration", "1s", "-o", str(session), **AS_SUDO)
            attacker.kill()
            attacker.wait()
            quick.append((session / "rulesets").is_symlink())
            assert "Traceback" not in done.stderr
            if quick[-1]:
                break
    assert any(quick)
    assert [path.name for path in victim.iterdir()] == ["nft-1.rules"]
    assert (victim / "nft-1.rules").read_text() == "secret\n"
    assert {path.stat().st_uid for path in (victim, *victim.iterdir())} == {0}


def test_a_session_is_not_made_where_the_user_may_not(open_path: Path) -> None:
    """Under sudo nothing is made, and nothing replaced, where who ran sudo could not do it."""
    (open_path / "roots").mkdir(mode=0o755)
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        words = ("-i", "eth0", "--duration", "200ms", "-o", str(open_path / "roots" / "s"))
        assert _capture(lab, *words).returncode == 0
        kept = (open_path / "roots" / "s" / "manifest.json").read_bytes()
        refused = [
            _capture(lab, *words, "--force", **AS_SUDO),
            _capture(lab, *words[:-1], str(open_path / "roots" / "new" / "s"), **AS_SUDO),
        ]
    for done in refused:
        assert done.returncode == 1
        assert "Permission denied (it is made as nobody)" in done.stderr
    assert [path.name for path in (open_path / "roots").iterdir()] == ["s"]
    assert (open_path / "roots" / "s" / "manifest.json").read_bytes() == kept


def _readable_python(tmp_path: Path) -> tuple[str, ...]:
    """Words before a command that let everybody read this Python, which stands in root's home on
    some machines."""
    prefix = Path(sys.base_prefix).resolve()
    closed = [one for one in reversed(prefix.parents) if not one.stat().st_mode & 0o001]
    if not closed:
        return ()
    aside = tmp_path / "python"
    aside.mkdir()
    steps = (
        f"mount --bind {prefix} {aside} && mount -t tmpfs -o mode=755 t {closed[0]} && "
        f'mkdir -p {prefix} && mount --bind {aside} {prefix} && exec "$@"'
    )
    return ("unshare", "-m", "sh", "-c", steps, "sh")


def _explained(text: str) -> dict[str, tuple[int, int, set[str], int]]:
    """part -> uid, gid, capabilities, no_new_privs, from what --explain-privileges prints."""
    rows = [re.split(r"  +", line) for line in text.splitlines()[1:]]
    assert {row[5] for row in rows} == {"none"}
    return {
        row[0].split(":")[0]: (int(row[1]), int(row[2]), set(row[3].split()), int(row[4]))
        for row in rows
    }


NAMES = {2: "dac_read_search", 12: "net_admin", 13: "net_raw"}


def _held(status: str) -> tuple[int, int, set[str], int]:
    """The same of a process, from /proc/PID/status."""
    found = dict(line.split(":", 1) for line in status.splitlines())
    bits = int(found["CapEff"], 16)
    assert int(found["CapPrm"], 16) == bits
    names = {NAMES.get(number, str(number)) for number in range(64) if bits >> number & 1}
    uid, gid = (int(found[name].split()[1]) for name in ("Uid", "Gid"))
    return uid, gid, names or {"none"}, int(found["NoNewPrivs"])


STATUS = ("cat", "/proc/self/status")


@pytest.mark.parametrize("readable", [True, False], ids=["readable", "in root's home"])
def test_privileges_are_as_explained(readable: bool, open_path: Path) -> None:
    """--explain-privileges tells ids, capabilities, no_new_privs and seccomp of each part of a
    recording, and a recording has just these: under sudo two capabilities while it goes on, none
    for the command, none while analysing. Where correlator stands in a folder that the user may not
    read, it may read it all the same, and no more."""
    before = _readable_python(open_path)
    if not readable and not before:
        return  # on this machine everybody can read this Python
    if not readable:
        before = ()
    extra = set() if readable else {"dac_read_search"}
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        done = _capture(lab, "--explain-privileges", before=before, **AS_SUDO)
        assert done.returncode == 0, done.stderr
        told = _explained(done.stdout)
        words = ("-i", "eth0", "-o", str(open_path / "s"), "--", "sh", "-c")
        process = _background(lab, *words, f"{' '.join(STATUS)}; sleep 1", before=before, **AS_SUDO)
        recording = _held(Path(f"/proc/{process.pid}/status").read_text())
        seen = [recording]
        while process.poll() is None:
            try:
                seen.append(_held(Path(f"/proc/{process.pid}/status").read_text()))
            except (OSError, KeyError):
                break
            time.sleep(0.005)
        printed, complained = process.communicate()
    assert process.returncode == 0, complained
    command = _held(printed[: printed.index("nonvoluntary_ctxt_switches")])
    assert told["recording"] == recording == (USER, GROUP, RECORDING | extra, 1)
    assert told["programs that it runs"] == recording
    assert told["command"] == command == (USER, GROUP, {"none"}, 0)
    assert told["guard"] == (USER, GROUP, {"none"}, 0)
    assert told["analysing"] == (USER, GROUP, extra or {"none"}, 1)
    assert told["analysing"] in seen
    assert told["opening"][:2] == (0, os.getegid())


def test_the_command_runs_as_who_ran_sudo(open_path: Path) -> None:
    """Under sudo with their ids, groups and home; as root with --as-root, or where root itself
    records. Root's sessions are written as nobody, and root's in the end."""
    show = ("--", "sh", "-c", "id -u; id -g; id -G; echo $HOME $USER; exit 7")
    shown = {}
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        for name, words, environment in (
            ("user", (), AS_SUDO),
            ("as-root", ("--as-root",), AS_SUDO),
            ("root", (), {}),
        ):
            done = _capture(
                lab, "-i", "eth0", *words, "-o", str(open_path / name), *show, **environment
            )
            assert done.returncode == 7, done.stderr
            shown[name] = done.stdout.splitlines()[:4]
    assert shown["user"] == [str(USER), str(GROUP), str(GROUP), "/nonexistent nobody"]
    assert shown["as-root"][:2] == shown["root"][:2] == ["0", "0"]
    for name, owner in (("user", USER), ("as-root", USER), ("root", 0)):
        session = open_path / name
        assert {path.stat().st_uid for path in (session, *session.rglob("*"))} == {owner}
        assert json.loads((session / "manifest.json").read_text())["exit_status"] == 7


def test_programs_are_the_systems(open_path: Path) -> None:
    """Whatever PATH says, no program of the current folder, nor of one that a user could write to,
    is run with privileges."""
    here = open_path / "here"
    here.mkdir()
    names = "iptables-save iptables-nft-save iptables-legacy-save ip ipset gcc ld ldconfig uname"
    for name in names.split():
        (here / name).write_text(f"#!/bin/sh\necho {name} >> {open_path}/ran\n")
        (here / name).chmod(0o755)
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        for number, path in enumerate(("", ".", str(here))):
            command = ["ip", "netns", "exec", lab.space("host"), "env", f"PATH={path}"]
            words = ["capture", "-i", "eth0", "--filter", "tcp", "--duration", "200ms"]
            done = subprocess.run(
                [*command, *CORRELATOR, *words, "-o", str(open_path / f"s{number}")],
                cwd=here,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
    assert not (open_path / "ran").exists()


def test_the_hint_works_when_pasted(tmp_path: Path) -> None:
    """What capture prints without privileges, between backticks, records when it is run as root
    (which is what sudo does)."""
    nobody = ("setpriv", f"--reuid={USER}", f"--regid={GROUP}", "--clear-groups")
    nobody = (*nobody, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    session = tmp_path / "my session"
    with Lab() as lab:
        lab.rules(published_rules(WEB))
        words = ("-i", "eth0", "--duration", "200ms", "-o", str(session))
        refused = _capture(lab, *words, before=nobody)
        [hint] = re.findall("`(.*?)`", refused.stderr)
        pasted = shlex.split(hint)
        assert pasted[:3] == ["sudo", sys.executable, "-m"]
        done = subprocess.run(
            ["ip", "netns", "exec", lab.space("host"), *pasted[1:]],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert (session / "manifest.json").is_file()
