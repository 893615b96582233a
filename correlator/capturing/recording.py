"""What is recorded: packets, counters, conntrack's events and facts of the host, all into one
folder."""

from __future__ import annotations

import contextlib
import errno
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from correlator.capturing.clock import SessionClock
from correlator.capturing.containers import DOCKER_TIMEOUT, Containers
from correlator.capturing.counters import Source
from correlator.capturing.events import COOKED, LINKTYPE_NETLINK, Events, read_table
from correlator.capturing.fact_versions import FactVersions
from correlator.capturing.facts import kernel
from correlator.capturing.iptables_save import SaveSource
from correlator.capturing.notices import (
    GROUP_NFTABLES,
    GROUPS_ROUTE,
    NETLINK_NETFILTER,
    NETLINK_ROUTE,
    Notices,
)
from correlator.capturing.options import Options, Status
from correlator.capturing.sampler import Sampler
from correlator.capturing.sniffer import Sniffer
from correlator.capturing.taps import Taps
from correlator.dataset import pcapng
from correlator.dataset.session import EVENTS, Manifest
from correlator.dataset.writer import Folder
from correlator.errors import CorrelatorError
from correlator.version import __version__

COUNT_NS = 1_000_000_000
"""How often the kernel's counts of dropped frames are read."""
DRAIN_NS = 80_000_000
"""Until the kernel has handed over every frame that came before (sniffer's ring retires a block
after 20 ms)."""
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


@dataclass(frozen=True)
class Opened:
    """What had to be opened before privileges were given up: where counters are read, ``iptables``
    (its version), ``wanted`` interfaces, Docker's API (None: there is no Docker), and what is to be
    said of it."""

    sources: tuple[Source, ...]
    iptables: str
    wanted: tuple[str, ...]
    containers: Containers | None
    warnings: tuple[str, ...]


class Recording:
    """Records into ``folder`` until :meth:`finish`; what is open is closed by ``stack``."""

    def __init__(
        self,
        options: Options,
        opened: Opened,
        folder: Folder,
        clock: SessionClock,
        stack: ExitStack,
    ) -> None:
        self.options, self.folder, self.clock, self.stack = options, folder, clock, stack
        self.warnings = list(opened.warnings)
        self.stopped_by = ""
        self.events: Events | None = None
        self.counted = 0
        application = f"correlator {__version__}"
        self.manifest = _first_manifest(options, opened, clock, application)
        folder.write_manifest(self.manifest)
        self.sampler = Sampler(opened.sources, folder, clock.now, options.interval)
        self.sniffer = Sniffer(folder, clock, application, options.snap, options.expression)
        stack.callback(self.sniffer.close)
        self.manifest = replace(
            self.manifest,
            snap_length=max(options.snap, 0) or (self.sniffer.kept if options.snap else 0),
        )
        self.taps = Taps(self.sniffer, options, opened.wanted)
        self.facts = FactVersions(
            folder, clock.now, lambda: self.sampler.rulesets, opened.containers
        )

    # ---- opening --------------------------------------------------------------------------------

    def open(self) -> None:
        """Listen everywhere, and read everything once. Raises
        :class:`~correlator.errors.CorrelatorError` where that is not possible."""
        self.taps.open()
        self._open_conntrack()
        if not self.sampler.samples:
            self.sampler.sample()
            self.sniffer.since = self.sampler.begin
        self.facts.start()
        self.rules_changed = self._notices(NETLINK_NETFILTER, (GROUP_NFTABLES,))
        self.links_changed = self._notices(NETLINK_ROUTE, GROUPS_ROUTE)
        self.write_manifest()

    def _open_conntrack(self) -> None:
        """Listen, and take the first sample and the table of those that are older. What is new
        after the sample must not pass for older than it: events have the time at which they are
        read, and few come before the sample begins."""
        if not self.options.conntrack:
            return
        self.sampler.learn()
        try:
            self.events = Events()
            self.stack.callback(self.events.close)
            self.folder.append(EVENTS, pcapng.section(self.manifest.tool))
            self.folder.append(EVENTS, pcapng.interface("conntrack", LINKTYPE_NETLINK, 0))
            self.sampler.sample()
            self.sniffer.since = self.sampler.begin
            self._write_events(self.events.take())
            self._write_events(read_table())
        except OSError as error:
            if error.errno in DISK:
                raise CorrelatorError(f"{self.options.output}: {error.strerror}") from None
            self.warnings.append(
                f"conntrack's events cannot be read ({error.strerror}): replay works without them"
            )

    def _notices(self, family: int, groups: tuple[int, ...]) -> Notices | None:
        try:
            notices = Notices(family, groups)
        except OSError:
            return None  # the interval finds changes too, later
        self.stack.callback(notices.close)
        return notices

    # ---- while it goes on -----------------------------------------------------------------------

    def note_changes(self, ready: set[int]) -> None:
        """Look again at what the kernel said has changed; ``ready`` are handles that can be
        read."""
        if _changed(self.rules_changed, ready):
            self.sampler.sample()
        if _changed(self.links_changed, ready):
            self.facts.note_change()
            self.taps.follow()

    def take(self) -> int:
        """What is done over and over: write what has come; how many frames there were."""
        taken = self.sniffer.take()
        if self.events is not None:
            self._write_events(self.events.take())
        self.facts.tick()
        now = self.clock.now()
        if now - self.counted >= COUNT_NS:
            self.counted = now
            self.sniffer.count()
        return taken

    def status(self) -> Status:
        """Where it stands."""
        return Status(
            (self.clock.now() - self.manifest.begin) / 1e9,
            self.sniffer.packets,
            self.sniffer.dropped,
            self.sampler.samples,
            tuple(self.sampler.fastest(4)),
        )

    def _write_events(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            self.folder.append(EVENTS, pcapng.packet(COOKED + message, self.clock.now()))

    # ---- ending ---------------------------------------------------------------------------------

    def finish(self) -> None:
        """The last sample, then every frame that came before its end."""
        self.sampler.sample()
        end = self.sampler.end
        while self.clock.now() < end + DRAIN_NS:
            time.sleep(0.01)
            self.sniffer.take(until=end)
        self.sniffer.take(until=end)
        if self.events is not None:
            self._write_events(self.events.take())
        self.facts.finish(2 * DOCKER_TIMEOUT)
        interfaces = self.sniffer.finish()
        self.manifest = replace(self.manifest, end=end, interfaces=interfaces, complete=True)
        self.write_manifest()

    def finish_early(self, problem: str) -> None:
        """After a failure: give everything back, say what can be said."""
        self.sniffer.close()
        self.warnings.append(problem)
        with contextlib.suppress(OSError):  # the manifest before stays
            self.write_manifest()

    def write_manifest(self, exit_status: int | None = None) -> None:
        """The manifest with all that is known by now."""
        steps = [
            f"the clock was stepped by {by / 1e9:+.3f} s while recording: times go on as if it "
            f"had not been"
            for _, by in self.clock.steps
        ]
        said = [*self.warnings, *self.taps.warnings, *steps]
        said += [*self.sampler.warnings, *self.facts.warnings]
        if self.sampler.missed:
            said.append(
                f"{self.sampler.missed} counter samples were left out: the machine was busy"
            )
        taps = self.sniffer.taps.values()
        manifest = replace(
            self.manifest,
            interfaces=self.manifest.interfaces or tuple(tap.recorded for tap in taps),
            stopped_by=self.stopped_by,
            events_lost=self.events.lost if self.events is not None else None,
            warnings=tuple(dict.fromkeys(said)),
            exit_status=exit_status,
        )
        self.folder.write_manifest(manifest)


def _changed(notices: Notices | None, ready: set[int]) -> bool:
    return notices is not None and notices.fileno() in ready and notices.changed()


def _first_manifest(
    options: Options, opened: Opened, clock: SessionClock, application: str
) -> Manifest:
    return Manifest(
        tool=application,
        begin=clock.now(),
        monotonic=clock.begun,
        filter=options.expression,
        interval=options.interval,
        backends=tuple(source.backend for source in opened.sources),
        iptables=opened.iptables,
        kernel=kernel(),
        reading=_reading(opened.sources),
        command=options.command,
    )


def _reading(sources: Sequence[Source]) -> str:
    forked = any(isinstance(source, SaveSource) for source in sources)
    return "iptables-save" if forked else "kernel"


def where(folder: Path, error: Exception) -> str:
    """What went wrong, in a line: errors of the system speak for themselves, others are told with
    their kind."""
    if isinstance(error, CorrelatorError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{folder}: {error.strerror}"
    return f"{folder}: {type(error).__name__}: {' '.join(str(error).split())}"
