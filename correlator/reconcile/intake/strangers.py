"""Captures of no interface that the saved facts have: another host's, or named otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from correlator.decode import interface_name
from correlator.decode.peek import Peek
from correlator.decode.stream import Names, UnusualError
from correlator.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from correlator.dataset.facts import Facts

    Files = Sequence[tuple[str | None, Path]]

ETHERNET = 1
"""Link type of frames that begin with MAC addresses (LINKTYPE_ETHERNET)."""


def without_strangers(
    files: Files, facts: Facts
) -> tuple[tuple[tuple[str | None, Path], ...], tuple[str, ...]]:
    """(the files but for those of other hosts, what is to be said of files whose interface
    link.json does not have).

    Another host's is a capture in which no frame bears a MAC address of any interface that
    link.json has. Raises :class:`~correlator.errors.InputError` where no other file is left."""
    ports_first = sorted(facts.interfaces.items(), key=lambda item: not item[1].master)
    owners = {fact.mac: name for name, fact in ports_first if fact.mac}  # a bridge bears a port's
    if "link.json" not in facts.present or not owners:
        return tuple(files), ()
    kept: list[tuple[str | None, Path]] = []
    said: list[str] = []
    for name, file in files:
        called = name or interface_name(file)
        addresses = None if called in facts.interfaces else _addresses(file, called)
        known = sorted({owners[mac] for mac in addresses or () if mac in owners})
        unknown = f"{file}: link.json has no interface {called}"
        if addresses is not None and not known:
            said.append(
                f"{unknown} and none of the MAC addresses in it: left out as another host's"
            )
            continue
        if known:
            said.append(
                f"{unknown}; its frames bear the MAC address of {' and '.join(known)}: if it was "
                f"captured there, say --pcap {known[0]}={file.name}"
            )
        kept.append((name, file))
    if not kept:
        raise InputError(f"{said[0]}: and no other pcap is there")
    return tuple(kept), tuple(said)


def _addresses(file: Path, name: str) -> set[int] | None:
    """The MAC addresses of its first unicast frames; None where it has none, or tells its
    interfaces itself."""
    try:
        peek = Peek(file, name, name, Names({}))
        if peek.reader is not None or peek.interface.link_type != ETHERNET:
            return None
        ends = peek.read()
    except UnusualError:
        return None
    peek.file.close()
    return set(np.unique(np.r_[ends["source"], ends["target"]]).tolist()) or None
