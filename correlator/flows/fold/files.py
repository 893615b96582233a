"""Files folded, here or in a process of its own: the other core reads packets while this one gets
ready to use them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.decode.frames import Frames, Interface
from correlator.flows.fold.packets import Spool
from correlator.flows.fold.task import READING, Files, FoldedFiles, Task

if TYPE_CHECKING:
    from correlator.arrays import Bools, Ints
    from correlator.dataset.facts import Facts
    from correlator.decode.stream import Names
    from correlator.flows.fold.mac_votes import MacVotes


def fold_files(
    task: Task, progress: Callable[[str, float], None] | None = None
) -> FoldedFiles | None:
    """Fold everything; None where the files hold what a fold is not for."""
    from correlator.decode.stream import UnusualError
    from correlator.flows.fold.fold import TooManyKindsError

    try:
        if _told(task):
            return _fold(task, {}, None, progress)
        from correlator.flows.fold.mac_votes import MacVotes, guess_macs

        macs = guess_macs(task.files, _known(task))
        for _ in range(task.guesses):
            found = _fold(task, macs, MacVotes(), progress)
            if all(macs.get(name, 0) == mac for name, mac in found.macs.items()):
                return found
            macs |= found.macs
    except (UnusualError, TooManyKindsError):
        pass
    return None


def _known(task: Task) -> dict[str, int]:
    return {name: fact.mac for name, fact in task.facts.interfaces.items() if fact.mac}


def _told(task: Task) -> bool:
    """Whether facts tell all that the fold asks of interfaces and addresses."""
    from correlator.decode import interface_name

    named = [
        name or interface_name(file)
        for name, file in task.files
        if name or "pcapng" not in file.name
    ]
    known = _known(task)
    return {"addr.json", "link.json"} <= task.facts.present and all(
        name in known or name == "lo" for name in named
    )


def _fold(
    task: Task,
    macs: dict[str, int],
    votes: MacVotes | None,
    progress: Callable[[str, float], None] | None,
) -> FoldedFiles:
    """``macs``: own addresses that no fact tells, as far as they are guessed; ``votes`` tell
    whether they are right."""
    from correlator.dataset.conntrack_settings import read_conntrack_settings
    from correlator.decode.records import OWN_SEEN
    from correlator.decode.stream import SKIPPED, Names, UnusualError, stream
    from correlator.flows.conntrack import limits_of
    from correlator.flows.fold.fold import Fold, reads_of
    from correlator.flows.fold.tables import Asked
    from correlator.flows.frames.direction import is_bridge_tap

    facts = task.facts
    names = Names({**_known(task), **macs})
    sources = _open(task.files, names)
    spool = Spool.create() if task.block else None
    limits = np.array(limits_of(read_conntrack_settings(facts.sysctls)), dtype=np.int64)
    asked = Asked(task.lengths, task.ttls, reads_of(task.fields), limits)
    folding = Fold(asked, spool, task.block)
    total, behind = sum(source.size for source in sources), np.zeros(256, dtype=bool)
    for records in stream(sources):
        taps = [
            is_bridge_tap(one.name, facts) for one in names.interfaces
        ]  # the reader may be adding to them
        behind[: len(taps)] = taps
        if votes is not None:
            votes.take(records, _asked(task, names))
        folding.take(records, behind)
        if progress is not None:
            progress(READING, 0.4 * sum(source.offset for source in sources) / max(total, 1))
    if any(_is_port(one.name, facts) for one in names.interfaces):
        raise UnusualError
    interfaces = list(names.interfaces)
    for source in sources:
        for one in source.interfaces:
            code = names.code(one)
            interfaces[code] = replace(interfaces[code], received=one.received, dropped=one.dropped)
    skipped = [
        (word, sum(int(source.skipped[i]) for source in sources)) for i, word in enumerate(SKIPPED)
    ]
    macs, reached = _worked_out(task, names, votes) if votes is not None else ({}, {})
    own_seen = frozenset(
        one.name for code, one in enumerate(interfaces) if names.own[code, 0] & OWN_SEEN
    )
    return FoldedFiles(
        folding.end(behind),
        tuple(interfaces),
        tuple(tuple(source.interfaces) for source in sources),
        own_seen,
        tuple(item for item in skipped if item[1]),
        tuple(warning for source in sources for warning in source.warnings),
        tuple(source.units for source in sources),
        macs,
        reached,
    )


def _asked(task: Task, names: Names) -> Bools:
    """Of which interfaces the addresses count at which frames reached them, (256,): none, where
    facts tell the host's."""
    asked = np.zeros(256, dtype=bool)
    if "addr.json" not in task.facts.present:
        bridge = [one.name in task.bridges or one.name == "lo" for one in names.interfaces]
        asked[: len(bridge)] = np.array(names.macs[: len(bridge)], dtype=np.int64) != 0
        asked[: len(bridge)] &= ~np.array(bridge, dtype=bool)
    return asked


def _worked_out(
    task: Task, names: Names, votes: MacVotes
) -> tuple[dict[str, int], dict[str, tuple[int, ...]]]:
    from correlator.decode.records import OWN_TAGGED, OWN_TOLD
    from correlator.decode.stream import UnusualError
    from correlator.flows.fold.mac_votes import prove_macs

    bits = names.own[: len(names.interfaces), 0]
    if "addr.json" not in task.facts.present and (bits & (OWN_TAGGED | OWN_TOLD)).any():
        raise UnusualError
    return prove_macs(task.files, _known(task), names, votes), {
        names.interfaces[code].name: at for code, at in votes.reached().items()
    }


def _is_port(name: str, facts: Facts) -> bool:
    """Whether an interface is a bridge's port: it shows frames that the bridge shows too."""
    fact = facts.interfaces.get(name)
    return fact is not None and bool(fact.master) and facts.is_bridge(fact.master)


def _open(files: Files, names: Any) -> list[Any]:
    from correlator.decode import interface_name
    from correlator.decode.stream import Source

    return [Source(file, name, interface_name(file), names) for name, file in files]


def reread_files(found: FoldedFiles, files: Files, wanted: Bools) -> list[Frames]:
    """The frames of ``wanted`` pairs (pairs,) of each file; files are read beside each other."""
    from correlator.decode.stream import Names
    from correlator.flows.fold.reread import reread

    names = Names({})
    names.interfaces, names.macs = list(found.interfaces), [0] * len(found.interfaces)

    def of_file(source: Any, interfaces: tuple[Interface, ...], units: Ints) -> Frames:
        macs = np.zeros(len(interfaces), dtype=np.int64)
        return replace(reread(source, macs, units, found.folded, wanted), interfaces=interfaces)

    with ThreadPoolExecutor(max_workers=2) as readers:
        return list(readers.map(of_file, _open(files, names), found.of_file, found.units))
