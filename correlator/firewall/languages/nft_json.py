"""Snapshots of ``nft -j list ruleset`` -> the objects that they list (libnftables-json(5))."""

from __future__ import annotations

import json
import re

from correlator.errors import InputError
from correlator.firewall.languages.nft_rules import Objects

COMMAND = "nft -j list ruleset"
BEGINS = re.compile(r'^\s*\{.*"nftables":\s*\[', re.MULTILINE)
NUMBERS = re.compile(r'("packets":\s*)(\d+)(,\s*"bytes":\s*)(\d+)')
PASSING = re.compile(r'("(?:used|expires)":\s*)\d+')


def read_objects(text: str, source: str) -> Objects:
    """All objects of one snapshot, in its order. Raises :class:`~correlator.errors.InputError`
    where it is no such listing."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{source} is not JSON ({str(error)[:80]}): expected {COMMAND}") from None
    objects = found.get("nftables") if isinstance(found, dict) else None
    if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
        raise InputError(f"{source} has no list of objects: expected {COMMAND}")
    return [one for one in objects if "metainfo" not in one]
