"""A long log of iptables-save -c snapshots read many at once, to the letter as the reader of single
ones would.

Snapshots that fit the :class:`~correlator.firewall.samples.templates.Template` of the one before
are read together; the first, the last and any other one are read in full."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from correlator.errors import InputError
from correlator.firewall.languages.iptables_save import LANGUAGE, SaveReader, ends_short
from correlator.firewall.languages.readers import language_of
from correlator.firewall.samples.log import Stretch, assemble
from correlator.firewall.samples.series import Series, compact, places
from correlator.firewall.samples.snapshots import cut_short, has_content, stamp_of
from correlator.firewall.samples.templates import Shape, Template, alike, fit, learn

if TYPE_CHECKING:
    import numpy.typing as npt

    from correlator.arrays import Ints
    from correlator.firewall.model import Ruleset
    from correlator.firewall.samples.log import CounterLog
    from correlator.firewall.samples.stamps import Stamp

    Octets = npt.NDArray[np.uint8]

STEP = 1 << 20
"""Bytes that are looked at in one step (at least one snapshot); the first time has to stand within
as many."""
ALIKE = 1 << 18
"""Bytes of one length from which on it pays to expect more of the same shape."""
_CONTENT = re.compile(rb"^(\*|Chain )", re.MULTILINE)
_FIRST_OF_TIME = frozenset(b"#0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")


class _UncommonError(Exception):
    """The log is to be read in full."""


@dataclass(slots=True)
class _Model:
    """What the last snapshots taught: ``order`` says which counting place each entry is; ``size``
    in bytes; ``many``: how many to look at next; ``shape``: where the last ones were of one shape,
    with its ``values`` (counting places, 2)."""

    template: Template
    ruleset: Ruleset
    order: Ints
    size: int
    many: int = 1
    shape: Shape | None = None
    values: Ints = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))


@dataclass
class _Reader:
    """Stands at byte ``at``, where a line of time begins: the log's ``line`` (from 1)."""

    data: bytes
    source: str
    at: int
    line: int
    saves: SaveReader
    last: str = ""
    last_line: int = 0
    stamps: list[Stamp] = field(default_factory=list)
    stretches: list[Stretch] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def read(self) -> None:
        """All snapshots."""
        model: _Model | None = None
        while self.at < len(self.data):
            if model is None or not (
                (model.shape and self._read_alike(model, model.shape)) or self._read_fitting(model)
            ):
                model = self._read_one()
        if len(self.stamps) > 1 and not self.warnings and ends_short(self.last):
            self.stamps.pop()
            self.stretches.pop()
            self.warnings.append(cut_short(self.source, self.last_line))

    def _window(self, size: int) -> Octets:
        return np.frombuffer(self.data, np.uint8, min(size, len(self.data) - self.at), self.at)

    def _take(self, model: _Model, begin: Ints, head_end: Ints, end: Ints) -> int:
        """How many of the snapshots found there are good: they have a time, and are not the last
        one of all, which may be cut. Goes on behind them."""
        count = len(begin) - (_CONTENT.search(self.data, self.at + int(end[-1])) is None)
        for number, (a, b) in enumerate(
            zip(begin[:count].tolist(), head_end[:count].tolist(), strict=True)
        ):
            stamp = stamp_of(self.data[self.at + a : self.at + b].decode())
            if stamp is None:
                count = number
                break
            self.stamps.append(stamp)
        if count:
            self.at += int(end[count - 1])
            self.line += model.template.lines * count
            model.size = int(end[count - 1] - begin[count - 1])
        return count

    def _read_alike(self, model: _Model, shape: Shape) -> bool:
        """Snapshots of one shape, at memory speed; says whether there were any."""
        size = model.size
        found = alike(shape, self._window(max(min(model.many, STEP // size), 1) * size))
        begin = np.arange(found.count, dtype=np.int64) * size
        head = int(shape.row.tobytes().index(b"\n"))
        count = self._take(model, begin, begin + head, begin + size) if found.count else 0
        if count:
            moves = np.zeros(model.values.shape, dtype=bool)
            moves.ravel()[found.numbers] = True
            places_moving = np.any(moves, axis=1)
            values = np.repeat(model.values[None, places_moving], count, axis=0)
            values[:, moves[places_moving]] = found.values[:count]
            column = places(places_moving)[model.order]
            layers = [
                Series(model.values[model.order, i], column, values[:, :, i]) for i in range(2)
            ]
            self.stretches.append(
                Stretch(model.ruleset, (layers[0], layers[0], layers[1], layers[1]))
            )
        if count == model.many or (count and count >= STEP // size):
            model.many *= 2
        else:
            model.many, model.shape = 1, None
        return count > 0

    def _read_fitting(self, model: _Model) -> bool:
        """Snapshots of one template; says whether there were any."""
        many = max(min(model.many, STEP // model.size), 1)
        data = self._window(many * model.size + many * model.size // 16 + 64)
        found = fit(model.template, data)
        count = (
            self._take(model, found.begin, found.head_end, found.end) if found is not None else 0
        )
        if found is None or not count:
            return False
        values = found.values[:count, model.order]
        packets, size = values[:, :, 0], values[:, :, 1]
        self.stretches.append(Stretch(model.ruleset, compact((packets, packets, size, size))))
        model.many = 2 * many if count >= many else 1
        length = found.end - found.begin
        if count * model.size >= ALIKE and (length[:count] == model.size).all():
            model.shape, model.values = (
                found.shape(model.template, data, count - 1),
                found.values[count - 1],
            )
        return True

    def _read_one(self) -> _Model | None:
        """The next snapshot in full; what it taught, where that is of use."""
        whole, number = self.data[self.at : _end(self.data, self.at)], self.line
        lines = whole.decode("utf-8", "replace").splitlines(keepends=True)
        stamp = stamp_of(lines[0])
        if stamp is None or any(stamp_of(line) is not None for line in lines[1:]):
            raise _UncommonError
        self.at += len(whole)
        self.line += len(lines)
        text = "".join(lines[1:])
        if not has_content(text):
            return None
        if not self.stamps and language_of(text) is not LANGUAGE:
            raise _UncommonError
        try:
            reading = self.saves.read(text, number)
        except InputError:
            if not self.stamps or _CONTENT.search(self.data, self.at):
                raise
            self.warnings.append(cut_short(self.source, number))
            return None
        packets, size = reading.values[None, :, 0], reading.values[None, :, 2]
        self.stamps.append(stamp)
        self.stretches.append(Stretch(reading.ruleset, compact((packets, packets, size, size))))
        self.last, self.last_line = text, number
        template = learn(whole)
        if template is None or np.count_nonzero(template.counts) != len(self.saves.order):
            return None
        return _Model(template, reading.ruleset, self.saves.order, len(whole))


def read_alike(data: bytes, source: str) -> CounterLog | None:
    """The log; None where it is none of iptables-save snapshots behind times of their own: then it
    is read in full.

    Raises :class:`~correlator.errors.InputError` as the full reader would.
    """
    try:
        at, lines = _first_time(data)
        reader = _Reader(data, source, at, lines + 1, SaveReader(source))
        reader.read()
    except _UncommonError:
        return None
    return (
        assemble(reader.stamps, reader.stretches, "save", reader.warnings, source)
        if reader.stamps
        else None
    )


def _first_time(data: bytes) -> tuple[int, int]:
    """(byte, number of lines before it) of the first line of time."""
    if b"\0" in data[: 1 << 14]:
        raise _UncommonError
    at = lines = 0
    while at < min(STEP, len(data)):
        end = data.find(b"\n", at) + 1 or len(data)
        pieces = data[at:end].decode("utf-8", "replace").splitlines(keepends=True)
        if any(stamp_of(piece) is not None for piece in pieces[1:]):
            raise _UncommonError
        if stamp_of(pieces[0]) is not None:
            return at, lines
        at, lines = end, lines + len(pieces)
    raise _UncommonError


def _end(data: bytes, at: int) -> int:
    """Where the line of time behind the one at ``at`` begins, or the log ends."""
    at = data.find(b"\n", at) + 1
    while 0 < at < len(data):
        end = data.find(b"\n", at) + 1
        if data[at] in _FIRST_OF_TIME:
            line = (
                data[at : end or len(data)].decode("utf-8", "replace").splitlines(keepends=True)[0]
            )
            if stamp_of(line) is not None:
                return at
        at = end
    return len(data)
