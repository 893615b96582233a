"""What a recording must be allowed to do: capabilities(7), and how to be given them, and how they
are given up."""

from __future__ import annotations

import ctypes
import os
import shlex
import stat
import struct
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from correlator.errors import CorrelatorError

NET_ADMIN, NET_RAW, DAC_READ_SEARCH = 12, 13, 2
NEEDED = {"CAP_NET_ADMIN": NET_ADMIN, "CAP_NET_RAW": NET_RAW}
"""Packet sockets need the one, reading counters and conntrack the other, as long as a recording
goes on: interfaces come, and the kernel asks again at every dump of rules."""
PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 8, 24, 38, 47
PR_SET_CHILD_SUBREAPER = 36
RAISE, CLEAR_ALL = 2, 4
CAPSET_HEADER = struct.pack("=Ii", 0x20080522, 0)
"""_LINUX_CAPABILITY_VERSION_3, for the calling thread (capset(2))."""
_libc = ctypes.CDLL(None, use_errno=True)


class PrivilegeError(CorrelatorError):
    """A capability is missing."""


def capabilities(which: str = "Eff") -> int:
    """A set of capabilities of this thread, as bits: Eff, Prm, Inh, Bnd or Amb (proc(5))."""
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith(f"Cap{which}:"):
            return int(line.split()[1], 16)
    return 0


def holds(*numbers: int) -> bool:
    """Whether this thread has all of these capabilities."""
    held = capabilities()
    return all(held >> number & 1 for number in numbers)


def check_privileges() -> None:
    """Raises :class:`PrivilegeError` naming what is missing and how to grant it."""
    missing = [name for name, number in NEEDED.items() if not holds(number)]
    if missing:
        raise PrivilegeError(f"capture needs {' and '.join(missing)}: {_how_to_grant(missing)}")


def _how_to_grant(missing: Sequence[str]) -> str:
    if os.geteuid() == 0:
        added = " ".join(f"--cap-add={name.removeprefix('CAP_')}" for name in missing)
        return f"this root has not all of root's: give it to the container ({added}) or service"
    hint = f"run it with sudo: `{shlex.join(['sudo', *own_command()])}`"
    if may_be_granted(sys.executable):
        words = ["sudo", "setcap", "cap_net_raw,cap_net_admin+eip", sys.executable]
        hint += f", or grant them once with `{shlex.join(words)}`"
    return hint


def own_command() -> list[str]:
    """The words by which this process was started, with full paths: sudo has a PATH of its own."""
    script = os.path.abspath(sys.argv[0])
    if os.path.basename(script) == "__main__.py":
        return [sys.executable, "-m", "correlator", *sys.argv[1:]]
    return [script, *sys.argv[1:]]


def may_be_granted(interpreter: str) -> bool:
    """Whether capabilities can be given to an interpreter, and concern nobody else: setcap(8) takes
    regular files, and whoever runs the one of the system would have them too."""
    try:
        regular = stat.S_ISREG(os.lstat(interpreter).st_mode)
    except OSError:
        return False
    return regular and sys.prefix != sys.base_prefix


def keep_only(kept: Iterable[int], lent: Iterable[int] = ()) -> None:
    """Give up every capability but ``kept``, for good. Programs that are run from now on have
    ``lent`` of them (as ambient capabilities), and gain nothing by being setuid.

    Raises OSError where this thread holds not all of ``kept``."""
    keeping = set(kept)
    _limit(keeping)
    _libc.prctl(PR_CAP_AMBIENT, CLEAR_ALL, 0, 0, 0)
    _set(keeping)
    lend(lent)
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def lend(numbers: Iterable[int]) -> None:
    """Programs that are run from now on have these of our capabilities: what is held through the
    interpreter's file (setcap), or by who is no longer root, is else lost by the programs that it
    runs."""
    lending = set(numbers)
    _set(_permitted(), lending)
    for number in lending:
        _libc.prctl(PR_CAP_AMBIENT, RAISE, number, 0, 0)


def survive_change_of_user(keep: bool) -> None:
    """Whether this thread's permitted capabilities outlive setuid(2) to a user who is not root."""
    _libc.prctl(PR_SET_KEEPCAPS, int(keep), 0, 0, 0)


def give_up_all() -> None:
    """Hold no capability; programs that are run may still gain some (sudo)."""
    _libc.prctl(PR_CAP_AMBIENT, CLEAR_ALL, 0, 0, 0)
    _set([])


def be_told_of_orphans() -> None:
    """Processes below us whose parent dies become children of ours."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def use(numbers: Iterable[int] | None = None) -> None:
    """Use these of the permitted capabilities (None: all), and keep the others for later."""
    held = _permitted()
    _set(held, effective=held if numbers is None else numbers)


def _permitted() -> set[int]:
    held = capabilities("Prm")
    return {number for number in range(64) if held >> number & 1}


def _limit(kept: set[int]) -> None:
    """Nothing that is run gains more than ``kept`` (the bounding set; root may limit it)."""
    for number in range(64):
        if number not in kept:
            _libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0)


def _set(
    permitted: Iterable[int],
    inheritable: Iterable[int] = (),
    effective: Iterable[int] | None = None,
) -> None:
    held = _bits(permitted)
    sets = (held if effective is None else _bits(effective), held, _bits(inheritable))
    words = [value >> shift & 0xFFFFFFFF for shift in (0, 32) for value in sets]
    if _libc.capset(CAPSET_HEADER, struct.pack("=6I", *words)):
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")


def _bits(numbers: Iterable[int]) -> int:
    return sum(1 << number for number in set(numbers))
