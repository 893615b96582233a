"""Any log of counters -> :class:`~correlator.firewall.samples.log.CounterLog`."""

from __future__ import annotations

import re
from dataclasses import replace

from correlator.firewall.languages.readers import LANGUAGES
from correlator.firewall.samples.each import read_each
from correlator.firewall.samples.log import CounterLog
from correlator.firewall.samples.many import read_alike
from correlator.firewall.samples.nft import notation_of, read_nft_log

_ESCAPE = re.compile(rb"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[()][A-Za-z0-9])")
_ESCAPE_TEXT = re.compile(_ESCAPE.pattern.decode())
_INDENTED = re.compile(r"(?m)^([ \t]+)(?:Chain \S+ \(|\*\w+$)")


def parse_counter_log(log: str | bytes, source: str = "counters", family: str = "ip") -> CounterLog:
    """All snapshots of a log. Give bytes (UTF-8) where it is long: they are read many snapshots at
    once. ``family``: that of the packets that meet the rules (``ip``, ``ip6``).

    Raises :class:`~correlator.errors.InputError` where there is no snapshot, no time, or no counter
    in it. A last snapshot that is cut short is left out, with a warning. What a terminal made of it
    goes: escape sequences (`watch`, `clear`), a byte order mark, the blanks of a quotation."""
    log = _escapes_gone(log)
    if isinstance(log, bytes):
        found = read_alike(log, source)
        if found is not None:
            return _as_of(found, family)
        log = log.decode("utf-8", "replace")
    notation = notation_of(log)
    if notation is not None:
        return read_nft_log(log, source, notation, family)
    return _as_of(read_each(_outdented(log), source), family)


def _as_of(log: CounterLog, family: str) -> CounterLog:
    """A log of ip6tables' is read as one of iptables'."""
    if family == "ip":
        return log
    return replace(log, rulesets=tuple(ruleset.as_of(family) for ruleset in log.rulesets))


def _escapes_gone(log: str | bytes) -> str | bytes:
    if isinstance(log, bytes):
        log = log.removeprefix(b"\xef\xbb\xbf")
        return _ESCAPE.sub(b"", log) if b"\x1b" in log else log
    return _ESCAPE_TEXT.sub("", log.removeprefix("\ufeff"))


def _outdented(text: str) -> str:
    """Without the blanks that stand before every chain or table, as where it was quoted."""
    if any(language.begins.search(text) for language in LANGUAGES):
        return text
    found = _INDENTED.search(text)
    return re.sub(rf"(?m)^{re.escape(found[1])}", "", text) if found else text
