"""Shapes of the JSON that is read, held against it while it is parsed (msgspec): types, ranges of
numbers, and no depth beyond what is asked for. Keys that are not named here are passed over.

Imported where JSON is read, and nowhere else: it takes a while."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Required, TypedDict

import msgspec
from msgspec import Meta

from correlator.errors import InputError

Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
"""What the kernel counts in 64 bits, as far as int64 holds it."""
Time = Annotated[int, Meta(ge=0, lt=1 << 62)]
"""Epoch ns up to the year 2116: sums and differences of two stay within int64."""
Small = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
Word = Annotated[int, Meta(ge=0, le=(1 << 32) - 1)]
Name = Annotated[str, Meta(max_length=255)]
"""Of an interface (15 bytes on Linux), a table, a kind."""
Text = Annotated[str, Meta(max_length=65535)]


class LinkInfo(TypedDict, total=False):
    """``linkinfo`` of ``ip -j -d link``."""

    info_kind: Name


class Address(TypedDict, total=False):
    """One of ``addr_info`` of ``ip -j addr``."""

    family: Name
    local: Name
    prefixlen: Annotated[int, Meta(ge=0, le=128)]


class Link(TypedDict, total=False):
    """One interface of ``ip -j link`` or ``ip -j addr``."""

    ifname: Name
    ifindex: Small
    link_type: Name
    address: Name
    master: Name | None
    mtu: Small
    linkinfo: LinkInfo | None
    addr_info: list[Address]


class Route(TypedDict, total=False):
    """One route of ``ip -j route``."""

    dst: Name
    dev: Name
    gateway: Name | None
    prefsrc: Name | None
    type: Name
    metric: Word
    table: Name | Word
    pref: Name


class Container(TypedDict, total=False):
    """A running container, as the recorder keeps it: network -> address."""

    name: Name
    networks: dict[str, Name | None] | None


class Recorded(TypedDict, total=False):
    """:class:`~correlator.dataset.session.Recorded`."""

    name: Required[Name]
    link_type: Required[Small]
    port_of: Name
    received: Count
    dropped: Count
    begin: Time
    end: Time


class Manifest(TypedDict, total=False):
    """:class:`~correlator.dataset.session.Manifest`."""

    format: Required[Small]
    tool: Text
    complete: bool
    begin: Time
    end: Time
    monotonic: Time
    interfaces: list[Recorded]
    filter: Text
    snap_length: Annotated[int, Meta(ge=-1, le=(1 << 31) - 1)]
    interval: Time
    backends: list[Name]
    reading: Name
    iptables: Text
    kernel: Text
    command: list[Text]
    exit_status: Annotated[int, Meta(ge=-(1 << 31), le=(1 << 31) - 1)] | None
    stopped_by: Text
    events_lost: Count | None
    warnings: list[Text]


class Version(TypedDict, total=False):
    """As much of a manifest as any correlator can read."""

    format: Required[Small]
    tool: Text


FileName = Annotated[str, Meta(max_length=255, pattern=r"^[^/.][^/]*(/[^/.][^/]*)*$")]
"""A file of the session."""


class Record(TypedDict, total=False):
    """A line of samples.jsonl: a ruleset or a sample."""

    backend: Required[Name]
    ruleset: Count
    file: FileName
    six: FileName
    native: FileName
    uncounted: list[Count]
    begin: Time
    end: Time
    late: Count
    counters: list[Count]


_DECODERS: dict[Any, Any] = {}


def decode(data: bytes, shape: Any, source: Path | str, hint: str) -> Any:
    """JSON of a shape. Raises :class:`~correlator.errors.InputError`, which says where it differs,
    and ``hint``: what was expected."""
    decoder = _DECODERS.get(shape)
    if decoder is None:
        decoder = _DECODERS[shape] = msgspec.json.Decoder(shape)
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise InputError(f"{source}: {_lower(str(error))}: {hint}") from None
    except RecursionError:
        raise InputError(f"{source}: is nested too deeply: {hint}") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InputError(f"{source}: {_line(data, str(error))} is not JSON: {hint}") from None


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _line(data: bytes, told: str) -> str:
    """The line at which JSON breaks, as far as the parser tells."""
    _, found, rest = told.rpartition("(byte ")
    at = int(rest.rstrip(")")) if found and rest.rstrip(")").isdecimal() else len(data)
    return f"line {data.count(10, 0, at) + 1}"
