"""What a recording must be allowed to do, and how to be allowed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from correlator.errors import CorrelatorError

NEEDED = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}
"""capabilities(7): packet sockets need the one, reading counters and conntrack the other."""


class PrivilegeError(CorrelatorError):
    """A capability is missing."""


def effective_capabilities() -> int:
    """The effective capabilities of this process, as bits (proc(5), CapEff)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def check_privileges() -> None:
    """Raises :class:`PrivilegeError` naming what is missing and how to grant it."""
    held = effective_capabilities()
    missing = [name for name, bit in NEEDED.items() if not held >> bit & 1]
    if missing:
        python = os.path.realpath(sys.executable)
        raise PrivilegeError(
            f"capture needs {' and '.join(missing)}: run it with sudo, or grant them once with "
            f"`sudo setcap cap_net_raw,cap_net_admin+eip {python}`"
        )


def invoking_user() -> tuple[int, int] | None:
    """(user id, group id) of who ran sudo; None where nobody did (sudo(8), SUDO_UID)."""
    if os.geteuid() != 0 or "SUDO_UID" not in os.environ:
        return None
    try:
        return int(os.environ["SUDO_UID"]), int(os.environ.get("SUDO_GID", "-1"))
    except ValueError:
        return None
