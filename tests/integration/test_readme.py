"""The README's lines work as they are pasted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.lab.cases import published_rules, serve
from tests.lab.net import HOST, OUTSIDE, Lab

pytestmark = pytest.mark.live
LOOPBACK_ONLY = (
    "-A DOCKER -d 127.0.0.1/32 ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT "
    "--to-destination 172.17.0.2:80\n"
)


def blocks(heading: str) -> list[str]:
    """The ``sh`` blocks below a heading of the README."""
    text = (ROOT / "README.md").read_text()
    part = text.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_what_plain_tools_saved(shell: str, tmp_path: Path) -> None:
    """Both blocks, line by line: what they record has every witness, nothing is left running, every
    file is written, and the port that is published on 127.0.0.1 only is found."""
    recording, replaying = blocks("Replay what plain tools saved")
    rules = published_rules(("tcp", 80, "172.17.0.2", 80))
    at = rules.index("-A DOCKER ! -i docker0 -p tcp")
    clients = tmp_path / "client_tests"
    clients.mkdir()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with Lab() as lab:
        lab.rules(rules[:at] + LOOPBACK_ONLY + rules[at:])
        serve(lab, "c1", "tcp:80")
        (clients / "test_clients.py").write_text(
            textwrap.dedent(
                f"""
                import subprocess, sys
                def ask(port):
                    words = ["-m", "tests.lab.traffic", "tcp", "{HOST}", port, "--source"]
                    return int(subprocess.run(
                        ["ip", "netns", "exec", "{lab.space("out")}", sys.executable, *words,
                         "{OUTSIDE[0]}"], cwd="{ROOT}", stdout=subprocess.PIPE).stdout or 0)
                def test_web():
                    assert ask("80") == 1
                def test_the_api_is_for_this_host_only():
                    assert ask("8080") == 0
                """
            )
        )
        done = subprocess.run(
            ["ip", "netns", "exec", lab.space("host"), shell, "-c", recording],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "2 passed" in done.stdout, done.stdout + done.stderr
        left = subprocess.run(
            ["ip", "netns", "pids", lab.space("host")], capture_output=True, text=True, check=True
        )
        named = [Path(f"/proc/{pid}/comm").read_text() for pid in left.stdout.split()]
        assert "tcpdump\n" not in named
    for line in replaying.splitlines():
        told = subprocess.run(
            [shell, "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert told.returncode == 0, f"{line}\n{told.stderr}"
        if line.startswith("correlator replay"):
            assert "publishes tcp port 8080 on 127.0.0.1 only" in " ".join(told.stdout.split())
            assert "no residual" in told.stdout
            assert "exact" in told.stdout
            # The bridge's own report of its groups (IGMP) may fall ahead of the first sample.
            tcp = [row for row in told.stdout.splitlines() if ":80" in row and " tcp " in row]
            assert tcp, told.stdout
            assert not [row for row in tcp if "ambiguous" in row], told.stdout
    for name in re.findall(r"-o (\S+)", replaying):
        assert (tmp_path / name).stat().st_size, name
