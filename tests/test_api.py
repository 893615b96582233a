"""The public API: what a data person imports, reads and records with."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import correlator
import correlator.interactive
import correlator.session
from correlator.dataset.schema import EXPORTS, TABLES
from tests.conftest import CAPTURES, ROOT
from tests.lab.cases import client, published_rules, serve
from tests.lab.net import HOST, OUTSIDE, Lab

WEB = ("tcp", 80, "172.17.0.2", 80)
MODULES = (correlator, correlator.session, correlator.interactive)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples_of_docstrings_run(module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """What help() shows is what happens, in the project's folder."""
    monkeypatch.chdir(ROOT)
    done = doctest.testmod(module, extraglobs={"correlator": correlator})  # type: ignore[arg-type]
    assert done.failed == 0


def test_examples_of_the_page_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/python.md shows what happens."""
    monkeypatch.chdir(ROOT)
    text = re.sub("^```.*$", "", (ROOT / "docs/python.md").read_text(), flags=re.MULTILINE)
    test = doctest.DocTestParser().get_doctest(text, {}, "python.md", "python.md", 0)
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test).failed == 0


def test_an_analysis_is_shown_in_few_words() -> None:
    """At a prompt one line, in a notebook the first part of the report and not its tables; what
    comes from the input is text there, not markup."""
    analysis = correlator.load(CAPTURES / "ufw")
    assert repr(analysis).count("\n") == 0
    shown = analysis._repr_html_()
    assert len(shown) < 10_000
    assert "UFW did not stop 2 connections" in shown
    assert re.findall("<[^>]*>", shown) == ["<pre>", "</pre>"]
    assert repr(analysis.explain(1)) == analysis.explain(1)


def test_connections_are_selected_as_people_name_them() -> None:
    """By address, network, container; an end that is none of these is refused in one line."""
    analysis = correlator.load(CAPTURES / "published")
    named = dataclasses.replace(analysis, containers={"172.17.0.2": "web"})
    every = set(named.connections.src)
    assert set(named.select(client="0.0.0.0/0").src) == every
    assert set(named.select(client="web").src) == {"172.17.0.2"}
    assert named.select(server="web").equals(named.select(server="172.17.0.2"))
    assert set(named.select(port=53).dport) == {5353}
    with pytest.raises(correlator.InputError, match=r"^nobody: is no address, no network and no"):
        named.select(client="nobody")


def test_everything_public_explains_itself() -> None:
    """Each public name, and each public method of the classes, has a docstring."""
    for name in correlator.__all__:
        thing = getattr(correlator, name)
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing):
            for method, value in vars(thing).items():
                if not method.startswith("_") and (callable(value) or hasattr(value, "__get__")):
                    assert inspect.getdoc(value), f"{name}.{method}"


def test_public_functions_have_no_parameter_for_start_up() -> None:
    """What only the command line needs (a bar, imports while it waits) is not offered."""
    for function in (correlator.load, correlator.capture, correlator.Session.load):
        assert not {"progress", "meanwhile", "aside"} & set(inspect.signature(function).parameters)


def test_a_session_and_load_give_the_same() -> None:
    """load() is a Session that is loaded."""
    path = CAPTURES / "shut"
    one, other = correlator.load(path), correlator.Session(str(path)).load()
    assert isinstance(one, correlator.Analysis)
    for name in TABLES:
        assert one.table(name).equals(other.table(name)), name


def test_columns_are_those_of_the_tables() -> None:
    """columns() explains every column of every table, and refuses what is no table in one line."""
    analysis = correlator.load(CAPTURES / "shut")
    for name in EXPORTS:
        assert list(correlator.columns(name).index) == list(analysis.table(name).columns)
    with pytest.raises(correlator.InputError, match=r"^sessions: is no table: expected one of"):
        correlator.columns("sessions")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"interval": 0.0}, "interval=0.0: is too short"),
        ({"snaplen": 3}, "snaplen=3: expected 64 to 262144 bytes, or -1"),
        ({"duration": 0.0}, "duration=0.0: is no time to record in"),
    ],
)
def test_impossible_recordings_are_refused(
    wrong: dict[str, float], said: str, tmp_path: Path
) -> None:
    """A parameter that cannot be is one line, before anything is begun."""
    with pytest.raises(correlator.InputError, match=said):
        correlator.capture(tmp_path / "s", **wrong)  # type: ignore[call-overload]
    assert not (tmp_path / "s").exists()


@pytest.fixture
def lab() -> object:
    """A host that publishes a container's port."""
    with Lab({"docker0": 1}) as lab:
        lab.rules(published_rules(WEB))
        serve(lab, "c1", "tcp:80")
        yield lab


def _python(lab: Lab, script: str, *words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, words)]
    return subprocess.Popen(
        ["ip", "netns", "exec", lab.space("host"), *command],
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.live
def test_a_block_is_recorded(lab: Lab, tmp_path: Path) -> None:
    """What happens inside the block is in the session, exactly; the block's own error passes, and
    the session is whole all the same."""
    process = _python(
        lab,
        """
        import sys, correlator
        try:
            with correlator.capture(sys.argv[1], interfaces=["eth0", "docker0"]) as session:
                print("begun", flush=True)
                input()
                raise KeyError("a test failed")
        except KeyError:
            analysis = session.load()
        print(session, analysis.connections.outcome.tolist())
        print(set(analysis.connections.status), session.stop().exit_status)
        """,
        tmp_path / "s",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    assert client(lab, "out", "tcp", HOST, 80, source=OUTSIDE[0], count=2) == 2
    out, complained = process.communicate("\n", timeout=60)
    assert out.splitlines() == [f"Recording('{tmp_path}/s') ['DNAT', 'DNAT']", "{'exact'} None"], (
        complained
    )


@pytest.mark.live
def test_a_command_is_recorded_around(lab: Lab, tmp_path: Path) -> None:
    """The command's output passes, its status is the session's; a command that is not there, and a
    folder that is, are refused in one line that is an exception."""
    script = """
        import sys, correlator
        for command in ("sh -c 'echo said; exit 7'", ["/no/such"], ["true"]):
            try:
                session = correlator.capture(sys.argv[1], command, interfaces=["eth0"])
                print(type(session).__name__, session.exit_status, flush=True)
            except correlator.CorrelatorError as error:
                print(type(error).__name__, error.exit_code, error, flush=True)
        """
    out, complained = _python(lab, script, tmp_path / "s").communicate(timeout=60)
    lines = out.splitlines()
    assert lines[:2] == ["said", "Session 7"], complained
    assert lines[-1].startswith(f"InputError 2 {tmp_path}/s: is there already")
    assert len(lines) == 4


@pytest.mark.live
def test_a_recorder_does_not_outlive_its_caller(lab: Lab, tmp_path: Path) -> None:
    """Whoever records is killed, and the recording ends by itself, whole."""
    process = _python(
        lab,
        """
        import os, signal, sys, correlator
        session = correlator.capture(sys.argv[1], interfaces=["eth0"])
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        tmp_path / "s",
    )
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    for _ in range(100):
        if '"complete": true' in (tmp_path / "s/manifest.json").read_text():
            break
        time.sleep(0.1)
    else:
        pytest.fail("the recording goes on")
    assert correlator.Session(tmp_path / "s").exit_status is None


@pytest.mark.live
def test_a_recording_ends_after_its_duration(lab: Lab, tmp_path: Path) -> None:
    """With a duration it returns when that is over."""
    process = _python(
        lab,
        """
        import sys, time, correlator
        begun = time.monotonic()
        session = correlator.capture(sys.argv[1], interfaces=["eth0"], duration=0.5)
        print(0.5 <= time.monotonic() - begun, session.exit_status)
        """,
        tmp_path / "s",
    )
    out, complained = process.communicate(timeout=60)
    assert out == "True None\n", complained
    assert os.listdir(tmp_path / "s")
