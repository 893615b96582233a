"""What a finding is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """``kind`` names the check (``dropped``, ``docker-proxy``, ...); ``text`` is one to three
    sentences.

    ``connections`` are numbers in the connections table and ``rules`` names
    (``table/chain:number``) that back it."""

    kind: str
    text: str
    connections: tuple[int, ...] = ()
    rules: tuple[str, ...] = ()
