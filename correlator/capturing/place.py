"""Where a session goes: its folder is made here, and one that was there is replaced.

All of it goes through the parent folder's descriptor and follows no link. It is done with the
rights of whose the session is (``owner``), so that root makes nothing where that user could not."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from correlator.capturing.identity import Identity
from correlator.dataset.session import is_session_like
from correlator.dataset.writer import FOLDER_FLAGS
from correlator.errors import CorrelatorError, InputError


class Place:
    """``path`` is free, or may be replaced (``force``). Raises
    :class:`~correlator.errors.InputError` where it is not, and where it cannot be.

    ``owner`` None: who we are."""

    def __init__(self, path: Path, force: bool, owner: Identity | None) -> None:
        if path.name in ("", ".."):
            raise InputError(f"-o {path}: is there already: name a folder to make")
        self.path, self.owner = path, owner
        self.replaced = ""
        self.handle = self.parent = -1
        with self._as_owner(), self._explained():
            path.parent.mkdir(parents=True, exist_ok=True)
            self.parent = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self.replaces = self._taken(force)
            except BaseException:
                self.close()
                raise

    def make(self, writer: Identity | None) -> int:
        """Make the folder, for ``writer`` to write in; its descriptor. What is replaced waits
        beside it until the new session has begun."""
        with self._as_owner(), self._explained():
            if self.replaces:
                hidden = f".{self.path.name}.replaced-{os.getpid()}"
                self._rename(self.path.name, hidden)
                found = os.stat(hidden, dir_fd=self.parent, follow_symlinks=False)
                if (found.st_dev, found.st_ino) != self.replaces:
                    self._rename(hidden, self.path.name)
                    raise InputError(f"{self.path}: was changed meanwhile: nothing is replaced")
                self.replaced = hidden
            os.mkdir(self.path.name, 0o700, dir_fd=self.parent)
            self.handle = os.open(self.path.name, FOLDER_FLAGS, dir_fd=self.parent)
            if writer is not None and writer != self.owner:
                os.fchown(self.handle, writer.uid, writer.gid)
        return self.handle

    def is_there(self) -> bool:
        """Whether the folder that was made still stands where it was made."""
        try:
            found = os.stat(self.path.name, dir_fd=self.parent, follow_symlinks=False)
        except PermissionError:
            return os.fstat(self.handle).st_nlink > 0
        except OSError:
            return False
        return os.path.samestat(found, os.fstat(self.handle))

    def begun(self) -> None:
        """There is something to keep: what was replaced goes."""
        if self.replaced:
            with self._as_owner():
                shutil.rmtree(self.replaced, ignore_errors=True, dir_fd=self.parent)
            self.replaced = ""

    def discard(self) -> None:
        """Nothing half-written is left of a recording that could not begin."""
        with self._as_owner():
            if self.handle >= 0 and self.is_there():
                shutil.rmtree(self.path.name, ignore_errors=True, dir_fd=self.parent)
            if self.replaced:
                with contextlib.suppress(OSError):
                    self._rename(self.replaced, self.path.name)

    def hand_over(self) -> None:
        """All that was written in root's name is root's in the end, the folder last."""
        user, group = os.geteuid(), os.getegid()
        with contextlib.suppress(OSError):
            for _, folders, files, handle in os.fwalk(dir_fd=self.handle):
                for name in (*files, *folders):
                    os.chown(name, user, group, dir_fd=handle, follow_symlinks=False)
        os.fchown(self.handle, user, group)

    def close(self) -> None:
        """Close what is open here (the made folder's descriptor is its writer's)."""
        if self.parent >= 0:
            os.close(self.parent)
            self.parent = -1

    def _taken(self, force: bool) -> tuple[int, int] | None:
        """(device, inode) of what is to be replaced; None where nothing is."""
        path = self.path
        try:
            found = os.stat(path.name, dir_fd=self.parent, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not force:
            raise InputError(
                f"{path}: is there already: name another folder with -o, or replace it with --force"
            )
        if stat.S_ISLNK(found.st_mode):
            raise InputError(
                f"{path}: is a symbolic link: --force replaces folders only: name the one it "
                f"points to"
            )
        if not stat.S_ISDIR(found.st_mode) or not self._holds_session():
            raise InputError(f"{path}: is no session of correlator: --force replaces sessions only")
        return found.st_dev, found.st_ino

    def _holds_session(self) -> bool:
        handle = os.open(self.path.name, FOLDER_FLAGS, dir_fd=self.parent)
        try:
            return is_session_like(os.listdir(handle))
        finally:
            os.close(handle)

    def _rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self.parent, dst_dir_fd=self.parent)

    def _as_owner(self) -> AbstractContextManager[None]:
        return self.owner.acting() if self.owner is not None else nullcontext()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            whose = f" (it is made as {self.owner.name})" if self.owner is not None else ""
            raise CorrelatorError(
                f"{self.path}: cannot be made: {error.strerror}{whose}: name another folder with -o"
            ) from None
