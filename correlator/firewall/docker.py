"""Rules as Docker writes them, recognised by what they ask and do, not by their words."""

from __future__ import annotations

from collections.abc import Iterable

from correlator.firewall.conditions.headers import Field, Range, Within
from correlator.firewall.conditions.surroundings import Device
from correlator.firewall.effects.nat import NatKind
from correlator.firewall.effects.verdicts import Verdict
from correlator.firewall.model import Rule, Ruleset

DROPS = (Verdict.DROP,)


def bridge_nets(rulesets: Iterable[Ruleset]) -> dict[str, Range]:
    """bridge -> (first, last address) of its subnet: what leaves the subnet by another interface is
    masqueraded."""
    nets: dict[str, Range] = {}
    for ruleset in rulesets:
        for rule in ruleset.rules:
            if rule.nat is None or rule.nat.kind is not NatKind.MASQUERADE:
                continue
            bridge = next((d.name for d in _devices(rule) if d.outgoing and d.negated), None)
            for source in _addresses(rule, Field.SOURCE):
                low, high = source.ranges[0]
                if bridge is not None and not source.negated and low < high:
                    nets.setdefault(bridge, (low, high))
    return nets


def shielded_bridge(rule: Rule) -> str:
    """The bridge of a container that a rule keeps everything away from that did not come in by its
    bridge (Docker 28 and newer); empty where it is no such rule."""
    devices, addresses = _devices(rule), _addresses(rule, Field.DESTINATION)
    if rule.effects != DROPS or len(devices) != 1 or len(addresses) != 1:
        return ""
    (device,), (asked,) = devices, addresses
    single = asked.ranges[0][0] == asked.ranges[0][1] and not asked.negated
    return device.name if single and device.negated and not device.outgoing else ""


def internal_bridge(rule: Rule) -> str:
    """The bridge of an internal network, of a rule that drops what would leave it or come in from
    elsewhere; empty where it is no such rule."""
    plain = [device for device in _devices(rule) if not device.negated]
    addresses = [
        one for side in (Field.SOURCE, Field.DESTINATION) for one in _addresses(rule, side)
    ]
    if rule.effects != DROPS or len(plain) != 1 or len(addresses) != 1:
        return ""
    return plain[0].name if addresses[0].negated else ""


def names_interfaces_only(rule: Rule) -> bool:
    """Whether interfaces are all that a rule asks for."""
    return bool(rule.conditions) and all(isinstance(one, Device) for one in rule.conditions)


def _devices(rule: Rule) -> list[Device]:
    return [one for one in rule.conditions if isinstance(one, Device) and not one.prefix]


def _addresses(rule: Rule, side: Field) -> list[Within]:
    return [one for one in rule.conditions if isinstance(one, Within) and one.fields == (side,)]
