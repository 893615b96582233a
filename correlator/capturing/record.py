"""One recording from start to end: everything is opened, privileges are given up, the command is
run, everything is drained and closed, and what is left of privileges given up too."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from correlator.capturing import phases
from correlator.capturing.clock import SessionClock
from correlator.capturing.command import Command, CommandError, find_command
from correlator.capturing.compiled_code import place_for_compiled_code
from correlator.capturing.containers import Containers
from correlator.capturing.guard import Guard
from correlator.capturing.identity import Identities, decide
from correlator.capturing.interfaces import check_interfaces, container_bridges
from correlator.capturing.loop import Loop, await_command
from correlator.capturing.options import Options, Outcome, Status
from correlator.capturing.place import Place
from correlator.capturing.privilege import check_privileges
from correlator.capturing.programs import keep_to_system_programs
from correlator.capturing.recording import DISK, Opened, Recording, where
from correlator.capturing.rules_text import find_tools
from correlator.capturing.signals import Signals
from correlator.capturing.sources import find_sources
from correlator.capturing.taps import wanted_interfaces
from correlator.dataset.writer import Folder
from correlator.errors import CorrelatorError

__all__ = ["Options", "Outcome", "Status", "record", "recorded"]

Show = Callable[[Status], None]
Say = Callable[[str], None]


def record(options: Options, show: Show | None = None, say: Say | None = None) -> Outcome:
    """Record a session; ``show`` is called as it goes on, ``say`` with a line once it has begun.

    This process gives up its privileges and keeps none: call it in a process of its own. Raises
    :class:`~correlator.errors.CorrelatorError` where it cannot begin; then nothing is left
    behind."""
    with recorded(options, show, say) as outcome:
        return outcome


@contextmanager
def recorded(
    options: Options, show: Show | None = None, say: Say | None = None
) -> Iterator[Outcome]:
    """As :func:`record`; the session can be read inside the block, without any privilege, and is
    its owner's after it."""
    show, say = show or (lambda _: None), say or (lambda _: None)
    check_privileges()
    who = decide(options.as_root)
    environment = keep_to_system_programs()
    command: Command | None = None
    if options.command:
        command = find_command(options.command, environment, who.runner)
    check_interfaces(options.interfaces)
    clock = SessionClock()
    with ExitStack() as outer:
        place = Place(options.output, options.force, who.owner)
        outer.callback(place.close)
        with ExitStack() as stack:
            opened = _open(options, clock, stack)
            folder = Folder(place.make(who.writer))
            stack.callback(folder.close)
            guard = _begin_guard(place, command, who)
            outer.callback(guard.close)
            written_by_root = options.output if who.owner is None else None
            phases.begin_recording(who.writer, written_by_root)
            recording = Recording(options, opened, folder, clock, stack)
            recording.open()
            signals = Signals(stack)
            say(f"recording {', '.join(recording.sniffer.taps)} into {options.output}")
            outcome = _run(recording, guard, place, signals, show, say)
        phases.begin_analysing()
        with place_for_compiled_code():
            yield outcome


def _begin_guard(place: Place, command: Command | None, who: Identities) -> Guard:
    try:
        return Guard(place, command, who)
    except OSError as error:
        place.discard()
        raise CorrelatorError(f"no process can be had: {error.strerror}") from None


def _open(options: Options, clock: SessionClock, stack: ExitStack) -> Opened:
    """Open what needs more than a recording keeps."""
    phases.begin_opening()
    tools = find_tools()
    sources, said = find_sources(tools, clock.now)
    for source in sources:
        stack.callback(source.close)
    wanted = wanted_interfaces(options.interfaces)
    containers = None
    bridges = {name for name in container_bridges() if not name.startswith("podman")}
    if set(wanted) & bridges:
        containers = Containers()
        containers.connect()  # what went wrong is asked again, and then told
        stack.callback(containers.close)
    return Opened(tuple(sources), tools.version, wanted, containers, tuple(said))


def _run(
    recording: Recording, guard: Guard, place: Place, signals: Signals, show: Show, say: Say
) -> Outcome:
    """Record. Whatever happens from now on, the command is waited for, and what was recorded is
    kept."""
    options, problem, status = recording.options, "", None
    try:
        guard.begin()
        Loop(recording, guard, signals, show, say).run()
        recording.finish()
    except CommandError:
        raise
    except Exception as error:
        problem = (
            f"{where(options.output, error)}: recording stopped; what was written so far replays"
        )
        recording.stopped_by = _stopped_by(error)
        recording.finish_early(problem)
    if not place.is_there():
        problem = f"{options.output}: was moved or removed while recording"
    if options.command:
        status = await_command(guard, signals, say)
        with contextlib.suppress(OSError):
            recording.write_manifest(status)
    return Outcome(options.output, status, recording.stopped_by, problem)


def _stopped_by(error: Exception) -> str:
    return "disk" if isinstance(error, OSError) and error.errno in DISK else "error"
