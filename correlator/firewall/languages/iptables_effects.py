"""iptables' targets (iptables-extensions(8)) -> effects, one row a target.

A word that no row knows may name a chain: whether there is one is for the ruleset to tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from correlator.firewall.conditions.headers import Field
from correlator.firewall.effects.fields import (
    AddTo,
    CopyMark,
    NoTrack,
    Write,
    WriteBits,
    WriteUnknown,
)
from correlator.firewall.effects.nat import Nat, NatKind, NatRange
from correlator.firewall.effects.verdicts import ChangeSet, Jump, OutOfSight, Reject, Verdict
from correlator.firewall.languages.iptables_words import Option, Target
from correlator.firewall.model import Effect
from correlator.firewall.values import (
    ALL_BITS,
    parse_address,
    parse_mark,
    parse_number,
    parse_ports,
    service_class,
)

PASSING = frozenset(
    "AUDIT CHECKSUM CLASSIFY CONNSECMARK ECN IDLETIMER LED LOG NFLOG RATEEST SECMARK TCPMSS "  # noqa: SIM905
    "TCPOPTSTRIP TEE TRACE ULOG".split()
)
"""Targets behind which the walk goes on as before: they log, copy, or change what no rule asks."""
QUEUES = frozenset(("QUEUE", "NFQUEUE"))
VERDICTS = {"ACCEPT": Verdict.ACCEPT, "DROP": Verdict.DROP, "RETURN": Verdict.RETURN}


def is_extension(word: str) -> bool:
    """Whether a target is known not to be a chain, unless there is one of that name."""
    return word in VERDICTS or word in PASSING or word in QUEUES or word in _TARGETS


def effects_of(target: Target) -> tuple[Effect, ...]:
    """What a target does, in order; nothing for a rule that only counts."""
    if not target.name or target.name in PASSING:
        return ()
    if target.name in VERDICTS:
        return (VERDICTS[target.name],)
    row = _TARGETS.get(target.name)
    if row is None:
        known = target.name in QUEUES
        return (OutOfSight(target.name) if known else Jump(target.name, target.goto),)
    try:
        return tuple(row(target))
    except (ValueError, OSError, IndexError, KeyError):
        return (OutOfSight(target.name),)


def _reject(target: Target) -> Iterator[Effect]:
    option = target.option("--reject-with")
    yield (
        Reject(option.value.removeprefix("icmp-").removeprefix("icmp6-"))
        if option is not None
        else Reject()
    )


def _nat(target: Target) -> Iterator[Effect]:
    yield Nat(NatKind[target.name], tuple(_ranges(target)))


def _ranges(target: Target) -> Iterator[NatRange]:
    """The ranges that a NAT names: ``172.17.0.2-172.17.0.4:80-90``, ports alone, or a net."""
    for option in target.options:
        if option.name in ("--to-destination", "--to-source"):
            for value in option.values:
                address, ports = _address_and_ports(value)
                first, _, last = address.partition("-")
                yield NatRange(
                    (parse_address(first)[0], parse_address(last or first)[0]) if address else None,
                    parse_ports(ports.partition("/")[0]) if ports else None,
                )
        elif option.name == "--to-ports":
            yield NatRange(None, parse_ports(option.value))
        elif option.name == "--to":
            yield NatRange(parse_address(option.value))


def _address_and_ports(value: str) -> tuple[str, str]:
    """``172.17.0.2:80``, ``[fd00::2]:80``, ``fd00::2`` or ``:80``."""
    if value.startswith("["):
        address, _, ports = value[1:].partition("]")
        return address, ports.removeprefix(":")
    if value.count(":") > 1:
        return value, ""
    address, _, ports = value.partition(":")
    return address, ports


def _mark(target: Target) -> Iterator[Effect]:
    for option in target.options:
        yield _written(Field.MARK, option)


def _connmark(target: Target) -> Iterator[Effect]:
    masks = {
        option.name: parse_number(option.value, ALL_BITS, 0)
        for option in target.options
        if "mask" in option.name
    }
    ctmask, nfmask = masks.get("--ctmask", ALL_BITS), masks.get("--nfmask", ALL_BITS)
    for option in target.options:
        if option.name == "--save-mark":
            yield CopyMark(restore=False, cleared=ctmask, taken=nfmask)
        elif option.name == "--restore-mark":
            yield CopyMark(restore=True, cleared=nfmask, taken=ctmask)
        elif option.name not in masks:
            yield _written(Field.CONNMARK, option)


def _written(field: Field, option: Option) -> Write:
    """Each verb as what it keeps and what it flips of the old value (libxt_MARK.c)."""
    value, mask = parse_mark(option.value)
    kept = {
        "--set-mark": ~(mask | value) & ALL_BITS,
        "--set-xmark": ~mask & ALL_BITS,
        "--and-mark": value,
        "--or-mark": ~value & ALL_BITS,
        "--xor-mark": ALL_BITS,
    }
    if option.name not in kept:
        return WriteUnknown(field)
    return WriteBits(field, kept[option.name], 0 if option.name == "--and-mark" else value)


def _tos(target: Target) -> Iterator[Effect]:
    for option in target.options:
        try:
            value, mask = parse_mark(option.value)
        except ValueError:
            yield WriteUnknown(Field.TOS)  # a name, such as Minimize-Delay
            continue
        kept = {"--set-tos": ~mask, "--and-tos": value, "--or-tos": ~value, "--xor-tos": 0xFF}
        flip = 0 if option.name == "--and-tos" else value & 0xFF
        yield WriteBits(Field.TOS, kept[option.name] & 0xFF, flip)


def _dscp(target: Target) -> Iterator[Effect]:
    for option in target.options:
        named = option.name == "--set-dscp-class"
        value = service_class(option.value) if named else parse_number(option.value, 63, 0)
        yield WriteBits(Field.TOS, 3, value << 2)


def _ttl(target: Target) -> Iterator[Effect]:
    for option in target.options:
        amount = parse_number(option.value, 255)
        verb = option.name.removeprefix("--ttl-").removeprefix("--hl-")
        if verb == "set":
            yield WriteBits(Field.TTL, 0, amount)
        else:
            yield AddTo(Field.TTL, {"inc": amount, "dec": -amount}[verb])


def _ct(target: Target) -> Iterator[Effect]:
    if target.option("--notrack") is not None:
        yield NoTrack()


def _notrack(_target: Target) -> Iterator[Effect]:
    yield NoTrack()


def _set(target: Target) -> Iterator[Effect]:
    for option in target.options:
        if option.name in ("--add-set", "--del-set", "--map-set"):
            yield ChangeSet(option.value)


_TARGETS: dict[str, Callable[[Target], Iterator[Effect]]] = {
    "REJECT": _reject,
    **{kind.name: _nat for kind in NatKind},
    "MARK": _mark,
    "CONNMARK": _connmark,
    "TOS": _tos,
    "DSCP": _dscp,
    "TTL": _ttl,
    "HL": _ttl,
    "CT": _ct,
    "NOTRACK": _notrack,
    "SET": _set,
}
