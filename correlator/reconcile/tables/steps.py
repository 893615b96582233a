"""A way as one packet took it, step by step: rules and policies, what NAT did, where it was routed,
how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from correlator.firewall.walk.path import Hit, Routing, Translation
from correlator.reconcile.analysis import Step
from correlator.reconcile.tables.columns import address

if TYPE_CHECKING:
    from correlator.reconcile.possible.walks import Way
    from correlator.reconcile.tables.rule_numbers import RuleNumbers


def steps_of(
    stage: int, way: Way, packet: dict[str, int], numbers: RuleNumbers
) -> tuple[Step, ...]:
    """The steps of a way through a ``stage`` as one packet took it; ``packet``: what rules saw of
    it (the columns of ``Rows``)."""
    entries = numbers.stages.stages[stage].program.ruleset.entries
    steps: list[Step] = []
    for event in way.path.events:
        if isinstance(event, Hit):
            if event.entry >= 0:
                known, number = entries[event.entry], numbers.in_stage(stage, event.entry)
                place = (known.table, known.chain, number, known.text, known.target, event.depth)
                steps.append(Step("policy" if event.policy else "rule", event.hook.value, *place))
        elif isinstance(event, Translation):
            steps.append(_translated(packet, event))
        elif isinstance(event, Routing):
            text = "to this host" if event.device is None else f"out of {event.device}"
            steps.append(Step("route", event.hook.value, text=text))
    end = way.path.end
    text = end.label.format(out=way.path.out_interface or "this host")
    return (*steps, Step("end", way.path.last.value, text=text, end=end))


def _translated(v: dict[str, int], event: Translation) -> Step:
    """What NAT did to this very packet (the walk's record tells of the example of its kind)."""
    (old, old_port), (new, new_port) = event.before, event.after
    if event.of_destination:
        side, old, old_port = "destination", v["dst"], v["dport"]
        new, new_port = (v["to"], v["to_port"]) if v["to"] >= 0 else (new, new_port)
    else:
        side, old, old_port = "source", v["src"], v["sport"]
        new, new_port = (v["from"], v["from_port"]) if v["from"] >= 0 else (new, new_port)
    flat = v["protocol"] == 1
    before = address(old) if flat else f"{address(old)}:{old_port}"
    after = address(new) if flat else f"{address(new)}:{new_port}"
    after = after if new >= 0 else "somewhere that no table listed tells"
    text = f"{side} {before} -> {after}"
    return Step("nat", event.hook.value, "nat", text=text, side=side, before=before, after=after)
