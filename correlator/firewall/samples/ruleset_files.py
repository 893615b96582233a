"""The ruleset files of a session -> the ruleset that packets of a family meet, and the counting
line of each of its entries.

Counting lines are numbered from 0 as they stand: those of iptables-save's text, then those of
ip6tables-save's, then the counters of nft's listing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from correlator.dataset.files import is_there, read_text
from correlator.dataset.listed_counters import NUMBERS
from correlator.firewall.languages import nft_text
from correlator.firewall.languages.iptables_save import parse_iptables_save, positions
from correlator.firewall.languages.nft_sets import sets_of
from correlator.firewall.model import Ruleset
from correlator.firewall.samples.nft import placed, ruleset_in

if TYPE_CHECKING:
    from correlator.arrays import Ints


@dataclass(frozen=True)
class Texts:
    """What ``iptables`` and ip6tables-save (``six``) print, and what nft lists (``native``), with
    the file's ``source`` for messages."""

    source: str
    iptables: str
    six: str = ""
    native: str = ""


def read_texts(record: dict[str, Any], folder: Path) -> Texts | None:
    """The files that a record names; None where one is not there."""
    paths = [folder / record[key] for key in ("file", "six", "native") if key in record]
    if not all(is_there(path) for path in paths):
        return None
    text = {key: read_text(folder / record[key], folder) for key in record if key in _KEYS}
    return Texts(str(folder / record["file"]), **{_KEYS[key]: text[key] for key in text})


_KEYS = {"file": "iptables", "six": "six", "native": "native"}


def read_ruleset(texts: Texts, family: str) -> tuple[Ruleset, Ints, int]:
    """(the ruleset that packets of a ``family`` meet, the counting line of each of its entries, how
    many lines there are); an entry without a counter has the number behind the last.

    Raises :class:`~correlator.errors.InputError` where a text is damaged."""
    four, six = (_saved(text, texts.source) for text in (texts.iptables, texts.six))
    mine, order = four if family == "ip" else six
    base = 0 if family == "ip" else len(four[1])
    before = len(four[1]) + len(six[1])
    count = before + len(NUMBERS.findall(texts.native))
    if family == "ip6":
        mine = mine.as_of(family)
    if not texts.native:
        return mine, base + order, count
    objects = nft_text.read_objects(placed(texts.native), texts.source)
    native, places = ruleset_in(objects, sets_of([objects]), texts.source, family)
    lines = np.where(places >= 0, before + places, count)
    return Ruleset((*mine.chains, *native.chains), family), np.r_[base + order, lines], count


def _saved(text: str, source: str) -> tuple[Ruleset, Ints]:
    """(ruleset, counting line of each entry) of iptables-save's text."""
    if not text:
        return Ruleset(()), np.zeros(0, dtype=np.int64)
    ruleset = parse_iptables_save(text, source).in_usual_order()
    return ruleset, positions(text, ruleset)
