"""What a recording must be allowed to do, and how to be allowed."""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from correlator.errors import CorrelatorError

NEEDED = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
"""capabilities(7): packet sockets need the one, reading counters and conntrack the other."""


PR_CAP_AMBIENT, RAISE, LOWER = 47, 2, 3
CAPSET_HEADER = struct.pack("=Ii", 0x20080522, 0)
"""_LINUX_CAPABILITY_VERSION_3, for the calling thread (capset(2))."""
_libc = ctypes.CDLL(None, use_errno=True)


class PrivilegeError(CorrelatorError):
    """A capability is missing."""


def capabilities(which: str = "Eff") -> int:
    """A set of capabilities of this thread, as bits: Eff, Prm, Inh or Amb (proc(5))."""
    for line in Path("/proc/thread-self/status").read_text().splitlines():
        if line.startswith(f"Cap{which}:"):
            return int(line.split()[1], 16)
    return 0


def check_privileges() -> None:
    """Raises :class:`PrivilegeError` naming what is missing and how to grant it."""
    held = capabilities()
    missing = [name for name, bit in NEEDED.items() if not held >> bit & 1]
    if missing:
        python = os.path.realpath(sys.executable)
        raise PrivilegeError(
            f"capture needs {' and '.join(missing)}: run it with sudo, or grant them once with "
            f"`sudo setcap cap_net_raw,cap_net_admin+eip {python}`"
        )


class Lending:
    """What is held through the interpreter's file (setcap) is lost by the programs that it runs,
    and iptables-save shows nothing without: lend it to them, as ambient capabilities
    (capabilities(7)). The command that is recorded gets none."""

    def __init__(self) -> None:
        self.inheritable, before = capabilities("Inh"), capabilities("Amb")
        self.bits = (
            [bit for bit in NEEDED.values() if not before >> bit & 1] if os.geteuid() else []
        )

    def begin(self) -> None:
        """Programs that this thread, and threads that it starts, run from now on have what we
        have."""
        if self.bits:
            _set_inheritable(self.inheritable | sum(1 << bit for bit in NEEDED.values()))
            for bit in self.bits:
                _libc.prctl(PR_CAP_AMBIENT, RAISE, bit, 0, 0)

    def end(self) -> None:
        """As it was before."""
        if self.bits:
            for bit in self.bits:
                _libc.prctl(PR_CAP_AMBIENT, LOWER, bit, 0, 0)
            _set_inheritable(self.inheritable)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is run meanwhile gets nothing."""
        self.end()
        try:
            yield
        finally:
            self.begin()


def _set_inheritable(bits: int) -> None:
    sets = (capabilities("Eff"), capabilities("Prm"), bits)
    _libc.capset(
        CAPSET_HEADER,
        struct.pack("=6I", *(value >> shift & 0xFFFFFFFF for shift in (0, 32) for value in sets)),
    )


def invoking_user() -> tuple[int, int] | None:
    """(user id, group id) of who ran sudo; None where nobody did (sudo(8), SUDO_UID)."""
    if os.geteuid() != 0 or "SUDO_UID" not in os.environ:
        return None
    try:
        return int(os.environ["SUDO_UID"]), int(os.environ.get("SUDO_GID", "-1"))
    except ValueError:
        return None
