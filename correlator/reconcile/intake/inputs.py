"""What a replay reads: a folder of loose files, or files named one by one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from correlator.dataset.facts import Facts, read_facts, read_session_facts
from correlator.dataset.files import available, check_file, is_there, read_file
from correlator.dataset.pcapng import is_exported
from correlator.dataset.session import EVENTS, PACKETS, is_session, read_manifest
from correlator.decode import interface_name, place_in_ring
from correlator.decode.events import ConntrackEvents, read_events
from correlator.errors import InputError
from correlator.firewall.languages.iptables_save import dumped_phantoms, parse_iptables_save
from correlator.firewall.samples.beside import beside
from correlator.firewall.samples.log import CounterLog
from correlator.firewall.samples.read import parse_counter_log
from correlator.firewall.samples.session import read_sample_logs
from correlator.flows.conntrack_log import read_conntrack_log
from correlator.plain import encodable
from correlator.reconcile.intake.strangers import without_strangers

if TYPE_CHECKING:
    from correlator.firewall.model import Ruleset

PCAP_ENDING = re.compile(r"\.(?:pcapng|pcap|cap)[0-9]{0,9}(?:\.gz)?\Z")
COUNTER_LOGS = ("counters.log", "listing.log", "nft-json.log", "nft.log")
RULES = ("rules.v4",)
CONNTRACK_LOGS = ("conntrack.log", "conntrack.txt")
MOST_FILES = 1000
"""Files of packets in one folder."""

Progress = Callable[[str, float], None]
"""Called with what is being done and how far it got (0 to 1)."""


@dataclass(frozen=True)
class Inputs:
    """Everything that was saved: packets, facts, and counters or at least rules.

    ``files``: where the packets are, with the interface's name where the file does not tell it;
    ``warnings`` of whoever recorded them; ``may_be_empty``: a recording without a packet is one of
    a quiet host. ``events``: what conntrack told, where it was recorded. ``phantoms``: (table,
    chain) that a dump of rules alone shows and the kernel probably does not have. ``tracked``:
    conntrack follows connections there."""

    files: tuple[tuple[str | None, Path], ...]
    facts: Facts
    log: CounterLog | None
    ruleset: Ruleset | None
    source: str
    phantoms: frozenset[tuple[str, str]] = frozenset()
    events: ConntrackEvents | None = None
    warnings: tuple[str, ...] = ()
    may_be_empty: bool = False
    tracked: bool = True

    @property
    def rulesets(self) -> tuple[Ruleset, ...]:
        """The rulesets of all generations."""
        if self.log is not None:
            return self.log.rulesets
        assert self.ruleset is not None
        return (self.ruleset,)


def read_inputs(
    path: Path | None,
    pcaps: Sequence[tuple[str | None, Path]] = (),
    counters: Path | None = None,
    rules: Path | None = None,
    facts: Path | None = None,
    progress: Progress | None = None,
) -> Inputs:
    """Read a folder, with files named beside it taking the place of the folder's.

    Raises :class:`~correlator.errors.InputError` where there are no packets, or neither counters
    nor rules."""
    if (
        path is not None
        and is_session(path)
        and not pcaps
        and counters is None
        and rules is None
        and facts is None
    ):
        return read_session(path, progress)
    if path is not None and not path.is_dir():
        hint = (
            "give pcaps with --pcap"
            if path.is_file()
            else "expected a folder of pcaps and counters"
        )
        raise InputError(
            f"{path}: {'is not a folder' if path.exists() else 'no such folder'}: {hint}"
        )
    named = list(pcaps) or _find_pcaps(path)
    if not named:
        raise InputError(
            f"{path or 'no input'}: no pcap there: expected <interface>.pcap files, or --pcap "
            f"IF=FILE"
        )
    named_rules = counters is not None or rules is not None
    counters, rules = _find_rules(path, counters, rules)
    if counters is None and rules is None:
        raise InputError(
            f"{path or 'no rules'}: neither counters nor rules: expected counters.log, "
            f"listing.log, nft-json.log, nft.log or rules.v4, "
            "or --counters FILE or --rules FILE"
        )
    inside = None if named_rules else path
    log = None
    if counters is not None:
        log = parse_counter_log(_content(counters, inside), str(counters))
        log = with_native(log, path, counters)
    ruleset, phantoms = None, frozenset[tuple[str, str]]()
    if log is None and rules is not None:
        text = _content(rules, inside).decode("utf-8", "replace")
        ruleset = parse_iptables_save(text, str(rules)).in_usual_order()
        phantoms = dumped_phantoms(text, ruleset)
    source = str(path or named[0][1])
    events, warnings = _read_conntrack(path)
    known = read_facts(facts if facts is not None else path)
    files, strange = without_strangers(named, known)
    return Inputs(files, known, log, ruleset, source, phantoms, events, (*warnings, *strange))


def with_native(
    log: CounterLog, path: Path | None, counters: Path, family: str = "ip"
) -> CounterLog:
    """A log of iptables' (of ip6tables') with the tables of nft's own that a folder's listing has
    besides."""
    listing = next(
        (path / name for name in COUNTER_LOGS[2:] if path is not None and is_there(path / name)),
        None,
    )
    if listing is None or log.form == "nft" or listing == counters:
        return log
    return beside(log, parse_counter_log(_content(listing, path), str(listing), family))


def _read_conntrack(path: Path | None) -> tuple[ConntrackEvents | None, tuple[str, ...]]:
    """What conntrack(8) printed into a folder's file, and what is to be said of it."""
    file = (
        next((path / name for name in CONNTRACK_LOGS if is_there(path / name)), None)
        if path
        else None
    )
    if file is None:
        return None, ()
    return read_conntrack_log(file, path)


def read_session(folder: Path, progress: Progress | None = None) -> Inputs:
    """What `correlator capture` recorded, as far as it got.

    Raises :class:`~correlator.errors.InputError` where it holds no packets or no samples.
    """
    manifest = read_manifest(folder)
    logs = read_sample_logs(folder, manifest.reading == "kernel")
    if not logs:
        raise InputError(
            f"{folder}: holds no counter sample: the recording ended before its first one"
        )
    backend, warnings = _main_backend(logs)
    warnings += manifest.warnings
    if not manifest.complete:
        warnings = (
            *warnings,
            "the recording was not ended properly (killed, or the disk was full): this is what it "
            "wrote until then",
        )
    if manifest.filter:
        warnings = (
            *warnings,
            f"only packets that match `{manifest.filter}` were recorded: counters of others are "
            f"residuals",
        )
    if manifest.events_lost:
        warnings = (
            *warnings,
            f"conntrack events were lost {manifest.events_lost} times: what they would have shown "
            f"is inferred",
        )
    events = read_events(folder / EVENTS, folder) if is_there(folder / EVENTS) else None
    check_file(folder / PACKETS, folder)
    return Inputs(
        ((None, folder / PACKETS),),
        read_session_facts(folder),
        logs[backend],
        None,
        str(folder),
        events=events,
        warnings=warnings,
        may_be_empty=True,
    )


def _main_backend(logs: dict[str, CounterLog]) -> tuple[str, tuple[str, ...]]:
    """(the backend whose rules are attributed, what is to be said of the others).

    Tables without rules and with nothing but ACCEPT policies count no packet that anyone could
    miss."""
    sizes = {
        backend: max(_weight(ruleset) for ruleset in log.rulesets) for backend, log in logs.items()
    }
    main = max(sizes, key=lambda backend: (sizes[backend], backend == "nft"))
    others = [backend for backend, size in sizes.items() if size and backend != main]
    return main, tuple(
        f"rules in both iptables-{main} and iptables-{other}: packets meet both, and only those "
        f"of {main} "
        f"({sizes[main]} against {sizes[other]}) are attributed: move them into one (see "
        f"docs/capture.md)"
        for other in others
    )


def _weight(ruleset: Ruleset) -> int:
    return sum(
        len(chain.rules) + (chain.policy not in (None, "ACCEPT")) for chain in ruleset.chains
    )


def split_pcap(argument: str) -> tuple[str | None, Path]:
    """``docker0=FILE`` or ``FILE`` as (interface or None, path)."""
    name, found, file = argument.partition("=")
    if found and "/" not in name and not Path(argument).exists():
        return encodable(name), Path(file)
    return None, Path(argument)


def _find_pcaps(path: Path | None) -> list[tuple[str | None, Path]]:
    if path is None:
        return []
    files = sorted(
        (file for file in path.iterdir() if PCAP_ENDING.search(file.name) and not file.is_dir()),
        key=lambda file: (interface_name(file), place_in_ring(file), file.name),
    )
    if len(files) > MOST_FILES:
        raise InputError(
            f"{path}: holds {len(files):,} pcaps, and {MOST_FILES:,} are read at most: name some "
            f"with --pcap"
        )
    for file in files:
        check_file(file, path)
    files = [
        file for file in files if not is_exported(file)
    ] or files  # an export beside its input is no second capture
    return [(None if "pcapng" in file.name else interface_name(file), file) for file in files]


def _find_rules(
    path: Path | None, counters: Path | None, rules: Path | None
) -> tuple[Path | None, Path | None]:
    """Counters come before rules, unless rules alone were named."""
    if path is not None and counters is None and rules is None:
        counters = next((path / name for name in COUNTER_LOGS if is_there(path / name)), None)
        rules = next((path / name for name in RULES if is_there(path / name)), None)
    return counters, rules


def _content(path: Path, inside: Path | None) -> bytes:
    data = read_file(path, inside, available())
    if not data or data.isspace():
        raise InputError(f"{path}: is empty: expected counters or rules of iptables")
    return data
