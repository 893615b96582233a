"""Who does what in a recording: whose the session is, as whom it is written, as whom the command
runs.

======================  ============  ==============  =======================
started by              session's     written as      command runs as
======================  ============  ==============  =======================
sudo                    that user's   that user       that user (--as-root: root)
root                    root's        nobody          root
a user (setcap)         that user's   that user       that user
======================  ============  ==============  =======================
"""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from correlator.capturing.privilege import PrivilegeError, holds
from correlator.errors import InputError

SETGID, SETUID, CHOWN = 6, 7, 0
NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Identity:
    """A user, as setuid(2) takes it."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str
    shell: str

    def become(self) -> None:
        """Be this user for good. Raises OSError where that is not allowed."""
        os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Files are met with this user's rights meanwhile; nothing changes where we are not
        root."""
        if os.geteuid() != 0:
            yield
            return
        group, groups = os.getegid(), os.getgroups()
        os.setgroups(self.groups)
        os.setegid(self.gid)
        os.seteuid(self.uid)
        try:
            yield
        finally:
            os.seteuid(0)
            os.setegid(group)
            os.setgroups(groups)

    def environment(self, found: dict[str, str]) -> dict[str, str]:
        """The environment ``found`` as this user's own."""
        own = {"HOME": self.home, "USER": self.name, "LOGNAME": self.name, "SHELL": self.shell}
        return {**found, **own}


@dataclass(frozen=True, slots=True)
class Identities:
    """``owner``: whose the session is in the end; ``writer``: as whom it is recorded and analysed;
    ``runner``: as whom the command runs. None: as who we are."""

    owner: Identity | None = None
    writer: Identity | None = None
    runner: Identity | None = None


def decide(as_root: bool) -> Identities:
    """Who does what. Raises :class:`~correlator.errors.InputError` for ``as_root`` without root,
    :class:`~correlator.capturing.privilege.PrivilegeError` where we may not become the user."""
    if os.geteuid() != 0:
        if as_root:
            raise InputError("--as-root: correlator is not run by root: use sudo")
        return Identities()
    user = invoking_user()
    if user is None:
        nobody = find_user(NOBODY)
        return Identities(None, nobody if _can_become(nobody) else None, None)
    if not _can_become(user):
        raise PrivilegeError(
            f"capture cannot become {user.name}, who ran sudo: CAP_SETUID or CAP_SETGID is missing"
        )
    return Identities(user, user, None if as_root else user)


def invoking_user() -> Identity | None:
    """Who ran sudo; None where nobody did, or root itself (sudo(8), SUDO_UID)."""
    with contextlib.suppress(KeyError, ValueError):
        uid = int(os.environ["SUDO_UID"])
        return find_user(uid, int(os.environ.get("SUDO_GID", "-1"))) if uid > 0 else None
    return None


def find_user(uid: int, gid: int = -1) -> Identity:
    """A user by number, with the groups that the system says; one that it does not know has none
    but ``gid``."""
    try:
        found = pwd.getpwuid(uid)
    except KeyError:
        group = gid if gid >= 0 else uid
        return Identity(str(uid), uid, group, (group,), "/", "/bin/sh")
    group = gid if gid >= 0 else found.pw_gid
    groups = tuple(os.getgrouplist(found.pw_name, group))
    return Identity(found.pw_name, uid, group, groups, found.pw_dir, found.pw_shell)


def _can_become(user: Identity) -> bool:
    mapped = _is_mapped("uid_map", user.uid) and _is_mapped("gid_map", user.gid)
    return mapped and holds(SETGID, SETUID, CHOWN)


def _is_mapped(which: str, number: int) -> bool:
    """Whether this user namespace has such a user (user_namespaces(7))."""
    for line in Path(f"/proc/self/{which}").read_text().splitlines():
        first, _, count = map(int, line.split())
        if first <= number < first + count:
            return True
    return False
