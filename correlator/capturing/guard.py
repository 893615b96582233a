"""The process that stays beside a recording, and does what the recording must not be able to do.

It is forked before privileges are given up. It starts the command (as whoever it is to run as),
passes signals on to it and all that it started, and says how it ended; it removes or brings back
what the session replaces, and at the end makes the session its owner's. It reads nothing from the
network.

It notices when the recorder is gone, however that died: then the command and whatever it started
are ended too, and the session is left as a whole. What was started in the background by a command
that ended by itself is left alone, as a shell leaves it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from pathlib import Path

from correlator.capturing import phases, privilege
from correlator.capturing.command import KILLED, Command, CommandError
from correlator.capturing.identity import Identities
from correlator.capturing.place import Place

OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that end others: the guard outlives them, and ends when its work is done."""
PATIENCE_S, PAUSE_S = 2.0, 0.02
"""How long those that are told to end may take."""


class Guard:
    """The recorder's side. Raises OSError where no process can be had."""

    def __init__(self, place: Place, command: Command | None, who: Identities) -> None:
        self.command = command
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.status: int | None = None
        self.process = os.fork()
        if self.process == 0:
            _run(theirs, place, command, who)
        theirs.close()

    def begin(self) -> None:
        """The session has begun: run the command. Raises
        :class:`~correlator.capturing.command.CommandError` where it cannot be run."""
        self.channel.send(b"begin")
        kind, number = self._answer()
        if kind == "failed" and self.command is not None:
            raise self.command.error(number)
        if kind == "lost":
            raise CommandError("the process that runs the command was killed", KILLED)

    def fileno(self) -> int:
        """Readable when the command has ended."""
        return self.channel.fileno()

    def ended(self) -> bool:
        """Whether the command has ended; ``status`` is then its exit status as a shell gives it
        (128 and the signal's number where one killed it)."""
        if self.status is None and select.select([self.channel], [], [], 0)[0]:
            self._take_status()
        return self.status is not None

    def signal(self, number: int) -> None:
        """Pass a signal on to the command and to all that it started."""
        with contextlib.suppress(OSError):
            self.channel.send(b"signal %d" % number)

    def wait(self) -> int:
        """Wait for the command's end; its exit status."""
        while self.status is None:
            self._take_status()
        return self.status

    def close(self) -> None:
        """Let it finish its work, and wait for that."""
        self.channel.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.process, 0)

    def _take_status(self) -> None:
        kind, number = self._answer()
        if kind in ("ended", "lost"):
            self.status = number

    def _answer(self) -> tuple[str, int]:
        try:
            kind, _, number = self.channel.recv(64).decode().partition(" ")
        except ConnectionError:
            kind, number = "", ""
        return (kind, int(number)) if kind else ("lost", KILLED + signal.SIGKILL)


def _run(channel: socket.socket, place: Place, command: Command | None, who: Identities) -> None:
    """The guard's side: never returns."""
    try:
        _Duty(channel, place, command, who).serve()
    except BaseException:  # nobody is there who could be told
        os._exit(1)
    os._exit(0)


class _Duty:
    """The guard's own process."""

    def __init__(
        self, channel: socket.socket, place: Place, command: Command | None, who: Identities
    ) -> None:
        self.channel, self.place, self.command, self.who = channel, place, command, who
        self.begun = self.signalled = False
        self.running = 0
        _close_others({0, 1, 2, channel.fileno(), place.parent, place.handle})
        self.ignored = [number for number in OURS if signal.getsignal(number) == signal.SIG_IGN]
        for number in (*OURS, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)  # not SIG_IGN: the command would inherit that
        privilege.be_told_of_orphans()
        phases.begin_guarding(who)

    def serve(self) -> None:
        """Do what is asked until the recorder is gone, then tidy up."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        poller = select.poll()
        poller.register(self.channel, select.POLLIN)
        poller.register(woken, select.POLLIN)
        while True:
            ready = {handle for handle, _ in poller.poll()}
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
                self._reap()
            if self.channel.fileno() in ready:
                asked = self.channel.recv(64)
                if not asked:
                    break
                self._do(asked)
        self._tidy_up()

    def _do(self, asked: bytes) -> None:
        if asked == b"begin":
            number = self._start() if self.command is not None else 0
            self._tell(b"failed %d" % number if number else b"begun 0")
            if not number:
                self.begun = True
                self.place.begun()
        else:
            self.signalled = True
            _signal_all(int(asked.split()[1]))

    def _start(self) -> int:
        """Run the command; the error number where it cannot be run, else 0."""
        assert self.command is not None
        reader, writer = os.pipe()  # closed by exec
        self.running = os.fork()
        if self.running == 0:
            try:
                self._become_command(self.command)
            except OSError as error:
                os.write(writer, b"%d" % (error.errno or 1))
            finally:
                os._exit(127)
        os.close(writer)
        with os.fdopen(reader, "rb") as told:
            failed = told.read()
        if failed:
            os.waitpid(self.running, 0)
            self.running = 0
        return int(failed or 0)

    def _become_command(self, command: Command) -> None:
        signal.set_wakeup_fd(-1)
        for number in (*OURS, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            ignored = number in self.ignored
            signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
        if command.runner is not None and os.geteuid() == 0:
            command.runner.become()
        command.exec()

    def _reap(self) -> None:
        """Take note of every process that ended: the command, and orphans that it left."""
        with contextlib.suppress(ChildProcessError):
            while True:
                found, status = os.waitpid(-1, os.WNOHANG)
                if not found:
                    return
                if found == self.running:
                    self.running = 0
                    code = os.waitstatus_to_exitcode(status)
                    self._tell(b"ended %d" % (KILLED - code if code < 0 else code))

    def _tell(self, text: bytes) -> None:
        with contextlib.suppress(OSError):
            self.channel.send(text)

    def _tidy_up(self) -> None:
        """The recorder is gone."""
        if self.running or self.signalled:
            self._end_all()
        if not self.begun:
            self.place.discard()
        elif self.who.owner is None and self.who.writer is not None:
            self.place.hand_over()

    def _end_all(self) -> None:
        """The command and all that it started end: asked first, then killed."""
        _signal_all(signal.SIGTERM)
        if not self._all_end(time.monotonic() + PATIENCE_S):
            while not self._all_end(time.monotonic() + PAUSE_S):
                _signal_all(signal.SIGKILL)

    def _all_end(self, until: float) -> bool:
        """Whether nobody is left, by then."""
        while _descendants():
            self._reap()
            if time.monotonic() > until:
                return False
            time.sleep(PAUSE_S)
        return True


def _close_others(kept: set[int]) -> None:
    """Sockets and files of the recorder are none of ours."""
    before = 3
    for handle in sorted(number for number in kept if number >= 3):
        os.closerange(before, handle)
        before = handle + 1
    os.closerange(before, os.sysconf("SC_OPEN_MAX"))


def _signal_all(number: int) -> None:
    for process in _descendants():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def _descendants() -> list[int]:
    """Every process below us. Whose parent died is a child of ours (PR_SET_CHILD_SUBREAPER in
    prctl(2)), so that none gets lost."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    waiting = [os.getpid()]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found
