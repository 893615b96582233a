"""Which interfaces are listened on, as they come and go."""

from __future__ import annotations

from collections.abc import Sequence

from correlator.capturing.interfaces import (
    container_bridges,
    default_interfaces,
    list_interfaces,
    ports_of,
)
from correlator.capturing.options import Options
from correlator.capturing.sniffer import Sniffer
from correlator.errors import CorrelatorError, InputError


def wanted_interfaces(named: Sequence[str]) -> tuple[str, ...]:
    """Where to listen: as named, else where that is by default. Raises
    :class:`~correlator.errors.InputError` where that is nowhere."""
    wanted = tuple(named) or default_interfaces()
    if not wanted:
        raise InputError("no default route and no Docker bridge here: name interfaces with -i")
    return wanted


class Taps:
    """Keeps the sniffer's taps to the interfaces that are ``wanted`` and there; ``warnings`` tell
    what was not seen for that."""

    def __init__(self, sniffer: Sniffer, options: Options, wanted: tuple[str, ...]) -> None:
        self.sniffer, self.options, self.wanted = sniffer, options, wanted
        self.warnings: list[str] = []
        self.indexes: dict[str, int] = {}

    def open(self) -> None:
        """Listen. Raises as :meth:`~correlator.capturing.sniffer.Sniffer.add` does."""
        self.indexes = list_interfaces()
        found = self._interfaces(self.wanted)
        self.sniffer.expect(len(found))
        for name, bridge in found.items():
            self.sniffer.add(name, bridge)

    def follow(self) -> None:
        """Give up taps whose interface is gone, take up those that are wanted and have come."""
        there = list_interfaces()
        for name in list(self.sniffer.taps):
            if there.get(name) != self.indexes.get(name):
                self._give_up(name, is_gone=name not in there)
        found = self.options.interfaces or (*self.wanted, *container_bridges())
        for name, bridge in self._interfaces(found).items():
            if name in there and name not in self.sniffer.taps:
                self._take_up(name, bridge)
        self.indexes = there

    def _interfaces(self, found: tuple[str, ...]) -> dict[str, str]:
        """name -> the bridge that it is a port of, or nothing."""
        ports = ports_of(found) if self.options.bridge_ports else {}
        return {**dict.fromkeys(found, ""), **ports}

    def _give_up(self, name: str, is_gone: bool) -> None:
        port = bool(self.sniffer.taps[name].recorded.port_of)
        self.sniffer.take()
        self.sniffer.remove(name)
        if is_gone and not port:
            self.warnings.append(f"{name} went away while recording")

    def _take_up(self, name: str, bridge: str) -> None:
        try:
            self.sniffer.add(name, bridge, begin=self.sniffer.clock.now())
        except (OSError, CorrelatorError):
            return  # it is gone again
        if not bridge:
            self.warnings.append(
                f"{name} came while recording: what crossed it before was not seen"
            )
