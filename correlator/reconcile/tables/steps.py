"""A way as one packet took it, step by step: rules and policies, what NAT did, where it was routed,
how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from correlator.reconcile.analysis import Step
from correlator.reconcile.tables.columns import address

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from correlator.reconcile.pipeline import Verdict
    from correlator.reconcile.possible.walks import Way

    Ints = npt.NDArray[np.int64]

ENDS = {
    "sent": "sent out of {out}",
    "delivered": "delivered to this host",
    "dropped": "dropped",
    "rejected": "rejected",
    "ttl": "dropped: its time to live ran out (before FORWARD)",
    "no-route": "dropped: no route leads there",
    "martian": "dropped: its source is this host's own address (martian)",
    "reverse-path": "dropped: no route back to its source by the interface it came in by "
    "(rp_filter)",
    "not-for-us": "ignored: not for this host",
    "unknown-target": "goes on out of sight: the target is unknown",
}


def steps_of(
    verdict: Verdict,
    stage_number: int,
    way: Way,
    packet: dict[str, int],
    numbered: tuple[Ints, Ints],
) -> tuple[Step, ...]:
    """The steps of a way as one packet took it; ``packet``: what rules saw of it (the columns of
    ``Rows``), ``numbered`` what :func:`~correlator.reconcile.tables.hits.rule_numbers` says."""
    stage = verdict.stages.stages[stage_number]
    numbers, generation = numbered
    steps: list[Step] = []
    for kind, hook, _table, entry, depth, text in way.path.events:
        if kind in ("rule", "policy"):
            if entry < 0:
                continue
            known = stage.program.ruleset.entries[entry]
            number = int(numbers[generation[stage_number], stage.numbers[entry]])
            steps.append(
                Step(
                    kind,
                    hook,
                    known.table,
                    known.chain,
                    max(number, 0),
                    known.text,
                    known.target,
                    depth,
                )
            )
        elif kind == "nat":
            steps.append(Step("nat", hook, "nat", text=_translation(packet, text)))
        elif kind == "route":
            steps.append(
                Step("route", hook, text="to this host" if text == "local" else f"out of {text}")
            )
        elif kind == "end":
            out = way.path.out_interface or "this host"
            steps.append(Step("end", hook, text=ENDS.get(text, text).format(out=out)))
    return tuple(steps)


def _translation(v: dict[str, int], text: str) -> str:
    """What NAT did to this very packet (the walk's note tells of the example of its kind)."""
    side, *values = text.split()
    old, old_port, new, new_port = (int(value) for value in values)
    if side == "dst":
        old, old_port = v["dst"], v["dport"]
        new, new_port = (v["to"], v["to_port"]) if v["to"] >= 0 else (new, new_port)
    else:
        old, old_port = v["src"], v["sport"]
        new, new_port = (v["from"], v["from_port"]) if v["from"] >= 0 else (new, new_port)
    word = "destination" if side == "dst" else "source"
    if v["protocol"] == 1:
        return f"{word} {address(old)} -> {address(new)}"
    return f"{word} {address(old)}:{old_port} -> {address(new)}:{new_port}"
