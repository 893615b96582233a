"""What each part of a recording is allowed to do, as the kernel says: every part takes the very
steps that it takes in a recording, in a process of its own, and reads /proc/self/status there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from correlator.capturing import phases
from correlator.capturing.identity import Identities, decide
from correlator.capturing.programs import find_program, run_program
from correlator.errors import CorrelatorError

NAMES = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
]
"""Of include/uapi/linux/capability.h, by number."""
SECCOMP = ("none", "strict", "filter")
HEAD = ("part", "uid", "gid", "capabilities", "no_new_privs", "seccomp")


def explain(as_root: bool) -> str:
    """A table: one row a part, with the ids that its process has in effect, its capabilities,
    whether programs that it runs may gain more, and its seccomp state."""
    who = decide(as_root)
    phases.begin_opening()
    parts: list[tuple[str, Callable[[], str]]] = [
        ("opening: sockets, first readings", _own),
        ("guard: starts and ends the command", lambda: _as_guard(who)),
        ("command", lambda: _as_command(who)),
        ("recording", lambda: _as_recorder(who, _own)),
        ("programs that it runs", lambda: _as_recorder(who, _of_a_program)),
        ("analysing", lambda: _as_recorder(who, _as_analyst)),
    ]
    rows = [HEAD, *((name, *_describe(_elsewhere(read))) for name, read in parts)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _own() -> str:
    return Path("/proc/self/status").read_text()


def _as_guard(who: Identities) -> str:
    phases.begin_guarding(who)
    return _own()


def _as_command(who: Identities) -> str:
    phases.begin_guarding(who)
    if who.runner is not None and os.geteuid() == 0:
        who.runner.become()
    return _of_a_program()


def _as_recorder(who: Identities, then: Callable[[], str]) -> str:
    phases.begin_recording(who.writer, None)
    return then()


def _as_analyst() -> str:
    phases.begin_analysing()
    return _own()


def _of_a_program() -> str:
    """What a program has that is run now."""
    cat = find_program("cat")
    if cat is None:
        raise CorrelatorError("`cat` (coreutils) is not in the system's folders")
    return run_program([cat, "/proc/self/status"], timeout=10).stdout


def _elsewhere(read: Callable[[], str]) -> str:
    """The result of ``read`` in a process of its own, which then ends."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.write(writer, read().encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        text = told.read()
    os.waitpid(process, 0)
    return text


def _describe(status: str) -> tuple[str, str, str, str, str]:
    """The cells of a row, from /proc/self/status."""
    found = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    if "CapEff" not in found:
        return ("?",) * 5
    bits = int(found["CapEff"], 16)
    return (
        found["Uid"].split()[1],
        found["Gid"].split()[1],
        describe_capabilities(bits),
        found.get("NoNewPrivs", "?").strip(),
        SECCOMP[int(found.get("Seccomp", "0"))],
    )


def describe_capabilities(bits: int) -> str:
    """``net_admin net_raw``, ``none``, ``all``, or all but a few."""
    if not bits:
        return "none"
    missing = [name for number, name in enumerate(NAMES) if not bits >> number & 1]
    if len(missing) <= 5:
        return "all" if not missing else f"all but {' '.join(missing)}"
    return " ".join(name for number, name in enumerate(NAMES) if bits >> number & 1)
