"""One recording from start to end: everything is opened, the command run, everything drained and
closed.

One loop in one thread: it wakes for samples, for notices of change, and every :data:`TICK_NS` for
what the rings hold."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from correlator.capturing.clock import SessionClock
from correlator.capturing.command import NOT_FOUND, PASSED_ON, Command, CommandError
from correlator.capturing.events import COOKED, LINKTYPE_NETLINK, Events, read_table
from correlator.capturing.facts import DOCKER_TIMEOUT, kernel
from correlator.capturing.interfaces import (
    check_interfaces,
    default_interfaces,
    docker_bridges,
    list_interfaces,
    ports_of,
)
from correlator.capturing.keeper import FactsKeeper
from correlator.capturing.privilege import Lending, check_privileges, invoking_user
from correlator.capturing.rules_text import find_tools
from correlator.capturing.sampler import Sampler
from correlator.capturing.saved import SaveSource
from correlator.capturing.sniffer import Sniffer
from correlator.capturing.sources import find_sources
from correlator.capturing.watch import (
    GROUP_NFTABLES,
    GROUPS_ROUTE,
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    Watch,
)
from correlator.dataset import pcapng
from correlator.dataset.session import EVENTS, Folder, Manifest, is_session
from correlator.errors import CorrelatorError, InputError
from correlator.version import __version__

TICK_NS, COUNT_NS = 50_000_000, 1_000_000_000
BUSY, BUSY_TICK_NS = 20_000, 5_000_000
"""So many frames in a tick are a good part of a ring: look again sooner."""
GRACE_NS = 200_000_000
"""How long after the command's end: its last packets are still on their way."""
DRAIN_NS = 80_000_000
"""Until the kernel has handed over every frame that came before (sniffer's ring retires a block
after 20 ms)."""
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


@dataclass(frozen=True)
class Options:
    """What to record. ``interval`` and ``duration`` in ns (duration None: until stopped); ``snap``:
    bytes kept of a frame, 0 headers only, -1 all; ``expression`` as in pcap-filter(7)."""

    output: Path
    interfaces: tuple[str, ...] = ()
    interval: int = 100_000_000
    duration: int | None = None
    expression: str = ""
    snap: int = 0
    bridge_ports: bool = False
    force: bool = False
    command: tuple[str, ...] = ()
    conntrack: bool = True


@dataclass(frozen=True)
class Status:
    """Where a recording stands, for whoever shows it."""

    seconds: float
    packets: int
    dropped: int
    samples: int
    fastest: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Outcome:
    """What became of it. ``exit_status`` is the command's (None: there was none); ``problem`` why
    it stopped early."""

    folder: Path
    exit_status: int | None
    stopped_by: str
    problem: str = ""


def record(
    options: Options,
    show: Callable[[Status], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Outcome:
    """Record a session; ``show`` is called as it goes on, ``say`` with a line once it has begun.

    Raises :class:`~correlator.errors.CorrelatorError` where it cannot begin; then nothing is left
    behind."""
    check_privileges()
    check_output(options)
    if options.command and shutil.which(options.command[0]) is None:
        error = CommandError(f"{options.command[0]}: no such command: nothing was recorded")
        error.exit_code = NOT_FOUND
        raise error
    check_interfaces(options.interfaces)
    with ExitStack() as stack:
        return _Recording(options, stack, show, say).run()


def check_output(options: Options) -> None:
    """Raises :class:`~correlator.errors.InputError` where the output folder is there and may not be
    replaced."""
    path = options.output
    if not path.exists() and not path.is_symlink():
        return
    if not options.force:
        raise InputError(
            f"{path}: is there already: name another folder with -o, or replace it with --force"
        )
    if path.is_symlink():
        raise InputError(
            f"{path}: is a symbolic link: --force replaces folders only: name the one it points to"
        )
    if not path.is_dir() or (any(path.iterdir()) and not is_session(path)):
        raise InputError(f"{path}: is no session of correlator: --force replaces sessions only")


class _Recording:
    def __init__(
        self,
        options: Options,
        stack: ExitStack,
        show: Callable[[Status], None] | None,
        say: Callable[[str], None] | None,
    ) -> None:
        self.options, self.stack, self.show, self.say = options, stack, show, say
        self.clock = SessionClock()
        self.folder = Folder(options.output, invoking_user())
        self.warnings: list[str] = []
        self.stopped_by = ""
        self.problem = ""
        self.command: Command | None = None
        self.indexes: dict[str, int] = {}
        self.counted = 0
        self.lending = Lending()
        self.replaced: Path | None = None

    # ---- opening: whatever can fail does so before anything is written
    # -----------------------------------------

    def run(self) -> Outcome:
        """Everything, in order."""
        options, now = self.options, self.clock.now
        self.lending.begin()
        self.stack.callback(self.lending.end)
        tools = find_tools()
        sources, said = find_sources(tools, now)
        self.warnings += said
        for source in sources:
            self.stack.callback(source.close)
        self.wanted = options.interfaces or default_interfaces()
        if not self.wanted:
            raise InputError("no default route and no Docker bridge here: name interfaces with -i")
        self._open_folder()
        self.sampler = Sampler(sources, self.folder, now, options.interval)
        application = f"correlator {__version__}"
        self.sniffer = Sniffer(
            self.folder, self.clock, application, options.snap, options.expression
        )
        self.stack.callback(self.sniffer.close)
        self.manifest = Manifest(
            tool=application,
            begin=now(),
            monotonic=self.clock.begun,
            filter=options.expression,
            snap_length=max(options.snap, 0) or (self.sniffer.kept if options.snap else 0),
            interval=options.interval,
            backends=tuple(source.backend for source in sources),
            iptables=tools.version,
            kernel=kernel(),
            reading="iptables-save"
            if any(isinstance(source, SaveSource) for source in sources)
            else "kernel",
            command=options.command,
        )
        try:
            self._open_taps()
            self._open_witnesses()
        except BaseException:
            self._discard()
            raise
        return self._record()

    def _open_folder(self) -> None:
        """Make the folder; one that is to be replaced waits beside it until there is something to
        replace it with."""
        output = self.options.output
        if self.options.force and output.is_dir():
            self.replaced = output.with_name(f".{output.name}.replaced-{os.getpid()}")
            output.rename(self.replaced)
        try:
            self.folder.create()
        except CorrelatorError:
            self._discard()
            raise
        self.stack.callback(self.folder.close)

    def _discard(self) -> None:
        """Nothing half-written is left of a recording that could not begin."""
        shutil.rmtree(self.options.output, ignore_errors=True)
        if self.replaced is not None:
            self.replaced.rename(self.options.output)

    def _begin(self) -> None:
        """The command runs: from now on there is something to keep."""
        if self.options.command:
            with self.lending.paused():
                self.command = Command(self.options.command)
            self.stack.callback(self.command.close)
        if self.replaced is not None:
            shutil.rmtree(self.replaced, ignore_errors=True)

    def _open_taps(self) -> None:
        self.indexes = list_interfaces()
        ports = ports_of(self.wanted) if self.options.bridge_ports else {}
        for name, bridge in {**dict.fromkeys(self.wanted, ""), **ports}.items():
            self.sniffer.add(name, bridge)

    def _open_witnesses(self) -> None:
        now = self.clock.now
        self.events: Events | None = None
        try:
            if self.options.conntrack:
                self._open_events()
        except OSError as error:
            if error.errno in DISK:
                raise CorrelatorError(f"{self.options.output}: {error.strerror}") from None
            self.warnings.append(
                f"conntrack's events cannot be read ({error.strerror}): replay works without them"
            )
        if not self.sampler.samples:
            self.sampler.sample()
            self.sniffer.since = self.sampler.begin
        docker = any(name in docker_bridges() for name in self.sniffer.taps)
        self.keeper = FactsKeeper(self.folder, now, lambda: self.sampler.rulesets, docker)
        self.keeper.start()
        self.rules_watch = self._watch(NETLINK_NETFILTER, (GROUP_NFTABLES,))
        self.links_watch = self._watch(NETLINK_ROUTE, GROUPS_ROUTE)
        self.folder.write_manifest(self._manifest())

    def _open_events(self) -> None:
        """Listen, and take the first sample and the table of those that are older. What is new
        after the sample must not pass for older than it: events have the time at which they are
        read, and few come before the sample begins."""
        self.sampler.learn()
        self.events = Events()
        self.stack.callback(self.events.close)
        self.folder.append(EVENTS, pcapng.section(self.manifest.tool))
        self.folder.append(EVENTS, pcapng.interface("conntrack", LINKTYPE_NETLINK, 0))
        self.sampler.sample()
        self.sniffer.since = self.sampler.begin
        self._write_events(self.events.take())
        self._write_events(read_table())

    def _watch(self, family: int, groups: tuple[int, ...]) -> Watch | None:
        try:
            watch = Watch(family, groups)
        except OSError:
            return None  # the interval finds changes too, later
        self.stack.callback(watch.close)
        return watch

    # ---- recording
    # ---------------------------------------------------------------------------------------------

    def _record(self) -> Outcome:
        self.signals = _Signals(self.stack)
        if self.say is not None:
            self.say(f"recording {', '.join(self.sniffer.taps)} into {self.options.output}")
        status: int | None = None
        try:
            self._begin()
            self._loop()
            self._finish()
        except CommandError:
            self._discard()
            raise
        except OSError as error:
            if error.errno not in DISK:
                raise
            self.stopped_by = "disk"
            self.problem = (
                f"{self.options.output}: {error.strerror}: recording stopped; what was "
                f"written so far replays"
            )
            self._close_early()
        if self.command is not None:
            status = self._await_command()
            if not self.problem:
                self.folder.write_manifest(replace(self._manifest(), exit_status=status))
        return Outcome(self.options.output, status, self.stopped_by, self.problem)

    def _loop(self) -> None:
        """Until the command ends, the time is over, or somebody says so."""
        until = (
            self.clock.now() + self.options.duration if self.options.duration is not None else None
        )
        stop_at: int | None = None
        poller = select.poll()
        self.sampler.due = self.clock.now() + self.options.interval
        for handle in (self.signals, self.command, self.rules_watch, self.links_watch):
            if handle is not None:
                poller.register(handle, select.POLLIN)
        tick = self.clock.now()
        while True:
            now = self.clock.now()
            wake = min(tick, self.sampler.due)
            ready = {handle for handle, _ in poller.poll(max((wake - now) / 1e6, 0))}
            self.sampler.sample_if_due()
            if (
                self.rules_watch is not None
                and self.rules_watch.fileno() in ready
                and self.rules_watch.changed()
            ):
                self.sampler.sample()
            if (
                self.links_watch is not None
                and self.links_watch.fileno() in ready
                and self.links_watch.changed()
            ):
                self.keeper.note_change()
                self._follow_interfaces()
            now = self.clock.now()
            if now >= tick:
                tick = now + (TICK_NS if self._tick(now) < BUSY else BUSY_TICK_NS)
            stop_at = self._stop_at(stop_at, until, ready, poller)
            if stop_at is not None and now >= stop_at:
                return

    def _stop_at(
        self, stop_at: int | None, until: int | None, ready: set[int], poller: select.poll
    ) -> int | None:
        """When to stop, once anything says so: the command's end, the duration, a signal (the
        second one: at once)."""
        now = self.clock.now()
        for number in self.signals.take() if self.signals.fileno() in ready else ():
            if self.command is not None and not self.stopped_by and not self.command.ended():
                if number in PASSED_ON:
                    self.command.signal(number)
                self.stopped_by = signal.Signals(number).name
                continue  # the command ends by it, and we by the command
            self.stopped_by = self.stopped_by or signal.Signals(number).name
            stop_at = now if self.command is not None else stop_at or now + GRACE_NS
        if self.command is not None and self.command.fileno() in ready:
            poller.unregister(self.command)
            self.stopped_by = self.stopped_by or "command"
            stop_at = stop_at or now + GRACE_NS
        if until is not None and now >= until and stop_at is None:
            self.stopped_by, stop_at = "duration", now
        return stop_at

    def _tick(self, now: int) -> int:
        """What is done over and over; how many frames there were."""
        taken = self.sniffer.take()
        if self.events is not None:
            self._write_events(self.events.take())
        self.keeper.tick()
        if now - self.counted >= COUNT_NS:
            self.counted = now
            self.sniffer.count()
        if self.show is not None:
            self.show(
                Status(
                    (now - self.manifest.begin) / 1e9,
                    self.sniffer.packets,
                    self.sniffer.dropped,
                    self.sampler.samples,
                    tuple(self.sampler.fastest(4)),
                )
            )
        return taken

    def _write_events(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            self.folder.append(EVENTS, pcapng.packet(COOKED + message, self.clock.now()))

    def _follow_interfaces(self) -> None:
        """Give up taps whose interface is gone, take up those that are wanted and have come."""
        there = list_interfaces()
        for name in list(self.sniffer.taps):
            if there.get(name) != self.indexes.get(name):
                port = bool(self.sniffer.taps[name].recorded.port_of)
                self.sniffer.take()
                self.sniffer.remove(name)
                if there.get(name) is None and not port:
                    self.warnings.append(f"{name} went away while recording")
        wanted = dict.fromkeys(self.options.interfaces or (*self.wanted, *docker_bridges()), "")
        if self.options.bridge_ports:
            wanted.update(ports_of(tuple(wanted)))
        for name, bridge in wanted.items():
            if name in there and name not in self.sniffer.taps:
                try:
                    self.sniffer.add(name, bridge, begin=self.clock.now())
                except (OSError, CorrelatorError):
                    continue  # it is gone again
                if not bridge:
                    self.warnings.append(
                        f"{name} came while recording: what crossed it before was not seen"
                    )
        self.indexes = there

    # ---- ending
    # --------------------------------------------------------------------------------

    def _finish(self) -> None:
        """The last sample, then every frame that came before its end."""
        self.sampler.sample()
        end = self.sampler.end
        while self.clock.now() < end + DRAIN_NS:
            time.sleep(0.01)
            self.sniffer.take(until=end)
        self.sniffer.take(until=end)
        if self.events is not None:
            self._write_events(self.events.take())
        self.keeper.finish(2 * DOCKER_TIMEOUT)
        interfaces = self.sniffer.finish()
        self.manifest = replace(self.manifest, end=end, interfaces=interfaces, complete=True)
        self.folder.write_manifest(self._manifest())

    def _manifest(self) -> Manifest:
        """The manifest with all that is known by now."""
        steps = [
            f"the clock was stepped by {by / 1e9:+.3f} s while recording: times go on as if it "
            f"had not been"
            for _, by in self.clock.steps
        ]
        said = (*self.warnings, *steps, *self.sampler.warnings, *self.keeper.warnings)
        if self.sampler.missed:
            said = (
                *said,
                f"{self.sampler.missed} counter samples were left out: the machine was busy",
            )
        lost = self.events.lost if self.events is not None else None
        interfaces = self.manifest.interfaces or tuple(
            tap.recorded for tap in self.sniffer.taps.values()
        )
        return replace(
            self.manifest,
            interfaces=interfaces,
            stopped_by=self.stopped_by,
            events_lost=lost,
            warnings=tuple(dict.fromkeys(said)),
        )

    def _close_early(self) -> None:
        """After a full disk: give everything back, say what can be said."""
        self.sniffer.close()
        with contextlib.suppress(OSError):  # the first manifest stays
            self.folder.write_manifest(self._manifest())

    def _await_command(self) -> int:
        """The command's exit status; who sends one more signal does not want to wait."""
        assert self.command is not None
        poller = select.poll()
        poller.register(self.command, select.POLLIN)
        poller.register(self.signals, select.POLLIN)
        while not self.command.ended():
            if any(handle == self.signals.fileno() for handle, _ in poller.poll()):
                self.signals.take()
                self.command.signal(signal.SIGKILL)
        return self.command.wait()


class _Signals:
    """SIGINT, SIGTERM and SIGHUP as something to poll for."""

    def __init__(self, stack: ExitStack) -> None:
        self.reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        stack.callback(os.close, self.reader)
        stack.callback(os.close, writer)
        stack.callback(
            signal.set_wakeup_fd, signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        )
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            stack.callback(signal.signal, number, signal.signal(number, lambda *_: None))

    def fileno(self) -> int:
        """The pipe's end."""
        return self.reader

    def take(self) -> list[int]:
        """The signals that came."""
        try:
            return list(os.read(self.reader, 64))
        except BlockingIOError:
            return []
