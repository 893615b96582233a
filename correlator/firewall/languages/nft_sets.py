"""Named sets and maps of nftables: what was in them throughout, and what may have been.

Several listings of one time span make one set: what is in all of them is in, what is in some may
have been. Rules and timeouts change a set between two listings, unseen."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from correlator.firewall.languages.nft_values import bare

SetName = tuple[str, str, str]
"""(family, table, name)."""


@dataclass(frozen=True)
class NamedSet:
    """``always`` and ``perhaps``: elements as ``nft -j`` has them, [key, value] of a map's.
    ``open_ended``: others may have been added and gone between two listings."""

    always: tuple[Any, ...] = ()
    perhaps: tuple[Any, ...] = ()
    open_ended: bool = False


Sets = dict[SetName, NamedSet]


def sets_of(listings: Iterable[list[dict[str, Any]]]) -> Sets:
    """Every set and map, of what all listings together say."""
    found: dict[SetName, list[dict[str, Any]]] = {}
    changing: set[SetName] = set()
    for objects in listings:
        for one in objects:
            body = one.get("set") or one.get("map")
            if body is not None:
                name = (body["family"], body["table"], body["name"])
                found.setdefault(name, []).append(_elements(body))
                if {"timeout", "dynamic"} & set(_flags(body)) or "timeout" in body:
                    changing.add(name)
            elif "rule" in one:
                changing |= set(_changed(one["rule"]))
    return {name: _together(parts, name in changing) for name, parts in found.items()}


def _elements(body: dict[str, Any]) -> dict[str, Any]:
    """spelling -> element, of one listing."""
    is_map = "map" in body
    elements = {}
    for element in body.get("elem") or []:
        plain = [bare(element[0]), element[1]] if is_map else bare(element)
        elements[json.dumps(plain, sort_keys=True)] = plain
    return elements


def _flags(body: dict[str, Any]) -> list[str]:
    flags = body.get("flags") or []
    return [flags] if isinstance(flags, str) else list(flags)


def _changed(rule: dict[str, Any]) -> Iterable[SetName]:
    """The sets that a rule adds to, or takes from."""
    for statement in rule.get("expr") or []:
        for kind in ("set", "map"):
            body = statement.get(kind) if isinstance(statement, dict) else None
            if isinstance(body, dict) and str(body.get(kind, "")).startswith("@"):
                yield rule["family"], rule["table"], body[kind][1:]


def _together(parts: list[dict[str, Any]], changes: bool) -> NamedSet:
    every = {spelling: element for part in parts for spelling, element in part.items()}
    always = [spelling for spelling in every if all(spelling in part for part in parts)]
    if changes:
        always = []
    perhaps = [spelling for spelling in every if spelling not in set(always)]
    return NamedSet(
        tuple(every[one] for one in sorted(always)),
        tuple(every[one] for one in sorted(perhaps)),
        changes or bool(perhaps),
    )
