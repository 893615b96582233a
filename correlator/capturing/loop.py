"""The loop of a recording: when it wakes, and when it ends.

One loop in one thread: it wakes for samples, for notices of change, for signals and for the
command's end, and every :data:`TICK_NS` for what the rings hold."""

from __future__ import annotations

import select
import signal
from collections.abc import Callable

from correlator.capturing.command import PASSED_ON
from correlator.capturing.guard import Guard
from correlator.capturing.options import Status
from correlator.capturing.recording import Recording
from correlator.capturing.signals import Signals

TICK_NS = 50_000_000
BUSY, BUSY_TICK_NS = 20_000, 5_000_000
"""So many frames in a tick are a good part of a ring: look again sooner."""
GRACE_NS = 200_000_000
"""How long after the command's end: its last packets are still on their way."""
DEAF_NS = 1_000_000_000
"""A command that goes on so long after a signal may not have heard it."""
NEXT_ENDS = "the command goes on: Ctrl-C again ends the recording at once"
NEXT_KILLS = "the recording has ended, the command goes on: Ctrl-C again kills it"


class Loop:
    """Goes on until the command ends (``runs_command``), the time is over (``until``, ns of the
    session's clock), or somebody says so."""

    def __init__(
        self,
        recording: Recording,
        guard: Guard,
        signals: Signals,
        show: Callable[[Status], None],
        say: Callable[[str], None],
    ) -> None:
        self.recording, self.guard, self.signals = recording, guard, signals
        self.show, self.say, self.now = show, say, recording.clock.now
        self.runs_command = bool(recording.options.command)
        duration = recording.options.duration
        self.until = None if duration is None else self.now() + duration
        self.stop_at: int | None = None
        self.deaf_at: int | None = None
        self.poller = select.poll()
        for handle in (signals, guard, recording.rules_changed, recording.links_changed):
            if handle is not None:
                self.poller.register(handle, select.POLLIN)

    def run(self) -> None:
        """Record until it is time to stop."""
        recording, sampler = self.recording, self.recording.sampler
        sampler.due = self.now() + sampler.interval
        tick = self.now()
        while True:
            wait = max(min(tick, sampler.due) - self.now(), 0)
            ready = {handle for handle, _ in self.poller.poll(wait / 1e6)}
            sampler.sample_if_due()
            recording.note_changes(ready)
            now = self.now()
            if now >= tick:
                tick = now + (TICK_NS if recording.take() < BUSY else BUSY_TICK_NS)
                self.show(recording.status())
                self._warn_of_deafness(now)
            self._hear(ready)
            if self.stop_at is not None and now >= self.stop_at:
                return

    def _hear(self, ready: set[int]) -> None:
        """Set the time to stop, once anything says so: the command's end, the duration, a signal
        (the second one: at once)."""
        now = self.now()
        for number in self.signals.take() if self.signals.fileno() in ready else ():
            self._hear_signal(number, now)
        if self.guard.fileno() in ready and self.guard.ended():
            self.poller.unregister(self.guard)
            self._stop("command", now + GRACE_NS)
        if self.until is not None and now >= self.until:
            self._stop("duration", now)

    def _hear_signal(self, number: int, now: int) -> None:
        name = signal.Signals(number).name
        if not self.runs_command:
            self._stop(name, now + GRACE_NS)
        elif self.recording.stopped_by or self.guard.ended():
            self._stop(name, now)
            self.stop_at = now
        else:  # the command ends by it, and we by the command
            if number in PASSED_ON:
                self.guard.signal(number)
            self.recording.stopped_by = name
            self.deaf_at = now + DEAF_NS

    def _stop(self, why: str, at: int) -> None:
        self.recording.stopped_by = self.recording.stopped_by or why
        self.stop_at = at if self.stop_at is None else self.stop_at

    def _warn_of_deafness(self, now: int) -> None:
        if self.deaf_at is not None and now >= self.deaf_at and self.stop_at is None:
            self.say(NEXT_ENDS)
            self.deaf_at = None


def await_command(guard: Guard, signals: Signals, say: Callable[[str], None]) -> int:
    """The command's exit status, after the recording has ended; who sends one more signal does not
    want to wait."""
    poller = select.poll()
    poller.register(guard, select.POLLIN)
    poller.register(signals, select.POLLIN)
    if not guard.ended():
        say(NEXT_KILLS)
    while not guard.ended():
        if any(handle == signals.fileno() for handle, _ in poller.poll()):
            signals.take()
            guard.signal(signal.SIGKILL)
    return guard.wait()
