"""How files are read: by which engine, by whom, and how much at a time; the answer is the same."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Files of at least ``fold`` bytes in sum are worth the fold's start, of at least ``process``
    bytes a process of their own. ``block``: ordinary packets that are worked on at a time (None:
    as memory asks, 0: all of them). ``guesses``: how often own MAC addresses that no fact tells
    are guessed."""

    fold: int = 8 << 20
    process: int = 8 << 20
    block: int | None = None
    guesses: int = 3


USUAL = Plan()
FOLDED = Plan(fold=0, process=1 << 60)
"""Folded here, however small the files are."""
UNFOLDED = Plan(fold=1 << 60, process=1 << 60)
"""Every packet looked at by itself."""
