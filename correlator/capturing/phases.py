"""Less and less privileges: what each part of a recording keeps.

======================  ===============================================================
opening                 what correlator was started with
guard                   none; root's where the command runs as root, or the session is root's
recording               CAP_NET_ADMIN, CAP_NET_RAW
programs that it runs   the same, lent (iptables-save shows nothing without)
analysing               none
======================  ===============================================================

Where correlator itself, or a session of root's, stands in a folder that the user who writes may
not read, CAP_DAC_READ_SEARCH is kept too: to read, not to write."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy

from correlator.capturing import privilege
from correlator.capturing.identity import Identities, Identity
from correlator.capturing.privilege import DAC_READ_SEARCH, NET_ADMIN, NET_RAW

PROGRAM = tuple(str(file) for file in (__file__, os.__file__, numpy.__file__, sys.executable))
"""Files of correlator, Python and what it needs: each stands for the folder that it is in."""


def begin_opening() -> None:
    """Programs that are run may read rules too; root's may anyway."""
    if os.geteuid() != 0:
        privilege.lend((NET_ADMIN, NET_RAW))


def begin_recording(writer: Identity | None, folder: Path | None) -> None:
    """Go on as ``writer`` (None: as who we are), with what recording into ``folder`` needs."""
    kept = {NET_ADMIN, NET_RAW}
    if writer is not None:
        privilege.survive_change_of_user(True)
        writer.become()
        privilege.survive_change_of_user(False)
        os.environ.update(writer.environment({}))
    if os.geteuid() != 0:
        privilege.use(())
        unreadable = _unreadable([*PROGRAM, *([str(folder)] if folder is not None else [])])
        privilege.use()
        if unreadable and privilege.holds(DAC_READ_SEARCH):
            kept.add(DAC_READ_SEARCH)
    privilege.keep_only(kept, lent=kept)


def begin_guarding(who: Identities) -> None:
    """The guard keeps root's privileges where the command runs as root, or the session is to be
    root's."""
    if who.runner is not None and who.runner == who.owner:
        who.runner.become()
    elif os.geteuid() != 0:
        privilege.give_up_all()


def begin_analysing() -> None:
    """What remains is to read what was recorded."""
    kept = {DAC_READ_SEARCH} if privilege.holds(DAC_READ_SEARCH) else set[int]()
    privilege.keep_only(kept, lent=kept)


def _unreadable(paths: Iterable[str]) -> bool:
    """Whether this user may not read one of these."""
    return not all(os.access(path, os.R_OK, effective_ids=True) for path in paths)
