"""What a replay reads of IPv6: the same files, ip6tables' counters beside iptables' or nft's
listing, which holds both, and the address book that all of it shares.

IPv6 is reconciled on its own, packet by packet: its chains, counters, addresses and routes are
others than IPv4's, and its packets are the rest of what the interfaces showed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from correlator.addresses import WIDTH6, AddressBook, using
from correlator.dataset.facts import read_facts, read_session_facts
from correlator.dataset.files import available, is_there, read_file
from correlator.dataset.session import FACTS as VERSIONS
from correlator.dataset.session import RULESETS
from correlator.decode import concat, read_packets
from correlator.decode.capture import renumbered
from correlator.firewall.languages.iptables_save import dumped_phantoms, parse_iptables_save
from correlator.firewall.model import Ruleset
from correlator.firewall.samples.log import CounterLog
from correlator.firewall.samples.read import parse_counter_log
from correlator.firewall.samples.session import read_sample_logs
from correlator.firewall.tracking import asks_conntrack
from correlator.flows.conntrack_log import read_conntrack_log
from correlator.reconcile.intake.counters import phantom_chains
from correlator.reconcile.intake.generations import Stages, register
from correlator.reconcile.intake.inputs import CONNTRACK_LOGS, COUNTER_LOGS, Inputs, with_native
from correlator.reconcile.intake.packets import Intake

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from correlator.decode import Capture

COUNTER_LOGS6 = ("counters6.log",)
RULES6 = ("rules.v6",)
FACTS = ("addr.json", "route.json", "ipsets.txt")
WRITTEN = re.compile(r"(?<![0-9A-Za-z:.])[0-9A-Fa-f:]*:[0-9A-Fa-f:]*:[0-9A-Fa-f.:]*(?:/[0-9]+)?")
"""Whatever may be an IPv6 address or network."""


@dataclass(frozen=True)
class Inputs6:
    """``inputs`` and ``intake`` of IPv6, whose numbers are places in ``book``."""

    inputs: Inputs
    intake: Intake
    book: AddressBook


def read_inputs6(
    path: Path | None, counters: Path | None, facts: Path | None, four: Inputs
) -> Inputs6 | None:
    """What there is of IPv6 beside the inputs of IPv4, which are those of the same arguments; None
    where nobody saved rules of it, or what addresses the host has.

    Raises :class:`~correlator.errors.InputError` where a file is none of its kind."""
    if path is not None and four.log is not None and four.log.form == "session":
        return _read_session(path, four)
    folder = facts if facts is not None else path
    if four.log is not None and four.log.form == "nft":
        rules = counters or _find(path, COUNTER_LOGS)
    else:
        rules = _find(path, (*COUNTER_LOGS6, *COUNTER_LOGS[2:], *RULES6))
    if folder is None or rules is None or not is_there(folder / "addr.json"):
        return None
    content = read_file(rules, path if counters is None else None, available())
    saved = [folder / name for name in FACTS if is_there(folder / name)]
    told = (_find(path, CONNTRACK_LOGS), _find(path, COUNTER_LOGS[2:]))
    texts = [content, *(read_file(file, None, available()) for file in (*saved, *told) if file)]
    capture, book = _number(four, texts)
    with using(book):
        found = _read(path, folder, four, rules, content, capture, book)
    return found if any(ruleset.chains for ruleset in found.inputs.rulesets) else None


def _number(four: Inputs, texts: list[bytes]) -> tuple[Capture, AddressBook]:
    """(IPv6's packets, the book of all addresses that they and these texts name)."""
    capture = concat([read_packets(file, name, family=6) for name, file in four.files])
    values = {value for text in texts for value in addresses_in(text.decode("utf-8", "replace"))}
    book = AddressBook.of({*values, *capture.addresses, *solicited(values)})
    return renumbered(capture, book), book


def _read_session(folder: Path, four: Inputs) -> Inputs6 | None:
    """What a session holds of IPv6; None where no rule of it was there. Conntrack's events are
    those of IPv4."""
    assert four.log is not None
    files = [*folder.glob(f"{RULESETS}/*.rules6"), *folder.glob(f"{RULESETS}/*.nft")]
    if not files:
        return None
    files += [file for name in FACTS for file in folder.glob(f"{VERSIONS}/*/{name}")]
    capture, book = _number(four, [read_file(file, folder, available()) for file in sorted(files)])
    with using(book):
        logs = read_sample_logs(folder, direct=True, family="ip6")
        log = logs.get("nft")
        if log is None or not any(ruleset.chains for ruleset in log.rulesets):
            return None
        inputs = replace(
            four,
            facts=read_session_facts(folder, family=6),
            log=log,
            events=None,
            warnings=(),
            may_be_empty=True,
        )
        inputs = replace(inputs, tracked=_tracked(inputs.rulesets, log))
        stages = Stages(inputs.rulesets, register(inputs.rulesets), frozenset())
        return Inputs6(inputs, Intake(capture, stages, source=four.source), book)


def _find(path: Path | None, names: Iterable[str]) -> Path | None:
    if path is None:
        return None
    return next((path / name for name in names if is_there(path / name)), None)


def _read(
    path: Path | None,
    folder: Path,
    four: Inputs,
    rules: Path,
    content: bytes,
    capture: Capture,
    book: AddressBook,
) -> Inputs6:
    log, ruleset, phantoms = None, None, frozenset[tuple[str, str]]()
    if rules.name not in RULES6:
        log = with_native(parse_counter_log(content, str(rules), "ip6"), path, rules, "ip6")
        phantoms = phantom_chains(log)
    else:
        text = content.decode("utf-8", "replace")
        ruleset = parse_iptables_save(text, str(rules)).in_usual_order().as_of("ip6")
        phantoms = dumped_phantoms(text, ruleset)
    told = _find(path, CONNTRACK_LOGS)
    events = read_conntrack_log(told, path, family=6)[0] if told is not None else None
    inputs = replace(
        four,
        facts=read_facts(folder, family=6),
        log=log,
        ruleset=ruleset,
        phantoms=phantoms,
        events=events,
        warnings=(),
        may_be_empty=True,
    )
    inputs = replace(inputs, tracked=_tracked(inputs.rulesets, log))
    stages = Stages(inputs.rulesets, register(inputs.rulesets), phantoms)
    return Inputs6(inputs, Intake(capture, stages, source=four.source), book)


def _tracked(rulesets: tuple[Ruleset, ...], log: CounterLog | None) -> bool:
    """Whether conntrack follows IPv6 here: it does where some rule asks for it (nf_ct_netns_get);
    that nat counted shows that something else does."""
    if any(asks_conntrack(rule) for ruleset in rulesets for rule in ruleset.rules):
        return True
    for ruleset, packets in zip(
        rulesets, log.packets_high if log is not None else (), strict=False
    ):
        nat = [i for i, entry in enumerate(ruleset.entries) if entry.table in ruleset.nat_tables]
        if nat and len(packets) and packets[len(packets) - 1 : len(packets)][:, nat].any():
            return True
    return False


def addresses_in(text: str) -> set[int]:
    """Every IPv6 address that a text names; of a network, its first and its last."""
    found: set[int] = set()
    for word in set(WRITTEN.findall(text)):
        address, slash, length = word.partition("/")
        try:
            value = int(IPv6Address(address))
        except ValueError:
            continue
        found.add(value)
        if slash and int(length) <= WIDTH6:
            size = 1 << (WIDTH6 - int(length))
            found |= {value // size * size, value // size * size + size - 1}
    return found


def solicited(values: Iterable[int]) -> set[int]:
    """The groups in which these addresses are asked for (RFC 4291, 2.7.1), and those of routers."""
    prefix = (0xFF02 << 112) + (1 << 32) + (0xFF << 24)
    return {prefix + (value & 0xFFFFFF) for value in values}
