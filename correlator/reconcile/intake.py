"""What a replay takes in: ordinary connections folded while their files are read, all else as a capture.

Where files are small, or hold what the fold is not for (cooked captures, bridge ports, several rulesets, ...), everything
is read as a capture: the result is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from correlator.decode import Capture, concat, read_packets

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from correlator.dataset.facts import Facts
    from correlator.decode.frames import Interface
    from correlator.decode.stream import Names, Source
    from correlator.firewall.matches import Reads
    from correlator.flows.fold import Asked, Folded
    from correlator.reconcile.generations import Stages
    from correlator.reconcile.inputs import Inputs, Progress

FOLD_BYTES = 8 << 20
"""Files smaller than this in sum are not worth the fold's start."""
FOLDED_FIELDS = frozenset(
    ("protocol", "tcp_flags", "tcp_option_kinds", "malformed", "icmp_type", "icmp_code", "addrtype", "ctstatus", "tuples",
     "packet_type", "tos")
)  # fmt: skip
"""What rules may ask of packets that the fold keeps apart; sets besides."""


@dataclass(frozen=True)
class Intake:
    """``capture``: what was not folded, or everything. ``folded``: None, or ordinary connections among others; then
    ``names`` are its interfaces, ``files`` what it was read from, and ``interfaces`` those of each file."""

    capture: Capture
    folded: Folded | None = None
    names: Names | None = None
    files: tuple[tuple[str | None, Path], ...] = ()
    interfaces: tuple[tuple[Interface, ...], ...] = ()

    @property
    def own_seen(self) -> frozenset[str]:
        """Interfaces on which a folded frame bore the address that the facts give them."""
        if self.names is None:
            return frozenset()
        from correlator.decode.records import OWN_SEEN

        return frozenset(one.name for code, one in enumerate(self.names.interfaces) if self.names.own[code, 0] & OWN_SEEN)


def take_in(inputs: Inputs, stages: Stages, progress: Progress | None, fold: bool = True) -> Intake:
    """Read the packets. Raises :class:`~correlator.errors.InputError` as :func:`correlator.decode.read_packets` does."""
    if fold and _foldable(inputs, stages):
        from correlator.decode.stream import UnusualError
        from correlator.flows.fold import TooManyKindsError

        try:
            return _fold(inputs, stages.stages[stages.number(0, 0)].program.reads, progress)
        except (UnusualError, TooManyKindsError):
            pass
    captures = []
    for number, (name, file) in enumerate(inputs.files):
        if progress is not None:
            progress(f"reading {file.name}", number / len(inputs.files))
        captures.append(read_packets(file, name))
    return Intake(concat(captures) if len(captures) != 1 else captures[0])


def _foldable(inputs: Inputs, stages: Stages) -> bool:
    try:
        size = sum(file.stat().st_size for _, file in inputs.files)
    except OSError:
        return False
    if size < FOLD_BYTES or len(stages.rulesets) != 1 or len(inputs.files) > 200:
        return False
    reads = stages.stages[stages.number(0, 0)].program.reads
    fields = {name for name in reads.fields if not name.startswith("set:")}
    return {"addr.json", "link.json"} <= inputs.facts.present and not reads.macs and fields <= FOLDED_FIELDS


def open_sources(files: Sequence[tuple[str | None, Path]], names: Names) -> list[Source]:
    """The files from their beginnings."""
    from correlator.decode import interface_name
    from correlator.decode.stream import Source

    return [Source(file, name, interface_name(file), number, names) for number, (name, file) in enumerate(files)]


def _fold(inputs: Inputs, reads: Reads, progress: Progress | None) -> Intake:
    from correlator.decode.stream import SKIPPED, Names, stream
    from correlator.flows.fold import Fold
    from correlator.flows.host import is_bridge_tap

    facts = inputs.facts
    names = Names({name: fact.mac for name, fact in facts.interfaces.items()})
    sources = open_sources(inputs.files, names)
    folding = Fold(_asked(reads), [source.size // 30 + 2 for source in sources])
    total, behind = sum(source.size for source in sources), np.zeros(256, dtype=bool)
    for records in stream(sources):
        behind[: len(names.interfaces)] = [is_bridge_tap(one.name, facts) for one in names.interfaces]
        folding.take(records, behind)
        if progress is not None:
            progress("reading packets", 0.4 * sum(source.offset for source in sources) / max(total, 1))
    _refuse_ports(names, facts)
    folded = folding.end(behind)
    skipped = {word: sum(int(source.skipped[i]) for source in sources) for i, word in enumerate(SKIPPED)}
    for source in sources:
        for one in source.interfaces:
            code = names.code(one)
            names.interfaces[code] = replace(names.interfaces[code], received=one.received, dropped=one.dropped)
    warnings = tuple(warning for source in sources for warning in source.warnings)
    capture = Capture(tuple(names.interfaces), _no_packets(), warnings, (), tuple((k, n) for k, n in skipped.items() if n))
    return Intake(capture, folded, names, inputs.files, tuple(tuple(source.interfaces) for source in sources))


def _refuse_ports(names: Names, facts: Facts) -> None:
    """Frames of a bridge's ports show twice what the bridge shows."""
    from correlator.decode.stream import UnusualError

    for one in names.interfaces:
        fact = facts.interfaces.get(one.name)
        if fact is not None and fact.master and facts.is_bridge(fact.master):
            raise UnusualError


def _asked(reads: Reads) -> Asked:
    from correlator.flows.fold import Asked
    from correlator.flows.fold_kernel import READS_FLAGS, READS_ICMP, READS_OPTIONS, READS_TOS

    bits = {"tos": READS_TOS, "tcp_flags": READS_FLAGS, "tcp_option_kinds": READS_OPTIONS, "icmp_type": READS_ICMP}
    return Asked(
        np.array(sorted(reads.lengths), dtype=np.int64), np.array(sorted({2, *reads.ttls}), dtype=np.int64),
        sum(bit for name, bit in bits.items() if name in reads.fields),
    )  # fmt: skip


def _no_packets() -> pd.DataFrame:
    import pandas as pd

    from correlator.decode.columns import COLUMNS

    return pd.DataFrame({name: np.zeros(0, dtype=dtype) for name, (dtype, _) in COLUMNS.items()})


def rest(intake: Intake, wanted: npt.NDArray[np.bool_]) -> Capture:
    """The frames of ``wanted`` pairs (pairs,), as a capture with the fold's interfaces."""
    from correlator.decode.capture import decode
    from correlator.decode.stream import pick

    assert intake.folded is not None
    assert intake.names is not None
    if not wanted.any():
        return intake.capture
    captures = []
    sources = open_sources(intake.files, intake.names)
    ends = [*intake.folded.bases[1:].tolist(), len(intake.folded.frames)]
    for source, interfaces, base, end in zip(sources, intake.interfaces, intake.folded.bases.tolist(), ends, strict=True):
        frames = pick(source, intake.folded.frames[base:end], wanted)
        captures.append(decode(replace(frames, interfaces=interfaces)))
    both = concat(captures)
    return _in_order(both, intake.capture)


def _in_order(found: Capture, whole: Capture) -> Capture:
    """``found`` with the interfaces of ``whole`` in their order."""
    names = whole.names
    table = np.array([names.index(name) for name in found.names] or [0], dtype=np.int16)
    packets = found.packets.assign(interface=table[found.packets["interface"].to_numpy()])
    return Capture(whole.interfaces, packets, whole.warnings, whole.addresses, whole.skipped)
