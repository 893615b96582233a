"""Programs of the host that a recording runs: looked for in the system's folders only, and run in a
surrounding of their own.

A recording has privileges that a user's folders must not be able to borrow: neither PATH nor what
else the environment says (XTABLES_LIBDIR names libraries for iptables to load) decides what is
run."""

from __future__ import annotations

import os
import shutil
import subprocess

FOLDERS = (
    "/usr/sbin",
    "/usr/bin",
    "/sbin",
    "/bin",
    "/usr/local/sbin",
    "/run/current-system/sw/bin",
)
"""Where systems keep the programs of administrators; the last one is NixOS's."""
SYSTEM_PATH = os.pathsep.join(FOLDERS)
ENVIRONMENT = {"PATH": SYSTEM_PATH, "LC_ALL": "C"}


def find_program(name: str) -> str | None:
    """The path of a program; None where no system folder has it."""
    return shutil.which(name, path=SYSTEM_PATH)


def run_program(words: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a program that :func:`find_program` found, and wait for it. Raises OSError, or
    subprocess.TimeoutExpired after ``timeout`` seconds."""
    return subprocess.run(
        words,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
        env=ENVIRONMENT,
    )


def keep_to_system_programs() -> dict[str, str]:
    """From now on libraries that look for programs (ctypes asks a compiler where libpcap is) find
    the system's only. Returns the environment as it was."""
    before = dict(os.environ)
    os.environ["PATH"] = SYSTEM_PATH
    return before
