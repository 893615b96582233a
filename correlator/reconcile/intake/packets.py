"""What a replay takes in: ordinary connections folded while their files are read, all else as a
capture.

Where files are small, or hold what the fold is not for (cooked captures, bridge ports, ...),
everything is read as a capture: the result is the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from correlator.dataset.files import available, is_pipe
from correlator.decode import Capture, concat, read_packets
from correlator.decode.packed import PACKS, PACKS_MOST, unpacked_size
from correlator.errors import InputError
from correlator.flows.fold.files import fold_files, reread_files
from correlator.flows.fold.plan import USUAL, Plan
from correlator.flows.fold.task import FoldedFiles, Task
from correlator.flows.host import bridge_nets
from correlator.reconcile.intake.counters import phantom_chains
from correlator.reconcile.intake.generations import Stages, register
from correlator.reconcile.intake.memory import USUAL_RECORD, block_of, most_apart, refuse

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.flows.fold.process import FoldProcess
    from correlator.reconcile.intake.inputs import Inputs, Progress

FOLDED_FIELDS = frozenset(
    (
        "protocol",
        "tcp_flags",
        "tcp_option_kinds",
        "malformed",
        "icmp_type",
        "icmp_code",
        "addrtype",
        "ctstatus",
        "tuples",
        "packet_type",
        "tos",
    )
)
"""What rules may ask of packets that the fold keeps apart; sets besides."""


@dataclass(frozen=True)
class Intake:
    """``capture``: what was not folded, or everything; ``stages``: the rules that it met.
    ``folded``: None, or ordinary connections among others, with the ``files`` that they were read
    from and whoever did it, where that was ``aside``. ``limit``: bytes of memory that may be
    taken."""

    capture: Capture
    stages: Stages
    folded: FoldedFiles | None = None
    files: tuple[tuple[str | None, Path], ...] = ()
    aside: FoldProcess | None = None
    source: str = ""
    limit: int = 1 << 62

    @property
    def macs(self) -> dict[str, int]:
        """Own MAC addresses of interfaces that were worked out while folding."""
        return self.folded.macs if self.folded is not None else {}

    @property
    def own_seen(self) -> frozenset[str]:
        """Interfaces on which a folded frame bore the address that the facts give them."""
        return self.folded.own_seen if self.folded is not None else frozenset()


class PacketReader:
    """The packets of some inputs, on their way in: begun at once where there is a process
    ``aside``.

    ``limit``: bytes of memory that may be taken."""

    def __init__(
        self,
        inputs: Inputs,
        progress: Progress | None = None,
        aside: FoldProcess | None = None,
        limit: int | None = None,
        plan: Plan = USUAL,
    ) -> None:
        self.inputs, self.progress, self.plan = inputs, progress, plan
        self.limit = available() if limit is None else limit
        phantoms = phantom_chains(inputs.log) if inputs.log is not None else inputs.phantoms
        self.stages = Stages(inputs.rulesets, register(inputs.rulesets), phantoms)
        self.folds = _foldable(inputs, self.stages, plan)
        self.aside = aside
        if self.folds:
            reads = [self.stages.stages[number].program.reads for number in self.stages.plain()]
            lengths, ttls, fields = (
                set().union(*(getattr(one, name) for one in reads))
                for name in ("lengths", "ttls", "fields")
            )
            block = plan.block
            if block is None:
                block = block_of(_size(inputs, PACKS_MOST), self.limit)
            bridges = (
                frozenset(bridge_nets(inputs.rulesets))
                if "addr.json" not in inputs.facts.present
                else frozenset[str]()
            )
            self.task = Task(
                inputs.files,
                inputs.facts,
                cuts(lengths),
                cuts({2, *ttls}),
                fields,
                block,
                bridges,
                plan.guesses,
            )
            if aside is not None:
                aside.begin(self.task)

    def result(self) -> Intake:
        """What was read. Raises :class:`~correlator.errors.InputError` as
        :func:`correlator.decode.read_packets` does."""
        if self.folds:
            found = (
                self.aside.fold(self.progress)
                if self.aside is not None
                else fold_files(self.task, self.progress)
            )
            if found is not None:
                return self._intake(found)
        if self.aside is not None:
            self.aside.close()
        refuse(
            self.inputs.source,
            _size(self.inputs) // USUAL_RECORD,
            self.limit,
            "these packets have to be looked at one by one",
        )
        captures, room = [], most_apart(self.limit)
        for number, (name, file) in enumerate(self.inputs.files):
            if self.progress is not None:
                self.progress(f"reading {file.name}", number / len(self.inputs.files))
            captures.append(read_packets(file, name, room))
            room -= len(captures[-1].packets)
        return Intake(concat(captures) if len(captures) != 1 else captures[0], self.stages)

    def _intake(self, found: FoldedFiles) -> Intake:
        import pandas as pd

        from correlator.decode.columns import COLUMNS

        packets = pd.DataFrame(
            {name: np.zeros(0, dtype=dtype) for name, (dtype, _) in COLUMNS.items()}
        )
        capture = Capture(found.interfaces, packets, found.warnings, (), found.skipped)
        return Intake(
            capture,
            self.stages,
            found,
            self.inputs.files,
            self.aside,
            self.inputs.source,
            self.limit,
        )


def cuts(values: Iterable[int]) -> npt.NDArray[np.int64]:
    """Cut points in order."""
    return np.array(sorted(values), dtype=np.int64)


def _size(inputs: Inputs, packs: int = PACKS) -> int:
    """Bytes of all files, of packed ones as many as they usually hold at most, or ``packs`` times
    their own; 0 where one cannot be asked."""
    try:
        return sum(unpacked_size(file, packs) for _, file in inputs.files)
    except (OSError, InputError):
        return 0


def _foldable(inputs: Inputs, stages: Stages, plan: Plan) -> bool:
    if _size(inputs) < plan.fold or len(inputs.files) > 200:
        return False
    if any(is_pipe(file) for _, file in inputs.files):  # which cannot be read twice
        return False
    reads = [stages.stages[number].program.reads for number in stages.plain()]
    fields = {name for one in reads for name in one.fields if not name.startswith("set:")}
    return not any(one.macs for one in reads) and fields <= FOLDED_FIELDS


def ask(intake: Intake, wanted: npt.NDArray[np.bool_]) -> None:
    """Let the frames of ``wanted`` pairs (pairs,) be looked for, where somebody else does it."""
    if intake.aside is not None and wanted.any():
        intake.aside.ask(wanted)


def rest(intake: Intake, wanted: npt.NDArray[np.bool_], more: bool = False) -> Capture:
    """The frames of ``wanted`` pairs (pairs,) that were asked for, as a capture with the fold's
    interfaces; ``more``: others may be asked for later."""
    from correlator.decode.capture import decode

    if intake.folded is None or not wanted.any():
        if not more:
            done(intake)
        return intake.capture
    frames = (
        intake.aside.frames(more)
        if intake.aside is not None
        else reread_files(intake.folded, intake.files, wanted)
    )
    refuse(
        intake.source,
        sum(map(len, frames)),
        intake.limit,
        "that many packets are out of the ordinary",
    )
    found = concat([decode(part) for part in frames])
    whole = intake.capture
    table = np.array([whole.names.index(name) for name in found.names] or [0], dtype=np.int16)
    packets = found.packets.assign(interface=table[found.packets["interface"].to_numpy()])
    return Capture(whole.interfaces, packets, whole.warnings, whole.addresses, whole.skipped)


def done(intake: Intake) -> None:
    """No more frames will be asked for."""
    if intake.aside is not None:
        intake.aside.close()
