"""``python -m tests.lab.demo [FOLDER]``: a live session in a throw-away lab with a Docker Engine of
its own.

Everything is in namespaces and temporary folders, and gone at the end; the session too, unless
FOLDER says where to keep it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.lab.docker import docker_lab
from tests.lab.engine import PROGRAMS
from tests.lab.net import ROOT

TOOLS = ("ip", "nft", "nsenter", "iptables-nft", "iptables-nft-save", "ping", "sysctl", *PROGRAMS)


def why_not() -> str:
    """Why the lab cannot be made here; empty where it can."""
    if os.geteuid() != 0:
        return (
            "needs root, for namespaces and a Docker Engine of its own: run `sudo make demo-live`"
        )
    missing = [name for name in TOOLS if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)}: as root on Debian, sh .ci/deps.sh installs them"
    return ""


def main(keep: Path | None) -> int:
    """Make the lab, record around its clients, take it down; the exit status of `correlator
    capture`."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    reason = why_not()
    if reason:
        print(f"demo-live: {reason}", file=sys.stderr)
        return 1
    if keep is not None and keep.exists():
        print(f"demo-live: {keep}: is there already: name another folder", file=sys.stderr)
        return 1
    print(
        "demo-live: making a lab: namespaces for a host and its clients, a Docker Engine, two "
        "containers ...",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="demo-live") as name, docker_lab("nft") as town:
        session = Path(name) / "demo-live"
        command = town.correlator("capture", "-o", session.name, "--", *town.clients)
        print(
            "demo-live: correlator capture -o demo-live -- python -m tests.lab.clients", flush=True
        )
        environment = {**town.engine.environment, "PYTHONPATH": str(ROOT)}
        status = subprocess.run(command, env=environment, cwd=name, check=False).returncode
        if keep is not None and session.is_dir():
            shutil.copytree(session, keep)
    where = (
        f"the session is kept: correlator show {keep} --connection 1"
        if keep
        else "KEEP=folder keeps the session"
    )
    print(f"\ndemo-live: the lab is gone; {where}")
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
    except RuntimeError as error:
        sys.exit(f"demo-live: the lab cannot be made here: {error}")
